//! What kpexec puts into the helper pod, or gives to a helper of its own, and
//! the helper looks for there.

use std::time::Duration;

/// The role of the helper's main process.
pub const SUPERVISE: &str = "supervise";

/// The role that is started by exec, one per client: it hands the client over to
/// the main process. Its arguments are the seconds after which a client that is
/// silent is given up, and the name of a session to come back to, if any.
pub const CONNECT: &str = "connect";

/// What [`CONNECT`] exits with when the helper is about to end: EX_TEMPFAIL of
/// sysexits.h.
pub const ENDING: u8 = 75;

/// The role that is started by exec to list the helper's sessions on stdout, a
/// JSON object in each line, and an empty line behind the last: that the program has
/// ended is told later.
pub const LIST: &str = "list";

/// The role that serves one client on stdin and stdout, without a main process.
/// Its argument is the seconds after which it gives up a client that is silent.
pub const SERVE: &str = "serve";

/// The role that kpexec starts itself, on the node: it serves one client on its
/// stdin and stdout.
pub const LOCAL: &str = SERVE;

/// The role that kpexec starts itself, on the node, to list the running containers on
/// stdout, each as POD/NAMESPACE/CONTAINER in a line.
pub const CONTAINERS: &str = "containers";

/// The role that ends what is left of sessions whose helper was killed.
pub const SWEEP: &str = "sweep";

/// The role of the init container, where there is a tools container.
pub const PREPARE: &str = "prepare";

/// The role of the tools container.
pub const HOLD: &str = "hold";

/// Name of the tools container.
pub const TOOLS_CONTAINER: &str = "tools";

/// Where the containers have the volume that [`PREPARE`] fills for [`HOLD`].
pub const HOLD_FOLDER: &str = "/.kpexec-hold";

/// Where the main process mounts a file system of its own.
pub const RUN_FOLDER: &str = "/.kpexec-run";

/// The socket in it.
pub const SOCKET: &str = "socket";

/// The variable with the UID of the helper's pod, if that has a tools container.
pub const TOOLS_POD: &str = "KPEXEC_TOOLS_POD";

/// The file name of the program that is started for each session; it lies beside
/// the helper, in the root folder of its image.
pub const ENTRY: &str = "node-entry";

/// The variable with the path of the CRI socket, as the node has it.
pub const CRI_SOCKET: &str = "KPEXEC_CRI_SOCKET";

/// The variable with the toolset's folder. Empty: there is none.
pub const TOOLSET: &str = "KPEXEC_TOOLSET_FOLDER";

/// The variable with the helper pod's namespace and name, and a / between, for what
/// is told of it.
pub const HELPER_POD: &str = "KPEXEC_HELPER_POD";

/// How the events about a helper pod are looked up.
#[must_use]
pub fn get_events(namespace: &str, pod: &str) -> String {
    format!("kubectl get events -n {namespace} --field-selector involvedObject.name={pod}")
}

/// The variable with the seconds that the helper stays without a session.
pub const IDLE_SECONDS: &str = "KPEXEC_IDLE_SECONDS";

/// After which silence the other end is pinged, and how long it may take to
/// answer, so that it is given up after `keepalive` at the latest. Answers get
/// the larger part: what was lost on the way has to be sent again.
pub fn pings(keepalive: Duration) -> (Duration, Duration) {
    let silence = keepalive * 3 / 10;
    (silence, keepalive - silence)
}

/// How long a command whose client has gone may take over each of SIGHUP and
/// SIGTERM, before SIGKILL.
pub fn grace(keepalive: Duration) -> Duration {
    (keepalive / 6).min(Duration::from_secs(2))
}

/// After how long a silence a client has gone, so that with all grace the command
/// is gone when `keepalive` is over.
pub fn longest_silence(keepalive: Duration) -> Duration {
    keepalive - 2 * grace(keepalive)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_together_are_the_keepalive() {
        for seconds in [5, 6, 10, 30, 24 * 3600] {
            let keepalive = Duration::from_secs(seconds);
            let (silence, answer) = pings(keepalive);
            assert_eq!(silence + answer, keepalive);
            assert!(silence >= Duration::from_secs(1) && answer > silence, "{keepalive:?}");
        }
        // Longer than a link that is down for 5 s needs: session/connect.rs.
        assert!(pings(Duration::from_secs(10)).1 > Duration::from_millis(6200));
    }

    #[test]
    fn the_command_is_gone_when_the_keepalive_is_over() {
        let seconds = Duration::from_secs_f32;
        for (keepalive, silence, given) in [(30.0, 26.0, 2.0), (6.0, 4.0, 1.0), (12.0, 8.0, 2.0)] {
            assert_eq!(longest_silence(seconds(keepalive)), seconds(silence));
            assert_eq!(grace(seconds(keepalive)), seconds(given));
        }
        let shortest = longest_silence(seconds(5.0));
        assert!(shortest > seconds(3.0) && pings(shortest).0 > seconds(0.9), "{shortest:?}");
    }
}
