//! Nothing outlives its client: no helper pod, no process. Each test has a
//! helper namespace of its own, so that it sees no helper of another.

use std::io::Read as _;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use tests::command::{kpexec, kpexec_by, run_kpexec, signal, wait};
use tests::pod::wait_for_processes;
use tests::{BOTH_NODES, Namespace, kubectl};

const LIMIT: Duration = Duration::from_secs(60);

#[test]
fn the_helper_is_deleted_after_the_session() -> Result<()> {
    let namespace = Namespace::for_helpers("after")?;
    for pod in BOTH_NODES {
        for command in ["true", "no-such-program"] {
            run_kpexec(&["--rm", "--helper-namespace", namespace.name(), pod, "--", command])?;
        }
    }
    namespace.wait_until_empty()
}

#[test]
fn a_client_that_is_terminated_leaves_nothing() -> Result<()> {
    let namespace = Namespace::for_helpers("terminated")?;
    for (pod, mark) in BOTH_NODES.into_iter().zip(["83001", "83002"]) {
        for (sent, code) in [(Signal::TERM, 143), (Signal::HUP, 129)] {
            let arguments =
                ["--rm", "--helper-namespace", namespace.name(), pod, "--", "sleep", mark];
            let mut client = kpexec(&arguments).stdin(Stdio::null()).spawn()?;
            wait_for_processes(mark, 1)?;
            signal(client.id(), sent)?;
            assert_eq!(wait(&mut client, LIMIT)?.code(), Some(code), "{pod}");
            wait_for_processes(mark, 0)?;
        }
    }
    namespace.wait_until_empty()
}

#[test]
fn a_signal_that_is_ignored_here_stays_so() -> Result<()> {
    // As by nohup(1).
    let arguments = [BOTH_NODES[0], "--", "sleep", "83007"];
    let mut client = kpexec_by(&["--default-signal", "--ignore-signal=HUP"], &arguments)
        .stdin(Stdio::null())
        .spawn()?;
    wait_for_processes("83007", 1)?;
    signal(client.id(), Signal::HUP)?;
    std::thread::sleep(Duration::from_millis(500));
    ensure!(client.try_wait()?.is_none(), "it heeded the signal");
    signal(client.id(), Signal::TERM)?;
    ensure!(wait(&mut client, LIMIT)?.code() == Some(143), "it must heed the others");
    wait_for_processes("83007", 0)
}

#[test]
fn a_command_that_heeds_no_signal_ends_with_the_second_one() -> Result<()> {
    let namespace = Namespace::for_helpers("insisting")?;
    for (pod, mark) in BOTH_NODES.into_iter().zip(["83005", "83006"]) {
        let script = format!(
            "trap 'echo heard' INT; trap '' HUP TERM; echo ready; while :; do sleep {mark}; done"
        );
        let arguments =
            ["--rm", "--helper-namespace", namespace.name(), pod, "--", "sh", "-c", &script];
        let mut command = kpexec(&arguments);
        let mut client = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        // A signal is the command's once kpexec has heard of it.
        let mut stdout = client.stdout.take().context("no stdout")?;
        stdout.read_exact(&mut [0; 6])?;
        wait_for_processes(mark, 1)?;
        signal(client.id(), Signal::INT)?;
        // Two that come before it has looked are one.
        stdout.read_exact(&mut [0; 6])?;
        ensure!(client.try_wait()?.is_none(), "{pod}: the first signal was the command's");
        signal(client.id(), Signal::INT)?;
        ensure!(wait(&mut client, LIMIT)?.code() == Some(130), "{pod}");
        wait_for_processes(mark, 0)?;
    }
    namespace.wait_until_empty()
}

#[test]
fn a_client_that_is_killed_takes_its_command_with_it() -> Result<()> {
    let namespace = Namespace::for_helpers("killed")?;
    for (pod, mark) in BOTH_NODES.into_iter().zip(["83003", "83004"]) {
        let arguments = ["--rm", "--helper-namespace", namespace.name(), pod, "--", "sleep", mark];
        let mut client = kpexec(&arguments).stdin(Stdio::null()).spawn()?;
        wait_for_processes(mark, 1)?;
        client.kill()?;
        client.wait()?;
        let killed = Instant::now();
        wait_for_processes(mark, 0)?;
        // Shorter than the keepalive, 30 s: it is noticed at once.
        ensure!(killed.elapsed() < Duration::from_secs(20), "{pod}: {:?}", killed.elapsed());
    }
    // Nobody is left to delete the helpers; they end by themselves after a
    // minute without a session.
    kubectl(&[
        "wait",
        "--timeout=180s",
        "--for=jsonpath={.status.phase}=Succeeded",
        "-n",
        namespace.name(),
        "pod",
        "--all",
    ])?;
    Ok(())
}

#[test]
fn a_client_interrupted_while_the_helper_starts_leaves_nothing() -> Result<()> {
    let namespace = Namespace::for_helpers("interrupted")?;
    // An image that nobody has keeps the helper starting.
    let image = "10.200.0.1:5000/no-such-image:1";
    let arguments = [
        "--helper-namespace",
        namespace.name(),
        "--helper-image",
        image,
        "distroless",
        "--",
        "true",
    ];
    for delay in [0, 50, 200, 400] {
        let mut client = kpexec(&arguments).stdin(Stdio::null()).stderr(Stdio::null()).spawn()?;
        std::thread::sleep(Duration::from_millis(delay));
        // It may have failed already, which is fine here.
        let _gone = signal(client.id(), Signal::INT);
        wait(&mut client, LIMIT)?;
    }
    namespace.wait_until_empty()
}

#[test]
fn sessions_at_the_same_time_do_not_disturb_each_other() -> Result<()> {
    let sessions: Vec<_> = (0..6)
        .map(|number| {
            let pod = BOTH_NODES[number % 2];
            let script = format!("sleep 0.{number}; echo {number}; exit {number}");
            std::thread::spawn(move || run_kpexec(&[pod, "--", "sh", "-c", &script]))
        })
        .collect();
    for (number, session) in sessions.into_iter().enumerate() {
        let output = session.join().map_err(|_| anyhow::anyhow!("a session panicked"))??;
        assert_eq!(output.code(), i32::try_from(number)?, "{output:?}");
        assert_eq!(output.text(), number.to_string());
    }
    Ok(())
}
