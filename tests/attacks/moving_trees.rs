//! Trees that the target changes while a session is entered or reads them (A15
//! and A19 of the threat model).

use std::fs;
use std::mem::MaybeUninit;
use std::path::Path;

use anyhow::{Result, ensure};
use kpexec_protocol::{Start, Writes};
use rustix::fd::OwnedFd;
use rustix::fs::inotify;
use rustix::io::Errno;

use crate::client::Node;
use crate::fake_container::{FakeContainer, Options};
use crate::naive::Naive;
use crate::race::Race;

/// A folder of the node that is watched: whatever opens or changes something in
/// it is seen.
struct Canary {
    folder: tempfile::TempDir,
    events: OwnedFd,
}

impl Canary {
    fn new() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let inner = folder.path().join("inner");
        fs::create_dir(&inner)?;
        fs::write(inner.join("secret"), "of the node")?;
        let flags = inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK;
        let events = inotify::init(flags)?;
        for watched in [folder.path(), &inner] {
            inotify::add_watch(&events, watched, inotify::WatchFlags::ALL_EVENTS)?;
        }
        Ok(Self { folder, events })
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Whether something has happened since it was asked last.
    fn touched(&self) -> Result<bool> {
        let mut space = [MaybeUninit::uninit(); 4096];
        let mut reader = inotify::Reader::new(&self.events, &mut space);
        let mut touched = false;
        loop {
            match reader.next() {
                Ok(_) => touched = true,
                Err(Errno::AGAIN) => return Ok(touched),
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}

/// A container with a folder `/tmp/t` and one `/t`, and links to the canary that
/// can take their places. The container has a folder of the canary's name, too.
fn tempting(canary: &Canary) -> Result<FakeContainer> {
    let container = FakeContainer::hostile(&Options::hostile())?;
    let there = canary.path().display();
    for line in [
        "mkdir -p /tmp/t/inner /t/inner".to_owned(),
        format!("mkdir -p {there}/inner"),
        format!("ln -s {there} /tmp/link"),
        format!("ln -s /proc/1/root{there} /lure"),
    ] {
        let ran = container.run(&format!("busybox {line}"))?;
        ensure!(ran.code == 0, "{line}: {}", ran.output);
    }
    Ok(container)
}

const MODES: [Writes; 3] = [Writes::Through, Writes::Deny, Writes::Discard];

/// Leaves a mark in the working directory, and one by way of `/t`; reads what
/// lies there.
const LOOK: &str = "echo x > mark; cat secret; pwd; echo x > /t/inner/mark; cat /t/inner/secret";

#[tokio::test]
async fn t25_no_exchanged_folder_leads_to_the_node() -> Result<()> {
    let canary = Canary::new()?;
    let container = tempting(&canary)?;
    let attack = container.spawn("exec /attacks/swap /tmp/t /tmp/link")?;
    // The working directory as one would find it: below the target's root.
    let workdir = format!("--wd=/proc/{}/root/tmp/t/inner", container.pid);
    let options = ["-m", "-p", "-r", &workdir];
    let nsenter = Naive::new()?;
    let mut race = Race::against("nsenter", 2000);
    let mut touched = false;
    while !touched && race.goes_on_until(false) {
        let script = ["/bin/sh", "-c", "cat secret"];
        let read = nsenter.run(&container, &options, &script)?.stdout;
        touched = canary.touched()? && read == b"of the node";
    }
    drop(race);
    ensure!(touched, "the attack is none");
    drop(attack);
    drop(container);

    let node = Node::around(tempting(&canary)?, &[]).await?;
    canary.touched()?;
    let attacks = ["/tmp/t /tmp/link", "/t /lure"]
        .into_iter()
        .map(|names| node.container.spawn(&format!("exec /attacks/swap {names}")))
        .collect::<Result<Vec<_>>>()?;
    let mut race = Race::against("kpexec", 400);
    let (mut ran, mut refused) = (0, 0);
    let mut modes = MODES.into_iter().cycle();
    while race.goes_on() {
        let mut request = node.request(&["sh", "-c", LOOK]);
        request.writes = modes.next().unwrap_or_default().into();
        request = Start { workdir: Some(b"/tmp/t/inner".to_vec().into()), ..request };
        let outcome = node.run(request, b"").await?;
        if let Some(failure) = outcome.failure {
            ensure!(failure.message.contains("enter the working directory"), "{failure:?}");
            refused += 1;
        } else {
            let (own, other) = ("/tmp/t/inner", format!("{}/inner", canary.path().display()));
            let cwd = outcome.text();
            ensure!([own, "/tmp/link/inner", &other].contains(&&*cwd), "{cwd}");
            ran += 1;
        }
        ensure!(!canary.touched()?, "the node's files were touched");
    }
    drop(race);
    println!("{ran} ran, {refused} were refused");
    ensure!(ran > 0, "no session has run");
    drop(attacks);
    assert_eq!(fs::read_dir(canary.path().join("inner"))?.count(), 1);
    Ok(())
}

/// `OVERLAYFS_SUPER_MAGIC` of linux/magic.h.
const OVERLAY: &str = "794c7630";

/// Reads 10 000 times, and lists the folder now and then.
const READ: &str = "
    i=0; read=0
    while [ $i -lt 10000 ]; do
        { read -r line < /srv/tree/$((i % 50)); } 2> /dev/null && read=$((read + 1))
        [ $((i % 500)) = 0 ] && ls -lR /srv > /dev/null 2>&1
        i=$((i + 1))
    done
    echo $i tries; [ $read -gt 100 ] && echo many read";

#[tokio::test]
async fn t30_a_tree_that_changes_while_it_is_read_does_no_harm() -> Result<()> {
    let tainted = || fs::read_to_string("/proc/sys/kernel/tainted");
    let before = tainted()?;
    // Discarding is an overlay of ours, over the tree that changes; two of the
    // target's own are the most there can be.
    let cases = [(false, Writes::Through), (true, Writes::Through), (false, Writes::Discard)];
    for (overlaid, writes) in cases {
        let options = Options { overlaid, ..Options::hostile() };
        let node = Node::around(FakeContainer::hostile(&options)?, &[]).await?;
        let root = node.container.run("busybox mkdir /srv/tree; busybox stat -f -c %t /srv")?;
        assert_eq!(root.output.trim() == OVERLAY, overlaid, "{}", root.output);
        let attack = node.container.spawn("exec churn /srv/tree")?;
        let request = Start { writes: writes.into(), ..node.request(&["sh", "-c", READ]) };
        let outcome = node.run(request, b"").await?;
        assert_eq!(outcome.text(), "10000 tries\nmany read", "{:?}", outcome.failure);
        // And it can still be entered.
        for _ in 0..5 {
            assert_eq!(node.output(&["cat", "/proc/1/comm"]).await?, "init");
        }
        ensure!(attack.report()?.is_empty(), "{}", attack.report()?);
    }
    // A bug of the kernel's would have left its mark: tainted-kernels.rst.
    assert_eq!(tainted()?, before);
    Ok(())
}
