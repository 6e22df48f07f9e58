//! What a session may do to outlive its end, and that it does not. The numbers
//! are those of the attack tests that these follow.
//!
//! Each is tried with nsenter(1) first, to show that it would work.

use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tokio::process::Command;

use crate::client::Node;
use crate::fake_container::{FakeContainer, Options};
use crate::processes::{self, another_is_marked, kill_marked, marked, wait_for};
use crate::supervised::TURN;

/// How soon after the session's end nothing of it may be left, and how soon what a
/// script starts is there.
const SOON: Duration = Duration::from_secs(10);

/// A container whose first process reaps nothing.
fn never_waits() -> Result<FakeContainer> {
    FakeContainer::with(&Options { never_waits: true, ..Options::own() })
}

/// Runs a script in a container the plain way; gives its exit code.
async fn nsenter(container: &FakeContainer, script: &str) -> Result<Option<i32>> {
    let mut command = Command::new("nsenter");
    if !rustix::process::geteuid().is_root() {
        command.args(["--user", "--preserve-credentials"]);
    }
    command.args(["-m", "-p", "-u", "-i", "-n", "-C", "-t", &container.pid.to_string()]);
    // The container has none, and a shell opens it for what it starts with `&`.
    let script = format!(": > /dev/null; {script}");
    command.args(["/bin/busybox", "sh", "-c", &script]).stdin(Stdio::null());
    // A group of its own, for scripts that kill theirs.
    Ok(command.process_group(0).status().await.context("run nsenter(1)")?.code())
}

/// Nothing with `mark`, nothing in a cgroup of the helper's sessions, and no such
/// cgroup. Where this user may not have one, the helper must have said so; what is left then
/// is the known gap, and is killed here.
async fn assert_nothing_is_left(node: &Node, mark: &str) -> Result<()> {
    if node.is_without_cgroups() {
        ensure!(!rustix::process::geteuid().is_root(), "root can have a cgroup");
        return kill_marked(mark).await;
    }
    let left = marked(mark)?;
    kill_marked(mark).await?;
    assert!(left.is_empty(), "{left:?} are left");
    assert_no_cgroups(&node.cgroups()?)
}

fn assert_no_cgroups(name: &str) -> Result<()> {
    let (members, folders) = (processes::in_cgroup(name)?, processes::cgroups(name)?);
    assert!(members.is_empty() && folders.is_empty(), "{members:?} {folders:?}");
    Ok(())
}

/// Not in the target's, whose limits and freezer it would share: T49, T50.
#[tokio::test]
async fn a_session_is_in_a_cgroup_of_its_own() -> Result<()> {
    let node = Node::start().await?;
    let script = "busybox setsid sleep 72009 & sleep 72009";
    let (_requests, mut answers) = node.open(node.request(&["sh", "-c", script])).await?;
    answers.message().await?.context("no answer")?;
    wait_for("72009", 2).await?;
    let members = processes::in_cgroup(&node.cgroups()?)?;
    if node.is_without_cgroups() {
        ensure!(!rustix::process::geteuid().is_root(), "root can have a cgroup");
        ensure!(members.is_empty(), "{members:?}");
        return Ok(());
    }
    // The shim is the third, and a shell may be the fourth.
    assert!(members.len() > 2, "{members:?}");
    assert!(marked("72009")?.iter().all(|pid| members.contains(pid)), "{members:?}");
    let helper = node.helper.id().context("the helper has ended")?.cast_signed();
    assert!(!members.contains(&node.container.pid) && !members.contains(&helper), "{members:?}");
    Ok(())
}

/// T51.
#[tokio::test]
async fn t51_fifty_daemons_leave_no_process_and_no_zombie() -> Result<()> {
    let script = |mark| {
        format!(
            "i=0; while [ $i -lt 50 ]; do (busybox setsid busybox sleep {mark} &)
             i=$((i+1)); [ $i = 25 ] && trap '' HUP; done; exit 7"
        )
    };
    let container = never_waits()?;
    assert_eq!(nsenter(&container, &script("72001")).await?, Some(7));
    wait_for("72001", 50).await?;
    kill_marked("72001").await?;
    assert_eq!(container.processes()?.len(), 51, "nobody reaps them");
    drop(container);

    let node = Node::around(never_waits()?, &[]).await?;
    assert_eq!(node.container.processes()?.len(), 1);
    let outcome = node.run(node.request(&["sh", "-c", &script("72002")]), b"").await?;
    let ended = Instant::now();
    assert_eq!(outcome.code, Some(7), "{outcome:?}");
    while node.container.processes()?.len() > 1 {
        let left = node.container.processes()?;
        assert!(ended.elapsed() < SOON, "{left:?} are left, dead or alive");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_nothing_is_left(&node, "72002").await
}

/// T53, first half. The shim is the parent of the session's first process; a
/// shell started by nsenter(1) has none that it can see, and kills itself.
///
/// Beside daemons there are comets, each of which starts the next one and ends:
/// who lists processes and then kills them is always late.
#[tokio::test]
async fn t53_a_session_that_kills_its_shim_leaves_nothing() -> Result<()> {
    let script = |mark, killed| {
        format!(
            "trap '' HUP
             export N=0 COMET='N=$((N+1)); [ $N -lt 30000 ] && busybox sh -c \"$COMET\" {mark} &'
             for i in 1 2 3 4 5; do
                 (busybox setsid busybox sleep {mark} &)
                 (busybox setsid busybox sh -c \"$COMET\" {mark} &)
             done
             busybox sleep 0.2; kill -9 {killed}; busybox sleep 5"
        )
    };
    let container = FakeContainer::start()?;
    nsenter(&container, &script("72003", "$$")).await?;
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut left = Vec::new();
    while left.len() < 5 {
        assert!(Instant::now() < deadline, "daemons outlive their shell: {left:?}");
        left = marked("72003")?;
    }
    let mut known = left.into_iter().collect();
    while !another_is_marked("72003", &mut known)? {
        assert!(Instant::now() < deadline, "no comet starts another");
    }
    drop(container);
    wait_for("72003", 0).await?;

    let node = Node::start().await?;
    let outcome = node.run(node.request(&["sh", "-c", &script("72004", "$PPID")]), b"").await?;
    let failure = outcome.failure.context("no failure was told")?;
    assert!(failure.message.contains("killed from outside"), "{}", failure.message);
    assert_nothing_is_left(&node, "72004").await
}

/// T53, second half.
#[tokio::test]
async fn t53_a_session_that_kills_all_it_can_leaves_nothing() -> Result<()> {
    let script = |mark| {
        format!(
            "trap '' HUP; (busybox setsid busybox sh -c 'kill -9 -1; exec busybox sleep {mark}' &)
             busybox sleep 5"
        )
    };
    let container = FakeContainer::start()?;
    nsenter(&container, &script("72005")).await?;
    wait_for("72005", 1).await?;
    kill_marked("72005").await?;
    drop(container);

    let node = Node::start().await?;
    let outcome = node.run(node.request(&["sh", "-c", &script("72006")]), b"").await?;
    let failure = outcome.failure.context("no failure was told")?;
    assert!(failure.message.contains("killed from outside"), "{}", failure.message);
    assert_nothing_is_left(&node, "72006").await
}

/// T59. The parent-death signal reaches the shim and the command only.
#[tokio::test]
async fn t59_what_a_killed_helper_leaves_is_swept_up() -> Result<()> {
    let _turn = TURN.lock().await;
    let script = |mark| format!("(busybox setsid busybox sleep {mark} &); sleep {mark}");
    let mut node = Node::start().await?;
    let request = node.request(&["sh", "-c", &script("72007")]);
    let (_requests, mut answers) = node.open(request).await?;
    answers.message().await?.context("no answer")?;
    wait_for("72007", 2).await?;
    // Another helper's session, which lives, is none of the sweeper's business.
    let other = Node::start().await?;
    let request = other.request(&["sh", "-c", &script("72008")]);
    let (_other_requests, mut other_answers) = other.open(request).await?;
    other_answers.message().await?.context("no answer")?;
    wait_for("72008", 2).await?;

    let cgroups = node.cgroups()?;
    assert_eq!(processes::cgroups(&cgroups)?.is_empty(), node.is_without_cgroups());
    node.helper.kill().await?;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!marked("72007")?.is_empty(), "the kernel alone ends all: no need to sweep");
    if node.is_without_cgroups() {
        ensure!(!rustix::process::geteuid().is_root(), "root can have a cgroup");
        return kill_marked("72007").await;
    }
    let run = tempfile::tempdir()?;
    let mut supervisor = Command::new(env!("CARGO_BIN_EXE_node-helper"))
        .arg("supervise")
        .env("KPEXEC_RUN_FOLDER", run.path())
        .env("KPEXEC_CRI_SOCKET", run.path().join("none"))
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    wait_for("72007", 0).await?;
    processes::wait_for_no_cgroup(&cgroups).await?;
    // Until the sweeper has done all it does.
    processes::wait_for_children(supervisor.id().context("it has ended")?, &[]).await?;
    supervisor.kill().await?;
    assert_eq!(marked("72008")?.len(), 2, "another session was hit");
    Ok(())
}
