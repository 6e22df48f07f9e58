//! What the program says to command lines that ask for no session: each expectation
//! is written by hand.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

use std::fs::File;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Output, Stdio};

const KPEXEC: &str = env!("CARGO_BIN_EXE_kpexec");

/// Runs it as a user without a cluster; the first word is what it is called by.
fn run(program: &Path, line: &str) -> Output {
    let mut command = Command::new(program);
    command.args(line.split_whitespace().skip(1));
    command.env_clear().env("PATH", "/usr/bin:/bin").env("KUBECONFIG", "/nonexistent/config");
    command.output().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Command line, what is wrong, what would be right.
const MISTAKES: &[[&str; 3]] = &[
    ["kpexec", "which pod? None was named", "for example: kpexec -it POD -- bash"],
    ["kpexec web", "a command is required after --", "kpexec -it POD opens a shell"],
    [
        "kpexec web id",
        "unexpected argument 'id' found",
        "the command stands after --: kpexec POD -- CMD [ARG]...",
    ],
    [
        "kpexec web --contaner app -- id",
        "unexpected argument '--contaner' found",
        "did you mean --container?",
    ],
    ["kpexec gc web", "unexpected argument 'web' found", "kpexec gc --help lists the flags"],
    [
        "kpexec --local -c app web/prod -- id",
        "the argument '--local' cannot be used with '--container <CONTAINER>'",
        "with --local the argument has it all: POD/NAMESPACE/CONTAINER",
    ],
    ["kpexec -Z web -- id", "unexpected argument '-Z' found", "kpexec --help lists the flags"],
    [
        "kpexec --env A web -- id",
        "invalid value 'A' for '--env <NAME=VALUE>': not of the form NAME=VALUE",
        "kpexec --help lists the flags",
    ],
    [
        "kpexec -q -v web -- id",
        "the argument '--quiet[=<BOOL>]' cannot be used with '--verbose[=<LEVEL>]'",
        "kpexec --help lists the flags",
    ],
    [
        "kpexec web -c",
        "a value is required for '--container <CONTAINER>' but none was supplied",
        "kpexec --help lists the flags",
    ],
    [
        "kpexec -v attach",
        "no command for pod attach is named",
        "attach comes first otherwise: kpexec attach [FLAGS]",
    ],
    [
        "kpexec attach web",
        "invalid value 'web' for '<SESSION>': not a session's name, such as 3f9c2a41d07be865-7",
        "kpexec attach --help lists the flags",
    ],
    [
        "kpexec completion bsh",
        "invalid value 'bsh' for '<SHELL>' [possible values: bash, zsh, fish, powershell]",
        "did you mean bash?",
    ],
    [
        "kpexec --local -n prod web -- id",
        "the argument '--local' cannot be used with '--namespace <NS>'",
        "with --local the argument has it all: POD/NAMESPACE/CONTAINER",
    ],
    [
        "kubectl-pexec web id",
        "unexpected argument 'id' found",
        "the command stands after --: kubectl pexec POD -- CMD [ARG]...",
    ],
    ["kubectl-pexec web", "a command is required after --", "kubectl pexec -it POD opens a shell"],
    ["kpexec -v 6 web -- id", "unexpected argument 'web' found", "the level is written -v=6"],
    ["kpexec -iv 6 web -- id", "unexpected argument 'web' found", "the level is written -v=6"],
    ["kpexec gc --verbose 6", "unexpected argument '6' found", "the level is written -v=6"],
    ["kpexec -v6 web -- id", "unexpected argument '-6' found", "the level is written -v=6"],
    [
        "kpexec -v web 6 -- id",
        "unexpected argument '6' found",
        "the command stands after --: kpexec POD -- CMD [ARG]...",
    ],
    [
        "kubectl-pexec --helper-image x web/ -- id",
        "\"web/\": TYPE/NAME must have a single resource and name",
        "for example: kubectl pexec -it pod/NAME",
    ],
];

#[test]
fn a_mistake_is_a_line_and_a_hint_and_exit_code_125() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["kpexec", "kubectl-pexec"] {
        symlink(KPEXEC, folder.path().join(name)).unwrap();
    }
    for [line, what, hint] in MISTAKES {
        let program = line.split_whitespace().next().unwrap();
        let output = run(&folder.path().join(program), line);
        assert_eq!(stderr(&output), format!("kpexec: {what}\nhint: {hint}\n"), "{line}");
        assert_eq!(output.status.code(), Some(125), "{line}");
        assert!(output.stdout.is_empty(), "{line}");
    }
}

#[test]
fn what_cannot_be_printed_is_an_error_unless_nobody_reads() {
    for line in ["kpexec --help", "kpexec completion bash", "kpexec config view"] {
        let run = |stdout: Stdio| {
            let mut command = Command::new(KPEXEC);
            command.args(line.split_whitespace().skip(1)).env_clear().stdout(stdout);
            command.stderr(Stdio::piped()).spawn().unwrap().wait_with_output().unwrap()
        };
        let full = run(File::options().write(true).open("/dev/full").unwrap().into());
        let expected = "kpexec: cannot write to stdout: No space left on device (os error 28)\n";
        assert_eq!((&*stderr(&full), full.status.code()), (expected, Some(125)), "{line}");
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let closed = run(writer.into());
        assert_eq!((&*stderr(&closed), closed.status.code()), ("", Some(0)), "{line}");
    }
}

#[test]
fn help_and_version_are_words_too() {
    for line in ["kpexec help", "kpexec help gc", "kpexec version", "kpexec -V"] {
        let output = run(Path::new(KPEXEC), line);
        assert_eq!((output.status.code(), &*stderr(&output)), (Some(0), ""), "{line}");
        assert!(!output.stdout.is_empty(), "{line}");
    }
}

#[test]
fn the_plugin_calls_itself_by_kubectls_name() {
    let folder = tempfile::tempdir().unwrap();
    let plugin = folder.path().join("kubectl-pexec");
    symlink(KPEXEC, &plugin).unwrap();
    for (line, usage) in [
        ("kubectl-pexec -h", "\nUsage: kubectl pexec [FLAGS] POD|TYPE/NAME [-- CMD [ARG]...]\n"),
        ("kubectl-pexec --help", "\n  kubectl pexec -it web-0\n"),
        ("kubectl-pexec attach -h", "\nUsage: kubectl pexec attach [FLAGS] SESSION\n"),
    ] {
        let text = String::from_utf8(run(&plugin, line).stdout).unwrap();
        assert!(text.contains(usage), "{line}: {text}");
        assert!(!text.contains("\n  kpexec ") && !text.contains("Usage: kpexec"), "{line}: {text}");
    }
}

#[test]
fn who_asks_what_may_follow_hears_nothing_but_that() {
    let folder = tempfile::tempdir().unwrap();
    let asked = folder.path().join("kubectl_complete-pexec");
    symlink(KPEXEC, &asked).unwrap();
    let profile = "netadmin\tGeneral and NET_ADMIN\n:4\n";
    for (program, line, expected) in [
        (asked.as_path(), "kubectl_complete-pexec web --profile net", profile),
        (Path::new(KPEXEC), "kpexec __complete web --profile=net", profile),
        (Path::new(KPEXEC), "kpexec __complete --no-such-flag we", ":4\n"),
        (Path::new(KPEXEC), "kpexec __complete --kubeconfig /nonexistent --context o", ":4\n"),
        (Path::new(KPEXEC), "kpexec __complete", "attach\t"),
    ] {
        let output = run(program, line);
        assert_eq!((output.status.code(), &*stderr(&output)), (Some(0), ""), "{line}");
        let stdout = String::from_utf8(output.stdout).unwrap();
        let is_whole = expected.ends_with('\n');
        assert!(
            if is_whole { stdout == expected } else { stdout.starts_with(expected) },
            "{line}: {stdout}"
        );
    }
}

#[test]
fn scripts_are_such_that_their_shell_takes_them() {
    // zsh and fish read theirs in the cluster test `completion`.
    let script = run(Path::new(KPEXEC), "kpexec completion bash");
    let mut bash = Command::new("bash");
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), script.stdout).unwrap();
    assert!(bash.arg("-n").arg(file.path()).status().unwrap().success());
}

#[test]
fn man_pages_completions_and_the_reference_are_written() {
    let folder = tempfile::tempdir().unwrap();
    let line = format!("kpexec __reference {}", folder.path().display());
    assert!(run(Path::new(KPEXEC), &line).status.success());
    let read = |file: &str| std::fs::read_to_string(folder.path().join(file)).unwrap();
    assert!(read("man1/kpexec.1").contains("netadmin"));
    assert!(read("man1/kpexec-attach.1").contains("Go on with a session"));
    assert!(read("completions/_kpexec").starts_with("#compdef kpexec\n"));
    assert!(read("reference.md").contains("- `-c, --container CONTAINER`: "));
    let output = run(Path::new(KPEXEC), "kpexec __reference /dev/null/x");
    assert_eq!(output.status.code(), Some(125));
    assert!(stderr(&output).starts_with("kpexec: cannot write /dev/null/x/"), "{output:?}");
}
