//! `-it`: a terminal there, raw mode here, and everything as it was afterwards.

use std::time::Duration;

use anyhow::Result;
use tests::command::{kpexec, run, signal, wait};
use tests::pod::wait_for_processes;
use tests::terminal::Terminal;
use tests::{BOTH_NODES, DEMO_PODS};

const LIMIT: Duration = Duration::from_secs(30);

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
        terminal.type_in("until stty size | grep '17 55'; do sleep 0.1; done\r")?;
        terminal.expect("\r17 55\r\n")?;
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
            for _ in 0..100 {
                if terminal.settings()? != before {
                    break;
                }
                std::thread::sleep(Duration::from_millis(50));
            }
            assert_ne!(terminal.settings()?, before, "not in raw mode during the session");
            signal(child_of(terminal.child.id())?, rustix::process::Signal::TERM)?;
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
