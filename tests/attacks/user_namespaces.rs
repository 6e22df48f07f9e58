//! Targets with a user namespace of their own (A4, A6 and A28 of the threat
//! model): root there is a nobody here, on either side.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use anyhow::{Context, Result, ensure};
use kpexec_protocol::{Identity, Profile, Start};

use crate::client::{Node, exactly};
use crate::fake_container::{FIRST_ID, FakeContainer, Options};
use crate::naive::{Naive, naive};

/// Its root has every capability there is, in there.
fn container() -> Result<FakeContainer> {
    let all = Options { user_namespace: true, capabilities: None, ..Options::hostile() };
    FakeContainer::hostile(&all)
}

fn sysadmin() -> Identity {
    Identity { profile: Profile::Sysadmin.into(), ..Identity::default() }
}

/// What a session tries on the mounts it sees, one line of output each.
const TAMPER: &str = "
    eperm='s/.*: //; s/^permission denied.*/Operation not permitted/'
    try() { busybox \"$@\" 2> /tmp/why && echo done || busybox sed \"$eperm\" /tmp/why; }
    try umount /.kpexec
    try mount -t tmpfs tmpfs /tmp
    try mount -o remount,bind,rw /.kpexec
    try mount --bind /tmp /.kpexec
    try umount /proc";

/// `EPERM`; busybox's mount(8) has words of its own for it.
const REFUSED: &str = "Operation not permitted";

#[tokio::test]
async fn t41_the_sessions_mounts_are_not_its_own() -> Result<()> {
    // Entered as such, it may do with the mounts what it likes.
    let script = "mount -t tmpfs tmpfs /tmp && echo mounted";
    assert_eq!(naive(&container()?, &["/bin/busybox", "sh", "-c", script])?, "mounted");

    let node = Node::around(container()?, &[]).await?;
    let last: u32 = fs::read_to_string("/proc/sys/kernel/cap_last_cap")?.trim().parse()?;
    let known = (1_u64 << (last + 1)) - 1;
    let look = "busybox id -u; grep CapEff /proc/self/status";
    let request = Start { identity: Some(sysadmin()), ..node.request(&["sh", "-c", look]) };
    let outcome = node.run(request, b"").await?;
    let wanted = format!("0\nCapEff:\t{known:016x}");
    assert_eq!(outcome.text(), wanted, "{:?}", outcome.failure);

    let request = Start { identity: Some(sysadmin()), ..node.request(&["sh", "-c", TAMPER]) };
    let outcome = node.run(request, b"").await?;
    let said = outcome.text();
    assert_eq!(said.lines().count(), 5, "{said} {:?}", outcome.failure);
    for line in said.lines() {
        assert_eq!(line, REFUSED, "{said}");
    }
    // In mounts of its own it may add some, and take none of ours away.
    let own = format!("exec busybox unshare -m sh -c '{}'", TAMPER.replace('\'', "'\\''"));
    let request = Start { identity: Some(sysadmin()), ..node.request(&["sh", "-c", &own]) };
    let said = node.run(request, b"").await?.text();
    let lines: Vec<&str> = said.lines().collect();
    let wanted = ["Invalid argument", "done", REFUSED, "done", "Invalid argument"];
    assert_eq!(lines, wanted);
    assert_eq!(node.output(&["/.kpexec/bin/echo", "genuine"]).await?, "genuine");
    Ok(())
}

#[tokio::test]
async fn t41_root_of_the_target_reaches_neither_mounts_nor_shim() -> Result<()> {
    let container = container()?;
    let nsenter = Naive::new()?;
    let mut session = nsenter.command(&container, &["-a"], &["/bin/sleep", "20"]).spawn()?;
    let attack = "until busybox pidof sleep; do :; done; exec hijack sleep";
    let had = container.run(attack)?.output;
    for what in ["mounts had", "trace had", "mem had"] {
        ensure!(had.contains(what), "{had}");
    }
    container.run("kill $(busybox pidof sleep)")?;
    session.wait()?;

    let node = Node::around(container, &[]).await?;
    for identity in [Identity::default(), sysadmin(), exactly(1000, 1000, 0)] {
        let argv = ["sh", "-c", "sleep 20; true"];
        let request = Start { identity: Some(identity), trust_target: true, ..node.request(&argv) };
        let (requests, mut answers) = node.open(request).await?;
        let first = answers.message().await?.context("no answer")?;
        let shim = node.container.run("exec hijack kpexec-shim")?.output;
        ensure!(shim.lines().count() >= 14, "{first:?}: no shim: {shim}");
        ensure!(!shim.contains(" had"), "{shim}");
        // It holds every capability there, so what is there is its own to trace;
        // our mounts are not.
        let wait = "until busybox pidof sleep; do :; done";
        let command = node.container.run(&format!("{wait}; exec hijack sleep"))?.output;
        ensure!(command.contains("trace had") && command.contains("mounts EPERM"), "{command}");
        ensure!(!command.contains("tool had"), "{command}");
        drop((requests, answers));
        while node.container.run("busybox pidof sleep")?.code == 0 {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    }
    Ok(())
}

#[tokio::test]
async fn t41_ids_are_those_of_the_target() -> Result<()> {
    let node = Node::around(container()?, &[]).await?;
    for (uid, gid) in [(0, 0), (1000, 7), (65535, 65535)] {
        let file = format!("/tmp/made-by-{uid}");
        let script = format!("touch {file}; busybox stat -c %u:%g {file}; id -u; id -g");
        let request = Start {
            identity: Some(exactly(uid, gid, 0)),
            trust_target: true,
            ..node.request(&["sh", "-c", &script])
        };
        let outcome = node.run(request, b"").await?;
        let text = format!("{uid}:{gid}\n{uid}\n{gid}");
        assert_eq!(outcome.text(), text, "{:?}", outcome.failure);
        let about = fs::metadata(node.container.path(&file))?;
        assert_eq!((about.uid(), about.gid()), (FIRST_ID + uid, FIRST_ID + gid));
    }
    // What the map does not have is nobody.
    let request = Start { identity: Some(exactly(65536, 0, 0)), ..node.request(&["true"]) };
    let failure = node.run(request, b"").await?.failure.context("it ran")?;
    ensure!(failure.message.contains("user 65536 does not exist"), "{failure:?}");
    ensure!(failure.hint.contains("uid_map"), "{failure:?}");
    Ok(())
}
