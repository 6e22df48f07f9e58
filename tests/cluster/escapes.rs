//! Escape sequences at the keyboard, as of ssh(1).

use std::time::Duration;

use anyhow::{Result, ensure};
use tests::BOTH_NODES;
use tests::command::{kpexec, wait};
use tests::pod::wait_for_processes;
use tests::terminal::Terminal;
use tests::tmux::{PROMPT, Tmux};

const LIMIT: Duration = Duration::from_secs(60);

#[test]
fn a_session_that_hears_no_key_can_be_left() -> Result<()> {
    for (pod, mark) in BOTH_NODES.into_iter().zip(["86001", "86002"]) {
        // It heeds no signal, and reads nothing: the only way out is our own.
        let script = format!("stty raw -echo; trap '' INT HUP TERM; echo ready; sleep {mark}");
        let session = kpexec(&["-it", pod, "--", "sh", "-c", &script]);
        let mut terminal = Terminal::run(&session, 24, 80)?;
        terminal.expect("ready")?;
        terminal.type_in("\x03~no, ~.\r~?")?;
        terminal.expect(" ~.   ends the session")?;
        terminal.type_in("~.")?;
        terminal.expect("left the session")?;
        assert_eq!(wait(&mut terminal.child, LIMIT)?.code(), Some(125), "{pod}");
        wait_for_processes(mark, 0)?;
    }
    Ok(())
}

#[test]
fn a_session_that_cannot_be_left_running_says_why() -> Result<()> {
    for pod in BOTH_NODES {
        let session = kpexec(&["-it", "--rm", pod, "--", "sh", "-c", "echo ready; read x"]);
        let mut terminal = Terminal::run(&session, 24, 80)?;
        terminal.expect("ready")?;
        terminal.type_in("~?")?;
        let help = terminal.expect("the escape character itself")?;
        ensure!(!help.contains("~d"), "{pod}: {help}");
        terminal.type_in("~d")?;
        terminal.expect("this session cannot be left running: with --rm its helper pod")?;
        terminal.type_in("\r")?;
        assert_eq!(wait(&mut terminal.child, LIMIT)?.code(), Some(0), "{pod}");
    }
    Ok(())
}

#[test]
fn the_escape_character_is_the_commands_elsewhere() -> Result<()> {
    for pod in BOTH_NODES {
        for (flags, typed, seen) in [
            (&["-it"][..], "~~.\r", "<~.>"),
            (&["-it"], "a~.\r", "<a~.>"),
            (&["-it"], "~/x\r", "<~/x>"),
            (&["-it", "--escape-char=none"], "~.\r", "<~.>"),
            (&["-it", "--escape-char=^]"], "~.\r", "<~.>"),
        ] {
            let script = "echo ready; read -r line; echo \"<$line>\"";
            let command = kpexec(&[flags, &[pod, "--", "sh", "-c", script]].concat());
            let mut terminal = Terminal::run(&command, 24, 80)?;
            terminal.expect("ready")?;
            terminal.type_in(typed)?;
            terminal.expect(seen)?;
            assert_eq!(wait(&mut terminal.child, LIMIT)?.code(), Some(0), "{pod} {flags:?}");
        }
    }
    Ok(())
}

#[test]
fn a_session_can_be_suspended_and_goes_on() -> Result<()> {
    for pod in BOTH_NODES {
        let mut tmux = Tmux::start()?;
        let settings = tmux.settings()?;
        let script = "echo ready-$((1+1)); while read -r line; do echo \"<$line>\"; done";
        tmux.start_command(&kpexec(&["-it", pod, "--", "sh", "-c", script]))?;
        tmux.wait_until("the session", |tmux| Ok(tmux.screen()?.contains("ready-2")))?;
        ensure!(tmux.settings()? != settings, "{pod}: it is not in raw mode");
        tmux.type_line("~\x1a")?;
        tmux.wait_until("a stop", |tmux| Ok(tmux.screen()?.contains("Stopped")))?;
        tmux.wait_until("a prompt", |tmux| Ok(tmux.last_line()? == PROMPT))?;
        // The shell has others while it reads the Enter that was typed last.
        tmux.wait_until("the terminal as it was", |tmux| Ok(tmux.settings()? == settings))?;
        tmux.type_line("fg")?;
        tmux.type_line("after")?;
        tmux.wait_until("the session again", |tmux| Ok(tmux.screen()?.contains("<after>")))?;
        tmux.type_line("\x04")?;
        tmux.wait_for_command()?;
    }
    Ok(())
}

#[test]
fn what_a_session_left_on_is_off_while_it_is_suspended() -> Result<()> {
    // As a full-screen program: alternate screen, mouse, no cursor, application
    // keys; and drawn anew for a new size only.
    let script = "printf '\\033[?1049h\\033[?1003h\\033[?25l\\033[?1h\\033='; n=0; \
                  trap 'n=$((n+1)); echo drawn-$n' WINCH; \
                  echo ready-$((1+1)); while :; do sleep 0.1; done";
    for pod in BOTH_NODES {
        let mut tmux = Tmux::start()?;
        let clean = tmux.modes()?;
        tmux.start_command(&kpexec(&["-it", pod, "--", "bash", "-c", script]))?;
        tmux.wait_until("the session", |tmux| Ok(tmux.screen()?.contains("ready-2")))?;
        let on = tmux.modes()?;
        ensure!(on != clean, "{pod}: it leaves nothing on");
        tmux.type_line("~\x1a")?;
        tmux.wait_until("a prompt", |tmux| Ok(tmux.last_line()? == PROMPT))?;
        ensure!(tmux.modes()? == clean, "{pod}: left on: {}", tmux.modes()?);
        ensure!(!tmux.screen()?.contains("ready-2"), "{pod}: {}", tmux.screen()?);
        tmux.type_line("fg")?;
        tmux.wait_until("another drawing", |tmux| Ok(tmux.screen()?.contains("drawn-")))?;
        ensure!(tmux.modes()? == on, "{pod}: {}, not {on}", tmux.modes()?);
        tmux.type_line("~.")?;
        tmux.wait_for_command()?;
        ensure!(tmux.modes()? == clean, "{pod}: at the end: {}", tmux.modes()?);
    }
    Ok(())
}

#[test]
fn without_a_terminal_there_are_none() -> Result<()> {
    let output = tests::command::run(kpexec(&["-i", BOTH_NODES[0], "--", "cat"]), b"~.\n~?\n")?;
    ensure!(output.code() == 0 && output.stdout == b"~.\n~?\n", "{output:?}");
    Ok(())
}
