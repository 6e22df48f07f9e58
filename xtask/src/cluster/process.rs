//! Processes of the cluster, remembered by PID **and** start time: a PID alone
//! may belong to somebody else by tomorrow.

use std::fs;

use anyhow::{Context, Result};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::layout;

/// One started process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// `kubelet1`, `etcd`, …
    pub name: String,
    /// Its PID on the host.
    pub pid: u32,
    /// Start time in clock ticks since boot, /proc/PID/stat field 22.
    pub start: u64,
}

impl Record {
    /// Writes the record of this very process. It keeps its PID and start time
    /// when it becomes another program by exec, so there is no moment in which
    /// the program runs without a record.
    pub fn write_own(name: &str) -> Result<()> {
        let pid = std::process::id();
        let start = start_time(pid).context("this process has no /proc entry")?;
        let file = layout::records().join(name);
        // Renamed into place: whoever waits for the file never reads half.
        let unfinished = layout::records().join(format!(".{name}"));
        fs::write(&unfinished, format!("{pid} {start}\n"))?;
        fs::rename(unfinished, &file).with_context(|| format!("cannot write {}", file.display()))
    }

    /// The record of that name.
    pub fn read(name: &str) -> Option<Self> {
        parse(name, &fs::read_to_string(layout::records().join(name)).ok()?)
    }

    /// All records, sorted by name.
    pub fn all() -> Vec<Self> {
        let Ok(entries) = fs::read_dir(layout::records()) else { return Vec::new() };
        let names = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
        let mut records: Vec<Self> = names.filter_map(|name| Self::read(&name)).collect();
        records.sort_by(|a, b| a.name.cmp(&b.name));
        records
    }

    /// Whether that very process still runs.
    pub fn alive(&self) -> bool {
        start_time(self.pid) == Some(self.start)
    }

    /// Kills that very process, if it still runs.
    pub fn kill(&self) -> Result<()> {
        kill_if(self.pid, || self.alive())
    }
}

/// Sends SIGKILL to a process that still is what it was taken for. The pidfd
/// is opened first: what is true then stays true of it.
pub fn kill_if(pid: u32, still_the_one: impl FnOnce() -> bool) -> Result<()> {
    if pid == std::process::id() {
        return Ok(());
    }
    let number = i32::try_from(pid).ok().and_then(Pid::from_raw).context("not a PID")?;
    let pidfd = match pidfd_open(number, PidfdFlags::empty()) {
        Ok(pidfd) => pidfd,
        Err(Errno::SRCH) => return Ok(()),
        Err(error) => return Err(error).with_context(|| format!("cannot open process {pid}")),
    };
    if !still_the_one() {
        return Ok(());
    }
    match pidfd_send_signal(&pidfd, Signal::KILL) {
        Ok(()) | Err(Errno::SRCH) => Ok(()),
        Err(error) => Err(error).with_context(|| format!("cannot kill process {pid}")),
    }
}

fn parse(name: &str, line: &str) -> Option<Record> {
    let (pid, start) = line.trim().split_once(' ')?;
    if name.starts_with('.') {
        return None;
    }
    Some(Record { name: name.to_owned(), pid: pid.parse().ok()?, start: start.parse().ok()? })
}

/// Start time of a process that runs; none for one that is dead or a zombie.
fn start_time(pid: u32) -> Option<u64> {
    start_in(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

fn start_in(stat: &str) -> Option<u64> {
    // The name, field 2, may hold spaces and parentheses: count from its end.
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut fields = fields.split(' ');
    if matches!(fields.next()?, "Z" | "X") {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_time_is_found_behind_any_name() {
        let rest = "1 1 1 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 987654 1 1";
        assert_eq!(start_in(&format!("7 (a) b) ) S {rest}")), Some(987_654));
        assert_eq!(start_in(&format!("7 (sh) Z {rest}")), None);
    }

    #[test]
    fn a_recycled_pid_is_not_the_same_process() {
        let own = std::process::id();
        let start = start_time(own).unwrap();
        let record = |start| Record { name: "x".to_owned(), pid: own, start };
        assert!(record(start).alive());
        assert!(!record(start + 1).alive());
    }

    #[test]
    fn unfinished_records_are_not_read() {
        assert_eq!(parse(".etcd", "1 2"), None);
        assert!(parse("etcd", "1 2\n").is_some());
        assert_eq!(parse("etcd", ""), None);
    }
}
