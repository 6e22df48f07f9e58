//! How the background process ends, and what ends with it.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use tests::command::{kpexec, run, signal};
use tests::pod::wait_for_processes;
use tests::{BOTH_NODES, Cluster};

use crate::sharer::{Session, Sharer};

#[test]
fn killed_it_takes_its_sessions_along_and_is_replaced() -> Result<()> {
    let sharer = Sharer::new("killed")?;
    for (pod, mark) in BOTH_NODES.into_iter().zip(["86111", "86112"]) {
        let script = format!("echo ready; exec sleep {mark}");
        let sessions = [(); 2].map(|()| sharer.started(&[pod, "--", "sh", "-c", &script]));
        wait_for_processes(mark, 2)?;
        let process = sharer.process()?;
        signal(process, Signal::KILL)?;
        for session in sessions {
            let output = session?.end()?;
            assert_eq!(output.code(), 125, "{pod}: {output:?}");
            let expected = "kpexec: lost the session, and with it the command's result: \
                            the process that shares connections has ended\n";
            assert_eq!(output.stderr, expected, "{pod}");
        }
        wait_for_processes(mark, 0)?;
        let next = run(sharer.command(&[pod, "--", "sh", "-c", "exit 4"]), b"")?;
        assert_eq!(next.code(), 4, "{pod}: {next:?}");
        ensure!(sharer.process()? != process);
    }
    Ok(())
}

#[test]
fn a_session_that_lingers_is_told_to_be_kept_and_is() -> Result<()> {
    let sharer = Sharer::new("lingers")?;
    for pod in BOTH_NODES {
        let script = "echo ready; sleep 6; echo end; exit 9";
        let session = sharer.started(&["--linger=300s", pod, "--", "sh", "-c", script])?;
        // The helper has to hear that a client is there, or it waits for none.
        std::thread::sleep(Duration::from_secs(1));
        signal(sharer.process()?, Signal::KILL)?;
        let output = session.end()?;
        assert_eq!(output.code(), 125, "{pod}: {output:?}");
        let way = format!("hint: kpexec attach --helper-namespace {} ", sharer.namespace());
        let lines: Vec<&str> = output.stderr.lines().collect();
        let [error, hint] = lines[..] else { anyhow::bail!("{pod}: {}", output.stderr) };
        let kept = "kpexec: lost the way to the session, which is kept: \
                    the process that shares connections has ended";
        assert_eq!(error, kept, "{pod}");
        let rest = hint.strip_prefix(&way).with_context(|| format!("{pod}: {hint}"))?;
        let (name, rest) = rest.split_once(' ').context("no name")?;
        assert_eq!(rest, "goes on with it within 300 s", "{pod}");
        let attach = kpexec(&["attach", "--helper-namespace", sharer.namespace(), name]);
        let again = run(attach, b"")?;
        assert_eq!((again.code(), again.text().as_str()), (9, "end"), "{pod}: {again:?}");
    }
    Ok(())
}

#[test]
fn a_killed_client_ends_its_own_command_and_no_other() -> Result<()> {
    let sharer = Sharer::new("client")?;
    for (pod, marks) in BOTH_NODES.into_iter().zip([["86121", "86122"], ["86123", "86124"]]) {
        let [one, other] = marks.map(|mark| {
            let script = format!("echo ready; exec sleep {mark}");
            sharer.started(&[pod, "--", "sh", "-c", &script])
        });
        let (one, other, process) = (one?, other?, sharer.process()?);
        wait_for_processes(marks[0], 1)?;
        signal(one.pid(), Signal::KILL)?;
        wait_for_processes(marks[0], 0)?;
        wait_for_processes(marks[1], 1)?;
        assert_eq!(sharer.process()?, process, "{pod}");
        assert_eq!(one.end()?.code(), -1);
        signal(other.pid(), Signal::TERM)?;
        assert_eq!(other.end()?.code(), 143, "{pod}");
    }
    Ok(())
}

#[test]
fn another_kubeconfig_is_another_process() -> Result<()> {
    let sharer = Sharer::new("config")?;
    let file = sharer.folder().join("config");
    std::fs::copy(&Cluster::get().kubeconfig, &file)?;
    let first = |pod| {
        let mut command = sharer.command(&[pod, "--", "true"]);
        // By a path that only the client's own directory makes sense of.
        command.env("KUBECONFIG", "config").current_dir(sharer.folder());
        let output = run(command, b"")?;
        ensure!(output.code() == 0, "{output:?}");
        sharer.processes()
    };
    let before = first(BOTH_NODES[0])?;
    assert_eq!((before.len(), first(BOTH_NODES[1])?), (1, before.clone()));
    let text = std::fs::read(&file)?;
    std::fs::write(&file, [&text[..], b"\n"].concat())?;
    let mut after = first(BOTH_NODES[0])?;
    after.retain(|process| !before.contains(process));
    assert_eq!(after.len(), 1, "{after:?} besides {before:?}");
    // Nobody will ask the first one any more, and it sees that.
    sharer.wait_for(&after)
}

#[test]
fn it_ends_when_nobody_came_for_so_long() -> Result<()> {
    let sharer = Sharer::new("idle")?;
    for pod in BOTH_NODES {
        let begun = Instant::now();
        // Longer than the time, in which it is not idle.
        let command = [pod, "--", "sh", "-c", "echo ready; sleep 4"];
        let session = Session::start(sharer.with("--share=2s", &command))?;
        let process = sharer.process()?;
        let output = session.end()?;
        ensure!(output.code() == 0 && begun.elapsed() > Duration::from_secs(4), "{output:?}");
        sharer.wait_for(&[])?;
        let left = std::fs::read_dir(sharer.folder().join("kpexec"))?.flatten();
        let left: Vec<_> = left.map(|entry| entry.file_name()).collect();
        assert_eq!(left, ["lock"], "after {process}");
        let ended = Instant::now();
        while sharer.connections()? > 0 {
            ensure!(ended.elapsed() < Duration::from_secs(60), "{pod}: a connection is left");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
    Ok(())
}

#[test]
fn gc_ends_it_with_its_last_command() -> Result<()> {
    let sharer = Sharer::new("gc")?;
    // Until it is told to end.
    let script = "trap 'exit 7' TERM; echo ready; while :; do sleep 0.1; done";
    let session = sharer.started(&[BOTH_NODES[0], "--", "sh", "-c", script])?;
    let process = sharer.process()?;
    let mut gc = kpexec(&["gc", "--helper-namespace", sharer.namespace()]);
    gc.env("XDG_RUNTIME_DIR", sharer.folder());
    let output = run(gc, b"")?;
    let expected = format!("background process {process} ends with its command");
    assert_eq!((output.code(), output.text()), (0, expected), "{output:?}");
    // Who comes now has another one.
    let next = run(sharer.command(&[BOTH_NODES[1], "--", "true"]), b"")?;
    assert_eq!((next.code(), sharer.processes()?.len()), (0, 2), "{next:?}");
    signal(session.pid(), Signal::TERM)?;
    assert_eq!(session.end()?.code(), 7);
    let mut left = sharer.processes()?;
    left.retain(|other| *other != process);
    sharer.wait_for(&left)
}
