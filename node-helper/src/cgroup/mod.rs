//! Sessions' cgroups, below the helper container's own: what a session leaves
//! behind is found there even if it has killed its shim (threat model, A39),
//! and what we leave behind ends with the helper's container.

mod group;
mod hierarchy;

use std::sync::atomic::{AtomicU32, Ordering};

use rustix::fd::OwnedFd;
use rustix::fs::{Dir, Mode, OFlags, openat};
use rustix::io::Errno;

pub use group::{SessionCgroup, join};
pub use hierarchy::Hierarchy;

use crate::target::Procfs;
use crate::target::facts::{self, Stat};

/// Why there is no cgroup.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A system call failed.
    #[error("cannot {0}")]
    Call(&'static str, #[source] Errno),
    /// The hierarchy cannot be had.
    #[error("cannot mount the cgroup hierarchy")]
    Mount(#[source] std::io::Error),
    /// A kernel without the controller, or whose cgroup v1 it is not mounted in.
    #[error("the node has neither cgroup v2 nor the freezer of v1")]
    NoHierarchy,
}

/// How many this process has made: their names must differ.
static MADE: AtomicU32 = AtomicU32::new(0);

/// Where sessions' cgroups are made.
#[derive(Debug)]
pub struct Cgroups {
    hierarchy: Hierarchy,
    /// The helper container's own cgroup.
    root: OwnedFd,
    owner: Owner,
}

impl Cgroups {
    /// Opens the hierarchy that this process's container has its cgroup in.
    ///
    /// # Errors
    /// When there is none, or it is refused.
    pub fn open(procfs: &Procfs) -> Result<Self, Error> {
        let own = procfs
            .process(std::process::id().cast_signed())
            .and_then(|folder| Procfs::read(&folder, c"cgroup"))
            .map_err(|errno| Error::Call("read our own cgroups", errno))?;
        let hierarchy =
            Hierarchy::choose(&String::from_utf8_lossy(&own)).ok_or(Error::NoHierarchy)?;
        Self::of(procfs, hierarchy)
    }

    /// Opens this hierarchy.
    ///
    /// # Errors
    /// When it is refused.
    pub fn of(procfs: &Procfs, hierarchy: Hierarchy) -> Result<Self, Error> {
        let owner =
            Owner::us(procfs).map_err(|errno| Error::Call("read our own start time", errno))?;
        let root = hierarchy.mount().map_err(Error::Mount)?;
        Ok(Self { hierarchy, root, owner })
    }

    /// The same for this process, which is a copy of the one that opened it.
    ///
    /// # Errors
    /// When our own start time cannot be read, or there are no descriptors left.
    pub fn owned_by_us(&self, procfs: &Procfs) -> rustix::io::Result<Self> {
        let (root, hierarchy) = (self.parent()?, self.hierarchy.clone());
        Ok(Self { hierarchy, root, owner: Owner::us(procfs)? })
    }

    /// Makes a cgroup for a session; the process that begins it [joins](join) by
    /// the descriptor.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn session(&self) -> Result<(SessionCgroup, OwnedFd), Error> {
        let name = self.owner.cgroup(MADE.fetch_add(1, Ordering::Relaxed));
        let call = |what| move |errno| Error::Call(what, errno);
        let parent = self.parent().map_err(call("hold the helper's cgroup"))?;
        let cgroup = SessionCgroup::make(self.hierarchy.clone(), parent, name)
            .map_err(call("make a cgroup for the session"))?;
        let door = cgroup.door().map_err(call("open the session's cgroup"))?;
        Ok((cgroup, door))
    }

    /// The cgroups of sessions whose `serve` has ended without removing them.
    ///
    /// # Errors
    /// When the helper's cgroup cannot be read.
    pub fn left_behind(&self, procfs: &Procfs) -> Result<Vec<SessionCgroup>, Error> {
        let call = |errno| Error::Call("look for cgroups left behind", errno);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = openat(&self.root, c".", flags, Mode::empty()).map_err(call)?;
        let mut found = Vec::new();
        for entry in Dir::new(folder).map_err(call)? {
            let name = entry.map_err(call)?.file_name().to_string_lossy().into_owned();
            if Owner::of(&name).is_none_or(|owner| owner.lives(procfs)) {
                continue;
            }
            match SessionCgroup::open(self.hierarchy.clone(), self.parent().map_err(call)?, name) {
                Ok(cgroup) => found.push(cgroup),
                // Its owner removed it with its last breath.
                Err(Errno::NOENT) => {}
                Err(errno) => return Err(call(errno)),
            }
        }
        Ok(found)
    }

    fn parent(&self) -> rustix::io::Result<OwnedFd> {
        rustix::io::fcntl_dupfd_cloexec(&self.root, 0)
    }
}

/// The `serve` that made a cgroup: in its name, so that it can be told later
/// whether anybody is going to remove it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Owner {
    pid: i32,
    start_time: u64,
}

impl Owner {
    fn us(procfs: &Procfs) -> rustix::io::Result<Self> {
        let pid = std::process::id().cast_signed();
        let stat = read_stat(procfs, pid)?;
        Ok(Self { pid, start_time: stat.start_time })
    }

    /// The name of a cgroup of its own.
    fn cgroup(self, number: u32) -> String {
        format!("kpexec-{}-{}-{number}", self.pid, self.start_time)
    }

    /// Whose cgroup this is; `None` if it is not a session's.
    fn of(name: &str) -> Option<Self> {
        let mut numbers = name.strip_prefix("kpexec-")?.split('-');
        let pid = numbers.next()?.parse().ok()?;
        let start_time = numbers.next()?.parse().ok()?;
        let _number: u32 = numbers.next()?.parse().ok()?;
        numbers.next().is_none().then_some(Self { pid, start_time })
    }

    /// Anything but a clear no counts as a yes: its sessions would be killed.
    fn lives(self, procfs: &Procfs) -> bool {
        match read_stat(procfs, self.pid) {
            Ok(stat) => stat.start_time == self.start_time && stat.state != b'Z',
            Err(errno) => !matches!(errno, Errno::NOENT | Errno::SRCH),
        }
    }
}

fn read_stat(procfs: &Procfs, pid: i32) -> rustix::io::Result<Stat> {
    let folder = procfs.process(pid)?;
    facts::stat(&Procfs::read(&folder, c"stat")?).ok_or(Errno::INVAL)
}

#[cfg(test)]
mod tests {
    use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};

    use super::*;

    #[test]
    fn a_name_says_who_made_it() {
        let owner = Owner { pid: 4711, start_time: 123_456 };
        assert_eq!(Owner::of("kpexec-4711-123456-7"), Some(owner));
        assert_eq!(owner.cgroup(7), "kpexec-4711-123456-7");
    }

    #[test]
    fn what_is_not_a_sessions_has_no_owner() {
        for name in [
            "cgroup.procs",
            "kpexec-isolated-4711",
            "kpexec-4711-123456",
            "kpexec-4711-123456-7-8",
            "kpexec-0a1b2c3d",
            "4711-123456-7",
        ] {
            assert_eq!(Owner::of(name), None, "{name}");
        }
    }

    #[test]
    fn a_process_lives_until_another_has_its_number() {
        let procfs = Procfs::open().unwrap();
        let us = Owner::us(&procfs).unwrap();
        assert!(us.lives(&procfs));
        assert!(!Owner { start_time: us.start_time + 1, ..us }.lives(&procfs));
    }

    #[test]
    fn a_process_that_nobody_has_reaped_does_not_live() {
        let procfs = Procfs::open().unwrap();
        let mut child = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
        let pid = child.id().cast_signed();
        let owner = Owner { pid, start_time: read_stat(&procfs, pid).unwrap().start_time };
        assert!(owner.lives(&procfs));
        child.kill().unwrap();
        let dead = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        waitid(WaitId::Pid(Pid::from_raw(pid).unwrap()), dead).unwrap();
        assert!(!owner.lives(&procfs));
        child.wait().unwrap();
        assert!(!owner.lives(&procfs));
    }
}
