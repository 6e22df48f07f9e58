//! What the client is told last, from what is known of the command's end. Pure.

use kpexec_protocol::exit::Status as ExitStatus;
use kpexec_protocol::server_message::Kind;
use kpexec_protocol::{Exit, Failure, Reason, pod};

/// What is known of the command's end.
#[derive(Clone, Copy, Debug)]
pub(super) enum Told {
    /// This wait status: wait(2).
    Status(i32),
    /// The shim ended without telling.
    Nothing,
    /// The shim lives, and has not told of a command that has ended.
    TooLate,
}

impl Told {
    pub fn may_come_from_the_targets_end(self) -> bool {
        match self {
            Self::Status(status) => {
                libc::WIFSIGNALED(status) && libc::WTERMSIG(status) == libc::SIGKILL
            }
            Self::Nothing => true,
            Self::TooLate => false,
        }
    }
}

/// The helper's pod is being deleted. In the client's words for any other fault.
pub(super) fn pod_ends(pod: Option<&str>) -> Kind {
    let events = match pod.and_then(|pod| pod.split_once('/')) {
        Some((namespace, name)) => pod::get_events(namespace, name),
        None => "kubectl get events".to_owned(),
    };
    let lost = "lost the session, and with it the command's result";
    failure(
        &format!("{lost}: the helper pod was deleted or evicted"),
        &format!("{events} tells why; its longest life is 12 h"),
    )
}

/// Another client has taken the session over.
pub(super) fn taken_over() -> Kind {
    failure("the session was taken over by another client", "")
}

/// There is no session of this name.
pub(super) fn no_session(name: &str) -> Kind {
    let what = format!("session {name} of this helper has ended, or never was");
    failure(&what, "kpexec sessions lists those there are")
}

/// This session's client must have a terminal.
pub(super) fn no_terminal() -> Kind {
    failure("the session has a terminal, and there is none here", "attach from a terminal")
}

/// This session ends with its client.
pub(super) fn not_kept(name: &str) -> Kind {
    let hint = "only those with a terminal, or begun with --linger, outlive their client";
    failure(&format!("session {name} cannot be attached to"), hint)
}

pub(super) fn killed_from_outside(target_ended: bool) -> Kind {
    if target_ended {
        failure("the container stopped while the command ran", "kubectl describe pod tells why")
    } else {
        failure("the session was killed from outside", "out of memory, or the container stopped")
    }
}

/// Whatever was told or not told of the command's end is not to be believed.
pub(super) fn in_doubt(why: &str) -> Kind {
    let hint = "processes of the container can stop the session's, or trace them";
    failure(&format!("the command's exit status {why}"), hint)
}

/// The command's own end is the session's, unless something of it lives on.
pub(super) fn last_word(exit: Exit, all_gone: bool) -> Kind {
    if all_gone {
        return Kind::Exit(exit);
    }
    let how = how(&exit);
    let message = format!("the command ended {how}, but what it started cannot be killed");
    failure(&message, "a process may hang in a file system of the container; ps shows it as D")
}

/// How the command ended, for people.
pub(super) fn how(exit: &Exit) -> String {
    match exit.status {
        Some(ExitStatus::Signal(number)) => format!("by signal {number}"),
        Some(ExitStatus::Code(code)) => format!("with exit code {code}"),
        None => "somehow".to_owned(),
    }
}

pub(super) fn failure(message: &str, hint: &str) -> Kind {
    let reason = Reason::Helper.into();
    Kind::Failure(Failure { reason, message: message.to_owned(), hint: hint.to_owned() })
}

/// Whether wait(2) has such a status for a process that has ended.
pub(super) fn is_possible(status: i32) -> bool {
    let exited = status & !0xff00 == 0;
    let signaled = status & !0xff == 0 && (1..=64).contains(&libc::WTERMSIG(status));
    exited || signaled
}

/// Reads a wait status: wait(2).
pub(super) fn exit(status: i32) -> Exit {
    let status = if libc::WIFSIGNALED(status) {
        ExitStatus::Signal(libc::WTERMSIG(status).cast_unsigned())
    } else {
        ExitStatus::Code(libc::WEXITSTATUS(status).cast_unsigned())
    };
    Exit { status: Some(status), ..Exit::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whose_pod_ends_is_told_where_to_look() {
        let hint = |pod| match pod_ends(pod) {
            Kind::Failure(failure) => failure.hint,
            other => panic!("{other:?}"),
        };
        let expected = "kubectl get events -n ops --field-selector involvedObject.name=kpexec-1 \
                        tells why; its longest life is 12 h";
        assert_eq!(hint(Some("ops/kpexec-1")), expected);
        assert!(hint(None).starts_with("kubectl get events tells why"));
    }

    #[test]
    fn a_session_that_lives_on_is_no_success() {
        assert!(matches!(last_word(exit(0), true), Kind::Exit(_)));
        let Kind::Failure(failure) = last_word(exit(3 << 8), false) else { panic!("a success") };
        assert_eq!(failure.reason(), Reason::Helper);
        assert!(failure.message.contains("exit code 3"), "{}", failure.message);
    }

    #[test]
    fn noise_is_no_wait_status() {
        for possible in [0, 3 << 8, 255 << 8, libc::SIGKILL, libc::SIGSEGV | 0x80, 64] {
            assert!(is_possible(possible), "{possible:#x}");
        }
        for noise in [0x57, 0x7f, 0x137f, 0xffff, 0x1_0000, 0x109, -1, i32::MIN] {
            assert!(!is_possible(noise), "{noise:#x}");
        }
    }

    #[test]
    fn wait_statuses_are_read_as_wait_2_has_them() {
        assert_eq!(exit(0).status, Some(ExitStatus::Code(0)));
        assert_eq!(exit(3 << 8).status, Some(ExitStatus::Code(3)));
        assert_eq!(exit(libc::SIGKILL).status, Some(ExitStatus::Signal(9)));
        // With a core dump.
        assert_eq!(exit(libc::SIGSEGV | 0x80).status, Some(ExitStatus::Signal(11)));
    }
}
