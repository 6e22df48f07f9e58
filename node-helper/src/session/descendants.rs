//! Which processes a session consists of: the shim's descendants. Orphans stay
//! among them, because the shim is their reaper.

use std::collections::HashSet;

use nix::sys::signal::Signal;
use rustix::process::{Pid, PidfdFlags, pidfd_open, pidfd_send_signal};

use crate::target::Procfs;
use crate::target::facts::{self, Stat};

/// A process, named for good by its PID and its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Process {
    pub pid: i32,
    stat: Stat,
}

/// The living descendants of `ancestor`, itself excluded.
pub(super) fn descendants(procfs: &Procfs, ancestor: i32) -> rustix::io::Result<Vec<Process>> {
    Ok(below(&procfs.processes()?, ancestor))
}

/// The leader of the command's own session, which is its process group too.
pub(super) fn command(procfs: &Procfs, shim: i32) -> rustix::io::Result<Option<i32>> {
    let processes = procfs.processes()?;
    let leads = |pid: i32, stat: &Stat| stat.parent == shim && stat.session == pid;
    let leaders = processes.iter().filter(|(pid, stat)| leads(*pid, stat));
    // A daemon that the command left behind leads a session too, but later.
    Ok(leaders.min_by_key(|(_, stat)| stat.start_time).map(|(pid, _)| *pid))
}

fn below(processes: &[(i32, Stat)], ancestor: i32) -> Vec<Process> {
    let mut family = HashSet::from([ancestor]);
    let mut found = Vec::new();
    // A child may have a smaller PID than its parent, so until nothing is new.
    loop {
        let before = family.len();
        for (pid, stat) in processes {
            if family.contains(&stat.parent) && family.insert(*pid) && stat.state != b'Z' {
                found.push(Process { pid: *pid, stat: *stat });
            }
        }
        if family.len() == before {
            return found;
        }
    }
}

/// Signals one process, if it still is the same one.
pub(super) fn signal(procfs: &Procfs, process: Process, signal: Signal) {
    let Some(pid) = Pid::from_raw(process.pid) else { return };
    let Ok(pidfd) = pidfd_open(pid, PidfdFlags::empty()) else { return };
    // The pidfd first, then the look: what it names cannot change any more.
    let now = procfs
        .process(process.pid)
        .and_then(|folder| Procfs::read(&folder, c"stat"))
        .ok()
        .and_then(|text| facts::stat(&text));
    if now.is_none_or(|now| now.start_time != process.stat.start_time) {
        return;
    }
    if let Some(signal) = rustix::process::Signal::from_named_raw(signal as i32) {
        // It may have ended meanwhile, which is what we want of it.
        let _ended = pidfd_send_signal(&pidfd, signal);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stat(parent: i32, state: u8) -> Stat {
        Stat { state, parent, session: 0, start_time: 0 }
    }

    #[test]
    fn grandchildren_count_whatever_their_numbers() {
        let processes =
            [(5, stat(90, b'S')), (90, stat(10, b'S')), (10, stat(1, b'S')), (11, stat(1, b'S'))];
        let mut pids: Vec<i32> = below(&processes, 10).iter().map(|p| p.pid).collect();
        pids.sort_unstable();
        assert_eq!(pids, [5, 90]);
    }

    #[test]
    fn the_dead_do_not_count_but_their_children_do() {
        let processes = [(20, stat(10, b'Z')), (30, stat(20, b'S'))];
        let pids: Vec<i32> = below(&processes, 10).iter().map(|p| p.pid).collect();
        assert_eq!(pids, [30]);
    }
}
