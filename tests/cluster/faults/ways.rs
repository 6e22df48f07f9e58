//! The same faults, where the session came by another way: through the background
//! process of `--share`, or back to one that was kept.

use std::io::Read as _;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use tests::command::{kpexec, run, signal, wait};
use tests::faults::{Cut, Killed};
use tests::{BOTH_NODES, Client, Namespace};

use super::session::{LIMIT, Session};
use super::{Role, alone, processes_of};

#[test]
#[ignore = "needs the cluster to itself: cargo xtask test runs it last"]
fn a_fault_is_told_where_connections_are_shared() -> Result<()> {
    let _alone = alone();
    let (helpers, folder) = (Namespace::for_helpers("shared-fault")?, tempfile::tempdir()?);
    let flags = ["--share=5s", "--keepalive=6s", "--helper-namespace", helpers.name()];
    let share = |command: &mut Command| {
        command.env("XDG_RUNTIME_DIR", folder.path());
    };
    let again = |pod: &str, what: &str| -> Result<()> {
        let mut command = kpexec(&[&flags[..], &[pod, "--", "true"]].concat());
        share(&mut command);
        let next = run(command, b"")?;
        assert_eq!((next.code(), next.stderr.as_str()), (0, ""), "{pod}: after {what}");
        Ok(())
    };
    for (number, node, pod) in [(0, "node1", BOTH_NODES[0]), (1, "node2", BOTH_NODES[1])] {
        for (role, what, mark) in [
            (Role::Serving, "the helper's process for it was killed", 87_110),
            (Role::Main, "the helper's container was killed", 87_112),
        ] {
            let mut session = Session::begin_by(pod, mark + number, &flags, share)?;
            let processes = processes_of(&helpers, role)?;
            let fault = Instant::now();
            for pid in processes {
                signal(pid, Signal::KILL)?;
            }
            session.ends_by(fault, what)?;
            session.leaves_nothing(fault)?;
        }
        let mut session = Session::begin_by(pod, 87_114 + number, &flags, share)?;
        let fault = Instant::now();
        let killed = Killed::part(&format!("{node}-runtime"))?;
        let what = format!("the container runtime of node {node} was restarted or is gone");
        session.ends_by(fault, &what)?;
        session.leaves_nothing(fault)?;
        drop(killed);
        again(pod, &what)?;
    }
    Ok(())
}

#[test]
#[ignore = "needs the cluster to itself: cargo xtask test runs it last"]
fn a_fault_is_told_to_who_came_back() -> Result<()> {
    let _alone = alone();
    let client = Client::new("attached-fault")?;
    for (number, pod) in (0..).zip(BOTH_NODES) {
        let flags = ["--linger=60s", "--helper-namespace", client.helpers.name()];
        let mut session =
            Session::begin_by(pod, 87_120 + number, &flags, |command| client.configure(command))?;
        // The helper has to hear that a client is there, or it waits for none.
        sleep(Duration::from_secs(1));
        session.client.kill()?;
        session.client.wait()?;
        session.client = client.start(&["attach", &client.session("lost")?])?;
        client.session("attached")?;
        let processes = processes_of(&client.helpers, Role::Main)?;
        let fault = Instant::now();
        for pid in processes {
            signal(pid, Signal::KILL)?;
        }
        session.ends_by(fault, "the helper's container was killed")?;
        session.leaves_nothing(fault)?;
    }
    Ok(())
}

/// Longer than the client waits for a helper that is silent.
const DOWN: Duration = Duration::from_secs(16);

#[test]
#[ignore = "needs the cluster to itself: cargo xtask test runs it last"]
fn a_session_that_lingers_survives_a_link_that_is_cut() -> Result<()> {
    let _alone = alone();
    let client = Client::new("lingers")?;
    let script = "for n in $(seq 200); do echo $n; sleep 0.2; done; exit 7";
    let whole: String = (1..=200).map(|n| format!("{n}\n")).collect();
    // At the same time: both have to run when the links are cut.
    let started = BOTH_NODES.map(|pod| {
        let flags = ["--linger=300s", "--keepalive=6s"];
        (pod, client.start(&[&flags[..], &[pod, "--", "sh", "-c", script]].concat()))
    });
    let mut begun = Vec::new();
    for (pod, first) in started {
        let (mut first, mut shown) = (first?, vec![0; 2]);
        first.stdout.as_mut().context("no stdout")?.read_exact(&mut shown)?;
        begun.push((pod, client.session_in(pod, "attached")?, first, shown));
    }
    let (cut, since) = (Cut::both()?, Instant::now());
    for (pod, name, first, shown) in &mut begun {
        let status = wait(first, LIMIT.saturating_sub(since.elapsed()))?;
        let (mut rest, mut said) = (Vec::new(), String::new());
        first.stdout.as_mut().context("no stdout")?.read_to_end(&mut rest)?;
        first.stderr.as_mut().context("no stderr")?.read_to_string(&mut said)?;
        shown.extend(rest);
        assert_eq!(status.code(), Some(125), "{pod}: {said}");
        ensure!(said.contains("its network is cut"), "{pod}: {said}");
        let way = format!("kpexec attach --helper-namespace {}", client.helpers.name());
        let way_back = format!("the session is kept for 300 s: {way} {name}");
        ensure!(said.contains(&way_back), "{pod}: not {way_back:?}: {said}");
    }
    sleep(DOWN.saturating_sub(since.elapsed()));
    drop(cut);
    for (pod, name, _, mut shown) in begun {
        let second = run(client.kpexec(&["attach", &name]), b"")?;
        assert_eq!((second.code(), second.stderr.as_str()), (7, ""), "{pod}");
        shown.extend(second.stdout);
        assert_eq!(String::from_utf8_lossy(&shown), whole, "{pod}");
    }
    Ok(())
}
