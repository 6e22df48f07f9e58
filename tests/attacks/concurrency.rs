//! Sessions side by side: what they have of each other, what others can reach
//! of them, and what is left when many of them are cut short (A42 and A44 of the
//! threat model).

use std::fs;
use std::io::Read as _;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use kpexec_protocol::{Identity, Start};
use rustix::process::{Pid, Signal, kill_process};

use crate::client::{Node, exactly, terminal};
use crate::confined::{Confined, Limit};
use crate::fake_container::{DEFAULT, FakeContainer, Options};
use crate::naive::Naive;
use crate::observed::{children, descriptors, inside, until};
use crate::race::Race;

/// Shorter than what ends a session in any case: its 20 s of farewell.
const SOON: Duration = Duration::from_secs(18);
const NET_ADMIN: u64 = 1 << 12;

#[tokio::test]
async fn t57_nothing_of_ours_listens() -> Result<()> {
    let container = FakeContainer::hostile(&Options::hostile())?;
    let network = format!("--net=/proc/{}/ns/net", container.pid);
    let nsenter = Naive::new()?;
    let up = nsenter.run(&container, &["-n"], &["/bin/busybox", "ifconfig", "lo", "up"])?;
    ensure!(up.status.success(), "{up:?}");
    // A helper with a socket of either kind.
    let mut listener = nsenter.command(&container, &["-a"], &["/attacks/knock", "listen"]);
    let mut listener = listener.stdout(Stdio::piped()).spawn()?;
    let mut ready = [0; 6];
    listener.stdout.as_mut().context("no stdout")?.read_exact(&mut ready)?;
    let found = container.run("knock")?.output;
    for line in ["@control: answers", "port 4242 answers", "tried 65535"] {
        ensure!(found.lines().any(|found| found == line), "the attack is none: {found}");
    }
    kill_process(Pid::from_raw(inside(&container, "knock")?[0]).context("no PID")?, Signal::KILL)?;
    listener.wait()?;

    // As with hostNetwork: the helper starts in the container's network.
    let sharing = ["nsenter".to_owned(), network];
    let node = Node::around(container, &sharing).await?;
    let mut request = node.request(&["sleep", "20"]);
    request.terminal = Some(terminal(24, 80));
    let (_requests, mut answers) = node.open(request).await?;
    answers.message().await?.context("no answer")?;
    assert_eq!(node.container.run("knock")?.output, "tried 65535\n");
    Ok(())
}

/// A session that a test looks at from another.
fn looked_at(node: &Node, identity: Identity) -> Start {
    Start {
        identity: Some(identity),
        terminal: Some(terminal(24, 80)),
        ..node.request(&["sleep", "20"])
    }
}

/// What a session with this identity has of one that runs `sleep`: its terminal,
/// its tools.
async fn has(node: &Node, identity: Identity) -> Result<[bool; 2]> {
    let take = "/.kpexec/attacks/reopen sleep; ls /proc/[0-9]*/root/.kpexec/bin/sh; ps -o pid,comm";
    let request = Start { identity: Some(identity), ..node.request(&["sh", "-c", take]) };
    let said = node.run(request, b"").await?.text();
    let sleep = said.lines().find_map(|line| line.trim().strip_suffix(" sleep"));
    let sleep = sleep.with_context(|| format!("it is not there: {said}"))?.trim();
    let opened = said.contains("0 opened\n1 opened\n2 opened\n");
    ensure!(opened || said.contains("0 refused\n1 refused\n2 refused\n"), "{said}");
    Ok([opened, said.contains(&format!("/proc/{sleep}/root/"))])
}

#[tokio::test]
async fn t60_operators_have_nothing_of_each_other() -> Result<()> {
    let container = FakeContainer::hostile(&Options::hostile())?;
    let nsenter = Naive::new()?;
    let mut other = nsenter.command(&container, &["-a"], &["/bin/sleep", "20"]);
    let mut other = other.stdout(Stdio::piped()).spawn()?;
    until("it runs", SOON, || Ok(!inside(&container, "sleep")?.is_empty())).await?;
    let taken = nsenter.run(&container, &["-a"], &["/attacks/reopen", "sleep"])?.stdout;
    other.kill()?;
    other.wait()?;
    ensure!(String::from_utf8(taken)?.contains("1 opened"), "the attack is none");
    drop(container);

    // In a cgroup of its own, as a pod is: what shields a session is what none of
    // the pod's processes holds, and sessions are not among them.
    let cgroup = Confined::to(Limit::Processes(64))?;
    let container = FakeContainer::hostile(&Options::hostile())?;
    cgroup.take(container.pid)?;
    let node = Node::around(container, &[]).await?;
    let (nobody, equal) = (exactly(2000, 2000, 0), exactly(1000, 1000, 0));
    let (more, less) = (exactly(0, 0, DEFAULT | NET_ADMIN), exactly(0, 0, DEFAULT));
    for (victim, attacker, wanted) in [
        (&equal, &nobody, [false; 2]),
        (&nobody, &equal, [false; 2]),
        (&more, &less, [false; 2]),
        (&more, &nobody, [false; 2]),
        (&less, &more, [false; 2]),
        // The limit: who is another's equal has what that one has.
        (&equal, &equal, [true; 2]),
        (&less, &less, [true; 2]),
    ] {
        let (requests, mut answers) = node.open(looked_at(&node, victim.clone())).await?;
        answers.message().await?.context("no answer")?;
        let found = has(&node, attacker.clone()).await?;
        assert_eq!(found, wanted, "{attacker:?} of {victim:?}");
        drop((requests, answers));
        until("it has ended", SOON, || Ok(inside(&node.container, "sleep")?.is_empty())).await?;
    }
    Ok(())
}

/// Starts a session, and cuts it at a random moment: before it is looked at,
/// while it is entered, or while it runs.
async fn cut(node: &Node, random: u64) -> Result<()> {
    let script = match random % 16 {
        0 => "trap '' HUP; sleep 20 & busybox setsid sleep 20 & sleep 20",
        1..6 => "true",
        6..11 => "sleep 20 & sleep 20",
        _ => "busybox yes",
    };
    let mut request = node.request(&["sh", "-c", script]);
    request.terminal = (random & 16 != 0).then(|| terminal(24, 80));
    request.stdin = random & 32 != 0;
    let moment = Duration::from_micros(random >> 6 & 0x7fff);
    // Heard, but no more: HTTP/2 servers take many calls that are withdrawn
    // unheard for an attack (CVE-2023-44487), and end the connection.
    let (_requests, mut answers) = node.open(request).await?;
    let session = async {
        while answers.message().await?.is_some() {}
        anyhow::Ok(())
    };
    match tokio::time::timeout(moment, session).await {
        Ok(ended) => ended,
        Err(_cut) => Ok(()),
    }
}

/// Mounts of a process's mount namespace.
fn mounts(pid: i32) -> Result<String> {
    Ok(fs::read_to_string(format!("/proc/{pid}/mounts"))?)
}

#[tokio::test]
async fn a_session_cut_at_any_moment_leaves_nothing() -> Result<()> {
    let container = FakeContainer::hostile(&Options::hostile())?;
    // In mounts of its own, as the helper pod is: those of the node change.
    let own_mounts = ["unshare", "--mount", "--propagation=private"].map(str::to_owned);
    let node = Node::around(container, &own_mounts).await?;
    let helper = node.helper.id().context("the helper has ended")?.cast_signed();
    // Once, for what is opened when it is first needed.
    node.output(&["true"]).await?;
    let settled = || Ok(children(helper)?.is_empty());
    until("the first has ended", SOON, settled).await?;
    // And all that it had open is closed.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let target = node.container.pid;
    let before = (descriptors(helper)?, mounts(helper)?, mounts(target)?);

    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let mut race = Race::against("kpexec, four sessions each", 50);
    while race.goes_on() {
        let [a, b, c, d] = [(); 4].map(|()| cut(&node, random.u64(..)));
        let (a, b, c, d) = tokio::join!(a, b, c, d);
        a.and(b).and(c).and(d)?;
    }
    drop(race);
    // Whoever ignores a hang-up has 2 s, and 2 s more to be terminated.
    until("all have ended", SOON, settled).await?;
    for name in ["sleep", "sh", "busybox", "kpexec-shim"] {
        assert_eq!(inside(&node.container, name)?, [0; 0], "{name}");
    }
    until("descriptors", SOON, || Ok(descriptors(helper)? <= before.0)).await?;
    assert_eq!((descriptors(helper)?, mounts(helper)?, mounts(target)?), before);
    assert_eq!(node.output(&["echo", "alive"]).await?, "alive");
    Ok(())
}
