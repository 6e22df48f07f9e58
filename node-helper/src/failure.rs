//! From an error of ours to what the client is told: one line, and what to do.

use std::error::Error;
use std::io::Write;

use kpexec_protocol::{Failure, Reason};

use crate::tools::Tools;

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
const NOT_TRUSTED: &str = "above profile general only the tools' programs are run; \
     --trust-target runs the container's own too";

const NAME_A_COMMAND: &str = "name a command: kpexec POD -- CMD [ARG]...";

/// What was to be executed.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// The first word of the command line; none where any shell would do.
    pub command: Option<&'a [u8]>,
    /// Whether programs of the target can be executed at all.
    pub target_programs: bool,
    /// The session's tools.
    pub tools: &'a Tools,
}

/// No command, because there is none of that name: exit code 127.
pub fn not_found(wanted: Wanted<'_>) -> Failure {
    let failure = |message, hint: &str| Failure {
        reason: Reason::NotFound.into(),
        message,
        hint: hint.to_owned(),
    };
    let Some(command) = wanted.command else {
        return no_shell(wanted, failure);
    };
    let Wanted { target_programs, tools, .. } = wanted;
    let is_path = command.contains(&b'/');
    let only_ours = !target_programs || tools.is_root() && !is_path;
    let place = if only_ours || tools.is_ours(command) { tools.name() } else { "the container" };
    let command = String::from_utf8_lossy(command);
    let hint = match tools {
        _ if target_programs && command.contains(' ') => {
            "no shell reads the command: kpexec POD -- sh -c 'COMMAND LINE' starts one"
        }
        Tools::Root(_) if !is_path => {
            "the PATH of the tools image was searched; the container's programs are below /target"
        }
        _ if !target_programs => NOT_TRUSTED,
        _ if is_path => "",
        Tools::Nothing => "this node has no toolset: KPEXEC_TOOLSET_FOLDER names the folder of one",
        Tools::Image(_) => "PATH was searched: the tools image's and the container's, or --env's",
        _ => "PATH was searched: the toolset's programs and the container's PATH, or --env's",
    };
    failure(format!("{command}: not found in {place}"), hint)
}

fn no_shell(wanted: Wanted<'_>, failure: impl Fn(String, &str) -> Failure) -> Failure {
    if wanted.tools.is_root() {
        let message = "there is no shell: the tools image has neither bash nor sh";
        failure(message.to_owned(), NAME_A_COMMAND)
    } else if wanted.target_programs {
        let message = "there is no shell: neither the tools nor the container have bash or sh";
        failure(message.to_owned(), NAME_A_COMMAND)
    } else {
        failure("there is no shell: the tools have neither bash nor sh".to_owned(), NOT_TRUSTED)
    }
}

/// No command, because `program` is there and cannot be executed: exit code
/// 126.
pub fn not_executable(program: &[u8], errno: i32, target_programs: bool) -> Failure {
    let program = String::from_utf8_lossy(program);
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

/// No command, because of these programs, each run by the next, the last one
/// names a file that is missing: exit code 126.
pub fn incomplete(run_by: &[Vec<u8>], missing: &[u8], tools: &Tools) -> Failure {
    let hint = run_by.first().map_or("", |program| tools.hint_for(program)).to_owned();
    let chain: Vec<_> = run_by.iter().map(|path| String::from_utf8_lossy(path)).collect();
    let (chain, missing) = (chain.join(" is run by "), String::from_utf8_lossy(missing));
    let needs = if run_by.len() > 1 { ", which needs" } else { " needs" };
    let message = format!("{chain}{needs} {missing}, which {} lacks", tools.owner_of_root());
    Failure { reason: Reason::NotExecutable.into(), message, hint }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn missing(command: Option<&[u8]>, target_programs: bool) -> Failure {
        missing_from(&Tools::Toolset, command, target_programs)
    }

    fn missing_from(tools: &Tools, command: Option<&[u8]>, target_programs: bool) -> Failure {
        let failure = not_found(Wanted { command, target_programs, tools });
        assert_eq!(failure.reason(), Reason::NotFound);
        failure
    }

    #[test]
    fn what_is_missing_says_where_it_was_looked_for() {
        assert_eq!(missing(Some(b"frob"), true).message, "frob: not found in the container");
        let toolset = missing(Some(b"app"), false);
        assert!(toolset.hint.contains("--trust-target"), "{}", toolset.hint);
        let line = missing(Some(b"ls /"), true);
        assert!(line.hint.contains("sh -c"), "{}", line.hint);
    }

    #[test]
    fn hints_are_about_the_tools_there_are() {
        let image = Tools::image("/bin", false);
        let failure = missing_from(&image, Some(b"frob"), true);
        assert!(failure.hint.contains("tools image"), "{}", failure.hint);
        let failure = missing_from(&image, Some(b"/.kpexec/bin/frob"), true);
        assert_eq!(failure.message, "/.kpexec/bin/frob: not found in the tools image");
        let root = Tools::image("/bin", true);
        for target_programs in [true, false] {
            let failure = missing_from(&root, Some(b"frob"), target_programs);
            assert_eq!(failure.message, "frob: not found in the tools image");
            // Trust would not have it searched.
            assert!(failure.hint.contains("below /target"), "{}", failure.hint);
            let shell = missing_from(&root, None, target_programs);
            assert!(!shell.message.contains("container"), "{}", shell.message);
            assert!(shell.hint.contains("-- CMD"), "{}", shell.hint);
        }
    }

    #[test]
    fn a_missing_interpreter_is_told_with_the_way_to_it() {
        let of = |run_by: &[&str]| {
            let run_by: Vec<_> = run_by.iter().map(|path| path.as_bytes().to_vec()).collect();
            incomplete(&run_by, b"/lib/ld.so", &Tools::Toolset).message
        };
        assert_eq!(of(&["/app"]), "/app needs /lib/ld.so, which the container lacks");
        let script = "/app is run by /bin/sh, which needs /lib/ld.so, which the container lacks";
        assert_eq!(of(&["/app", "/bin/sh"]), script);
    }

    #[test]
    fn a_missing_shell_comes_with_a_way_out() {
        let nowhere = missing(None, true);
        assert!(nowhere.message.contains("container"), "{}", nowhere.message);
        assert!(nowhere.hint.contains("-- CMD"), "{}", nowhere.hint);
        assert!(missing(None, false).hint.contains("--trust-target"));
    }

    #[test]
    fn what_cannot_be_executed_says_why() {
        let loader = not_executable(b"/app", libc::ENOENT, true);
        assert_eq!(loader.reason(), Reason::NotExecutable);
        assert!(loader.message.contains("loader"), "{}", loader.message);
        let denied = not_executable(b"/etc/passwd", libc::EACCES, true);
        assert_eq!(denied.message, "/etc/passwd: cannot be executed: Permission denied");
        assert_eq!(denied.hint, "");
        let untrusted = not_executable(b"/bin/app", libc::EACCES, false);
        assert!(untrusted.hint.contains("--trust-target"), "{}", untrusted.hint);
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
