//! From the target's side: its files and mounts are before, during and after a
//! session the same, but for what the command itself was told to write.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tests::Pod;

use crate::session::{NODES, PRELUDE, Session};

/// Roots that can be written.
const WRITABLE: [&str; 4] = ["scratch", "musl", "old-glibc", "broken-libc"];

/// Tools that like to leave histories and caches, and one file that is asked
/// for. `read` holds the session until the test has looked.
const WORK: &str = r#"
exec 2>&1
echo text >file.txt
script -qec 'bash -ic "history; ls /; cd; pwd"' /dev/null </dev/null
script -qec 'vim -c wq file.txt' /dev/null </dev/null
terminal less 'less file.txt'; shows less text; keys less /text Enter q
terminal nano 'nano file.txt'; shows nano text; keys nano C-x
terminal python 'python3'; shows python '>>>'; keys python 'import json, this; exit()' Enter
terminal zsh 'zsh -i'; keys zsh 'exit' Enter
terminal htop 'htop'; shows htop Load; keys htop q
gdb -p 1 -batch -ex bt; git init -q repo; curl -sk "https://localhost:$TLS/page.txt"
wget -q --no-check-certificate -O- "https://localhost:$TLS/page.txt"; python3 -c 'import sqlite3'
printf 'asked for\n' >/root/by-the-command
echo; echo all done
read -r
"#;

/// What the command writes, as the target sees it.
const WRITTEN: &str = "/root/by-the-command";

/// What is there: path → inode, type and mode, owner, size, times of change.
type Files = BTreeMap<PathBuf, [i64; 9]>;

/// How the target sees its own.
#[derive(PartialEq)]
struct Sight {
    mounts: String,
    files: Files,
}

impl Sight {
    fn of(pod: &Pod) -> Result<Self> {
        let root = pod.path("/");
        let mut files = Files::new();
        let device = fs::symlink_metadata(&root)?.dev();
        let mut folders = vec![root.clone()];
        while let Some(folder) = folders.pop() {
            let about = fs::symlink_metadata(&folder)?;
            if about.dev() == device {
                files.insert(inside(&root, &folder), facts(&about));
                for entry in fs::read_dir(&folder)? {
                    let path = entry?.path();
                    let about = fs::symlink_metadata(&path)?;
                    if about.is_dir() {
                        folders.push(path);
                    } else {
                        files.insert(inside(&root, &path), facts(&about));
                    }
                }
            }
        }
        Ok(Self { mounts: pod.proc("mountinfo")?, files })
    }

    /// Paths that are not as they were.
    fn changed_since(&self, before: &Self) -> Vec<PathBuf> {
        let all = self.files.keys().chain(before.files.keys());
        let mut changed: Vec<_> =
            all.filter(|path| self.files.get(*path) != before.files.get(*path)).cloned().collect();
        changed.sort();
        changed.dedup();
        changed
    }
}

fn inside(root: &Path, path: &Path) -> PathBuf {
    Path::new("/").join(path.strip_prefix(root).unwrap_or(path))
}

fn facts(about: &fs::Metadata) -> [i64; 9] {
    [
        about.ino().cast_signed(),
        about.mode().into(),
        about.uid().into(),
        about.gid().into(),
        about.size().cast_signed(),
        about.mtime(),
        about.mtime_nsec(),
        about.ctime(),
        about.ctime_nsec(),
    ]
}

#[test]
fn the_target_sees_only_what_the_command_was_told_to_write() -> Result<()> {
    for root in WRITABLE {
        for node in NODES {
            let session = Session { root, node, uid: 0 };
            look_on(&session).with_context(|| session.pod())?;
        }
    }
    Ok(())
}

fn look_on(session: &Session<'_>) -> Result<()> {
    let _alone = session.alone();
    let pod = Pod::find(&session.pod())?;
    // An earlier run may have failed.
    let _gone = fs::remove_file(pod.path(WRITTEN));
    let before = Sight::of(&pod)?;
    let script = format!("{PRELUDE}\n{WORK}");
    let mut kpexec = session.command(&["-i"], &["bash", "-c", &script]);
    let mut child = kpexec.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let output = BufReader::new(child.stdout.take().context("stdout is a pipe")?);
    let mut said = String::new();
    for line in output.split(b'\n') {
        let line = String::from_utf8_lossy(&line?).into_owned();
        said += &line;
        said.push('\n');
        if line == "all done" {
            break;
        }
    }
    let during = Sight::of(&pod)?;
    drop(child.stdin.take());
    tests::command::wait(&mut child, Duration::from_secs(60))?;
    let after = Sight::of(&pod)?;

    ensure!(!said.contains("not shown: "), "a tool did not come up: {said}");
    ensure!(said.contains("asked for") || during.files.contains_key(Path::new(WRITTEN)), "{said}");
    for (when, sight) in [("during", &during), ("after", &after)] {
        ensure!(sight.mounts == before.mounts, "{when}: {}", sight.mounts);
        // The file itself, and the folder that has it now.
        let changed = sight.changed_since(&before);
        let asked = [Path::new("/root"), Path::new(WRITTEN)];
        ensure!(changed == asked, "{when}: {changed:?} have changed; the session said:\n{said}");
    }
    fs::remove_file(pod.path(WRITTEN))?;
    Ok(())
}
