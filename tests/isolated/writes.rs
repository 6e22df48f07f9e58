//! What becomes of what a session writes: through, deny, discard.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use kpexec_protocol::{Start, Writes};

use crate::client::{Node, Outcome, message};
use crate::fake_container::{FakeContainer, Options, ReadOnly};

async fn node(options: &Options) -> Result<Node> {
    Node::around(FakeContainer::with(options)?, &[]).await
}

fn read_only(read_only: ReadOnly) -> Options {
    Options { read_only, ..Options::own() }
}

/// Runs a shell line in this mode.
async fn run(node: &Node, writes: Writes, line: &str) -> Result<Outcome> {
    let request = node.request(&["sh", "-c", line]);
    node.run(Start { writes: writes.into(), ..request }, b"").await
}

/// Makes the toolset's busybox answer to the names it does not have there.
const APPLETS: &str = "rm() { busybox rm \"$@\"; }; mv() { busybox mv \"$@\"; };";

/// A path, its inode, when it was changed last, what is in it.
type About = BTreeMap<PathBuf, (u64, (i64, i64), (i64, i64), u64)>;

/// All that the target could notice of its root file system, and its mounts.
fn look(node: &Node) -> Result<(About, String)> {
    fn below(folder: &Path, found: &mut About) -> Result<()> {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.ends_with("attacks") {
                // Its files are the other tests' too, by other names.
                continue;
            }
            let about = path.symlink_metadata()?;
            let times = ((about.mtime(), about.mtime_nsec()), (about.ctime(), about.ctime_nsec()));
            found.insert(path.clone(), (about.ino(), times.0, times.1, about.size()));
            if about.is_dir() {
                below(&path, found)?;
            }
        }
        Ok(())
    }
    let mut found = About::new();
    below(&node.container.path("/"), &mut found)?;
    ensure!(found.len() > 15, "{found:?}");
    Ok((found, fs::read_to_string(format!("/proc/{}/mountinfo", node.container.pid))?))
}

/// Starts a command that writes and then waits; gives what was seen of the
/// target while it waited. The command is ended by the end of its stdin.
async fn look_during(node: &Node, writes: Writes, line: &str) -> Result<(About, String)> {
    let line = format!("({line}) > /dev/null 2>&1; echo done; cat");
    let request =
        Start { stdin: true, writes: writes.into(), ..node.request(&["sh", "-c", &line]) };
    let (requests, mut answers) = node.open(request).await?;
    answers.message().await?;
    let said = format!("{:?}", answers.message().await?);
    ensure!(said.contains("done"), "{said}");
    let seen = look(node)?;
    requests.send(message(kpexec_protocol::client_message::Kind::Eof(Default::default()))).await?;
    while answers.message().await?.is_some() {}
    Ok(seen)
}

#[tokio::test]
async fn what_the_view_lacks_is_told_at_the_start() -> Result<()> {
    let node = node(&Options::own()).await?;
    for number in 0..513 {
        fs::write(node.container.path(&format!("/file-{number}")), "")?;
    }
    for writes in [Writes::Through, Writes::Discard] {
        let outcome = run(&node, writes, "true").await?;
        let told = "only 512 of the entries of / are shown";
        ensure!(outcome.notices.iter().any(|notice| notice == told), "{writes:?}: {outcome:?}");
    }
    Ok(())
}

#[tokio::test]
#[ignore = "needs root: immutable files protect the view's mount points"]
async fn entries_directly_under_the_root_go_with_the_session() -> Result<()> {
    let node = node(&Options::own()).await?;
    for writes in [Writes::Through, Writes::Discard] {
        let line = "mkdir /new && echo text > /new/file && cat /new/file && echo > /second";
        let outcome = run(&node, writes, line).await?;
        assert_eq!((outcome.code, &*outcome.text()), (Some(0), "text"), "{outcome:?}");
        ensure!(!node.container.path("/new").exists(), "{writes:?}: it is the target's, too");
        let told = ["/new, /second: made in the session's own root, and gone with it"];
        let told = if writes == Writes::Through { &told[..] } else { &[] };
        assert_eq!(outcome.last_notices, told);
    }
    assert_eq!(node.run(node.request(&["true"]), b"").await?.last_notices, [""; 0]);
    Ok(())
}

#[tokio::test]
async fn where_the_target_cannot_write_neither_can_the_session() -> Result<()> {
    let node = node(&read_only(ReadOnly::Mount)).await?;
    for path in ["/new", "/etc/new", "/attacks/new"] {
        let outcome = run(&node, Writes::Through, &format!("> {path}")).await?;
        let said = String::from_utf8_lossy(&outcome.stderr).into_owned();
        ensure!(said.contains("Read-only file system"), "{path}: {said:?}");
    }
    // A volume is none of it.
    assert_eq!(run(&node, Writes::Through, "> /volume/new").await?.code, Some(0));
    let outcome = run(&node, Writes::Through, "true").await?;
    ensure!(!outcome.notices.iter().any(|notice| notice.contains("under /")), "{outcome:?}");
    Ok(())
}

#[tokio::test]
async fn a_read_only_root_can_be_made_writable() -> Result<()> {
    let node = node(&read_only(ReadOnly::Mount)).await?;
    let writable = |line: &str| Start { writable: true, ..node.request(&["sh", "-c", line]) };
    let outcome = node.run(writable("echo written > /etc/new && > /volume/new"), b"").await?;
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    assert_eq!(fs::read_to_string(node.container.path("/etc/new"))?, "written\n");
    // What else is mounted read-only stays so.
    let outcome = node.run(writable("> /attacks/new"), b"").await?;
    ensure!(outcome.code != Some(0), "a read-only volume was written");
    // And the target is where it was.
    assert_ne!(node.container.run("> /etc/other")?.code, 0);
    Ok(())
}

#[tokio::test]
#[ignore = "needs root: immutable files protect the view's mount points"]
async fn made_writable_entries_can_be_made_under_the_root() -> Result<()> {
    let node = node(&read_only(ReadOnly::Mount)).await?;
    let request = Start { writable: true, ..node.request(&["sh", "-c", "> /new"]) };
    assert_eq!(node.run(request, b"").await?.code, Some(0));
    Ok(())
}

#[tokio::test]
async fn what_cannot_be_made_writable_is_said_before_anything_runs() -> Result<()> {
    let node = node(&read_only(ReadOnly::FileSystem)).await?;
    let request = Start { writable: true, ..node.request(&["sh", "-c", "> /volume/ran"]) };
    let failure = node.run(request, b"").await?.failure.context("no failure")?;
    ensure!(failure.message.contains("make writable /"), "{failure:?}");
    ensure!(failure.message.ends_with("Read-only file system"), "{failure:?}");
    ensure!(failure.hint.contains("--writes=discard"), "{failure:?}");
    let there = node.run(node.request(&["ls", "/volume"]), b"").await?.text();
    assert_eq!(there, "file", "the command ran");
    Ok(())
}

/// Tries to write everywhere but where a session always may.
const WRITE_ALL: &str = "
    for path in /new /etc/new /etc/passwd /tmp/new /volume/new /volume/file /bin/busybox; do
        (echo x >> $path) && echo $path was written
    done
    busybox rm -f /etc/group; busybox mv /etc/passwd /etc/moved; busybox touch /tmp
    chmod 700 /srv; mkdir /srv/new; busybox ln -s x /srv/link";

#[tokio::test]
async fn deny_writes_nothing() -> Result<()> {
    let node = node(&Options::own()).await?;
    let before = look(&node)?;
    assert_eq!(look_during(&node, Writes::Deny, WRITE_ALL).await?, before, "during");
    let outcome = run(&node, Writes::Deny, WRITE_ALL).await?;
    assert_eq!(outcome.text(), "", "{outcome:?}");
    let said = String::from_utf8_lossy(&outcome.stderr).into_owned();
    for line in said.lines() {
        ensure!(line.ends_with("Read-only file system"), "{line}");
    }
    ensure!(said.lines().count() >= 12, "{said}");
    assert_eq!(look(&node)?, before, "after");
    assert_eq!(node.output(&["cat", "/volume/file"]).await?, "data");
    // What is the session's own.
    let outcome = run(&node, Writes::Deny, "echo x > /dev/shm/x && cat /dev/shm/x").await?;
    assert_eq!((outcome.code, &*outcome.text()), (Some(0), "x"), "{outcome:?}");
    Ok(())
}

#[tokio::test]
async fn discard_writes_to_memory() -> Result<()> {
    let options = [Options::own(), read_only(ReadOnly::Mount), read_only(ReadOnly::FileSystem)];
    for options in options {
        let node = node(&options).await?;
        let before = look(&node)?;
        let line = format!(
            "{APPLETS} set -e
            echo more >> /etc/passwd; rm /etc/group; mkdir /srv/new; echo x > /srv/new/file
            mv /etc/no-program /tmp; cat /tmp/no-program; chmod 700 /tmp; echo evil > /bin/busybox
            busybox tail -n 1 /etc/passwd; test ! -e /etc/group; cat /srv/new/file /volume/file"
        );
        assert_eq!(look_during(&node, Writes::Discard, &line).await?, before, "during");
        let outcome = run(&node, Writes::Discard, &line).await?;
        assert_eq!(outcome.text(), "text\nmore\nx\ndata", "{outcome:?}");
        assert_eq!(look(&node)?, before, "after");
        // What is mounted there is the target's still, so it is only shown.
        let outcome = run(&node, Writes::Discard, "echo x > /volume/file").await?;
        let said = String::from_utf8_lossy(&outcome.stderr).into_owned();
        ensure!(said.contains("Read-only file system"), "{said}");
        let told = "read-only, as what is written there could not be discarded: /volume";
        assert_eq!(outcome.notices.iter().filter(|notice| *notice == told).count(), 1);
        assert_eq!(node.output(&["cat", "/volume/file"]).await?, "data");
    }
    Ok(())
}

#[tokio::test]
async fn what_is_discarded_is_bounded() -> Result<()> {
    let node = node(&Options::own()).await?;
    let line = "busybox dd if=/dev/zero of=/tmp/large bs=1M count=300 2>&1";
    let outcome = run(&node, Writes::Discard, line).await?;
    ensure!(outcome.text().contains("No space left on device"), "{outcome:?}");
    ensure!(!node.container.path("/tmp/large").exists(), "it is the target's");
    Ok(())
}

#[tokio::test]
async fn an_overlay_too_many_is_refused() -> Result<()> {
    let node = node(&Options { overlaid: true, ..Options::own() }).await?;
    let request = Start { writes: Writes::Discard.into(), ..node.request(&["true"]) };
    let failure = node.run(request, b"").await?.failure.context("no failure")?;
    ensure!(failure.message.contains("lay an overlay over"), "{failure:?}");
    ensure!(failure.hint.contains("--writes=deny"), "{failure:?}");
    Ok(())
}

#[tokio::test]
async fn mounts_made_meanwhile_are_not_seen_on_either_side() -> Result<()> {
    for writes in [Writes::Through, Writes::Deny, Writes::Discard] {
        let node = node(&Options { shared_volume: true, ..Options::own() }).await?;
        node.container.run("busybox mkdir /volume/late")?;
        let line = "echo ready; read -r _; ls /srv /volume/late; grep -c late /proc/self/mountinfo";
        let request = node.request(&["sh", "-c", line]);
        let request = Start { stdin: true, writes: writes.into(), ..request };
        let (requests, mut answers) = node.open(request).await?;
        answers.message().await?;
        answers.message().await?;
        for place in ["/srv", "/volume/late"] {
            let mount = format!("busybox mount -t tmpfs late {place} && echo x > {place}/seen");
            let ran = node.container.run(&mount)?;
            assert_eq!(ran.code, 0, "{}", ran.output);
        }
        requests.send(message(kpexec_protocol::client_message::Kind::Stdin("\n".into()))).await?;
        let outcome = crate::client::collect(answers).await?;
        assert_eq!(outcome.text(), "/srv:\n\n/volume/late:\n0", "{writes:?}");
        // One that comes later sees what is there then.
        assert_eq!(node.output(&["cat", "/srv/seen", "/volume/late/seen"]).await?, "x\nx");
    }
    Ok(())
}

#[tokio::test]
async fn requests_that_contradict_themselves_are_refused() -> Result<()> {
    let node = node(&Options::own()).await?;
    let request = || node.request(&["true"]);
    let writable = |writes: Writes| Start { writable: true, writes: writes.into(), ..request() };
    let through = "to make it writable and not to write through";
    for (request, told) in [
        (writable(Writes::Discard), through),
        (writable(Writes::Deny), through),
        (Start { save_changes: true, ..request() }, "to save changes and not to discard them"),
        // Of a newer client.
        (Start { writes: 99, ..request() }, "the helper does not know the writes mode"),
    ] {
        let outcome = node.run(request, b"").await?;
        let failure = outcome.failure.with_context(|| format!("it ran: {told}"))?;
        ensure!(failure.message.contains(told) && outcome.code.is_none(), "{failure:?}");
    }
    Ok(())
}

/// What tar(1) finds in it, without owners and times.
fn listed(changes: &[u8]) -> Result<Vec<String>> {
    let file = tempfile::NamedTempFile::new()?;
    fs::write(&file, changes)?;
    let output = Command::new("tar").args(["--numeric-owner", "-tvf"]).arg(file.path()).output()?;
    ensure!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    let shorn = |line: &str| {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        format!("{} {} {}", words[0], words[1], words[5..].join(" "))
    };
    let mut lines: Vec<_> = String::from_utf8(output.stdout)?.lines().map(shorn).collect();
    lines.sort();
    Ok(lines)
}

#[tokio::test]
async fn changes_can_be_saved() -> Result<()> {
    let node = node(&Options::own()).await?;
    let line = format!(
        "{APPLETS} echo more >> /etc/passwd; rm /etc/group; mkdir /srv/new; echo x > /srv/new/file
        > /tmp/.wh.odd; busybox mkfifo /srv/new/fifo; exit 3"
    );
    let request = node.request(&["sh", "-c", &line]);
    let saved = Start { writes: Writes::Discard.into(), save_changes: true, ..request.clone() };
    let outcome = node.run(saved, b"").await?;
    assert_eq!(outcome.code, Some(3), "the command's own: {outcome:?}");
    assert_eq!(
        listed(&outcome.changes)?,
        [
            "-rw-r--r-- 0/0 etc/.wh.group",
            "-rw-r--r-- 0/0 etc/passwd",
            "-rw-r--r-- 0/0 srv/new/file",
            "drwxr-xr-x 0/0 etc/",
            "drwxr-xr-x 0/0 srv/",
            "drwxr-xr-x 0/0 srv/new/",
            "drwxrwxrwt 0/0 tmp/",
            "prw-r--r-- 0/0 srv/new/fifo",
        ]
    );
    let told = "not saved, as a layer holds neither sockets nor names that begin with .wh.: \
                /tmp/.wh.odd";
    assert_eq!(outcome.last_notices, [told]);
    let mut passwd = String::new();
    for entry in tar::Archive::new(&*outcome.changes).entries()? {
        let mut entry = entry?;
        if entry.path()?.ends_with("etc/passwd") {
            std::io::Read::read_to_string(&mut entry, &mut passwd)?;
        }
    }
    assert_eq!(passwd, "root:x:0:0:the target's root:/:/bin/sh\nmore\n");
    // Nothing is sent that was not asked for.
    let unsaved = Start { writes: Writes::Discard.into(), ..request };
    assert!(node.run(unsaved, b"").await?.changes.is_empty());
    Ok(())
}

#[tokio::test]
#[ignore = "needs root: an overlay's marks, and the view's own root"]
async fn replaced_folders_and_entries_of_the_root_are_saved_too() -> Result<()> {
    let node = node(&Options::own()).await?;
    fs::create_dir(node.container.path("/srv/old"))?;
    fs::write(node.container.path("/srv/old/file"), "")?;
    let line = "set -e; busybox rm -r /srv/old; mkdir /srv/old; > /srv/old/new
        mkdir /made; echo x > /made/file; busybox rm /link; busybox ln -s /etc /second";
    let request = node.request(&["sh", "-c", line]);
    let request = Start { writes: Writes::Discard.into(), save_changes: true, ..request };
    let outcome = node.run(request, b"").await?;
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    assert_eq!(
        listed(&outcome.changes)?,
        [
            "-rw-r--r-- 0/0 .wh.link",
            "-rw-r--r-- 0/0 made/file",
            "-rw-r--r-- 0/0 srv/old/.wh..wh..opq",
            "-rw-r--r-- 0/0 srv/old/new",
            "drwxr-xr-x 0/0 made/",
            "drwxr-xr-x 0/0 srv/",
            "drwxr-xr-x 0/0 srv/old/",
            "lrwxrwxrwx 0/0 second -> /etc",
        ]
    );
    Ok(())
}

#[tokio::test]
#[ignore = "needs root: user namespaces with many users"]
async fn a_target_with_a_user_namespace_of_its_own_can_be_had_in_every_mode() -> Result<()> {
    let options = Options { user_namespace: true, ..Options::own() };
    let node = node(&options).await?;
    let line = "set -e; > /srv/new; busybox stat -c '%u %g' /srv/new /etc/passwd; cat /volume/file";
    for writes in [Writes::Through, Writes::Discard] {
        let outcome = run(&node, writes, line).await?;
        assert_eq!(outcome.text(), "0 0\n0 0\ndata", "{outcome:?}");
        ensure!(run(&node, writes, "> /new").await?.code == Some(0), "{writes:?}: {outcome:?}");
        let is_there = node.container.path("/srv/new").exists();
        assert_eq!(is_there, writes == Writes::Through);
        fs::remove_file(node.container.path("/srv/new"))
            .or_else(|error| if is_there { Err(error) } else { Ok(()) })?;
    }
    assert_ne!(run(&node, Writes::Deny, line).await?.code, Some(0));
    let request = node.request(&["sh", "-c", "> /srv/new; busybox chown 5:6 /srv/new; > /made"]);
    let request = Start { writes: Writes::Discard.into(), save_changes: true, ..request };
    let outcome = node.run(request, b"").await?;
    let saved = listed(&outcome.changes)?;
    assert_eq!(saved, ["-rw-r--r-- 0/0 made", "-rw-r--r-- 5/6 srv/new", "drwxr-xr-x 0/0 srv/"]);
    Ok(())
}

#[tokio::test]
#[ignore = "needs root: user namespaces with many users"]
async fn what_a_user_namespace_locks_is_said_before_anything_runs() -> Result<()> {
    let options = Options { user_namespace: true, ..read_only(ReadOnly::Mount) };
    let node = node(&options).await?;
    let request = Start { writable: true, ..node.request(&["sh", "-c", "> /volume/ran"]) };
    let failure = node.run(request, b"").await?.failure.context("no failure")?;
    ensure!(failure.message.ends_with("Operation not permitted"), "{failure:?}");
    ensure!(failure.hint.contains("user namespace locks it"), "{failure:?}");
    assert_eq!(node.output(&["ls", "/volume"]).await?, "file", "the command ran");
    assert_eq!(run(&node, Writes::Discard, "> /etc/new").await?.code, Some(0));
    Ok(())
}
