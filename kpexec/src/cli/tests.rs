//! What the arguments mean.

use std::os::unix::ffi::OsStringExt;

use clap::CommandFactory as _;

use super::*;

fn parse(args: &[&str]) -> Result<Cli, CliError> {
    Cli::parse_args(std::iter::once("kpexec").chain(args.iter().copied()).map(OsString::from))
}

fn usage_of(args: &[&str]) -> (String, String) {
    match parse(args) {
        Err(CliError::Usage { what, hint }) => (what, hint.unwrap_or_default()),
        other => panic!("expected a usage error, got {other:?}"),
    }
}

#[test]
fn clap_finds_no_contradiction_in_the_definition() {
    Cli::command().debug_assert();
}

#[test]
fn flags_stand_before_or_after_the_pod() {
    for args in [
        ["-it", "-c", "app", "web", "--", "sh"],
        ["web", "-it", "-c", "app", "--", "sh"],
        ["-i", "-t", "web", "-capp", "--", "sh"],
    ] {
        let cli = parse(&args).unwrap();
        assert!(cli.stdin && cli.tty() == 1, "{args:?}");
        assert_eq!(cli.container.as_deref(), Some("app"));
        assert_eq!(cli.pod.as_deref(), Some("web"));
        assert_eq!(cli.command, ["sh"]);
    }
}

#[test]
fn the_last_of_two_names_counts() {
    let cli = parse(&["-n", "a", "-c", "b", "-n", "c", "web", "-cd", "--", "id"]).unwrap();
    assert_eq!((cli.namespace.as_deref(), cli.container.as_deref()), (Some("c"), Some("d")));
}

#[test]
fn all_after_the_dashes_is_the_command() {
    let cli = parse(&["web", "--", "ls", "-it", "--", "--help", ""]).unwrap();
    assert_eq!(cli.command, ["ls", "-it", "--", "--help", ""]);
    assert!(!cli.stdin && cli.tty() == 0);

    let latin1 = OsString::from_vec(b"caf\xe9".to_vec());
    let args = ["kpexec", "web", "--", "cat"].map(OsString::from);
    let cli = Cli::parse_args(args.into_iter().chain([latin1.clone()])).unwrap();
    assert_eq!(cli.command, [OsString::from("cat"), latin1]);
}

#[test]
fn a_terminal_can_be_insisted_on() {
    for args in [&["-itt", "web"][..], &["-tti", "web"], &["-it", "-t", "web"]] {
        assert_eq!(parse(args).unwrap().tty(), 2, "{args:?}");
    }
}

#[test]
fn what_is_not_wanted_can_be_said_as_for_kubectl() {
    for (args, stdin, tty, quiet) in [
        (&["-i=false"][..], false, 0, false),
        (&["--stdin=false", "--tty=true"], false, 1, false),
        (&["--stdin=1", "--tty=F"], true, 0, false),
        (&["-it=false"], true, 0, false),
        // As with pflag the last one counts.
        (&["-it", "-i=false", "-t=false"], false, 0, false),
        (&["-t=false", "-tti", "-i"], true, 2, false),
        (&["-q=true", "-itq=false"], true, 1, false),
        (&["-qit"], true, 1, true),
        (&["--quiet", "-q"], false, 0, true),
    ] {
        let cli = parse(&[args, &["web", "--", "id"]].concat()).unwrap();
        assert_eq!((cli.stdin, cli.tty(), cli.quiet), (stdin, tty, quiet), "{args:?}");
        assert_eq!(cli.pod.as_deref(), Some("web"), "{args:?}");
    }
    let (what, _) = usage_of(&["-i=maybe", "web", "--", "id"]);
    assert!(what.ends_with("not true or false"), "{what}");
}

#[test]
fn a_silent_end_is_given_up_after_half_a_minute_unless_told() {
    let keepalive = |args: &[&str]| parse(args).unwrap().life.keepalive.as_secs();
    assert_eq!(keepalive(&["-i", "web"]), 30);
    assert_eq!(keepalive(&["-i", "web", "--keepalive", "10m"]), 600);
    let (what, _) = usage_of(&["-i", "web", "--keepalive=0"]);
    assert!(what.ends_with("must be longer than zero"), "{what}");
    let (what, _) = usage_of(&["-i", "web", "--keepalive=1s"]);
    assert!(what.ends_with("must not be shorter than 5s"), "{what}");
}

#[test]
fn repeated_flags_keep_their_order() {
    let cli = parse(&[
        "web",
        "--cap-add",
        "KILL,SYS_TIME",
        "--cap-add=CHOWN",
        "--env",
        "A=1",
        "--env",
        "B=x=y",
        "--env",
        "C=",
        "--",
        "id",
    ])
    .unwrap();
    assert_eq!(cli.identity.cap_add, ["KILL", "SYS_TIME", "CHOWN"]);
    let env = cli.env.iter().map(|var| (&*var.name, &*var.value)).collect::<Vec<_>>();
    assert_eq!(env, [(&b"A"[..], &b"1"[..]), (b"B", b"x=y"), (b"C", b"")]);
}

#[test]
fn who_to_be_is_read_as_typed() {
    let flags = "-u -1:www-data --groups adm,4 --groups staff --profile netadmin \
                 --seccomp unconfined --no-new-privs --trust-target web -- id";
    let got = parse(&flags.split_whitespace().collect::<Vec<_>>()).unwrap().identity;
    assert_eq!(got.run_as.as_deref(), Some("-1:www-data"));
    assert_eq!(got.groups.unwrap(), ["adm", "4", "staff"]);
    assert_eq!((got.profile, got.seccomp), (Some(Profile::Netadmin), Some(Seccomp::Unconfined)));
    assert!(got.no_new_privs && got.trust_target);

    let got = parse(&["web", "--", "id"]).unwrap();
    assert_eq!((got.identity.run_as, got.identity.groups, got.workdir), (None, None, None));
    assert!(!got.identity.no_new_privs && !got.identity.trust_target);
    // What `--groups ''` means is for the identity to say.
    for empty in [&["web", "--groups", "", "--", "id"][..], &["web", "--groups=", "--", "id"]] {
        assert_eq!(parse(empty).unwrap().identity.groups.unwrap(), [""], "{empty:?}");
    }
}

#[test]
fn a_missing_part_is_named_with_an_example() {
    assert_eq!(usage_of(&["web"]).0, "a command is required after --");
    for args in [&["web", "--"][..], &["-t", "web"]] {
        assert_eq!(usage_of(args).1, "kpexec -it POD opens a shell", "{args:?}");
    }
    let (what, hint) = usage_of(&["sesions"]);
    assert_eq!(what, "a command is required after --");
    assert_eq!(hint, "kpexec -it POD opens a shell; or did you mean kpexec sessions?");
    let (what, hint) = usage_of(&["atach", "3f9c-7"]);
    assert_eq!(what, "unexpected argument '3f9c-7' found");
    assert_eq!(hint, "did you mean kpexec attach? A pod's command stands after --");
    let (what, hint) = usage_of(&["--context", "ops", "sessions"]);
    assert_eq!(what, "no command for pod sessions is named");
    assert_eq!(hint, "sessions comes first otherwise: kpexec sessions [FLAGS]");
    assert_eq!(usage_of(&[]).0, "which pod? None was named");
    assert_eq!(usage_of(&["--", "id"]).0, "which pod? None was named");
}

#[test]
fn with_stdin_no_command_is_a_shell() {
    for args in [&["-it", "web"][..], &["web", "-i"], &["-it", "web", "--"]] {
        assert!(parse(args).unwrap().is_shell(), "{args:?}");
    }
    assert!(!parse(&["-it", "web", "--", "sh"]).unwrap().is_shell());
}

#[test]
fn the_toolset_is_standard_unless_asked_for() {
    assert_eq!(parse(&["-i", "web"]).unwrap().tools.toolset, Toolset::Standard);
    let full = parse(&["-i", "--toolset", "full", "web"]).unwrap();
    assert_eq!(full.tools.toolset, Toolset::Full);
    let image = parse(&["-i", "--tools-image", "alpine:3", "web"]).unwrap();
    assert_eq!(image.tools.tools_image.as_deref(), Some("alpine:3"));
    let both = ["-i", "--toolset", "full", "--tools-image", "alpine:3", "web"];
    assert!(usage_of(&both).0.contains("cannot be used with"));
}

#[test]
fn a_root_of_tools_needs_an_image_and_discards_nothing() {
    let alone = ["-i", "web", "--tools-root"];
    assert!(usage_of(&alone).0.contains("--tools-image"));
    let with_image = [&alone[..], &["--tools-image", "alpine:3"]].concat();
    assert!(parse(&with_image).unwrap().tools.tools_root);
    let (what, _) = usage_of(&[&with_image[..], &["--writes=discard"]].concat());
    assert_eq!(what, "--tools-root cannot be used with --writes=discard");
}

#[test]
fn mistakes_are_one_line() {
    let (what, hint) = usage_of(&["web", "id"]);
    assert_eq!(what, "unexpected argument 'id' found");
    assert_eq!(hint, "the command stands after --: kpexec POD -- CMD [ARG]...");

    let (what, hint) = usage_of(&["web", "--cap-ad", "KILL", "--", "id"]);
    assert_eq!(what, "unexpected argument '--cap-ad' found");
    assert_eq!(hint, "did you mean --cap-add?");
    let (_, hint) = usage_of(&["web", "--ax", "alice", "--", "id"]);
    assert_eq!(hint, "kpexec --help lists the flags");

    let (what, hint) = usage_of(&["web", "--profile", "sysadmn", "--", "id"]);
    assert!(what.starts_with("invalid value 'sysadmn' for '--profile <NAME>'"), "{what}");
    assert_eq!(hint, "did you mean sysadmin?");
    let (what, _) = usage_of(&["web", "--workdir", "app", "--", "id"]);
    assert_eq!(what, "invalid value 'app' for '--workdir <DIR>': not an absolute path");

    let (what, _) = usage_of(&["web", "--env", "A", "--", "id"]);
    assert!(what.ends_with("not of the form NAME=VALUE"), "{what}");
    let (what, _) = usage_of(&["web", "-q", "-v", "--", "id"]);
    assert!(what.contains("cannot be used with") && !what.contains('\n'), "{what}");
}

#[test]
fn flags_of_other_tools_are_answered_with_ours() {
    for (flags, hint) in [
        (&["-e", "A=1"][..], "--env NAME=VALUE"),
        (&["-w", "/srv"], "--workdir DIR"),
        (&["--image=busybox"], "--tools-image"),
        (&["--privileged"], "--cap-add ALL"),
        (&["--target", "app"], "-c CONTAINER"),
        (&["--uid=0"], "--run-as"),
        (&["--command"], "after --"),
        (&["-T"], "--tools-image"),
        (&["-itT"], "--tools-image"),
        (&["--cnsenter-to", "5"], "--helper-timeout"),
        (&["--cri=x"], "--cri-socket"),
        (&["--rm=false"], "--rm takes no value"),
    ] {
        let (_, got) = usage_of(&[flags, &["web", "--", "id"]].concat());
        assert!(got.contains(hint), "{flags:?}: {got}");
    }
}

#[test]
fn a_verb_typed_by_habit_is_no_pod() {
    for (args, remedy) in [
        (&["exec", "web", "--", "sh"][..], "leave it out"),
        (&["-it", "debug", "-c", "app", "web"], "leave it out"),
        (&["cp", "web:/etc/hosts", "hosts"], "tar copies"),
        (&["-f", "-", "exec", "ls"], "leave it out"),
        (&["-nproduct", "exec", "web", "ls"], "leave it out"),
    ] {
        let (what, hint) = usage_of(args);
        assert!(what.ends_with("is not a word of kpexec's"), "{what}");
        assert!(hint.starts_with(remedy), "{hint}");
    }
    // There may be a pod of that name.
    assert_eq!(parse(&["exec", "--", "exec", "x"]).unwrap().pod.as_deref(), Some("exec"));
    assert_eq!(usage_of(&["web", "exec"]).0, "unexpected argument 'exec' found");
    // And a namespace.
    for flags in [&["-n", "cp"][..], &["-in", "cp"], &["--namespace", "debug"]] {
        let (what, _) = usage_of(&[flags, &["web", "ls"]].concat());
        assert_eq!(what, "unexpected argument 'ls' found", "{flags:?}");
    }
}

#[test]
fn help_and_version_are_no_mistakes() {
    for flag in ["--help", "-h", "--version", "-V"] {
        assert!(matches!(parse(&[flag]), Err(CliError::Information(_))), "{flag}");
    }
}
