//! The processes of this machine and of a container, as `/proc` has them.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

/// Longer than anything here takes. Shorter than what ends a session in any case:
/// its 20 s of farewell.
const LIMIT: Duration = Duration::from_secs(18);

/// Numbers of the processes that the procfs at `folder` shows, the dead that
/// nobody has reaped included.
pub fn all(folder: &Path) -> Result<BTreeSet<i32>> {
    let mut pids = BTreeSet::new();
    for entry in fs::read_dir(folder)? {
        pids.extend(entry?.file_name().to_str().and_then(|name| name.parse::<i32>().ok()));
    }
    Ok(pids)
}

/// Processes of this machine with `mark` as a word of their command line.
pub fn marked(mark: &str) -> Result<Vec<i32>> {
    Ok(all(Path::new("/proc"))?.into_iter().filter(|pid| has_mark(*pid, mark)).collect())
}

/// Whether there is one that was not `known`, which is all there are afterwards. Only
/// those that are new are looked at: they may not live until all others were.
pub fn another_is_marked(mark: &str, known: &mut BTreeSet<i32>) -> Result<bool> {
    let now = all(Path::new("/proc"))?;
    let another = now.iter().any(|pid| !known.contains(pid) && has_mark(*pid, mark));
    *known = now;
    Ok(another)
}

fn has_mark(pid: i32, mark: &str) -> bool {
    let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    command.split(|byte| *byte == 0).any(|word| word == mark.as_bytes())
}

/// Processes of this machine in a cgroup whose name begins with `name`.
pub fn in_cgroup(name: &str) -> Result<Vec<i32>> {
    let part = format!("/{name}");
    let is_in = |pid: &i32| {
        fs::read_to_string(format!("/proc/{pid}/cgroup")).is_ok_and(|text| text.contains(&part))
    };
    Ok(all(Path::new("/proc"))?.into_iter().filter(is_in).collect())
}

/// Cgroups of this machine whose name begins with `name`.
pub fn cgroups(name: &str) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut open = vec![PathBuf::from("/sys/fs/cgroup")];
    while let Some(folder) = open.pop() {
        // It may have been removed meanwhile.
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for entry in entries {
            let entry = entry?;
            if entry.file_name().as_bytes().starts_with(name.as_bytes()) {
                found.push(entry.path());
            } else if entry.file_type()?.is_dir() {
                open.push(entry.path());
            }
        }
    }
    Ok(found)
}

/// How the names of a helper's cgroups begin: its number alone would be that of others
/// before it, too, which have left theirs.
pub fn cgroups_of(helper: i32) -> Result<String> {
    let stat = fs::read_to_string(format!("/proc/{helper}/stat"))?;
    // Field 22, counted from behind the name: proc_pid_stat(5).
    let start = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(19));
    Ok(format!("kpexec-{helper}-{}-", start.context("no start time")?))
}

/// Waits until what is found is as wanted.
async fn wait_until<T: PartialEq + Debug>(wanted: T, find: impl Fn() -> Result<T>) -> Result<()> {
    let deadline = Instant::now() + LIMIT;
    loop {
        let found = find()?;
        if found == wanted {
            return Ok(());
        }
        if Instant::now() > deadline {
            bail!("{found:?} instead of {wanted:?}");
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Waits until `wanted` processes have `mark`.
pub async fn wait_for(mark: &str, wanted: usize) -> Result<()> {
    let waited = wait_until(wanted, || Ok(marked(mark)?.len())).await;
    waited.with_context(|| format!("processes with {mark}"))
}

/// Waits until no cgroup's name begins with `name`: one goes after its processes.
pub async fn wait_for_no_cgroup(name: &str) -> Result<()> {
    wait_until(Vec::new(), || cgroups(name)).await.context("cgroups")
}

/// Waits until a process has these children, and no other.
pub async fn wait_for_children(parent: u32, wanted: &[i32]) -> Result<()> {
    let children = || {
        let text = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children"))?;
        Ok(text.split_whitespace().map(str::parse).collect::<Result<Vec<i32>, _>>()?)
    };
    wait_until(wanted.to_vec(), children).await.with_context(|| format!("children of {parent}"))
}

/// Kills what has `mark`, until nothing does.
pub async fn kill_marked(mark: &str) -> Result<()> {
    let deadline = Instant::now() + LIMIT;
    loop {
        let pids = marked(mark)?;
        if pids.is_empty() {
            return Ok(());
        }
        if Instant::now() > deadline {
            bail!("{pids:?} with {mark} cannot be killed");
        }
        for pid in pids.into_iter().filter_map(Pid::from_raw) {
            // It may have ended meanwhile.
            let _ended = kill_process(pid, Signal::KILL);
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}
