//! What can be had of the entering process at the moment of entry (A6 of the
//! threat model).

use std::process::Command;

use anyhow::{Context, Result, ensure};
use kpexec_protocol::{Identity, Profile};

use crate::client::{GENERAL, Node, exactly};
use crate::fake_container::{DEFAULT, FakeContainer, Options, SYS_PTRACE};
use crate::inside::Running;
use crate::naive::Naive;
use crate::programs::programs;
use crate::race::Race;
use crate::strace::Strace;

/// One line of `grab.c` about something that could be opened.
#[derive(Debug)]
struct Opened<'r> {
    what: &'r str,
    name: &'r str,
    capabilities: u64,
    link: &'r str,
}

impl<'r> Opened<'r> {
    fn all(report: &'r str) -> Result<Vec<Self>> {
        report.lines().filter_map(|line| line.strip_prefix("opened ")).map(Self::read).collect()
    }

    /// `WHAT of NAME with CAPABILITIES: LINK`
    fn read(line: &'r str) -> Result<Self> {
        let (what, rest) = line.split_once(" of ").context("no name")?;
        let (name, rest) = rest.split_once(" with ").context("no capabilities")?;
        let (capabilities, link) = rest.split_once(": ").context("no link")?;
        let capabilities = u64::from_str_radix(capabilities, 16)?;
        Ok(Self { what, name, capabilities, link })
    }

    /// Whether it is a descriptor that is neither stdin, stdout nor stderr of a
    /// session without a terminal nor a pipe to `serve`.
    fn is_strange_descriptor(&self) -> bool {
        self.what.starts_with("fd/") && !["/dev/null", "pipe:"].contains(&self.link)
    }
}

/// Sessions as short as they can be while an attack still sees the command. It has
/// to report this once, or they prove nothing.
async fn short_sessions(
    node: &Node,
    identity: &Identity,
    attack: &Running<'_>,
    wanted: &str,
) -> Result<()> {
    let mut race = Race::against("kpexec", 300);
    while race.goes_on_until(attack.report()?.contains(wanted)) {
        let mut request = node.request(&["sleep", "0.01"]);
        request.identity = Some(identity.clone());
        let outcome = node.run(request, b"").await?;
        ensure!(outcome.code == Some(0), "{:?}", outcome.failure);
    }
    Ok(())
}

#[tokio::test]
async fn t11_nothing_more_than_the_session_can_be_had() -> Result<()> {
    let node = Node::around(FakeContainer::hostile(&Options::hostile())?, &[]).await?;
    let attack = node.container.spawn("exec /attacks/grab")?;
    attack.wait_for("ready")?;
    let parity = Identity { profile: Profile::Target.into(), ..Identity::default() };
    short_sessions(&node, &parity, &attack, " of sleep with ").await?;
    let report = attack.stop()?;
    let opened = Opened::all(&report)?;
    // There the command itself is an equal, and no secret of ours.
    ensure!(opened.iter().any(|found| found.name == "sleep"), "the attack is none: {report}");
    for found in &opened {
        assert_eq!(found.capabilities & !DEFAULT, 0, "{found:?}");
        assert!(!found.link.starts_with("/memfd"), "{found:?}");
        assert!(!found.is_strange_descriptor(), "{found:?}");
    }

    // The container's own capabilities, and so the shield.
    let attack = node.container.spawn("exec /attacks/grab")?;
    attack.wait_for("ready")?;
    short_sessions(&node, &exactly(0, 0, DEFAULT), &attack, "saw sleep").await?;
    let report = attack.stop()?;
    ensure!(report.contains("saw sleep"), "{report}");
    ensure!(Opened::all(&report)?.is_empty(), "{report}");
    Ok(())
}

/// Holds every execve(2) up for a second, where it has not begun yet.
const DELAYED: [&str; 4] = ["-e", "trace=execve", "-e", "inject=execve:delay_enter=1000000"];

#[tokio::test]
async fn t12_the_process_that_is_about_to_execute_is_closed() -> Result<()> {
    let container = FakeContainer::hostile(&Options::hostile())?;
    // The same victim with and without protection.
    let pid = container.pid.to_string();
    for (dumpable, wanted) in [("1", true), ("0", false)] {
        let attack = container.spawn("exec /attacks/grab")?;
        attack.wait_for("ready")?;
        let entrant = programs()?.join("entrant");
        let capabilities = format!("{DEFAULT:x}");
        Command::new(entrant).args([&pid, &capabilities, dumpable]).status()?;
        let report = attack.stop()?;
        ensure!(report.contains("saw entrant"), "{report}");
        for what in ["exe", "root", "cwd", "mem", "fd/3"] {
            let opened = report.contains(&format!("opened {what} of entrant"));
            assert_eq!(opened, wanted, "{what} with dumpable {dumpable}: {report}");
        }
    }

    let node = Node::around(container, &[]).await?;
    let delayed = Strace::attach(node.helper.id().context("it has ended")?, &DELAYED)?;
    let attack = node.container.spawn("exec /attacks/grab")?;
    attack.wait_for("ready")?;
    let mut request = node.request(&["/.kpexec/bin/sleep", "0.1"]);
    request.identity = Some(exactly(0, 0, DEFAULT));
    let outcome = node.run(request, b"").await?;
    let report = attack.stop()?;
    assert_eq!(outcome.code, Some(0), "{:?}", outcome.failure);
    let log = delayed.stop()?;
    let held_up = |line: &str| line.contains("/.kpexec/bin/sleep") && line.contains("DELAYED");
    ensure!(log.lines().any(held_up), "it was not held up: {log}");
    ensure!(report.contains("saw kpexec-shim"), "{report}");
    let ours: Vec<_> =
        Opened::all(&report)?.into_iter().filter(|found| found.name != "sleep").collect();
    ensure!(ours.is_empty(), "{ours:?}");
    Ok(())
}

#[tokio::test]
async fn t13_a_container_that_may_ptrace_gets_no_more() -> Result<()> {
    let options = Options { capabilities: Some(DEFAULT | SYS_PTRACE), ..Options::hostile() };
    let container = FakeContainer::hostile(&options)?;
    let attack = container.spawn("exec /attacks/grab")?;
    attack.wait_for("ready")?;
    let beyond = |found: &Opened<'_>| found.capabilities & !GENERAL != 0;
    let nsenter = Naive::new()?;
    let mut race = Race::against("nsenter", 2000);
    while !Opened::all(&attack.report()?)?.iter().any(beyond) && race.goes_on_until(false) {
        nsenter.run(&container, &["-a"], &["/bin/busybox", "true"])?;
    }
    drop(race);
    let report = attack.stop()?;
    ensure!(Opened::all(&report)?.iter().any(beyond), "the attack is none: {report}");

    let node = Node::around(container, &[]).await?;
    let attack = node.container.spawn("exec /attacks/grab")?;
    attack.wait_for("ready")?;
    short_sessions(&node, &Identity::default(), &attack, " of kpexec-shim with ").await?;
    let report = attack.stop()?;
    let opened = Opened::all(&report)?;
    ensure!(opened.iter().any(|found| found.name == "kpexec-shim"), "the attack is none: {report}");
    for found in &opened {
        assert!(!beyond(found), "{found:?}");
        assert!(!found.is_strange_descriptor(), "{found:?}");
    }
    let programs = opened.iter().filter(|found| found.what == "exe").map(|found| found.link);
    for program in programs {
        let known = program.starts_with("/memfd:kpexec") || program.ends_with("/bin/busybox");
        assert!(known, "{program} is no program of the session");
    }
    Ok(())
}
