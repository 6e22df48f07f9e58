//! The privileged end of kpexec. It runs in a helper pod on the target's node,
//! in roles that are a process each:
//!
//! * `supervise` is the pod's main process: it makes a copy of itself for each
//!   client, and ends when no session has been there for a while, so that a lost
//!   client leaves no pod running.
//! * `serve` does without a main process: it speaks the session protocol itself.
//!   kpexec starts it on a node, and `sweep` if it was killed there. `containers` is for
//!   a command line that is being typed there.
//! * `prepare` and `hold` are for a pod that has its tools from another image:
//!   the one leaves this program where the tools container runs it as the other.
//!
//! What is started for each session is `node-entry`, which lies beside it.

use std::process::ExitCode;

use kpexec_protocol::pod;
use node_helper::failure::chain;
use node_helper::{find, hold, serve, supervise, sweep};

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    let role = args.next();
    let result = match role.as_deref().and_then(std::ffi::OsStr::to_str) {
        Some(pod::SUPERVISE) => supervise::main().map_err(|error| chain(&error)),
        Some(pod::SERVE) => serve::main(args.next().as_deref()).map_err(|error| chain(&error)),
        Some(pod::SWEEP) => sweep::main().map_err(|error| chain(&error)),
        Some(pod::CONTAINERS) => find::list().map_err(|error| chain(&error)),
        Some(pod::PREPARE) => hold::main(hold::prepare).map_err(|error| error.to_string()),
        Some(pod::HOLD) => hold::main(hold::hold).map_err(|error| error.to_string()),
        _ => {
            let roles = "supervise | serve [SECONDS] | containers | sweep | prepare | hold";
            Err(format!("usage: node-helper {roles}"))
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("node-helper: {message}");
            ExitCode::from(125)
        }
    }
}
