//! Whether the process that is entered is the container's (A21 to A23 of the
//! threat model).

use std::fs;
use std::process::{Child, Command};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::client::{Node, Outcome};
use crate::fake_container::{FakeContainer, Options};
use crate::fake_runtime::Answer;
use crate::naive::naive;
use crate::programs::programs;

/// A session that leaves a trace; [`traces`] finds it.
const LEAVE_A_TRACE: [&str; 2] = ["/.kpexec/bin/touch", "/srv/trace"];

fn traces(containers: &[&FakeContainer]) -> usize {
    containers.iter().filter(|container| container.path("/srv/trace").exists()).count()
}

/// A process of the node, in no container. Dropped, it ends.
struct Sleep(Child);

impl Sleep {
    fn start() -> Result<Self> {
        Ok(Self(Command::new("sleep").arg("60").spawn()?))
    }

    fn pid(&self) -> i32 {
        self.0.id().cast_signed()
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        let _ended = self.0.kill().and_then(|()| self.0.wait());
    }
}

/// What becomes of the session when the runtime's answer is changed so.
async fn answered(node: &Node, change: impl FnOnce(&mut Answer)) -> Result<Outcome> {
    let request = node.request(&LEAVE_A_TRACE);
    let runtime = || node.runtime.lock().expect("no test panics while it holds this");
    let before = runtime().clone();
    change(&mut runtime());
    let outcome = node.run(request, b"").await;
    *runtime() = before;
    outcome
}

#[tokio::test]
async fn t35_no_answer_of_the_runtime_is_believed_alone() -> Result<()> {
    let other = FakeContainer::hostile(&Options::hostile())?;
    other.id()?;
    fs::write(other.path("/srv/name"), "another container")?;
    // nsenter(1) goes where the number says.
    assert_eq!(naive(&other, &["/bin/cat", "/srv/name"])?, "another container");

    let node = Node::around(FakeContainer::hostile(&Options::hostile())?, &[]).await?;
    let helper = node.helper.id().context("it has ended")?;
    let pids: [(Value, &str); 13] = [
        (json!(other.pid), "is not in the cgroup of container"),
        (json!(helper), "is not in the cgroup of container"),
        (json!(std::process::id()), "is not in the cgroup of container"),
        (json!(2), "is not in the cgroup of container"),
        (json!(0), "names no process"),
        (json!(1), "names no process"),
        (json!(-1), "names no process"),
        (json!(i32::MAX), "has ended"),
        (json!(1_u64 << 31), "cannot be read"),
        (json!(u64::MAX), "cannot be read"),
        (json!(1e300), "cannot be read"),
        (json!(node.container.pid.to_string()), "cannot be read"),
        (json!(null), "cannot be read"),
    ];
    for (pid, why) in pids {
        let failure = answered(&node, |answer| answer.pid = pid.clone()).await?.failure;
        let failure = failure.with_context(|| format!("{pid} was entered"))?;
        ensure!(failure.message.contains(why), "{pid}: {failure:?}");
    }
    for label in ["pod.namespace", "pod.name", "pod.uid", "container.name"] {
        let label = format!("io.kubernetes.{label}");
        let change = |answer: &mut Answer| {
            answer.labels.get_mut(&*label).expect("it is there").push('x');
        };
        let failure = answered(&node, change).await?.failure.context("it was entered")?;
        ensure!(failure.message.contains("belongs to "), "{label}: {failure:?}");
        let change = |answer: &mut Answer| drop(answer.labels.remove(&*label));
        let failure = answered(&node, change).await?.failure.context("it was entered")?;
        ensure!(failure.message.contains("belongs to "), "{label}: {failure:?}");
    }
    assert_eq!(traces(&[&node.container, &other]), 0);
    let outcome = answered(&node, |_| {}).await?;
    assert_eq!(outcome.code, Some(0), "{:?}", outcome.failure);
    assert_eq!(traces(&[&node.container]), 1);
    Ok(())
}

#[tokio::test]
async fn t36_a_container_with_namespaces_of_the_node_is_entered_with_a_notice() -> Result<()> {
    for (kinds, notice) in [
        (&[][..], None),
        (&["pid"], Some("processes")),
        (&["net"], Some("network")),
        (&["ipc"], Some("System V IPC")),
        (&["net", "pid", "ipc"], Some("network, processes, System V IPC")),
    ] {
        let options = Options { shares: kinds, ..Options::hostile() };
        let node = Node::around(FakeContainer::hostile(&options)?, &[]).await?;
        let outcome = node.run(node.request(&LEAVE_A_TRACE), b"").await?;
        assert_eq!(outcome.code, Some(0), "{kinds:?}: {:?}", outcome.failure);
        let notice = notice.map(|shared| format!("the container shares the node's {shared}"));
        assert_eq!(outcome.notices, Vec::from_iter(notice), "{kinds:?}");
        assert_eq!(traces(&[&node.container]), 1);
    }
    Ok(())
}

#[tokio::test]
async fn t36_what_is_no_container_is_not_entered() -> Result<()> {
    let node = Node::around(FakeContainer::hostile(&Options::hostile())?, &[]).await?;
    let stray = Sleep::start()?;
    let set = |answer: &mut Answer| answer.pid = stray.pid().into();
    let failure = answered(&node, set).await?.failure.context("it was entered")?;
    ensure!(failure.message.contains("is not in the cgroup of container"), "{failure:?}");
    // As a virtual machine's monitor is: in the right cgroup, with the node's
    // own files.
    node.container.adopt(stray.pid())?;
    let failure = answered(&node, set).await?.failure.context("it was entered")?;
    ensure!(failure.message.contains("node's own mount namespace"), "{failure:?}");
    assert_eq!(traces(&[&node.container]), 0);
    ensure!(!fs::exists("/srv/trace")?, "it ran on the node");
    Ok(())
}

/// Ends a container and has another's process take its number.
fn reuse(pid: i32, other: &FakeContainer) -> Result<()> {
    kill_process(Pid::from_raw(pid).context("no PID")?, Signal::KILL)?;
    let deadline = Instant::now() + Duration::from_secs(20);
    while fs::exists(format!("/proc/{pid}"))? {
        ensure!(Instant::now() < deadline, "the container does not end");
        std::thread::sleep(Duration::from_millis(1));
    }
    let numbers = [other.pid, pid].map(|pid| pid.to_string());
    let reused = Command::new(programs()?.join("reuse")).args(numbers).status()?;
    ensure!(reused.success(), "the number is not given out again");
    for kind in ["pid", "mnt"] {
        let namespace = |pid: i32| fs::read_link(format!("/proc/{pid}/ns/{kind}"));
        ensure!(namespace(pid)? == namespace(other.pid)?, "it is no process of the other");
    }
    other.adopt(pid)
}

#[tokio::test]
async fn t33_a_number_that_was_given_out_again_is_not_entered() -> Result<()> {
    let other = Arc::new(FakeContainer::hostile(&Options::hostile())?);
    other.id()?;
    fs::write(other.path("/srv/name"), "another container")?;
    let naive_victim = FakeContainer::hostile(&Options::hostile())?;
    reuse(naive_victim.pid, &other)?;
    // The number was looked up before, and is used now.
    assert_eq!(naive(&naive_victim, &["/bin/cat", "/srv/name"])?, "another container");

    // Before the helper looks at the process, and once it has it in its hand.
    for (time, why) in [(1, "is not in the cgroup of container"), (2, "has ended")] {
        let node = Node::around(FakeContainer::hostile(&Options::hostile())?, &[]).await?;
        let victim = node.container.pid;
        let attacker = other.clone();
        node.runtime.lock().expect("no test panics while it holds this").before =
            Some(Arc::new(move |asked, _| {
                if asked == time {
                    reuse(victim, &attacker).expect("the attack can be made");
                }
            }));
        let failure = node.run(node.request(&LEAVE_A_TRACE), b"").await?.failure;
        let failure = failure.context("it was entered")?;
        ensure!(failure.message.contains(why), "{time}: {failure:?}");
        let asked = node.runtime.lock().expect("no test panics while it holds this").asked;
        assert_eq!(asked, time, "{failure:?}");
        assert_eq!(traces(&[&node.container, &other]), 0);
    }
    Ok(())
}
