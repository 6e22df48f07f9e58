//! Terminals: whose they are, and who can read and write them (A33 and A34 of
//! the threat model).

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::client::{Node, terminal};
use crate::fake_container::{FakeContainer, Options};
use crate::naive::{Naive, naive};
use crate::programs::programs;

/// Reads a line that was typed a moment before.
const READ: &str = "sleep 0.3; read -r line; echo got $line; tty";

async fn typed(node: &Node) -> Result<()> {
    let mut request = node.request(&["sh", "-c", READ]);
    request.terminal = Some(terminal(24, 80));
    request.stdin = true;
    let outcome = node.run(request, b"hunter2\r").await?;
    let said = outcome.text();
    ensure!(said.ends_with("got hunter2\r\n/dev/pts/0"), "{said:?}: {:?}", outcome.failure);
    Ok(())
}

#[tokio::test]
async fn t31_keystrokes_reach_the_session_only() -> Result<()> {
    let container = FakeContainer::hostile(&Options::hostile())?;
    let attack = container.spawn("exec /attacks/steal_keys")?;
    attack.wait_for("ready")?;
    naive(&container, &["/attacks/typist"])?;
    let report = attack.stop()?;
    ensure!(report.contains("stole hunter2"), "the attack is none: {report}");

    let node = Node::around(container, &[]).await?;
    let attack = node.container.spawn("exec /attacks/steal_keys")?;
    attack.wait_for("ready")?;
    typed(&node).await?;
    assert_eq!(attack.stop()?, "ready\n");
    Ok(())
}

#[tokio::test]
async fn t31_the_targets_ptmx_is_not_used() -> Result<()> {
    let options = Options { linked_dev: true, ..Options::hostile() };
    let container = FakeContainer::hostile(&options)?;
    container.run("echo safe > /srv/canary; chown 3:4 /srv/canary")?;
    let node = Node::around(container, &[]).await?;
    for trap in [
        "busybox mkfifo /dev/ptmx",
        "ln -s /srv/canary /dev/ptmx",
        "echo no terminal > /dev/ptmx",
        "mknod /dev/ptmx c 1 5",
    ] {
        let set = node.container.run(&format!("rm /dev/ptmx; {trap}"))?;
        ensure!(set.code == 0, "{trap}: {}", set.output);
        // Opens no terminal: nothing would come of it, or worse.
        let made = Naive::new()?.run(
            &node.container,
            &["-a"],
            &["/bin/sh", "-c", "busybox timeout 1 typist && test -e /dev/pts/0"],
        )?;
        ensure!(!made.status.success(), "{trap} is no trap");
        typed(&node).await?;
        let canary = node.container.run("cat /srv/canary; busybox stat -c %u:%g /srv/canary")?;
        assert_eq!(canary.output, "safe\n3:4\n", "{trap}");
    }
    Ok(())
}

#[tokio::test]
async fn t44_nothing_is_typed_into_the_operators_terminal() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let report = folder.path().join("waiting");
    let operator = [programs()?.join("operator"), report.clone()].map(|p| p.display().to_string());
    let container = FakeContainer::hostile(&Options::hostile())?;
    Naive::through(&operator)?.run(&container, &["-a"], &["/attacks/inject_input"])?;
    assert_eq!(fs::read_to_string(&report)?, "touch /owned\nend\n");

    fs::remove_file(&report)?;
    let node = Node::around(container, &operator).await?;
    for with_terminal in [false, true] {
        let mut request = node.request(&["/.kpexec/attacks/inject_input"]);
        request.terminal = with_terminal.then(|| terminal(24, 80));
        let outcome = node.run(request, b"").await?;
        ensure!(outcome.text().contains("injected"), "{:?}", outcome.failure);
    }
    let Node { client, container: _container, .. } = node;
    // The helper ends with its connection, and the operator looks.
    drop(client);
    // Shorter than the 20 s after which a session whose client has gone is left.
    let deadline = Instant::now() + Duration::from_secs(18);
    while !report.exists() || !fs::read_to_string(&report)?.ends_with("end\n") {
        ensure!(Instant::now() < deadline, "the helper does not end");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(fs::read_to_string(&report)?, "end\n");
    Ok(())
}
