//! Who descends from the shim. Orphans stay among them, because the shim is
//! their reaper, while it lives.

use std::collections::HashSet;
use std::ffi::CString;

use rustix::io;

use crate::target::Procfs;
use crate::target::facts::Stat;

/// The descendants of `ancestor`, itself excluded, with the dead that nobody
/// has reaped.
pub(super) fn descendants(procfs: &Procfs, ancestor: i32) -> io::Result<Vec<(i32, Stat)>> {
    // To look at every process of a node takes milliseconds.
    if is_childless(procfs, ancestor) {
        return Ok(Vec::new());
    }
    Ok(below(&procfs.processes()?, ancestor))
}

/// Whether a process of one thread is known to have no child, not even a dead one.
/// `children` may lack some; but it lists none only if there is none, as the
/// first one is always found.
fn is_childless(procfs: &Procfs, pid: i32) -> bool {
    children(procfs, pid).is_some_and(|children| children.is_empty())
}

/// The children of a process of one thread: `children` of proc_pid_task(5). Those
/// after one that is reaped meanwhile may be missing. A kernel without
/// CONFIG_PROC_CHILDREN has no such file.
fn children(procfs: &Procfs, pid: i32) -> Option<Vec<i32>> {
    let name = CString::new(format!("task/{pid}/children")).ok()?;
    let text = Procfs::read(procfs.process(pid).ok()?, &name).ok()?;
    let text = String::from_utf8(text).ok()?;
    text.split_ascii_whitespace().map(|pid| pid.parse().ok()).collect()
}

/// The living among them.
pub(super) fn living(procfs: &Procfs, ancestor: i32) -> io::Result<Vec<i32>> {
    Ok(alive(&descendants(procfs, ancestor)?))
}

/// The leader of the command's own session, which is its process group too.
pub(super) fn command(procfs: &Procfs, shim: i32) -> io::Result<Option<i32>> {
    Ok(leader(&procfs.processes()?, shim))
}

/// The same, if the shim has reaped nobody: that is for the caller to find out
/// afterwards.
pub(super) fn first_command(procfs: &Procfs, shim: i32) -> io::Result<Option<i32>> {
    match children(procfs, shim) {
        Some(children) => Ok(leader(&procfs.stats(children), shim)),
        None => command(procfs, shim),
    }
}

fn leader(processes: &[(i32, Stat)], shim: i32) -> Option<i32> {
    let leads = |pid: i32, stat: &Stat| stat.parent == shim && stat.session == pid;
    let leaders = processes.iter().filter(|(pid, stat)| leads(*pid, stat));
    // A daemon that the command left behind leads a session too, but later.
    leaders.min_by_key(|(_, stat)| stat.start_time).map(|(pid, _)| *pid)
}

fn below(processes: &[(i32, Stat)], ancestor: i32) -> Vec<(i32, Stat)> {
    let mut family = HashSet::from([ancestor]);
    let mut found = Vec::new();
    // A child may have a smaller PID than its parent, so until nothing is new.
    loop {
        let before = family.len();
        for (pid, stat) in processes {
            if family.contains(&stat.parent) && family.insert(*pid) {
                found.push((*pid, *stat));
            }
        }
        if family.len() == before {
            return found;
        }
    }
}

fn alive(processes: &[(i32, Stat)]) -> Vec<i32> {
    processes.iter().filter(|(_, stat)| stat.state != b'Z').map(|(pid, _)| *pid).collect()
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader};
    use std::process::{Command, Stdio};

    use super::*;
    use crate::target::facts;

    #[test]
    fn a_process_without_children_is_told_from_one_that_has_a_dead_one() {
        let procfs = Procfs::open().unwrap();
        let is_childless = |child: &std::process::Child| {
            let pid = child.id().cast_signed();
            (is_childless(&procfs, pid), descendants(&procfs, pid).unwrap().len())
        };
        let mut alone = Command::new("sleep").arg("100").spawn().unwrap();
        assert_eq!(is_childless(&alone), (true, 0));
        alone.kill().unwrap();
        alone.wait().unwrap();

        // sleep(1) reaps nobody.
        let mut parent = Command::new("env");
        parent.args(["--default-signal=CHLD", "sh", "-c", "sleep 100 & echo $!; exec sleep 100"]);
        let mut parent = parent.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(parent.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(is_childless(&parent), (false, 1));
        Command::new("kill").args(["-KILL", line.trim()]).status().unwrap();
        let child = line.trim().parse().unwrap();
        let state = || facts::stat(&Procfs::read(procfs.process(child).unwrap(), c"stat").unwrap());
        while state().unwrap().state != b'Z' {
            std::thread::yield_now();
        }
        assert_eq!(is_childless(&parent), (false, 1));
        parent.kill().unwrap();
        parent.wait().unwrap();
    }

    fn stat(parent: i32, state: u8) -> Stat {
        Stat { state, parent, session: 0, start_time: 0 }
    }

    #[test]
    fn grandchildren_count_whatever_their_numbers() {
        let processes =
            [(5, stat(90, b'S')), (90, stat(10, b'S')), (10, stat(1, b'S')), (11, stat(1, b'S'))];
        let mut pids = alive(&below(&processes, 10));
        pids.sort_unstable();
        assert_eq!(pids, [5, 90]);
    }

    #[test]
    fn the_dead_are_not_alive_but_their_children_are() {
        let processes = [(20, stat(10, b'Z')), (30, stat(20, b'S'))];
        let found = below(&processes, 10);
        assert_eq!(found.len(), 2, "both must be waited for");
        assert_eq!(alive(&found), [30]);
    }
}
