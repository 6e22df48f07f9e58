//! What a session's mounts are mounted on, reached by the target through
//! `/proc/PID/root` (A5 of the threat model).

use std::process::Stdio;

use anyhow::{Result, ensure};

use crate::client::Node;
use crate::fake_container::{DEFAULT, FakeContainer, Options};
use crate::hijack::{parity, started};
use crate::least_privilege::{granted, with};
use crate::naive::Naive;

/// What `take_away` says of these names, in the order it tries.
fn said(names: &[&str], how: &str) -> String {
    let tries = ["exchange", "move", "replace", "remove"];
    let lines = names.iter().flat_map(|name| tries.map(|what| format!("{name} {what} {how}\n")));
    lines.collect()
}

#[tokio::test]
async fn t10_no_mount_point_of_a_root_that_can_be_written_is_taken_away() -> Result<()> {
    let container = FakeContainer::hostile(&Options::hostile())?;
    let pid = "$(busybox pidof sleep)";
    // A root of one's own as one would make it, and an equal of the container.
    let names = [".kpexec", "dev", "proc"];
    let script = format!(
        "mount -t tmpfs root /srv; mkdir /srv/bin; cp /bin/busybox /srv/bin/sleep
        for name in {}; do mkdir /srv/$name; mount -t tmpfs evicted /srv/$name; done
        exec /attacks/confined {DEFAULT:x} - /bin/busybox chroot /srv /bin/sleep 20",
        names.join(" ")
    );
    let argv = ["/bin/busybox", "unshare", "-m", "/bin/sh", "-c", &script];
    let nsenter = Naive::new()?;
    let mut session = nsenter.command(&container, &["-a"], &argv).stdout(Stdio::null()).spawn()?;
    let count = format!("busybox grep -c evicted /proc/{pid}/mountinfo");
    container.run("until busybox pidof sleep; do :; done")?;
    assert_eq!(container.run(&count)?.output, "3\n");
    let attack = format!("exec take_away /proc/{pid}/root {}", names.join(" "));
    assert_eq!(container.run(&attack)?.output, said(&names, "had"));
    assert_eq!(container.run(&count)?.output, "0\n");
    session.kill()?;
    session.wait()?;

    container.run("echo > /app")?;
    let node = Node::around(container, &[]).await?;
    let session = started(&node, parity()).await?;
    let names = [".kpexec", "dev", "proc", "etc", "volume", "app", "dev/pts", "dev/null"];
    let attack = format!("exec take_away /proc/{}/root {}", session.pid, names.join(" "));
    assert_eq!(node.container.run(&attack)?.output, said(&names, "EPERM"));
    let look = format!(
        "cd /proc/{}/root; ls .kpexec/bin; busybox test -c dev/null -a -e proc/1/comm",
        session.pid
    );
    let seen = node.container.run(&look)?;
    ensure!(seen.code == 0 && seen.output.contains("busybox"), "{}", seen.output);
    Ok(())
}

#[tokio::test]
async fn t10_a_node_without_immutable_files_has_a_root_that_cannot_be_written() -> Result<()> {
    let mut capabilities = granted()?;
    capabilities.retain(|name| name != "linux_immutable");
    let container = FakeContainer::hostile(&Options::hostile())?;
    let node = Node::around(container, &with(&capabilities)).await?;
    let outcome = node.run(node.request(&["sh", "-c", "> /new"]), b"").await?;
    let said = String::from_utf8_lossy(&outcome.stderr).into_owned();
    ensure!(said.contains("Read-only file system"), "{outcome:?}");
    let told = outcome.notices.iter().any(|notice| notice.contains("can be made directly under /"));
    ensure!(told, "{:?}", outcome.notices);
    Ok(())
}
