//! One session's cgroup: whatever its processes do, they cannot leave it
//! without a cgroup file system they may write to.

use std::fs::File;
use std::io::Read;
use std::time::{Duration, Instant};

use rustix::fd::{BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, Mode, OFlags, mkdirat, openat, unlinkat};
use rustix::io::{self, Errno};
use rustix::process::Signal;

use super::hierarchy::{Hierarchy, PROCS};
use crate::failure::tell;
use crate::signal;

/// How often we look whether all are gone.
const POLL: Duration = Duration::from_millis(10);

/// How long a drop may take: on a busy node the killed need their time to go.
const MOMENT: Duration = Duration::from_secs(2);

/// A cgroup of one session. Dropped, it is killed and removed.
#[derive(Debug)]
pub struct SessionCgroup {
    hierarchy: Hierarchy,
    /// The helper container's.
    parent: OwnedFd,
    name: String,
    folder: OwnedFd,
    /// Whether somebody in it does not die.
    given_up: bool,
}

impl SessionCgroup {
    /// Makes the cgroup `name` below `parent`.
    pub(super) fn make(hierarchy: Hierarchy, parent: OwnedFd, name: String) -> io::Result<Self> {
        mkdirat(&parent, &name, Mode::RWXU)?;
        Self::open(hierarchy, parent, name)
    }

    /// Takes over a cgroup that somebody made.
    pub(super) fn open(hierarchy: Hierarchy, parent: OwnedFd, name: String) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let folder = openat(&parent, &name, flags, Mode::empty())?;
        Ok(Self { hierarchy, parent, name, folder, given_up: false })
    }

    /// What a process [joins](join) this cgroup by.
    pub(super) fn door(&self) -> io::Result<OwnedFd> {
        let flags = OFlags::WRONLY | OFlags::CLOEXEC;
        openat(&self.folder, self.hierarchy.joined_by(), flags, Mode::empty())
    }

    /// Moves a process out, to the helper container's own cgroup.
    ///
    /// # Errors
    /// When the kernel refuses, or it has ended.
    pub fn release(&self, pid: i32) -> io::Result<()> {
        migrate(&self.parent, pid)
    }

    /// The living processes of the cgroup, as our PID namespace numbers them.
    ///
    /// # Errors
    /// `ENOENT` once it has been removed.
    pub fn members(&self) -> io::Result<Vec<i32>> {
        let file = openat(&self.folder, PROCS, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        let mut text = String::new();
        File::from(file)
            .read_to_string(&mut text)
            .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
        // 0 is a process of a PID namespace that we do not see.
        Ok(text.lines().filter_map(|line| line.parse().ok()).filter(|pid| *pid > 0).collect())
    }

    /// Kills until nobody is left; says whether that was so by `deadline`.
    pub async fn kill_all(&self, deadline: Instant) -> bool {
        loop {
            if self.members().is_ok_and(|members| members.is_empty()) {
                return true;
            }
            let killed = self.kill();
            if Instant::now() >= deadline {
                self.say(killed);
                return false;
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Kills until the cgroup can be removed, which is the proof that nobody is
    /// left in it; says whether that was so by `deadline`.
    pub async fn remove(mut self, deadline: Instant) -> bool {
        while !self.removed() {
            let killed = self.kill();
            if Instant::now() >= deadline {
                self.say(killed);
                self.given_up = true;
                return false;
            }
            tokio::time::sleep(POLL).await;
        }
        true
    }

    fn removed(&self) -> bool {
        matches!(unlinkat(&self.parent, &self.name, AtFlags::REMOVEDIR), Ok(()) | Err(Errno::NOENT))
    }

    /// Says why somebody is left, if it is not that they do not die.
    fn say(&self, killed: io::Result<()>) {
        if let Err(errno) = killed {
            tell(&format!("the cgroup {} cannot be killed: {errno}", self.name));
        }
    }

    /// Kills all members there are.
    fn kill(&self) -> io::Result<()> {
        if self.hierarchy == Hierarchy::V2 {
            match write(&self.folder, "cgroup.kill", "1") {
                // Before Linux 5.14.
                Err(Errno::NOENT) => {}
                done => return done,
            }
        }
        self.kill_frozen()
    }

    /// Kills each member while all are frozen: else those we did not see yet
    /// could start others that we never see. One that is still on its way into
    /// the ice may do so; the next round has its children.
    fn kill_frozen(&self) -> io::Result<()> {
        let freezer = self.hierarchy.freezer();
        // Before Linux 5.2 version 2 has none. Then, rounds alone must do.
        let frozen = write(&self.folder, freezer.file, freezer.freeze);
        let killed = self
            .members()
            .and_then(|members| signal::send(&members, &[Signal::KILL], || self.members()));
        // In version 1 the frozen do not die.
        let thawed = write(&self.folder, freezer.file, freezer.thaw);
        killed.and(if frozen.is_ok() { thawed } else { Ok(()) })
    }
}

impl Drop for SessionCgroup {
    /// For the ways out that do not come by [`SessionCgroup::remove`].
    fn drop(&mut self) {
        let deadline = Instant::now() + MOMENT;
        while !self.given_up && !self.removed() {
            let killed = self.kill();
            if Instant::now() >= deadline {
                return self.say(killed);
            }
            std::thread::sleep(POLL);
        }
    }
}

/// Moves this process, which has one thread, by the door of a cgroup; what it
/// starts from now on is born there.
///
/// # Errors
/// When the kernel refuses.
pub fn join(door: BorrowedFd<'_>) -> io::Result<()> {
    io::write(door, b"0").map(drop)
}

fn migrate(folder: &OwnedFd, pid: i32) -> io::Result<()> {
    // 0 would be ourselves, and `serve` be killed with the session.
    if pid <= 0 {
        return Err(Errno::SRCH);
    }
    write(folder, PROCS, &pid.to_string())
}

fn write(folder: &OwnedFd, file: &str, text: &str) -> io::Result<()> {
    let file = openat(folder, file, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    // The kernel takes such a text whole or not at all.
    io::write(&file, text.as_bytes()).map(drop)
}

#[cfg(test)]
#[path = "group_tests.rs"]
mod tests;
