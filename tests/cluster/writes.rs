//! What becomes of what a session writes, as the container and the node see it.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tests::command::{Output, kpexec, run_kpexec, signal, wait};
use tests::{BOTH_NODES, Pod, USER_NAMESPACED};

/// Pods whose root file system can be written, one a node.
const WRITABLE: [&str; 2] = ["busybox", "busybox-crio"];

/// One test looks on while another writes.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn all_pods() -> impl Iterator<Item = &'static str> {
    BOTH_NODES.into_iter().chain(WRITABLE).chain(USER_NAMESPACED)
}

fn run(flags: &[&str], pod: &str, line: &str) -> Result<Output> {
    run_kpexec(&[flags, &[pod, "--", "sh", "-c", line]].concat())
}

/// A path, its inode, when it was changed last and how.
type About = BTreeMap<PathBuf, (u64, i64, i64, u32)>;

/// What the container could notice of its root file system, and its mounts.
fn look(pod: &Pod) -> Result<(About, String)> {
    fn below(folder: &Path, device: u64, found: &mut About) -> Result<()> {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            let about = path.symlink_metadata()?;
            if about.dev() != device {
                continue;
            }
            let known = (about.ino(), about.mtime(), about.mtime_nsec(), about.mode());
            found.insert(path.clone(), known);
            if about.is_dir() {
                below(&path, device, found)?;
            }
        }
        Ok(())
    }
    let root = pod.path("/");
    let mut found = About::new();
    below(&root, root.metadata()?.dev(), &mut found)?;
    ensure!(found.len() > 5, "{found:?}");
    Ok((found, pod.proc("mountinfo")?))
}

/// Writes wherever it can.
const WRITE: &str = "
    > /new; mkdir /dir; > /etc/new; echo x >> /etc/passwd; rm -f /etc/group; chmod 700 /etc
    mv /etc/passwd /etc/moved; mkdir /root/new; ln -s x /home/link; > /tmp/new";

#[test]
fn deny_and_discard_leave_the_container_as_it_was() -> Result<()> {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    for pod in all_pods() {
        let target = Pod::find(pod)?;
        let before = look(&target)?;
        for writes in ["deny", "discard"] {
            let line = format!("{{ {WRITE}; }} 2> /dev/null; echo done; cat");
            let flags = ["-q", "-i", "--writes", writes, pod, "--", "sh", "-c", &line];
            let mut client = kpexec(&flags).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
            let mut said = [0; 4];
            client.stdout.as_mut().context("a pipe")?.read_exact(&mut said)?;
            assert_eq!(&said, b"done");
            assert_eq!(look(&target)?, before, "{pod}: during {writes}");
            drop(client.stdin.take());
            assert_eq!(wait(&mut client, Duration::from_secs(60))?.code(), Some(0), "{pod}");
            assert_eq!(look(&target)?, before, "{pod}: after {writes}");
        }
    }
    Ok(())
}

#[test]
fn deny_refuses_and_discard_pretends() -> Result<()> {
    let line = "> /etc/new && echo x >> /etc/new && cat /etc/new";
    for pod in all_pods() {
        let denied = run(&["--writes=deny"], pod, line)?;
        ensure!(denied.stderr.contains("Read-only file system"), "{pod}: {denied:?}");
        let discarded = run(&["--writes=discard"], pod, line)?;
        assert_eq!((discarded.code(), &*discarded.text()), (0, "x"), "{pod}: {discarded:?}");
        // Both runtimes mount this one into every container, writable.
        let told = "read-only, as what is written there could not be discarded: ";
        ensure!(discarded.stderr.contains(told), "{pod}: {discarded:?}");
        let volume = run(&["-q", "--writes=discard"], pod, "echo x >> /etc/hosts")?;
        assert_eq!(volume.stderr.matches("Read-only file system").count(), 1, "{volume:?}");
        ensure!(!volume.stderr.contains("discarded"), "-q is quiet: {volume:?}");
    }
    Ok(())
}

#[test]
fn a_read_only_root_is_writable_on_demand() -> Result<()> {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    for pod in BOTH_NODES {
        let refused = run(&[], pod, "> /etc/written || > /new")?;
        assert_eq!(refused.stderr.matches("Read-only file system").count(), 2, "{refused:?}");
        let target = Pod::find(pod)?;
        let written = run(&["--writable"], pod, "echo $$ > /etc/written && > /new")?;
        assert_eq!(written.code(), 0, "{pod}: {written:?}");
        ensure!(written.stderr.contains("/new: made in the session's own root"), "{written:?}");
        ensure!(target.path("/etc/written").exists() && !target.path("/new").exists(), "{pod}");
        // From the container's own side nothing can be written still.
        let mounts = target.proc("mountinfo")?;
        let root = mounts.lines().find(|line| line.contains(" / / ")).context("no root")?;
        ensure!(root.contains(" ro,"), "{root}");
        let removed = run(&["--writable"], pod, "rm /etc/written")?;
        assert_eq!(removed.code(), 0, "{pod}: {removed:?}");
    }
    Ok(())
}

#[test]
fn entries_directly_under_the_root_are_told_of() -> Result<()> {
    for pod in WRITABLE.into_iter().chain(USER_NAMESPACED) {
        let made = run(&[], pod, "> /one && mkdir /two && ls -d /one /two")?;
        assert_eq!((made.code(), &*made.text()), (0, "/one\n/two"), "{pod}: {made:?}");
        let told = "/one, /two: made in the session's own root, and gone with it";
        assert_eq!(made.stderr.trim_end(), told, "{pod}");
        ensure!(!Pod::find(pod)?.path("/one").exists(), "{pod}");
        // A loss is told whatever was said of being quiet.
        let quiet = run(&["-q"], pod, "> /one")?.stderr;
        assert_eq!(quiet.trim_end(), "/one: made in the session's own root, and gone with it");
        // The entries that are there stay there.
        let refused = run(&[], pod, "rmdir /proc /dev /.kpexec /etc")?;
        ensure!(refused.code() != 0, "{pod}: {refused:?}");
    }
    Ok(())
}

#[test]
fn changes_are_saved_as_a_layer() -> Result<()> {
    for pod in WRITABLE.into_iter().chain(USER_NAMESPACED) {
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("changes.tar");
        let flags = ["-q", "--save-changes", file.to_str().context("a path is text")?];
        let line = "mkdir -p /etc/d; echo x > /etc/d/f; chown 5:6 /etc/d/f; > /made; exit 7";
        let output = run(&flags, pod, line)?;
        assert_eq!(output.code(), 7, "{pod}: {output:?}");
        let list = Command::new("tar").args(["--numeric-owner", "-tvf"]).arg(&file).output()?;
        let list = String::from_utf8(list.stdout)?;
        let has = |start: &str, end: &str| {
            list.lines().any(|line| line.starts_with(start) && line.ends_with(end))
        };
        for (start, end) in [
            ("-rw-r--r-- 5/6 ", " etc/d/f"),
            ("drwxr-xr-x 0/0 ", " etc/d/"),
            ("-rw-r--r-- 0/0 ", " made"),
        ] {
            ensure!(has(start, end), "{pod}: {start}…{end} is none of {list}");
        }
        // Nothing is left beside it.
        assert_eq!(fs::read_dir(folder.path())?.count(), 1, "{pod}");
    }
    Ok(())
}

#[test]
fn what_was_cut_short_is_not_saved() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("changes.tar");
    let path = file.to_str().context("a path is text")?;
    for pod in BOTH_NODES {
        let line = "trap 'echo b' TERM; > /x; echo a; while :; do sleep 83051; done";
        let arguments = ["--save-changes", path, pod, "--", "sh", "-c", line];
        let mut client = kpexec(&arguments).stdout(Stdio::piped()).spawn()?;
        let mut stdout = client.stdout.take().context("a pipe")?;
        // The command has the first one, and kpexec the second.
        for _ in 0..2 {
            stdout.read_exact(&mut [0; 2])?;
            signal(client.id(), rustix::process::Signal::TERM)?;
        }
        assert_eq!(wait(&mut client, Duration::from_secs(60))?.code(), Some(143), "{pod}");
        assert_eq!(fs::read_dir(folder.path())?.count(), 0, "{pod}");
    }
    let refused = run(&["--save-changes", "/nonexistent/f"], BOTH_NODES[0], "> /tmp/ran")?;
    assert_eq!(refused.code(), 125, "{refused:?}");
    ensure!(!Pod::find(BOTH_NODES[0])?.path("/tmp/ran").exists(), "the command ran");
    Ok(())
}
