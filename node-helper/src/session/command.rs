//! The command's own process, watched by `serve` itself. The shim tells of its
//! end through a pipe, which a target with CAP_SYS_PTRACE can write to and read
//! from; and any target can stop a shim of its own user. So what is told counts
//! only if the kernel agrees (threat model, A40 and A43).

use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::OwnedFd;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use tokio::io::unix::AsyncFd;
use tokio::time::sleep;

use super::descendants;
use crate::sys::watch::async_fd;
use crate::target::{Procfs, facts};

/// How long the shim may take to tell of the command's end.
const TO_TELL: Duration = Duration::from_secs(1);

/// The command, as far as it is known for certain.
#[derive(Debug)]
pub(super) struct Command(Option<AsyncFd<OwnedFd>>);

impl Command {
    /// Finds the command of this shim. One that has ended already is not found:
    /// what leads a session below the shim then may be a daemon it left behind.
    pub fn find(procfs: &Procfs, shim: i32) -> Self {
        let leader = descendants::first_command(procfs, shim).ok().flatten();
        let pidfd = leader
            .and_then(Pid::from_raw)
            .and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok())
            .and_then(|pidfd| async_fd(pidfd).ok());
        // Asked last: as long as the shim has reaped nobody, its first child is
        // there, if only as a zombie, and nobody else has its PID.
        let reaped = procfs
            .process(shim)
            .and_then(|folder| Procfs::read(&folder, c"stat"))
            .ok()
            .and_then(|text| facts::has_reaped(&text));
        Self(pidfd.filter(|_| reaped == Some(false)))
    }

    /// Whether it certainly runs.
    pub fn runs(&self) -> bool {
        let Some(pidfd) = &self.0 else { return false };
        let mut ended = [PollFd::new(pidfd, PollFlags::IN)];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        matches!(poll(&mut ended, Some(&now)), Ok(0))
    }

    /// Waits until it has ended for so long that the shim would have told. For
    /// ever, if it is not known.
    pub async fn ended_untold(&self) {
        match &self.0 {
            Some(pidfd) if pidfd.readable().await.is_ok() => sleep(TO_TELL).await,
            _ => std::future::pending().await,
        }
    }
}
