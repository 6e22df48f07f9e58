//! What a target does to the processes of a running session: stops, limits and
//! signals them, and writes to their pipes (A40 and A43 of the threat model).

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use kpexec_protocol::Reason;
use rustix::process::{Pid, Signal, kill_process};

use crate::client::{Node, Outcome, collect};
use crate::fake_container::{DEFAULT, FakeContainer, Options, SYS_PTRACE};
use crate::naive::Naive;
use crate::observed::{children, inside, state_and_ticks, until};
use crate::race::Race;

/// How long anything may take that takes milliseconds on an idle machine. Shorter
/// than what ends a session in any case: its 20 s of farewell.
const SOON: Duration = Duration::from_secs(18);

fn kill(pid: i32) -> Result<()> {
    Ok(kill_process(Pid::from_raw(pid).context("a PID of 0")?, Signal::KILL)?)
}

#[tokio::test]
async fn t54_what_is_stopped_still_ends_with_its_client() -> Result<()> {
    let container = FakeContainer::hostile(&Options::hostile())?;
    let nsenter = Naive::new()?;
    let mut session = nsenter.command(&container, &["-a"], &["/bin/sleep", "20"]).spawn()?;
    until("it runs", SOON, || Ok(!inside(&container, "sleep")?.is_empty())).await?;
    container.run("kill -STOP $(busybox pidof sleep)")?;
    // timeout(1) and nsenter(1).
    kill(children(session.id().cast_signed())?[0])?;
    session.wait()?;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let left = inside(&container, "sleep")?;
    ensure!(left.len() == 1, "the attack is none: {left:?}");
    kill(left[0])?;
    until("it has ended", SOON, || Ok(inside(&container, "sleep")?.is_empty())).await?;

    let node = Node::around(container, &[]).await?;
    let (requests, mut answers) = node.open(node.request(&["sleep", "20"])).await?;
    answers.message().await?.context("no answer")?;
    let attack = node.container.spawn("exec pester kpexec-shim sleep")?;
    for name in ["kpexec-shim", "sleep"] {
        // Nothing of this takes a capability: what counts is what comes of it.
        attack.wait_for(&format!("{name}: 15 1 1"))?;
        let [pid] = inside(&node.container, name)?[..] else { anyhow::bail!("not one {name}") };
        until("it is stopped", SOON, || Ok(state_and_ticks(pid)?.0 == "T")).await?;
    }
    drop((requests, answers));
    let gone = || Ok(inside(&node.container, "sleep")?.is_empty());
    until("the session has ended", SOON, gone).await?;
    drop(attack);
    assert_eq!(node.output(&["echo", "alive"]).await?, "alive");
    Ok(())
}

#[tokio::test]
async fn t54_a_stopped_shim_does_not_hold_the_session() -> Result<()> {
    let node = Node::around(FakeContainer::hostile(&Options::hostile())?, &[]).await?;
    // Long enough to be stopped in time on a busy machine.
    let (_requests, mut answers) = node.open(node.request(&["sleep", "5"])).await?;
    answers.message().await?.context("no answer")?;
    let attack = node.container.run("kill -STOP $(busybox pidof kpexec-shim)")?;
    ensure!(attack.code == 0, "{}", attack.output);
    let begun = Instant::now();
    let outcome = collect(answers).await?;
    ensure!(begun.elapsed() < SOON, "it took {:?}", begun.elapsed());
    is_no_success(&outcome, "withheld")
}

fn is_no_success(outcome: &Outcome, because: &str) -> Result<()> {
    let failure =
        outcome.failure.as_ref().with_context(|| format!("a success: {:?}", outcome.code))?;
    assert_eq!(failure.reason(), Reason::Helper);
    ensure!(failure.message.contains(because), "{}", failure.message);
    assert_eq!((outcome.code, outcome.signal), (None, None));
    Ok(())
}

/// A container that may open the session's pipes.
async fn node_with_a_tracer() -> Result<Node> {
    let options = Options { capabilities: Some(DEFAULT | SYS_PTRACE), ..Options::hostile() };
    Node::around(FakeContainer::hostile(&options)?, &[]).await
}

/// What a session tells that is attacked while its command runs.
async fn attacked(node: &Node, argv: &[&str], attack: &str) -> Result<Outcome> {
    let (_requests, mut answers) = node.open(node.request(argv)).await?;
    answers.message().await?.context("no answer")?;
    let hit = node.container.run(&format!("forge kpexec-shim {attack}"))?;
    ensure!(hit.output.contains("pipes 1\n"), "the attack is none: {}", hit.output);
    let begun = Instant::now();
    let outcome = collect(answers).await?;
    ensure!(begun.elapsed() < SOON, "it took {:?}", begun.elapsed());
    ensure!(inside(&node.container, argv[0])?.is_empty(), "{} still runs", argv[0]);
    Ok(outcome)
}

#[tokio::test]
async fn t56_a_forged_exit_status_is_no_success() -> Result<()> {
    let node = node_with_a_tracer().await?;
    for attack in ["success", "noise"] {
        let mut race = Race::against(attack, 10);
        while race.goes_on() {
            let outcome = attacked(&node, &["sleep", "20"], attack).await?;
            is_no_success(&outcome, "forged")?;
        }
    }
    // Neither is what nobody forged any less true.
    let outcome = node.run(node.request(&["sh", "-c", "sleep 0.1; exit 7"]), b"").await?;
    assert_eq!(outcome.code, Some(7), "{:?}", outcome.failure);
    Ok(())
}

#[tokio::test]
async fn t56_a_stolen_exit_status_does_not_hold_the_session() -> Result<()> {
    let node = node_with_a_tracer().await?;
    let mut stolen = 0;
    for _ in 0..2 {
        let (_requests, mut answers) = node.open(node.request(&["sleep", "5"])).await?;
        answers.message().await?.context("no answer")?;
        let attack = node.container.spawn("exec forge kpexec-shim steal")?;
        attack.wait_for("pipes 1")?;
        let begun = Instant::now();
        let outcome = collect(answers).await?;
        ensure!(begun.elapsed() < SOON, "it took {:?}", begun.elapsed());
        if attack.stop()?.contains("stolen") {
            stolen += 1;
            is_no_success(&outcome, "withheld")?;
        } else {
            assert_eq!(outcome.code, Some(0), "{:?}", outcome.failure);
        }
    }
    println!("{stolen} statuses were stolen");
    Ok(())
}

#[tokio::test]
async fn t56_noise_in_every_pipe_breaks_nothing() -> Result<()> {
    let node = node_with_a_tracer().await?;
    let attack =
        node.container.spawn("while :; do forge kpexec-shim noise; forge sleep noise; done")?;
    attack.wait_for("pipes")?;
    let mut race = Race::against("kpexec", 20);
    let mut ended = [0; 3];
    while race.goes_on() {
        let outcome = node.run(node.request(&["sleep", "0.05"]), b"").await?;
        match (outcome.code, outcome.signal, &outcome.failure) {
            (Some(0), None, None) => ended[0] += 1,
            (None, None, Some(failure)) if failure.message.contains("forged") => ended[1] += 1,
            (None, None, Some(_)) => ended[2] += 1,
            (code, signal, _) => {
                anyhow::bail!("neither its own end nor a failure: {code:?} {signal:?}")
            }
        }
    }
    println!("{} of their own, {} forged, {} other failures", ended[0], ended[1], ended[2]);
    drop(attack);
    assert_eq!(node.output(&["echo", "alive"]).await?, "alive");
    Ok(())
}
