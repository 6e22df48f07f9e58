//! What the program was called by: its own name, or kubectl.

use std::ffi::OsStr;
use std::path::Path;
use std::sync::OnceLock;

/// The names one binary answers to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// `kpexec`, or whatever else it was renamed to.
    Kpexec,
    /// `kubectl-pexec`, which kubectl runs for `kubectl pexec`.
    Plugin,
    /// `kubectl_complete-pexec`, which kubectl asks what may follow.
    PluginCompletion,
}

impl Program {
    /// By `argv[0]`.
    pub fn called(argv0: Option<&OsStr>) -> Self {
        let stem = argv0.and_then(|name| Path::new(name).file_stem()).and_then(OsStr::to_str);
        match stem {
            Some("kubectl-pexec") => Self::Plugin,
            Some("kubectl_complete-pexec") => Self::PluginCompletion,
            _ => Self::Kpexec,
        }
    }

    fn typed(self) -> &'static str {
        match self {
            Self::Kpexec => "kpexec",
            Self::Plugin | Self::PluginCompletion => "kubectl pexec",
        }
    }
}

/// What the user types to start this program.
pub fn typed() -> &'static str {
    static PROGRAM: OnceLock<Program> = OnceLock::new();
    PROGRAM.get_or_init(|| Program::called(std::env::args_os().next().as_deref())).typed()
}

/// These command lines, written for `kpexec`, as this user has to type them.
pub fn as_typed(lines: &str) -> String {
    replaced(lines, typed())
}

/// A hint, likewise. In one kpexec is also a role or a namespace, so only what
/// begins a command line is replaced; below the first line are names of others.
pub fn hint_as_typed(hint: &str) -> String {
    hint_for(hint, typed())
}

fn hint_for(hint: &str, name: &str) -> String {
    let end = hint.find('\n').unwrap_or(hint.len());
    let (first, list) = hint.split_at(end);
    let mut text = match first.strip_prefix("kpexec ") {
        Some(rest) => format!("{name} {rest}"),
        None => first.to_owned(),
    };
    for before in [": ", "| ", "sudo "] {
        text = text.replace(&format!("{before}kpexec "), &format!("{before}{name} "));
    }
    text + list
}

fn replaced(lines: &str, name: &str) -> String {
    lines.replace("kpexec ", &format!("{name} "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_says_what_is_asked_for() {
        for (argv0, program) in [
            ("kpexec", Program::Kpexec),
            ("/usr/bin/kubectl-pexec", Program::Plugin),
            ("kubectl-pexec.exe", Program::Plugin),
            ("bin/kubectl_complete-pexec", Program::PluginCompletion),
            ("/opt/kubectl-pexec/k", Program::Kpexec),
        ] {
            assert_eq!(Program::called(Some(OsStr::new(argv0))), program, "{argv0}");
        }
        assert_eq!(Program::called(None), Program::Kpexec);
    }

    #[test]
    fn hints_have_command_lines_and_other_names() {
        for (hint, expected) in [
            ("kpexec config --help lists", "kubectl pexec config --help lists"),
            ("for example: kpexec -it x", "for example: kubectl pexec -it x"),
            ("curl x | kpexec -f - -- CMD", "curl x | kubectl pexec -f - -- CMD"),
            ("kubectl create role kpexec -n a", "kubectl create role kpexec -n a"),
            ("kubectl delete pod -n kpexec kpexec-1", "kubectl delete pod -n kpexec kpexec-1"),
            ("these:\nkpexec x\na: kpexec y", "these:\nkpexec x\na: kpexec y"),
            ("of: kubectl pexec x", "of: kubectl pexec x"),
        ] {
            assert_eq!(hint_for(hint, Program::Plugin.typed()), expected);
            if !hint.contains("kubectl pexec") {
                assert_eq!(hint_for(hint, Program::Kpexec.typed()), hint);
            }
        }
    }

    #[test]
    fn command_lines_are_those_the_user_types() {
        let lines = "tar c . | kpexec -i web -- tar x\nkpexec help attach";
        let expected = "tar c . | kubectl pexec -i web -- tar x\nkubectl pexec help attach";
        assert_eq!(replaced(lines, Program::Plugin.typed()), expected);
        assert_eq!(replaced(lines, Program::Kpexec.typed()), lines);
    }
}
