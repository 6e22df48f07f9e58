//! How sessions end: nothing outlives the client, the helper or the target.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use kpexec_protocol::client_message::Kind as Request;
use kpexec_protocol::{Attach, Eof, Reason};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::client::{Node, collect, message};
use crate::processes::{self, marked, wait_for};
use crate::supervised::TURN;

#[tokio::test]
async fn what_the_command_leaves_behind_ends_with_it() -> Result<()> {
    let node = Node::start().await?;
    let script =
        "busybox setsid sleep 71001 & (sleep 71001 &); trap '' HUP; sleep 71001 & sleep 0.2";
    let outcome = node.run(node.request(&["sh", "-c", script]), b"").await?;
    assert_eq!(outcome.code, Some(0));
    assert_eq!(marked("71001")?.len(), 0, "something was left behind");
    Ok(())
}

#[tokio::test]
async fn a_client_that_goes_takes_the_command_with_it() -> Result<()> {
    let node = Node::start().await?;
    let script = "sleep 71002 & sleep 71002";
    let (requests, mut answers) = node.open(node.request(&["sh", "-c", script])).await?;
    answers.message().await?.context("no answer")?;
    wait_for("71002", 2).await?;
    drop((requests, answers));
    wait_for("71002", 0).await
}

#[tokio::test]
async fn a_helper_that_is_killed_takes_the_command_with_it() -> Result<()> {
    let _turn = TURN.lock().await;
    let mut node = Node::start().await?;
    let (_requests, mut answers) = node.open(node.request(&["sleep", "71003"])).await?;
    answers.message().await?.context("no answer")?;
    wait_for("71003", 1).await?;
    let cgroups = node.cgroups()?;
    node.helper.kill().await?;
    wait_for("71003", 0).await?;
    // What `wait` does where there is one.
    for folder in processes::cgroups(&cgroups)? {
        let begun = Instant::now();
        // A process has no command line any more before it leaves its cgroup.
        while let Err(error) = fs::remove_dir(&folder) {
            let late = begun.elapsed() > Duration::from_secs(20);
            ensure!(!late, "{}: {error}", folder.display());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_helper_whose_connection_ends_ends() -> Result<()> {
    let node = Node::start().await?;
    let (requests, mut answers) = node.open(node.request(&["sleep", "71004"])).await?;
    answers.message().await?.context("no answer")?;
    wait_for("71004", 1).await?;
    let Node { mut helper, client, container: _container, .. } = node;
    drop((client, requests, answers));
    // Shorter than what ends a session in any case: its 20 s of farewell.
    let status = tokio::time::timeout(Duration::from_secs(18), helper.wait()).await??;
    assert!(status.success(), "{status}");
    assert_eq!(marked("71004")?.len(), 0);
    Ok(())
}

#[tokio::test]
async fn a_target_that_stops_is_no_success_and_is_not_held_up() -> Result<()> {
    let mut node = Node::start().await?;
    let (_requests, mut answers) = node.open(node.request(&["sleep", "71005"])).await?;
    answers.message().await?.context("no answer")?;
    let pid = rustix::process::Pid::from_raw(node.container.pid).context("no PID")?;
    rustix::process::kill_process(pid, rustix::process::Signal::KILL)?;
    let begun = Instant::now();
    node.container.kill()?;
    // Shorter than the helper's 5 s for processes that do not go.
    assert!(begun.elapsed() < Duration::from_secs(4), "its end was held up");
    let outcome = collect(answers).await?;
    let failure = outcome.failure.context("no failure was told")?;
    assert_eq!(failure.reason(), Reason::Helper);
    assert!(failure.message.contains("container stopped"), "{}", failure.message);
    assert_eq!((outcome.code, outcome.signal), (None, None));
    Ok(())
}

#[tokio::test]
async fn a_signal_reaches_the_commands_group() -> Result<()> {
    let node = Node::start().await?;
    let script = "trap 'echo got; exit 5' USR1; echo ready; while :; do sleep 0.05; done";
    let (requests, mut answers) = node.open(node.request(&["sh", "-c", script])).await?;
    // Started, then "ready": before that the trap is not set.
    answers.message().await?.context("no answer")?;
    answers.message().await?.context("no output")?;
    requests.send(message(Request::Signal(10))).await?;
    let outcome = collect(answers).await?;
    assert_eq!((outcome.text().as_str(), outcome.code), ("got", Some(5)), "{outcome:?}");
    Ok(())
}

#[tokio::test]
async fn a_signal_overtakes_stdin_that_nobody_reads() -> Result<()> {
    let node = Node::start().await?;
    let mut request = node.request(&["sleep", "71006"]);
    request.stdin = true;
    let (requests, mut answers) = node.open(request).await?;
    answers.message().await?.context("no answer")?;
    for _ in 0..kpexec_protocol::STDIN_WINDOW / kpexec_protocol::CHUNK {
        requests.send(message(Request::Stdin(vec![0; kpexec_protocol::CHUNK].into()))).await?;
    }
    requests.send(message(Request::Signal(2))).await?;
    let outcome = collect(answers).await?;
    assert_eq!(outcome.signal, Some(2), "{:?}", outcome.failure);
    Ok(())
}

#[tokio::test]
async fn a_call_in_which_no_session_begins_leaves_nothing() -> Result<()> {
    let mut node = Node::start().await?;
    let helper = node.helper.id().context("the helper has ended")?;
    // What a session needs is made before it is asked for.
    let children = || fs::read_to_string(format!("/proc/{helper}/task/{helper}/children"));
    for (first, told) in [
        (None, "did not say what to run"),
        (Some(Request::Eof(Eof {})), "is not a request"),
        (Some(Request::Attach(Attach::default())), "has ended, or never was"),
    ] {
        let (requests, receiver) = mpsc::channel(1);
        let answers = node.client.session(ReceiverStream::new(receiver)).await?.into_inner();
        let begun = Instant::now();
        while children()?.is_empty() {
            ensure!(begun.elapsed() < Duration::from_secs(10), "{told}: nothing is made ready");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        match first {
            Some(first) => requests.send(message(first)).await?,
            None => drop(requests),
        }
        let failure = collect(answers).await?.failure.context("no failure was told")?;
        assert!(failure.message.contains(told), "{failure:?}");
        assert_eq!(children()?, "", "{told}");
        assert_eq!(processes::cgroups(&node.cgroups()?)?.len(), 0, "{told}");
    }
    Ok(())
}
