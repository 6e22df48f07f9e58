//! From an error of ours to what the client is told: one line, and what to do.

use std::error::Error;
use std::io::Write;

use kpexec_protocol::{Failure, Reason};

/// Joins an error and its causes, outermost first.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&without_number(error.to_string()));
        cause = error.source();
    }
    text
}

/// Says something on stderr, which the client shows with a failure, and with -v.
/// Nobody may be left to hear it, which is no reason to end: unlike `eprintln!`
/// it does not panic then.
pub(crate) fn tell(what: &str) {
    let _nobody = writeln!(std::io::stderr(), "{what}");
}

/// The standard library and rustix put the number behind the words; the words
/// are what people look for.
fn without_number(mut text: String) -> String {
    if let Some(at) = text.rfind(" (os error ").filter(|_| text.ends_with(')')) {
        text.truncate(at);
    }
    text
}

/// A failure of ours: exit code 125.
pub fn ours(error: &dyn Error, hint: &str) -> Failure {
    Failure { reason: Reason::Helper.into(), message: chain(error), hint: hint.to_owned() }
}

/// Threat model, A2: more than profile `general` is for programs of ours.
const NOT_TRUSTED: &str = "above profile general only the toolset's programs are run; \
     --trust-target runs the container's own too";

/// No command, for a reason that lies in the command: `there` tells whether the
/// file is there, `target_programs` whether the target's can be executed at all.
pub fn not_executed(program: &[u8], errno: i32, there: bool, target_programs: bool) -> Failure {
    let program = String::from_utf8_lossy(program);
    if !there && !target_programs {
        let message = format!("{program}: not found in the toolset");
        return Failure { reason: Reason::NotFound.into(), message, hint: NOT_TRUSTED.to_owned() };
    }
    if !there {
        let hint = "the toolset's programs and the target's PATH were searched".to_owned();
        let hint = match &*program {
            line if line.contains(' ') => {
                "no shell reads the command: kpexec POD -- sh -c 'COMMAND LINE' starts one"
                    .to_owned()
            }
            path if path.contains('/') => String::new(),
            _ => hint,
        };
        let message = format!("{program}: not found in the container");
        return Failure { reason: Reason::NotFound.into(), message, hint };
    }
    let cause = match errno {
        libc::ENOENT => "the interpreter or loader it names is missing".to_owned(),
        libc::ENOEXEC => {
            "not a program this node can run, nor a script that starts with #!".to_owned()
        }
        errno => without_number(rustix::io::Errno::from_raw_os_error(errno).to_string()),
    };
    let message = format!("{program}: cannot be executed: {cause}");
    let hint = if !target_programs && errno == libc::EACCES { NOT_TRUSTED } else { "" };
    Failure { reason: Reason::NotExecutable.into(), message, hint: hint.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_and_what_cannot_run_differ() {
        let missing = not_executed(b"frob", libc::ENOENT, false, true);
        assert_eq!(missing.reason(), Reason::NotFound);
        let loader = not_executed(b"/app", libc::ENOENT, true, true);
        assert_eq!(loader.reason(), Reason::NotExecutable);
        assert!(loader.message.contains("loader"), "{}", loader.message);
        let denied = not_executed(b"/etc/passwd", libc::EACCES, true, true);
        assert_eq!(denied.reason(), Reason::NotExecutable);
        assert_eq!(denied.message, "/etc/passwd: cannot be executed: Permission denied");
        assert_eq!(denied.hint, "");
        let toolset = not_executed(b"app", libc::ENOENT, false, false);
        assert_eq!(toolset.reason(), Reason::NotFound);
        assert!(toolset.hint.contains("--trust-target"), "{}", toolset.hint);
        let untrusted = not_executed(b"/bin/app", libc::EACCES, true, false);
        assert!(untrusted.hint.contains("--trust-target"), "{}", untrusted.hint);
        let line = not_executed(b"ls /", libc::ENOENT, false, true);
        assert!(line.hint.contains("sh -c"), "{}", line.hint);
    }

    #[test]
    fn causes_are_told_once_each() {
        let error = tools_overlay::Error {
            action: "clone",
            subject: "/etc".into(),
            errno: rustix::io::Errno::PERM,
        };
        let text = chain(&error);
        assert!(text.starts_with("clone /etc: "), "{text}");
        assert_eq!(text.matches("clone").count(), 1);
    }
}
