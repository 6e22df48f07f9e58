//! What a target does to itself, and to whoever has to wait for it: frozen,
//! stopped, out of processes, out of memory, ended (A36, A38 and A41 of the
//! threat model). Sessions stay in the helper's cgroup, with every profile, so
//! none of it reaches them.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use kpexec_protocol::server_message::Kind as Answer;
use kpexec_protocol::{Identity, Profile};
use rustix::process::{Pid, Signal, kill_process};

use crate::client::{Node, collect};
use crate::confined::{Confined, Limit};
use crate::fake_container::{FakeContainer, Options};
use crate::naive::Naive;
use crate::observed::{children, inside, state_and_ticks, until};

/// How long anything may take that takes milliseconds on an idle machine. Shorter
/// than what ends a session in any case: its 20 s of farewell.
const SOON: Duration = Duration::from_secs(18);

fn signal(pid: i32, signal: Signal) -> Result<()> {
    Ok(kill_process(Pid::from_raw(pid).context("a PID of 0")?, signal)?)
}

/// Sessions of both kinds, elevated and confined as the target is, run a
/// command that starts others.
async fn sessions_open(node: &Node) -> Result<()> {
    for profile in [Profile::General, Profile::Target] {
        let begun = Instant::now();
        let mut request = node.request(&["sh", "-c", "echo in | cat"]);
        request.identity = Some(Identity { profile: profile.into(), ..Identity::default() });
        let outcome = node.run(request, b"").await?;
        let took = begun.elapsed();
        assert_eq!(outcome.text(), "in", "{profile:?}: {:?}", outcome.failure);
        ensure!(took < SOON, "{profile:?} took {took:?}");
    }
    Ok(())
}

#[tokio::test]
async fn t48_a_frozen_container_is_entered() -> Result<()> {
    let cgroup = Confined::to(Limit::Freezer)?;
    let container = FakeContainer::hostile(&Options::hostile())?;
    cgroup.take(container.pid)?;
    let node = Node::around(container, &[]).await?;
    let clock = node.container.spawn("while :; do echo tick; busybox usleep 5000; done")?;
    clock.wait_for("tick")?;
    let frozen = cgroup.freeze()?;
    let stood = clock.report()?;
    // As runtimes do it: a session that joins the target's cgroup.
    let joining = Naive::through(&cgroup.wrapper())?;
    let mut stuck = joining.command(&node.container, &["-a"], &["/bin/busybox", "true"]).spawn()?;
    tokio::time::sleep(Duration::from_millis(200)).await;
    ensure!(stuck.try_wait()?.is_none(), "the attack is none: {:?}", stuck.wait());

    sessions_open(&node).await?;
    assert_eq!(clock.report()?, stood, "it was not frozen");
    drop(frozen);
    ensure!(stuck.wait()?.success(), "it was stuck for another reason");
    Ok(())
}

/// Stopped processes; dropped, they go on.
struct Stopped(Vec<i32>);

impl Stopped {
    fn all(pids: Vec<i32>) -> Result<Self> {
        let stopped = Self(pids);
        stopped.0.iter().try_for_each(|pid| signal(*pid, Signal::STOP))?;
        Ok(stopped)
    }

    fn still(&self) -> Result<bool> {
        let states = self.0.iter().map(|pid| state_and_ticks(*pid));
        Ok(states.collect::<Result<Vec<_>>>()?.iter().all(|(state, _)| state == "T"))
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        for pid in &self.0 {
            let _ended = signal(*pid, Signal::CONT);
        }
    }
}

#[tokio::test]
async fn t48_a_stopped_container_is_entered() -> Result<()> {
    let node = Node::around(FakeContainer::hostile(&Options::hostile())?, &[]).await?;
    let _other = node.container.spawn("exec sleep 20")?;
    until("it runs", SOON, || Ok(!inside(&node.container, "sleep")?.is_empty())).await?;
    let all = [vec![node.container.pid], inside(&node.container, "sleep")?].concat();
    let stopped = Stopped::all(all)?;
    until("it is stopped", SOON, || stopped.still()).await?;
    sessions_open(&node).await?;
    ensure!(stopped.still()?, "something has let it go on");
    Ok(())
}

#[tokio::test]
async fn t49_a_fork_bomb_leaves_room_for_a_session() -> Result<()> {
    let cgroup = Confined::to(Limit::Processes(64))?;
    let container = FakeContainer::hostile(&Options::hostile())?;
    cgroup.take(container.pid)?;
    let node = Node::around(container, &[]).await?;
    let attack = node.container.spawn("exec /attacks/bomb")?;
    until("64 processes", SOON, || Ok(cgroup.processes()?.len() == 64)).await?;
    let joining = Naive::through(&cgroup.wrapper())?;
    let refused = joining.run(&node.container, &["-a"], &["/bin/busybox", "true"])?;
    ensure!(!refused.status.success(), "the attack is none");

    sessions_open(&node).await?;
    ensure!(cgroup.processes()?.len() >= 64, "the bomb has ended");
    drop(attack);
    Ok(())
}

#[tokio::test]
async fn t49_a_container_out_of_memory_leaves_room_for_a_session() -> Result<()> {
    let cgroup = Confined::to(Limit::MebiBytes(64))?;
    let container = FakeContainer::hostile(&Options::hostile())?;
    cgroup.take(container.pid)?;
    let node = Node::around(container, &[]).await?;
    let attack = node.container.spawn("while :; do hog; echo killed $?; done")?;
    attack.wait_for("killed 137")?;
    // More than the target may have.
    let work = ["/bin/busybox", "dd", "if=/dev/zero", "of=/dev/null", "bs=100M", "count=1"];
    let killed = Naive::through(&cgroup.wrapper())?.run(&node.container, &["-a"], &work)?;
    ensure!(!killed.status.success(), "the attack is none");

    let before = attack.report()?.len();
    sessions_open(&node).await?;
    let outcome = node.run(node.request(&work), b"").await?;
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    until("killed again", SOON, || Ok(attack.report()?.len() > before)).await
}

/// As kubelet does for a pod without requests.
fn best_effort(container: &FakeContainer) -> Result<()> {
    Ok(std::fs::write(format!("/proc/{}/oom_score_adj", container.pid), "1000")?)
}

/// Takes all memory, in pieces smaller than the helper.
const CROWD: [&str; 2] = ["/.kpexec/attacks/hog", "100"];

#[tokio::test]
async fn t50_a_session_that_takes_all_memory_dies_first() -> Result<()> {
    let target_limit = Confined::to(Limit::MebiBytes(64))?;
    let mut victim = FakeContainer::hostile(&Options::hostile())?;
    target_limit.take(victim.pid)?;
    best_effort(&victim)?;
    let joining = Naive::through(&target_limit.wrapper())?;
    joining.run(&victim, &["-a"], &["/attacks/hog", CROWD[1]])?;
    ensure!(victim.ends_within(SOON)?, "the attack is none");

    let helper_limit = Confined::to(Limit::MebiBytes(128))?;
    let container = FakeContainer::hostile(&Options::hostile())?;
    target_limit.take(container.pid)?;
    best_effort(&container)?;
    let node = Node::around(container, &helper_limit.wrapper()).await?;
    let outcome = node.run(node.request(&["/.kpexec/attacks/hog"]), b"").await?;
    assert_eq!(outcome.signal, Some(9), "{outcome:?}");
    assert_eq!(node.container.run("true")?.code, 0);

    let (requests, mut answers) = node.open(node.request(&CROWD)).await?;
    let mut killed = 0;
    // Memory is reclaimed before anybody is killed, which takes its time.
    let patience = Duration::from_secs(30);
    while killed < 20 {
        let next = tokio::time::timeout(patience, answers.message()).await??;
        let next = next.with_context(|| format!("it ended after {killed} were killed"))?;
        killed += usize::from(matches!(next.kind, Some(Answer::Stdout(_))));
    }
    drop((requests, answers));
    until("the crowd has ended", SOON, || Ok(inside(&node.container, "hog")?.is_empty())).await?;
    sessions_open(&node).await
}

#[tokio::test]
async fn t52_a_container_ends_whoever_does_not_read() -> Result<()> {
    let mut container = FakeContainer::hostile(&Options::hostile())?;
    let naive = Naive::new()?;
    let mut session = naive.command(&container, &["-a"], &["/bin/sleep", "20"]).spawn()?;
    until("it runs", SOON, || Ok(!inside(&container, "sleep")?.is_empty())).await?;
    // timeout(1), nsenter(1), and the command, which is nsenter's to reap.
    let nsenter = children(session.id().cast_signed())?[0];
    signal(nsenter, Signal::STOP)?;
    // Woken by the signal, it would still reap what has ended by then.
    until("nsenter stands still", SOON, || Ok(state_and_ticks(nsenter)?.0 == "T")).await?;
    signal(container.pid, Signal::KILL)?;
    let held_up = !container.ends_within(Duration::from_millis(300))?;
    signal(nsenter, Signal::CONT)?;
    ensure!(held_up, "the attack is none");
    ensure!(container.ends_within(SOON)?, "it was held up by something else");
    session.wait()?;

    let container = FakeContainer::hostile(&Options::hostile())?;
    let mut node = Node::around(container, &[]).await?;
    let (_requests, mut answers) = node.open(node.request(&["busybox", "yes"])).await?;
    answers.message().await?.context("no answer")?;
    tokio::time::sleep(Duration::from_millis(300)).await;
    // From here on this thread reads nothing, not even what concerns the
    // connection.
    let begun = Instant::now();
    signal(node.container.pid, Signal::KILL)?;
    // Shorter than the helper's 5 s for processes that do not go.
    ensure!(node.container.ends_within(Duration::from_secs(4))?, "its end is held up");
    println!("the container ended after {:?}", begun.elapsed());
    let outcome = collect(answers).await?;
    let failure = outcome.failure.context("no failure was told")?;
    ensure!(failure.message.contains("the container stopped"), "{}", failure.message);
    assert_eq!((outcome.code, outcome.signal), (None, None));
    Ok(())
}

#[tokio::test]
async fn a_soft_limit_on_open_files_does_not_bind_the_helper() -> Result<()> {
    // A session takes more.
    let wrapper = ["prlimit", "--nofile=24:4096"].map(str::to_owned);
    let node = Node::around(FakeContainer::start()?, &wrapper).await?;
    sessions_open(&node).await
}
