//! A container that ends, restarts or stops while it is entered (A21 of the
//! threat model): at every step there is a clear word about it, and nothing is
//! left.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use k8s_cri::v1::ContainerState;
use rustix::process::{Pid, Signal, kill_process};

use crate::client::{Node, Outcome, collect};
use crate::fake_container::{FakeContainer, Options};
use crate::fake_runtime::Answer;
use crate::naive::Naive;
use crate::strace::Strace;

/// A moment of an entry: once a process has made a call so many times; of
/// several processes that do, the how-manieth.
type Moment = (&'static str, u32, usize);

/// In the order in which they come, those of the helper.
const HELPERS_MOMENTS: [Moment; 6] = [
    // It holds on to the process (and to the entry process before), and looks
    // at it.
    ("pidfd_open", 2, 1),
    ("openat2", 1, 1),
    ("openat2", 12, 1),
    // It has made the parts of the view, and sends them with the order.
    ("fsmount", 2, 1),
    ("open_tree", 5, 1),
    ("sendmsg", 1, 1),
];

/// The same, of the entry process and what it starts.
const ENTRYS_MOMENTS: [Moment; 13] = [
    // It joins, in the order of the plan.
    ("setns", 1, 1),
    ("unshare", 1, 1),
    ("open_tree", 2, 2),
    ("move_mount", 1, 1),
    ("chroot", 2, 1),
    ("setns", 2, 1),
    ("setns", 6, 1),
    ("setresuid", 1, 1),
    ("capset", 1, 1),
    // A signal has it fork after the stop only.
    ("clone", 1, 1),
    // The shim, before it waits to be told to go on; then the command.
    ("prctl", 3, 2),
    ("setsid", 1, 1),
    ("close_range", 1, 2),
];

/// Where the session leaves a trace.
const TRACE: &str = "/srv/trace";

/// Runs a session that leaves a trace, and does this at that moment.
async fn interrupted(
    node: &mut Node,
    (call, times, process): Moment,
    then: impl Fn(&mut FakeContainer) -> Result<()>,
) -> Result<Outcome> {
    let helper = node.helper.id().context("it has ended")?;
    let stop = format!("inject={call}:signal=SIGSTOP:when={times}");
    let strace = Strace::attach(helper, &["-e", &format!("trace={call}"), "-e", &stop])?;
    let argv = ["/.kpexec/bin/sh", "-c", &format!("echo trace > {TRACE}")];
    let (_requests, answers) = node.open(node.request(&argv)).await?;
    let outcome = tokio::spawn(collect(answers));
    let mut stops = 0;
    while !outcome.is_finished() {
        let log = strace.log()?;
        let stopped = log.lines().filter(|line| line.ends_with(STOPPED));
        for line in stopped.skip(stops) {
            stops += 1;
            if stops == process {
                then(&mut node.container).with_context(|| format!("at {call} {times}"))?;
            }
            let pid = line.split(' ').next().context("no PID")?.parse()?;
            // It may have ended with the container.
            let _gone = kill_process(Pid::from_raw(pid).context("PID 0")?, Signal::CONT);
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    ensure!(stops >= process, "{call} was not made {times} times: {}", strace.stop()?);
    outcome.await?
}

/// The next container, of the same helper.
fn renew(node: &mut Node) -> Result<()> {
    node.container = FakeContainer::hostile(&Options::hostile())?;
    let next = Answer::running(node.container.id()?, node.container.pid);
    *node.runtime.lock().expect("no test panics while it holds this") = next;
    Ok(())
}

/// What the helper has: child processes, and mounts of a view in its namespace.
fn held(node: &Node) -> Result<(String, String)> {
    let helper = node.helper.id().context("it has ended")?;
    let children = fs::read_to_string(format!("/proc/{helper}/task/{helper}/children"))?;
    let mounts = fs::read_to_string(format!("/proc/{helper}/mountinfo"))?;
    let ours = mounts.lines().filter(|line| line.contains(" kpexec ")).collect();
    Ok((children, ours))
}

/// nsenter(1) goes on where the container has ended once it has its mounts.
fn enter_the_ended(container: &mut FakeContainer) -> Result<()> {
    let log = tempfile::NamedTempFile::new()?;
    let path = log.path().display().to_string();
    let stop = ["-e", "trace=setns", "-e", "inject=setns:signal=SIGSTOP:when=1"];
    let wrapper = [&["strace", "-f", "-qq", "-o", &path], &stop[..]].concat();
    let wrapper: Vec<String> = wrapper.into_iter().map(str::to_owned).collect();
    let nsenter = Naive::through(&wrapper)?;
    let argv = ["/bin/sh", "-c", &format!("echo trace > {TRACE}")];
    let mut session = nsenter.command(container, &["-m"], &argv).spawn()?;
    let stopped = loop {
        let said = fs::read_to_string(&log)?;
        if let Some(line) = said.lines().find(|line| line.ends_with(STOPPED)) {
            break line.split(' ').next().context("no PID")?.parse()?;
        }
        ensure!(session.try_wait()?.is_none(), "it was not stopped: {said}");
        std::thread::sleep(Duration::from_millis(2));
    };
    container.kill()?;
    kill_process(Pid::from_raw(stopped).context("PID 0")?, Signal::CONT)?;
    session.wait()?;
    ensure!(container.path(TRACE).exists(), "nsenter did not go on");
    Ok(())
}

/// How strace(1) says that a process stands still.
const STOPPED: &str = "--- stopped by SIGSTOP ---";

#[tokio::test]
async fn t34_a_container_that_ends_before_it_is_entered() -> Result<()> {
    is_told_of_and_nothing_is_left(&HELPERS_MOMENTS).await
}

#[tokio::test]
async fn t34_a_container_that_ends_while_it_is_entered() -> Result<()> {
    let mut container = FakeContainer::hostile(&Options::hostile())?;
    enter_the_ended(&mut container)?;
    is_told_of_and_nothing_is_left(&ENTRYS_MOMENTS).await
}

async fn is_told_of_and_nothing_is_left(moments: &[Moment]) -> Result<()> {
    let mut node = Node::around(FakeContainer::hostile(&Options::hostile())?, &[]).await?;
    for &moment in moments {
        renew(&mut node)?;
        let end = |container: &mut FakeContainer| -> Result<()> {
            let begun = Instant::now();
            container.kill()?;
            // As long as the helper waits for processes that do not go.
            ensure!(begun.elapsed() < Duration::from_secs(5), "its end is held up");
            Ok(())
        };
        let outcome = interrupted(&mut node, moment, end).await?;
        let failure = outcome.failure.with_context(|| format!("{moment:?}: it ran"))?;
        let told = ["has ended", "the container stopped"];
        ensure!(told.iter().any(|word| failure.message.contains(word)), "{moment:?}: {failure:?}");
        ensure!(!failure.hint.is_empty(), "{moment:?}: {failure:?}");
        ensure!(!node.container.path(TRACE).exists(), "{moment:?}: something ran");
        // Shorter than the 10 s after which an entry is given up.
        let begun = Instant::now();
        while !held(&node)?.0.is_empty() {
            ensure!(begun.elapsed() < Duration::from_secs(5), "{moment:?}: {:?}", held(&node)?.0);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(held(&node)?.1, "", "{moment:?}: mounts are left");
    }
    renew(&mut node)?;
    assert_eq!(node.output(&["cat", "/proc/1/comm"]).await?, "init");
    Ok(())
}

#[tokio::test]
async fn t34_a_container_that_is_stopped_can_be_entered_all_the_same() -> Result<()> {
    let mut node = Node::around(FakeContainer::hostile(&Options::hostile())?, &[]).await?;
    for moment in [("pidfd_open", 2, 1), ("setns", 1, 1), ("clone", 1, 1)] {
        renew(&mut node)?;
        let stop = |container: &mut FakeContainer| -> Result<()> {
            kill_process(Pid::from_raw(container.pid).context("PID 0")?, Signal::STOP)?;
            Ok(())
        };
        let outcome = interrupted(&mut node, moment, stop).await?;
        assert_eq!(outcome.code, Some(0), "{moment:?}: {:?}", outcome.failure);
        ensure!(node.container.path(TRACE).exists(), "{moment:?}: nothing ran");
    }
    Ok(())
}

#[tokio::test]
async fn t34_a_container_that_restarts_is_not_entered() -> Result<()> {
    let mut node = Node::around(FakeContainer::hostile(&Options::hostile())?, &[]).await?;
    let next = FakeContainer::hostile(&Options::hostile())?;
    let (pid, id) = (next.pid, next.id()?);
    type Change = Box<dyn Fn(&mut Answer) + Send + Sync>;
    let changes: [(Change, &str); 4] = [
        (Box::new(move |answer| answer.pid = pid.into()), "restarted while it was entered"),
        (Box::new(move |answer| answer.id.clone_from(&id)), "has no container"),
        (Box::new(|answer| answer.state = ContainerState::ContainerExited), "is not running"),
        (Box::new(|answer| answer.cwd = "/tmp".into()), "restarted while it was entered"),
    ];
    for (change, why) in changes {
        renew(&mut node)?;
        let request = node.request(&["/.kpexec/bin/touch", TRACE]);
        node.runtime.lock().expect("no test panics while it holds this").before =
            Some(std::sync::Arc::new(move |asked, answer| {
                if asked == 2 {
                    change(answer);
                }
            }));
        let failure = node.run(request, b"").await?.failure.context("it ran")?;
        ensure!(failure.message.contains(why), "{failure:?}");
        ensure!(failure.hint.contains("try again"), "{failure:?}");
        ensure!(!node.container.path(TRACE).exists() && !next.path(TRACE).exists(), "it ran");
    }
    Ok(())
}
