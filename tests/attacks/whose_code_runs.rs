//! Whose code runs, and with whose privilege (A1 to A5 of the threat model).

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};

use crate::client::Node;
use crate::fake_container::{DEFAULT, FakeContainer, Options, SYS_PTRACE};
use crate::naive::{Naive, naive};
use crate::programs::{install, install_text};
use crate::race::Race;

/// A program whose interpreter is whatever executes it, and a loader that
/// writes to that.
fn plant_loader(container: &FakeContainer) -> Result<()> {
    install_text("#!/proc/self/exe\n", &container.path("/bin/evil"))?;
    fs::create_dir(container.path("/lib64"))?;
    let loader = container.path("/lib64/ld-linux-x86-64.so.2");
    install(&container.path("/attacks/loader"), &loader)
}

/// What the writers said, once there are as many lines as `wanted`.
fn written(container: &FakeContainer, wanted: usize) -> Result<Vec<String>> {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let said = fs::read_to_string(container.path("/tmp/written")).unwrap_or_default();
        let said: Vec<String> = said.lines().map(str::to_owned).collect();
        if said.len() >= wanted {
            return Ok(said);
        }
        if Instant::now() > deadline {
            bail!("{} lines of {wanted} were written", said.len());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[tokio::test]
async fn t01_the_entering_program_cannot_be_overwritten() -> Result<()> {
    let container = FakeContainer::hostile(&Options::hostile())?;
    plant_loader(&container)?;
    let naive = Naive::new()?;
    naive.run(&container, &["-a"], &["/bin/evil"])?;
    assert_eq!(written(&container, 2)?, ["tried", "overwritten"]);
    assert!(fs::read(naive.path())?.starts_with(b"#!/bin/sh\necho overwritten"));

    fs::remove_file(container.path("/tmp/written"))?;
    let node = Node::around(container, &[]).await?;
    let helper = Path::new(env!("CARGO_BIN_EXE_node-entry"));
    let before = fs::read(helper)?;
    const TRIES: usize = 20;
    for _ in 0..TRIES {
        node.run(node.request(&["/bin/evil"]), b"").await?;
    }
    assert_eq!(written(&node.container, TRIES)?, vec!["tried"; TRIES]);
    assert!(fs::read(helper)? == before, "the helper's binary has changed");
    // What entry processes run is still the genuine thing.
    assert_eq!(node.output(&["echo", "genuine"]).await?, "genuine");
    Ok(())
}

#[tokio::test]
async fn t02_no_program_of_ours_can_be_opened_and_kept_for_writing() -> Result<()> {
    // With that capability /proc/PID/exe can be opened at all.
    let options = Options { capabilities: Some(DEFAULT | SYS_PTRACE), ..Options::hostile() };
    let container = FakeContainer::hostile(&options)?;
    let nsenter = Naive::new()?;
    let attack = container.spawn("exec /attacks/write_exe")?;
    attack.wait_for("ready")?;
    let mut race = Race::against("nsenter", 2000);
    while !attack.report()?.contains("wrote ") && race.goes_on_until(false) {
        nsenter.run(&container, &["-a"], &["/bin/busybox", "true"])?;
    }
    drop(race);
    let report = attack.stop()?;
    ensure!(report.contains("wrote "), "the attack is none: {report}");

    let node = Node::around(container, &[]).await?;
    let attack = node.container.spawn("exec /attacks/write_exe")?;
    attack.wait_for("ready")?;
    let mut race = Race::against("kpexec", 300);
    let mut ran = 0;
    while race.goes_on_until(attack.report()?.contains("saw /memfd:kpexec")) {
        ran += u32::from(node.run(node.request(&["true"]), b"").await?.code == Some(0));
    }
    drop(race);
    let report = attack.stop()?;
    ensure!(ran > 0, "no session has run");
    ensure!(report.contains("saw /memfd:kpexec"), "it has seen nothing of ours: {report}");
    ensure!(!report.contains("wrote "), "{report}");
    Ok(())
}

#[tokio::test]
async fn t02_who_keeps_our_program_keeps_nobody_out() -> Result<()> {
    let options = Options { capabilities: Some(DEFAULT | SYS_PTRACE), ..Options::hostile() };
    let node = Node::around(FakeContainer::hostile(&options)?, &[]).await?;
    let attack = node.container.spawn("exec /attacks/write_exe keep")?;
    attack.wait_for("ready")?;
    // Between two sessions nothing executes it, and it can be opened.
    let mut race = Race::against("kpexec", 300);
    while race.goes_on() && !attack.report()?.contains("keeps /memfd:kpexec") {
        node.run(node.request(&["true"]), b"").await?;
    }
    drop(race);
    let outcome = node.run(node.request(&["true"]), b"").await?;
    assert_eq!(outcome.code, Some(0), "{:?} after {}", outcome.failure, attack.stop()?);
    Ok(())
}

#[tokio::test]
async fn t03_no_tool_loads_the_targets_libraries() -> Result<()> {
    let container = FakeContainer::hostile(&Options::hostile())?;
    for folder in ["/lib64", "/lib/x86_64-linux-gnu"] {
        fs::create_dir_all(container.path(folder))?;
    }
    for library in ["/lib64/ld-linux-x86-64.so.2", "/lib/x86_64-linux-gnu/libc.so.6"] {
        install(library.as_ref(), &container.path(library))?;
    }
    fs::write(container.path("/etc/ld.so.preload"), "/attacks/preload\n")?;
    let sprung = |container: &FakeContainer| container.path("/tmp/preloaded").exists();
    // A tool as it comes from a distribution: dynamic.
    naive(&container, &["/attacks/dynamic"])?;
    assert!(sprung(&container), "the trap is none");

    fs::remove_file(container.path("/tmp/preloaded"))?;
    let node = Node::around(container, &[]).await?;
    let every_tool = "for tool in /.kpexec/bin/*; do $tool --help; echo ran; done";
    let outcome = node.run(node.request(&["sh", "-c", every_tool]), b"").await?;
    let tools = fs::read_dir(node.folder.path().join("toolset/bin"))?.count();
    assert_eq!(outcome.text().lines().filter(|line| *line == "ran").count(), tools);
    assert!(!sprung(&node.container), "a tool loaded the target's library");
    Ok(())
}

/// Runs a tool a thousand times, or MOST times, and says whether it always was the
/// tool; with PATIENT set, that it is missing does not count.
const USE_TOOL: &str = "
    n=0
    while [ $n -lt ${MOST:-1000} ]; do
        said=$(/.kpexec/bin/busybox echo genuine)
        case $said in
        genuine) ;;
        '') if ! [ $PATIENT ]; then echo gone; exit 1; fi ;;
        *) echo \"$said\"; exit 1 ;;
        esac
        n=$((n + 1))
    done
    echo always genuine";

#[tokio::test]
async fn t10_tools_cannot_be_evicted() -> Result<()> {
    let container = FakeContainer::hostile(&Options::hostile())?;
    // As one would: tools mounted on a folder of the target, in private mounts.
    // Used until they are evicted.
    let on_a_folder = format!(
        "mkdir /.kpexec && mount -t tmpfs tools /.kpexec && mkdir /.kpexec/bin &&
        cp /bin/busybox /.kpexec/bin/ && > /tmp/mounted && PATIENT=1 MOST=1000000 && {USE_TOOL}"
    );
    let argv = ["/bin/busybox", "unshare", "-m", "sh", "-c", &on_a_folder];
    let nsenter = Naive::new()?;
    let session = nsenter.command(&container, &["-a"], &argv).stdout(Stdio::piped()).spawn()?;
    container.run("while ! [ -e /tmp/mounted ]; do :; done")?;
    let attack = container.spawn("exec /attacks/evict")?;
    let said = String::from_utf8(session.wait_with_output()?.stdout)?;
    ensure!(said.contains("HOSTILE"), "the attack is none: {said}");
    drop(attack);

    let node = Node::around(container, &[]).await?;
    let attack = node.container.spawn("exec /attacks/evict")?;
    let script = format!("{USE_TOOL}; grep -c ' /.kpexec ' /proc/self/mountinfo");
    assert_eq!(node.output(&["sh", "-c", &script]).await?, "always genuine\n1");
    drop(attack);
    Ok(())
}
