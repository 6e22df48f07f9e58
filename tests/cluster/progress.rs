//! The line on the terminal while a helper starts: there, true, and gone in time.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::Signal;
use tests::command::{kpexec, kpexec_by, run, run_kpexec, signal, wait};
use tests::terminal::Terminal;
use tests::tmux::{PROMPT, Tmux};
use tests::{BOTH_NODES, Namespace};

const LIMIT: Duration = Duration::from_secs(60);

/// Nobody listens there, so the kubelet tries again and again.
const NEVER: &str = "10.200.0.1:1/no-such-image:1";

/// What is on the terminal below the line with the command.
fn below(tmux: &Tmux) -> Result<Vec<String>> {
    let screen = tmux.screen()?;
    let lines = screen.lines().map(|line| line.trim_end().to_owned());
    Ok(lines.filter(|line| !line.is_empty()).skip(1).collect())
}

/// Waits for the prompt, and for what is below the line with the command then.
fn below_at_prompt(tmux: &Tmux) -> Result<Vec<String>> {
    tmux.wait_until("a prompt", |tmux| Ok(tmux.last_line()? == PROMPT))?;
    below(tmux)
}

#[test]
fn the_line_follows_the_helper_and_ctrl_c_leaves_nothing() -> Result<()> {
    let namespace = Namespace::for_helpers("progress")?;
    for (pod, node) in BOTH_NODES.into_iter().zip(["node1", "node2"]) {
        for own in [&["--rm"][..], &[]] {
            let mut tmux = Tmux::start()?;
            let settings = tmux.settings()?;
            let flags = ["-it", "--helper-namespace", namespace.name(), "--helper-image", NEVER];
            tmux.start_command(&kpexec(&[own, &flags, &[pod, "--", "sh"]].concat()))?;
            let begins = format!("helper on {node}: scheduled → ");
            tmux.wait_until("the line", |tmux| {
                let line = tmux.last_line()?;
                Ok(line.starts_with(&begins) && line.contains("ImagePull"))
            })?;
            let lines = below(&tmux)?;
            ensure!(lines.len() == 1, "{pod}: more than a line: {lines:?}");
            // It is drawn anew in its place.
            let seconds = |tmux: &Tmux| Ok(tmux.last_line()?.ends_with(" s)"));
            tmux.wait_until("the seconds", seconds)?;
            tmux.press("C-c")?;
            tmux.wait_for_command()?;
            let left = below_at_prompt(&tmux)?;
            ensure!(left == [PROMPT], "{pod}: left on: {left:?}");
            ensure!(tmux.settings()? == settings, "{pod}: other settings");
            namespace.wait_until_empty()?;
        }
    }
    Ok(())
}

/// That it was there is seen by the bytes, below: it may be gone too soon to look.
#[test]
fn it_is_gone_before_the_command_writes() -> Result<()> {
    for pod in BOTH_NODES {
        let mut tmux = Tmux::start()?;
        let script = "echo here; sleep 1";
        tmux.start_command(&kpexec(&["-it", "--rm", pod, "--", "sh", "-c", script]))?;
        tmux.wait_for_command()?;
        let lines = below_at_prompt(&tmux)?;
        ensure!(lines == ["here", PROMPT], "{pod}: {lines:?}");

        let mut tmux = Tmux::start()?;
        tmux.start_command(&kpexec(&[
            "--rm",
            "--helper-image",
            "10.200.0.1:5000/none:1",
            pod,
            "--",
            "id",
        ]))?;
        tmux.wait_for_command()?;
        let lines = below(&tmux)?;
        ensure!(lines[0].starts_with("kpexec: helper pod "), "{pod}: {lines:?}");
    }
    Ok(())
}

/// All that a terminal is sent.
fn sent(command: &Command) -> Result<String> {
    let mut terminal = Terminal::run(command, 24, 80)?;
    let shown = terminal.expect("here\r\n")?;
    wait(&mut terminal.child, LIMIT)?;
    Ok(shown)
}

/// The same of one that waits for a helper of its own. A start that is over within
/// 300 ms is not worth a line: then another one is.
fn sent_while_waiting(command: &Command) -> Result<String> {
    for _ in 0..5 {
        let shown = sent(command)?;
        if shown != "here\r\n" {
            return Ok(shown);
        }
    }
    bail!("the line was never there")
}

#[test]
fn it_is_for_terminals_alone_and_for_what_takes_its_time() -> Result<()> {
    for pod in BOTH_NODES {
        let echo = [pod, "--", "echo", "here"];
        let cold = [&["--rm"][..], &echo].concat();
        let shown = sent_while_waiting(&kpexec(&cold))?;
        ensure!(shown.contains("helper on node"), "{pod}: {shown:?}");
        ensure!(shown.ends_with("\r\x1b[Khere\r\n"), "{pod}: {shown:?}");

        let dumb = kpexec_by(&["--default-signal", "TERM=dumb"], &cold);
        assert_eq!(sent(&dumb)?, "here\r\n", "{pod}: TERM=dumb");
        let quiet = [&["-q"][..], &cold].concat();
        assert_eq!(sent(&kpexec(&quiet))?, "here\r\n", "{pod}: -q");
        let output = run_kpexec(&cold)?;
        assert_eq!((&*output.text(), &*output.stderr), ("here", ""), "{pod}: pipes");

        ensure!(run_kpexec(&echo)?.code() == 0, "{pod}");
        let begun = Instant::now();
        let shown = sent(&kpexec(&echo))?;
        // One that does not answer within a second is looked at, too.
        let late = begun.elapsed() > Duration::from_secs(1) && shown.ends_with("\r\x1b[Khere\r\n");
        ensure!(shown == "here\r\n" || late, "{pod}: a helper that is there: {shown:?}");
    }
    Ok(())
}

#[test]
fn verbose_says_it_in_lines() -> Result<()> {
    let namespace = Namespace::for_helpers("progress-v")?;
    let helpers = ["--helper-namespace", namespace.name()];
    let flags = [&helpers[..], &["-v", "--rm", "--helper-image", NEVER]].concat();
    for (pod, node) in BOTH_NODES.into_iter().zip(["node1", "node2"]) {
        let mut command = kpexec(&[&flags[..], &[pod, "--", "true"]].concat());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut client = command.spawn()?;
        let mut lines = BufReader::new(client.stderr.take().context("stderr is a pipe")?).lines();
        // What follows is the kubelet's own word, which depends on the runtime.
        let wanted = format!("helper on {node}: scheduled, pulling image, ");
        let mut said = String::new();
        while !said.contains(&wanted) {
            let line = lines.next().with_context(|| format!("{pod}: {said}"))??;
            said += &line;
        }
        signal(client.id(), Signal::INT)?;
        let rest: String = lines.collect::<Result<_, _>>()?;
        ensure!(!(said + &rest).contains('\x1b'), "{pod}: {rest}");
        assert_eq!(wait(&mut client, LIMIT)?.code(), Some(130), "{pod}: {rest}");
    }
    Ok(())
}

#[test]
fn a_background_process_tells_its_client() -> Result<()> {
    let namespace = Namespace::for_helpers("progress-share")?;
    let folder = tempfile::tempdir()?;
    let ours = |mut command: Command| {
        command.env("XDG_RUNTIME_DIR", folder.path());
        command
    };
    let helpers = ["--helper-namespace", namespace.name()];
    for pod in BOTH_NODES {
        let echo = [&["--share"][..], &helpers, &[pod, "--", "echo", "here"]].concat();
        let shown = sent_while_waiting(&ours(kpexec(&[&["--rm"][..], &echo].concat())))?;
        ensure!(shown.contains("helper on node"), "{pod}: {shown:?}");
        ensure!(shown.ends_with("\r\x1b[Khere\r\n"), "{pod}: {shown:?}");
        assert_eq!(run(ours(kpexec(&echo)), b"")?.code(), 0, "{pod}");
        assert_eq!(sent(&ours(kpexec(&echo)))?, "here\r\n", "{pod}");
    }
    // Whoever waits for the same helper sees the same line, and goes on with it alone.
    for (pod, node) in BOTH_NODES.into_iter().zip(["node1", "node2"]) {
        let never = ["--helper-image", NEVER, pod, "--", "id"];
        let never = [&["--share"][..], &helpers, &never].concat();
        let begins = format!("helper on {node}: scheduled → ");
        let pulls = |tmux: &Tmux| {
            let line = tmux.last_line()?;
            Ok(line.starts_with(&begins) && line.contains("ImagePull"))
        };
        let (mut first, mut second) = (Tmux::start()?, Tmux::start()?);
        first.start_command(&ours(kpexec(&never)))?;
        first.wait_until("the line", pulls)?;
        second.start_command(&ours(kpexec(&never)))?;
        second.wait_until("the second's line", pulls)?;
        first.press("C-c")?;
        first.wait_for_command()?;
        // What it waits for is looked at anew: the kubelet tries, fails and waits.
        let phases = |tmux: &Tmux| -> Result<Vec<String>> {
            let line = tmux.last_line()?;
            Ok(line.split(" → ").map(|it| it.split(" (").next().unwrap_or(it).into()).collect())
        };
        let before = phases(&second)?;
        second.wait_until("the second's line goes on", |tmux| Ok(phases(tmux)? != before))?;
        second.wait_until("the second's line again", pulls)?;
        second.press("C-c")?;
        second.wait_for_command()?;
    }
    let ended = run(ours(kpexec(&["gc", "--helper-namespace", namespace.name()])), b"")?;
    ensure!(ended.code() == 0, "{ended:?}");
    Ok(())
}
