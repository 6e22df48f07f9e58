//! What the entering process could bring with it into the session, and leave
//! for others to find (A7 to A13 of the threat model).

use std::fs::{self, File};
use std::io::{Seek as _, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use rustix::fs::{FlockOperation, flock};

use crate::client::{Node, collect};
use crate::fake_container::{DEFAULT, FakeContainer, Options, SYS_PTRACE};
use crate::naive::Naive;
use crate::programs::programs;
use crate::race::Race;

/// A parent that leaves this to the program it starts.
fn legacy(what: &str) -> Result<Vec<String>> {
    let program = programs()?.join("legacy").display().to_string();
    Ok(vec![program, what.to_owned(), "--".to_owned()])
}

#[tokio::test]
async fn t14_no_descriptor_leaks_into_the_session() -> Result<()> {
    let container = FakeContainer::hostile(&Options::hostile())?;
    let naive = Naive::through(&legacy("descriptors")?)?;
    let open = naive.run(&container, &["-a"], &["busybox", "ls", "/proc/self/fd"])?.stdout;
    assert!(String::from_utf8(open)?.lines().count() > 50, "nsenter passes them on");
    let host = naive.run(&container, &["-a"], &["/bin/ls", "/proc/self/fd/9/"])?.stdout;
    assert!(String::from_utf8(host)?.contains("debian_version"), "and so the node's /etc");

    let node = Node::around(container, &legacy("descriptors")?).await?;
    let open = node.output(&["ls", "/proc/self/fd"]).await?;
    // 3 is the folder that ls itself reads.
    assert_eq!(open.split_ascii_whitespace().collect::<Vec<_>>(), ["0", "1", "2", "3"]);
    Ok(())
}

/// The container, and in it an attack on stdin, stdout and stderr of `sleep`.
fn reopened(container: &FakeContainer) -> Result<String> {
    Ok(container.run("reopen sleep")?.output)
}

#[tokio::test]
async fn t18_streams_opened_anew_hold_nothing_of_the_node() -> Result<()> {
    // With that capability they can be opened at all.
    let options = Options { capabilities: Some(DEFAULT | SYS_PTRACE), ..Options::hostile() };
    let container = FakeContainer::hostile(&options)?;
    let file = tempfile::NamedTempFile::new()?;
    fs::write(file.path(), "what was there before")?;
    let output = fs::OpenOptions::new().append(true).open(file.path())?;
    let nsenter = Naive::new()?;
    let mut command = nsenter.command(&container, &["-a"], &["/bin/sleep", "60"]);
    let mut session = command.stdout(output).spawn()?;
    container.run("while ! reopen sleep | busybox grep -q regular; do :; done")?;
    let report = reopened(&container)?;
    ensure!(report.contains("1 regular: what was there before"), "the attack is none: {report}");
    container.run("kill $(busybox pidof sleep)")?;
    session.wait()?;

    for (container, wanted) in
        [(container, "opened"), (FakeContainer::hostile(&Options::hostile())?, "refused")]
    {
        let node = Node::around(container, &[]).await?;
        let (requests, mut answers) = node.open(node.request(&["sleep", "20"])).await?;
        answers.message().await?.context("no answer")?;
        let report = reopened(&node.container)?;
        assert_eq!(report, format!("0 {wanted}\n1 {wanted}\n2 {wanted}\n"));
        drop((requests, answers));
    }
    Ok(())
}

/// The machine's core_pattern changed; dropped, it is what it was. Locked, so
// that test runs side by side wait for each other.
struct CorePattern {
    file: File,
    before: String,
}

impl CorePattern {
    fn set(pattern: &str) -> Result<Self> {
        let mut file = File::options().read(true).write(true).open(CORE_PATTERN)?;
        flock(&file, FlockOperation::LockExclusive)?;
        let before = fs::read_to_string(CORE_PATTERN)?;
        file.write_all(pattern.as_bytes())?;
        Ok(Self { file, before })
    }
}

impl Drop for CorePattern {
    fn drop(&mut self) {
        let restored =
            self.file.rewind().and_then(|()| self.file.write_all(self.before.as_bytes()));
        restored.expect("it could be written before");
    }
}

const CORE_PATTERN: &str = "/proc/sys/kernel/core_pattern";

/// Where a dump of a container's process would be found.
struct Dump {
    core: PathBuf,
    /// Written by `record_core.c`.
    record: PathBuf,
    pid_namespace: PathBuf,
}

impl Dump {
    fn of(container: &FakeContainer, record: &Path) -> Result<Self> {
        let pid_namespace = fs::read_link(format!("/proc/{}/ns/pid", container.pid))?;
        Ok(Self { core: container.path("/tmp/core"), record: record.to_owned(), pid_namespace })
    }

    fn exists(&self) -> bool {
        // Others on this machine may crash, too.
        let record = fs::read_to_string(&self.record).unwrap_or_default();
        let own = |line: &str| Path::new(line) == self.pid_namespace;
        self.core.exists() || record.lines().any(own)
    }
}

#[tokio::test]
async fn t19_no_core_file_is_written() -> Result<()> {
    let record = tempfile::NamedTempFile::new()?;
    crash("core", record.path()).await
}

#[tokio::test]
async fn t19_no_core_is_piped() -> Result<()> {
    let record = tempfile::NamedTempFile::new()?;
    let recorder = programs()?.join("record_core");
    crash(&format!("|{} {} %P", recorder.display(), record.path().display()), record.path()).await
}

/// Crashes sessions, and our own process inside, and looks for their dumps.
async fn crash(pattern: &str, record: &Path) -> Result<()> {
    let unlimited = ["prlimit", "--core=unlimited:unlimited"].map(str::to_owned);
    let crash = ["/bin/busybox", "sh", "-c", "cd /tmp; kill -SEGV $$"];
    let _pattern = CorePattern::set(pattern)?;
    let container = FakeContainer::hostile(&Options::hostile())?;
    let dump = Dump::of(&container, record)?;
    Naive::through(&unlimited)?.run(&container, &["-a"], &crash)?;
    ensure!(dump.exists(), "nsenter's session left no core");

    let node = Node::around(FakeContainer::hostile(&Options::hostile())?, &unlimited).await?;
    let dump = Dump::of(&node.container, record)?;
    let outcome = node.run(node.request(&crash), b"").await?;
    assert_eq!(outcome.signal, Some(11));
    ensure!(!dump.exists(), "the session left a core");
    // The container's root may signal it. Not with SIGSEGV: Rust's handler lets
    // the first one pass.
    let (_requests, mut answers) = node.open(node.request(&["sleep", "20"])).await?;
    answers.message().await?.context("no answer")?;
    let killed = node.container.run("kill -QUIT $(busybox pidof kpexec-shim)")?;
    ensure!(killed.code == 0, "the shim is not there: {}", killed.output);
    collect(answers).await?;
    ensure!(!dump.exists(), "the shim left a core");
    Ok(())
}

#[tokio::test]
async fn t20_command_lines_and_environments_tell_nothing() -> Result<()> {
    // With that capability environments can be read at all.
    let options = Options { capabilities: Some(DEFAULT | SYS_PTRACE), ..Options::hostile() };
    let container = FakeContainer::hostile(&options)?;
    let attack = container.spawn("exec /attacks/strings")?;
    attack.wait_for("ready")?;
    let nsenter = Naive::new()?;
    let path = nsenter.path().display().to_string();
    let mut race = Race::against("nsenter", 2000);
    let number = format!("cmdline {}\n", container.pid);
    let all_seen = |report: &str| report.contains(&path) && report.contains(&number);
    while !all_seen(&attack.report()?) && race.goes_on_until(false) {
        nsenter.run(&container, &["-a"], &["/bin/busybox", "true"])?;
    }
    drop(race);
    let report = attack.stop()?;
    ensure!(all_seen(&report), "the attack is none: {report}");

    let node = Node::around(container, &[]).await?;
    let attack = node.container.spawn("exec /attacks/strings")?;
    attack.wait_for("ready")?;
    let mut race = Race::against("kpexec", 100);
    while race.goes_on_until(attack.report()?.contains("comm kpexec-shim")) {
        node.output(&["true"]).await?;
    }
    drop(race);
    let report = attack.stop()?;
    ensure!(report.contains("comm kpexec-shim"), "it has seen nothing of ours: {report}");
    let target = node.request(&[]).target.context("no target")?;
    for secret in [
        env!("CARGO_BIN_EXE_node-helper"),
        "node-helper",
        "node-entry",
        "KPEXEC_CRI_SOCKET",
        "KPEXEC_HELPER_POD",
        "KPEXEC_TOOLSET",
        "cri.sock",
        &node.folder.path().display().to_string(),
        &format!(" {}\n", node.container.pid),
        &target.pod_uid,
        &target.container_id,
    ] {
        ensure!(!report.contains(secret), "{secret:?} is in {report}");
    }
    Ok(())
}

#[tokio::test]
async fn t21_no_key_of_ours_reaches_the_session() -> Result<()> {
    let container = FakeContainer::hostile(&Options::hostile())?;
    let nsenter = Naive::through(&legacy("key")?)?;
    let found = nsenter.run(&container, &["-a"], &["/attacks/keys"])?.stdout;
    let found = String::from_utf8(found)?;
    assert_eq!(found, "session found\nuser none\nring kpexec-test-ring\n");

    let node = Node::around(container, &legacy("key")?).await?;
    let found = node.output(&["/.kpexec/attacks/keys"]).await?;
    // The name that the kernel gives a ring without one: session-keyring(7).
    assert_eq!(found, "session none\nuser none\nring _ses");
    Ok(())
}

#[tokio::test]
async fn t22_what_the_helper_inherited_is_reset() -> Result<()> {
    let container = FakeContainer::hostile(&Options::hostile())?;
    let nsenter = Naive::through(&legacy("state")?)?;
    let inherited = nsenter.run(&container, &["-a"], &["/attacks/state"])?.stdout;
    let inherited = String::from_utf8(inherited)?;
    for line in [
        "ignored 1",
        "blocked 1",
        "umask 077",
        "personality 40000",
        "files few",
        "nice 5",
        "slack 123456789",
    ] {
        ensure!(inherited.lines().any(|found| found == line), "no {line} in {inherited}");
    }

    let node = Node::around(container, &legacy("state")?).await?;
    let found = node.output(&["/.kpexec/attacks/state"]).await?;
    for line in [
        "ignored 0",
        "blocked 0",
        "umask 022",
        "personality 0",
        "core 1 1",
        "timer 0",
        "files enough",
        "nice 0",
        "processors all",
        // The kernel's own: prctl(2), PR_SET_TIMERSLACK.
        "slack 50000",
    ] {
        ensure!(found.lines().any(|found| found == line), "no {line} in {found}");
    }
    Ok(())
}
