//! Judges why the helper did not answer: not yet there, or never. Pure.

use kpexec_protocol::pod::ENTRY;

use super::carry::End;
use crate::api_error::ApiError;

/// [`kpexec_protocol::pod::ENDING`], as the server writes it.
const ENDING: &str = "75";
/// 128 + SIGKILL.
const KILLED: &str = "137";

/// Whether asking again makes sense.
#[derive(Debug, PartialEq, Eq)]
pub enum Readiness {
    /// Yes, and soon: the container is starting.
    Starting,
    /// There is no such pod: not yet, or no more.
    Absent,
    /// The pod has ended.
    Ended,
    /// Perhaps: something is in the way, and this is what was said about it.
    Unreachable(String),
    /// No.
    Final,
}

/// Judges a request for exec that was refused.
pub fn of_refusal(error: &ApiError) -> Readiness {
    match error.code() {
        Some(401 | 403) => Readiness::Final,
        Some(404) if error.to_string().starts_with("pods ") => Readiness::Absent,
        // The API server of an exec into a pod that has succeeded or failed.
        Some(400) if error.to_string().contains("completed pod") => Readiness::Ended,
        _ => not_yet(error.to_string()),
    }
}

/// Judges an exec that was accepted, but ended before the helper spoke.
pub fn of_silent_end(end: &End) -> Readiness {
    match end {
        // It is about to end, or was killed before it said a word: then there is
        // another one soon, or the pod says why not.
        End::ExitCode { code, message } if code == ENDING || code == KILLED => {
            Readiness::Unreachable(message.clone())
        }
        // It ran and ended: it will again.
        End::Success | End::ExitCode { .. } => Readiness::Final,
        End::Failure(message) if is_missing_program(message) => Readiness::Final,
        End::Failure(message) => not_yet(message.clone()),
        End::Lost(reason) => not_yet(reason.clone()),
    }
}

/// Whether the runtime looked for our program and did not find it.
pub fn is_missing_program(message: &str) -> bool {
    message.contains(ENTRY)
        && ["no such file", "not found", "permission denied", "exec format error"]
            .iter()
            .any(|words| message.contains(words))
}

fn not_yet(reason: String) -> Readiness {
    let starting = [
        // The kubelet, before the container exists.
        "container not found",
        // The API server, before the pod is bound.
        "does not have a host assigned",
        // The kubelet, before it has heard of the pod.
        "pod does not exist",
        "not found",
        // The runtimes, between create and start.
        "is not created or running",
        "CONTAINER_CREATED",
        "ContainerCreating",
        "is not running",
    ];
    if starting.iter().any(|words| reason.contains(words)) {
        Readiness::Starting
    } else {
        Readiness::Unreachable(reason)
    }
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    fn refusal(code: u16, message: &str) -> Readiness {
        let status = Status { code, message: message.into(), ..Status::default() };
        of_refusal(&ApiError::new(kube::Error::Api(status.boxed()), "https://x"))
    }

    #[test]
    fn a_starting_container_is_asked_again_soon() {
        for (code, message) in [
            (500, "unable to upgrade connection: container not found (\"helper\")"),
            (400, "pod kpexec-1 does not have a host assigned"),
        ] {
            assert_eq!(refusal(code, message), Readiness::Starting, "{message}");
        }
        let created = End::Failure("container is in CONTAINER_CREATED state".into());
        assert_eq!(of_silent_end(&created), Readiness::Starting);
    }

    #[test]
    fn a_pod_that_is_missing_or_has_ended_may_have_to_be_made() {
        assert_eq!(refusal(404, "pods \"kpexec-1\" not found"), Readiness::Absent);
        // The kubelet's word, by way of the API server.
        let late = "unable to upgrade connection: pod does not exist";
        assert_eq!(refusal(404, late), Readiness::Starting);
        let ended = "cannot exec into a container in a completed pod; current phase is Succeeded";
        assert_eq!(refusal(400, ended), Readiness::Ended);
    }

    #[test]
    fn what_may_pass_is_asked_again_later() {
        let dialing = "error dialing backend: dial tcp 10.0.0.7:10250: connection refused";
        let unreachable = |text: &str| Readiness::Unreachable(text.into());
        assert_eq!(refusal(500, dialing), unreachable(dialing));
        assert_eq!(of_silent_end(&End::Failure(dialing.into())), unreachable(dialing));
        assert_eq!(of_silent_end(&End::Lost("reset".into())), unreachable("reset"));
    }

    #[test]
    fn a_helper_that_is_about_to_end_is_followed_by_another() {
        assert_eq!(ENDING, kpexec_protocol::pod::ENDING.to_string());
        for code in [ENDING, KILLED] {
            let end = End::ExitCode { code: code.into(), message: "x".into() };
            assert_eq!(of_silent_end(&end), Readiness::Unreachable("x".into()));
        }
    }

    #[test]
    fn rights_do_not_come_by_waiting() {
        assert_eq!(refusal(403, "pods \"x\" is forbidden"), Readiness::Final);
        assert_eq!(refusal(401, "Unauthorized"), Readiness::Final);
    }

    #[test]
    fn a_helper_that_ran_and_ended_is_not_started_again() {
        assert_eq!(of_silent_end(&End::Success), Readiness::Final);
        let died = End::ExitCode { code: "1".into(), message: "x".into() };
        assert_eq!(of_silent_end(&died), Readiness::Final);
        let missing = "OCI runtime exec failed: exec: \"/node-entry\": stat /node-entry: \
                       no such file or directory";
        assert_eq!(of_silent_end(&End::Failure(missing.into())), Readiness::Final);
    }
}
