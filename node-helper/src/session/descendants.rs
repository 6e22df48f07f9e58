//! Who descends from the shim. Orphans stay among them, because the shim is
//! their reaper, while it lives.

use std::collections::HashSet;

use rustix::io;

use crate::target::Procfs;
use crate::target::facts::Stat;

/// The descendants of `ancestor`, itself excluded, with the dead that nobody
/// has reaped.
pub(super) fn descendants(procfs: &Procfs, ancestor: i32) -> io::Result<Vec<(i32, Stat)>> {
    Ok(below(&procfs.processes()?, ancestor))
}

/// The living among them.
pub(super) fn living(procfs: &Procfs, ancestor: i32) -> io::Result<Vec<i32>> {
    Ok(alive(&descendants(procfs, ancestor)?))
}

/// The leader of the command's own session, which is its process group too.
pub(super) fn command(procfs: &Procfs, shim: i32) -> io::Result<Option<i32>> {
    let processes = procfs.processes()?;
    let leads = |pid: i32, stat: &Stat| stat.parent == shim && stat.session == pid;
    let leaders = processes.iter().filter(|(pid, stat)| leads(*pid, stat));
    // A daemon that the command left behind leads a session too, but later.
    Ok(leaders.min_by_key(|(_, stat)| stat.start_time).map(|(pid, _)| *pid))
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
    use super::*;

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
