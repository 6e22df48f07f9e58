//! Which files a command stands for: the paths to try, in turn.

use crate::environment::DEFAULT_PATH;
use crate::tools::Tools;

/// The shells of a session without a command, the better one first.
const SHELLS: [&[u8]; 2] = [b"bash", b"sh"];

/// One file that may be executed.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Program {
    /// As the session sees it.
    #[prost(bytes = "vec", tag = "1")]
    pub path: Vec<u8>,
    /// What it is told to be: `argv[0]`.
    #[prost(bytes = "vec", tag = "2")]
    pub name: Vec<u8>,
    /// Whether it is one of the tools.
    #[prost(bool, tag = "3")]
    pub ours: bool,
}

impl Program {
    fn in_folder(folder: &[u8], name: &[u8]) -> Self {
        Self { path: [folder, name].join(&b'/'), name: name.to_vec(), ours: false }
    }
}

/// The files that `command`, the first word of the command line, stands for;
/// without one, a shell: that of the tools, else the target's. `path` is PATH of
/// the session. Without `target_programs` only what is ours is left.
pub fn programs(
    command: Option<&[u8]>,
    path: &[u8],
    tools: &Tools,
    target_programs: bool,
) -> Vec<Program> {
    let mut found = match command {
        Some(command) if command.contains(&b'/') => {
            vec![Program { path: command.to_vec(), name: command.to_vec(), ours: false }]
        }
        Some(command) => folders(path).map(|folder| Program::in_folder(folder, command)).collect(),
        None => shells(path, tools),
    };
    for program in &mut found {
        program.ours = tools.is_ours(&program.path);
    }
    found.retain(|program| target_programs || program.ours);
    found
}

/// The folders of the usual `PATH` too: what the target's own one lacks may be
/// there.
fn shells(path: &[u8], tools: &Tools) -> Vec<Program> {
    let ours = tools.folders();
    let theirs = folders(path).filter(|folder| !ours.iter().any(|our| our == folder));
    let theirs: Vec<&[u8]> = theirs.chain(folders(DEFAULT_PATH.as_bytes())).collect();
    let ours: Vec<&[u8]> = ours.iter().map(Vec::as_slice).collect();
    let of = |folders: &[&[u8]]| -> Vec<Program> {
        let named = |name| folders.iter().map(move |folder| Program::in_folder(folder, name));
        SHELLS.into_iter().flat_map(named).collect()
    };
    [of(&ours), of(&theirs)].concat()
}

/// An empty folder means the working directory to execvp(3); not to us, because
/// the target chooses what lies there.
fn folders(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|byte| *byte == b':').filter(|folder| folder.starts_with(b"/"))
}

/// The value of `PATH`; the last one wins, as in the environment itself.
pub fn search_path(env: &[Vec<u8>]) -> &[u8] {
    env.iter().rev().find_map(|entry| entry.strip_prefix(b"PATH=")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(programs: &[Program]) -> Vec<&str> {
        programs.iter().map(|program| std::str::from_utf8(&program.path).unwrap()).collect()
    }

    fn of(command: &[u8], path: &[u8]) -> Vec<Program> {
        programs(Some(command), path, &Tools::Toolset, true)
    }

    #[test]
    fn a_name_is_searched() {
        let found = of(b"id", b"/.kpexec/bin:/usr/bin");
        assert_eq!(paths(&found), ["/.kpexec/bin/id", "/usr/bin/id"]);
        assert_eq!(found[1].name, b"id");
        assert_eq!((found[0].ours, found[1].ours), (true, false));
    }

    #[test]
    fn a_path_is_taken_as_it_is() {
        assert_eq!(paths(&of(b"./id", b"/bin")), ["./id"]);
        assert_eq!(paths(&of(b"/bin/id", b"/usr/bin")), ["/bin/id"]);
    }

    #[test]
    fn the_working_directory_is_never_searched() {
        assert_eq!(paths(&of(b"id", b":/bin::.:bin:")), ["/bin/id"]);
    }

    #[test]
    fn the_last_path_wins() {
        let env = [b"PATH=/a".to_vec(), b"HOME=/".to_vec(), b"PATH=/b".to_vec()];
        assert_eq!(search_path(&env), b"/b");
        assert!(search_path(&[]).is_empty());
    }

    #[test]
    fn without_a_command_it_is_a_shell_and_ours_come_first() {
        let found = programs(None, b"/.kpexec/bin:/app", &Tools::Toolset, true);
        let wanted = ["/.kpexec/bin/bash", "/.kpexec/bin/sh", "/app/bash"];
        assert_eq!(paths(&found)[..3], wanted);
        // bash wherever it is before sh wherever it is, each by its plain name:
        // with a dash in front it would read the target's login files.
        let position = |wanted: &str| paths(&found).iter().position(|path| *path == wanted);
        assert!(position("/bin/bash") < position("/app/sh"), "{found:?}");
        assert_eq!(found.iter().find(|shell| shell.path == b"/bin/sh").unwrap().name, b"sh");
        // Whatever PATH the operator chose.
        assert_eq!(paths(&programs(None, b"", &Tools::Toolset, true))[..2], wanted[..2]);
    }

    #[test]
    fn without_the_targets_programs_only_ours_are_left() {
        let ours = |command, path| {
            let found = programs(command, path, &Tools::Toolset, false);
            paths(&found).join(" ")
        };
        assert_eq!(ours(None, b"/.kpexec/bin:/bin"), "/.kpexec/bin/bash /.kpexec/bin/sh");
        assert_eq!(ours(Some(b"id"), b"/bin:/.kpexec/bin:/.kpexec/../bin"), "/.kpexec/bin/id");
        assert_eq!(ours(Some(b"/bin/id"), b"/bin"), "");
    }
}
