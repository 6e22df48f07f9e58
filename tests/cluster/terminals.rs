//! `-it`: a terminal there, raw mode here, and everything as it was afterwards,
//! whatever a hostile container writes (A35).

use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};
use rustix::process::Signal;
use tests::command::{kpexec, run, signal, wait};
use tests::pod::wait_for_processes;
use tests::terminal::Terminal;
use tests::tmux::{PROMPT, Tmux};
use tests::{BOTH_NODES, DEMO_PODS, Namespace, Pod, cluster, kubectl};

const LIMIT: Duration = Duration::from_secs(60);

#[test]
fn a_shell_has_a_terminal_of_its_own() -> Result<()> {
    for pod in DEMO_PODS {
        let mut terminal = Terminal::run(&kpexec(&["-it", pod, "--", "bash"]), 24, 80)?;
        terminal
            .type_in("test -t 0 && test -t 1 && test -t 2 && echo is-$((1+1))-terminal; tty\r")?;
        let shown = terminal.expect("is-2-terminal")?;
        assert!(!shown.contains("no job control"), "{pod}: {shown}");
        terminal.expect("/dev/pts/0")?;
        terminal.type_in("exit 7\r")?;
        assert_eq!(wait(&mut terminal.child, LIMIT)?.code(), Some(7), "{pod}");
    }
    Ok(())
}

#[test]
fn its_size_follows() -> Result<()> {
    for pod in DEMO_PODS {
        let mut terminal = Terminal::run(&kpexec(&["-it", pod, "--", "bash"]), 31, 101)?;
        terminal.type_in("stty size\r")?;
        terminal.expect("31 101")?;
        terminal.resize(17, 55)?;
        // The change is a message of its own; asked again until it is there.
        terminal.type_in("until stty size | command grep '17 55'; do sleep 0.1; done\r")?;
        terminal.expect("17 55\r\n")?;
        terminal.type_in("exit\r")?;
        assert_eq!(wait(&mut terminal.child, LIMIT)?.code(), Some(0), "{pod}");
    }
    Ok(())
}

#[test]
fn control_characters_reach_the_command() -> Result<()> {
    for pod in BOTH_NODES {
        let script =
            "trap 'echo got-$((1+1)); exit 3' INT; echo ready; while :; do sleep 0.1; done";
        let mut terminal = Terminal::run(&kpexec(&["-it", pod, "--", "sh", "-c", script]), 24, 80)?;
        terminal.expect("ready")?;
        terminal.type_in("\x03")?;
        terminal.expect("got-2")?;
        assert_eq!(wait(&mut terminal.child, LIMIT)?.code(), Some(3), "{pod}");
        let mut terminal = Terminal::run(&kpexec(&["-it", pod, "--", "cat"]), 24, 80)?;
        terminal.type_in("line\r")?;
        terminal.expect("line\r\nline\r\n")?;
        terminal.type_in("\x04")?;
        assert_eq!(wait(&mut terminal.child, LIMIT)?.code(), Some(0), "{pod}");
    }
    Ok(())
}

#[test]
fn the_terminal_is_as_it_was() -> Result<()> {
    let pod = BOTH_NODES[0];
    // Ended by the command, by a signal, and by a failure of ours.
    for (command, mark) in
        [(vec!["true"], None), (vec!["sleep", "82001"], Some("82001")), (vec!["no-such"], None)]
    {
        let arguments: Vec<&str> = ["-it", pod, "--"].into_iter().chain(command.clone()).collect();
        let mut terminal = Terminal::run(&kpexec(&arguments), 24, 80)?;
        let before = plain_settings()?;
        if let Some(mark) = mark {
            wait_for_processes(mark, 1)?;
            // `sleep` runs a moment before kpexec hears of it.
            for _ in 0..600 {
                if terminal.settings()? != before {
                    break;
                }
                std::thread::sleep(Duration::from_millis(50));
            }
            assert_ne!(terminal.settings()?, before, "not in raw mode during the session");
            signal(child_of(terminal.child.id())?, Signal::TERM)?;
        }
        wait(&mut terminal.child, LIMIT)?;
        assert_eq!(terminal.settings()?, before, "after {command:?}");
    }
    wait_for_processes("82001", 0)
}

/// The settings of a terminal nobody has touched.
fn plain_settings() -> Result<tests::terminal::Settings> {
    let mut terminal = Terminal::run(&std::process::Command::new("true"), 24, 80)?;
    wait(&mut terminal.child, LIMIT)?;
    terminal.settings()
}

/// kpexec itself: setsid(1) forks where it leads a process group already.
fn child_of(pid: u32) -> Result<u32> {
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm"))?;
    if name.trim() == "kpexec" {
        return Ok(pid);
    }
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))?;
    Ok(children.trim().parse()?)
}

#[test]
fn without_a_terminal_here_there_is_none_there() -> Result<()> {
    for pod in BOTH_NODES {
        let output = run(kpexec(&["-it", pod, "--", "sh", "-c", "test -t 0 || echo none"]), b"")?;
        assert_eq!(output.text(), "none", "{pod}");
        // kubectl's own words: people grep for them.
        let wanted = "Unable to use a TTY - input is not a terminal or the right kind of file";
        assert!(output.stderr.contains(wanted), "{pod}: {}", output.stderr);
    }
    Ok(())
}

#[test]
fn output_to_a_file_is_no_terminals_unless_one_is_insisted_on() -> Result<()> {
    let words = "Unable to use a TTY - output is not a terminal or the right kind of file";
    for pod in BOTH_NODES {
        for (flags, wanted) in [("-it", "pipes\n"), ("-itt", "terminal\r\n")] {
            let file = tempfile::NamedTempFile::new()?;
            let script = "test -t 0 && test -t 1 && echo terminal || echo pipes";
            let session = kpexec(&[flags, pod, "--", "sh", "-c", script]);
            let mut shell = Command::new("sh");
            shell.args(["-c", "file=$1; shift; exec \"$@\" > \"$file\"", "sh"]).arg(file.path());
            shell.arg(session.get_program()).args(session.get_args());
            shell.envs(session.get_envs().filter_map(|(name, value)| Some((name, value?))));
            let mut terminal = Terminal::run(&shell, 24, 80)?;
            if flags == "-it" {
                terminal.expect(words)?;
            }
            assert_eq!(wait(&mut terminal.child, LIMIT)?.code(), Some(0), "{pod} {flags}");
            let written = std::fs::read_to_string(file.path())?;
            assert_eq!(written, wanted, "{pod} {flags}");
        }
        let insisting = ["-itt", pod, "--", "sh", "-c", "tty && stty size"];
        let output = run(kpexec(&insisting), b"")?;
        assert_eq!((output.code(), output.stderr.as_str()), (0, ""), "{pod}: {output:?}");
        assert!(output.text().starts_with("/dev/pts/0\r\n"), "{pod}: {output:?}");
    }
    Ok(())
}

/// Sets title and clipboard and asks what the terminal answers by typing.
const ASK: &str =
    "printf '\\033]0;owned\\007\\033]52;c;b3duZWQ=\\007\\033P$qm\\033\\\\\\033[6n\\033[c'";

/// Leaves on all that tmux can tell.
const LEAVE: &str = "printf '\\033[?1049h\\033[?1003h\\033[?2004h\\033[?25l\\033[?7l\\033[4h\\033[?6h\\033[?1h\\033='; \
                     stty raw -echo";

/// The naive counterpart: nsenter(1), which passes everything on.
fn naive(pod: &str, script: &str) -> Result<Command> {
    let mut command = Command::new("nsenter");
    command.args(["-a", "-t", &Pod::find(pod)?.pid.to_string(), "/bin/sh", "-c", script]);
    Ok(command)
}

fn session(pod: &str, script: &str) -> Command {
    kpexec(&["-it", pod, "--", "sh", "-c", script])
}

/// Waits for the shell's prompt; a busy one shows it a while after its command's end.
fn wait_for_prompt(tmux: &Tmux) -> Result<()> {
    tmux.wait_until("a prompt", |tmux| Ok(tmux.last_line()?.ends_with(PROMPT)))
}

#[test]
fn t45_nothing_is_typed_into_the_users_shell() -> Result<()> {
    let mut tmux = Tmux::start()?;
    tmux.run(&naive("busybox", ASK)?)?;
    // Behind the prompt, or before a prompt that comes late.
    let answered = |tmux: &Tmux| {
        let last = tmux.last_line()?;
        Ok(last.contains("2c") && !last.ends_with(PROMPT))
    };
    tmux.wait_until("an answer", answered)?;
    ensure!(tmux.fact("#{pane_title}")? == "owned", "no title");
    ensure!(tmux.clipboard()?.trim() == "owned", "no clipboard");

    for pod in BOTH_NODES {
        let mut tmux = Tmux::start()?;
        let title = tmux.fact("#{pane_title}")?;
        // At once, and so that answers find a session that takes no input.
        for script in [ASK.to_owned(), format!("{ASK}; sleep 0.3; {ASK}")] {
            tmux.run(&session(pod, &script))?;
            wait_for_prompt(&tmux)?;
            // For what would be typed then.
            std::thread::sleep(Duration::from_millis(300));
            // What stands before it the session's own terminal has echoed.
            ensure!(tmux.last_line()?.ends_with(PROMPT), "{pod}: typed: {}", tmux.last_line()?);
            ensure!(tmux.fact("#{pane_title}")? == title, "{pod}: the title is changed");
            ensure!(tmux.clipboard()?.is_empty(), "{pod}: the clipboard: {}", tmux.clipboard()?);
        }
    }
    Ok(())
}

#[test]
fn t45_what_was_typed_for_a_session_is_no_local_command() -> Result<()> {
    // Nobody listens there: kpexec waits to its limit, longer than the typing takes.
    let flags = ["-it", "--helper-image", "10.200.0.1:1/no-such-image:1", "--helper-timeout=6s"];
    let mut tmux = Tmux::start()?;
    // A program that reads nothing leaves it to the shell.
    let mut sleep = Command::new("sleep");
    tmux.start_command(sleep.arg("1"))?;
    tmux.type_line("echo typed-$((1+1))")?;
    tmux.wait_for_command()?;
    tmux.wait_until("that the shell reads it", |tmux| Ok(tmux.screen()?.contains("typed-2")))?;

    for pod in BOTH_NODES {
        let mut tmux = Tmux::start()?;
        tmux.start_command(&kpexec(&[&flags[..], &[pod, "--", "sh"]].concat()))?;
        tmux.type_line("echo typed-$((1+1))")?;
        tmux.wait_for_command()?;
        wait_for_prompt(&tmux)?;
        ensure!(!tmux.screen()?.contains("typed-2"), "{pod}: {}", tmux.screen()?);
    }
    Ok(())
}

#[test]
fn t46_nothing_is_left_on() -> Result<()> {
    let mut tmux = Tmux::start()?;
    let clean = tmux.modes()?;
    ensure!(clean == "0 0 1 1 0 0 0 0", "a new terminal has {clean}");
    tmux.run(&naive("busybox", LEAVE)?)?;
    ensure!(tmux.modes()? == "1 1 0 0 1 1 1 1", "nsenter leaves {}", tmux.modes()?);

    for pod in BOTH_NODES {
        let mut tmux = Tmux::start()?;
        let settings = tmux.settings()?;
        let check = |tmux: &Tmux, how: &str| -> Result<()> {
            wait_for_prompt(tmux)?;
            ensure!(tmux.modes()? == clean, "{pod}, {how}: left on: {}", tmux.modes()?);
            // The shell has its own settings while it waits, the same each time.
            ensure!(tmux.settings()? == settings, "{pod}, {how}: other settings");
            ensure!(tmux.last_line()? == PROMPT, "{pod}, {how}: {}", tmux.last_line()?);
            Ok(())
        };
        tmux.run(&session(pod, LEAVE))?;
        check(&tmux, "exit")?;
        let left_on = |tmux: &Tmux| Ok(tmux.modes()? != clean);
        for number in [Signal::TERM, Signal::HUP] {
            tmux.start_command(&session(pod, &format!("{LEAVE}; sleep 82046")))?;
            tmux.wait_until("the session's modes", left_on)?;
            signal(tmux.command_pid()?, number)?;
            tmux.wait_for_command()?;
            check(&tmux, &format!("{number:?}"))?;
        }
        let helpers = Namespace::for_helpers("terminals")?;
        let script = format!("{LEAVE}; sleep 82046");
        let place = ["--helper-namespace", helpers.name(), "-it", pod, "--", "sh", "-c", &script];
        tmux.start_command(&kpexec(&place))?;
        tmux.wait_until("the session's modes", left_on)?;
        kubectl(&["delete", "pods", "--all", "--now", "--wait=false", "-n", helpers.name()])?;
        tmux.wait_for_command()?;
        // What kpexec says of it is above the prompt.
        check(&tmux, "lost")?;
    }
    wait_for_processes("82046", 0)
}

/// ESC, CR, the 8-bit CSI, and bidirectional controls.
const HOSTILE: &str = "owned\u{1b}]0;x\u{7}\u{1b}[2J\r\u{9b}2J\u{202e}\u{2066}.";

#[test]
fn t47_messages_hold_no_controls() -> Result<()> {
    let name = "hostile-words";
    // No scheduler will touch it: what is written into its status stays.
    let pod = serde_json::json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": name,
            "annotations": {"kubectl.kubernetes.io/default-container": HOSTILE},
        },
        "spec": {
            "schedulerName": "nobody",
            "containers": [{"name": "app", "image": "10.200.0.1:5000/busybox:1"}],
        },
    });
    cluster::apply(&pod.to_string())?;
    let condition =
        serde_json::json!({"type": "PodScheduled", "status": "False", "message": HOSTILE});
    let status = serde_json::json!({"status": {"conditions": [condition]}}).to_string();
    kubectl(&["patch", "pod", name, "--subresource=status", "-p", &status])?;
    let stored = kubectl(&["get", "pod", name, "-o", "jsonpath={.status.conditions[0].message}"])?;
    ensure!(stored == HOSTILE, "the cluster does not keep it: {stored:?}");

    let program = format!("/{HOSTILE}");
    for arguments in [
        &[name, "--", "true"][..],
        &[name, "-c", "app", "--", "true"],
        &["busybox", "-c", HOSTILE, "--", "true"],
        // Goes to the helper and comes back in its refusal, and with -v its log.
        &["busybox", "--", &program],
        &["busybox-crio", "-v", "--", &program],
        &["-it", "busybox", "--workdir", &program, "--", "true"],
    ] {
        let said = run(kpexec(arguments), b"")?.stderr;
        ensure!(
            said.contains("owned\\") && said.contains("1b"),
            "{arguments:?}: not said: {said:?}"
        );
        let raw = |c: char| {
            let bidi = matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
            bidi || (c.is_control() && !"\n\t".contains(c))
        };
        ensure!(!said.contains(raw), "{arguments:?}: {said:?}");
    }
    kubectl(&["delete", "pod", "--now", name])?;
    Ok(())
}
