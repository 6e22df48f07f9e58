//! The shim, owned: it is our child, and all that runs in a session hangs from
//! it. Whoever drops it kills it.

use std::io;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fd::{AsFd, OwnedFd};
use rustix::process::{
    Pid, PidfdFlags, WaitId, WaitIdOptions, pidfd_open, pidfd_send_signal, waitid,
};
use tokio::io::unix::AsyncFd;
use tokio::time::{sleep, timeout};

use super::descendants::{self, descendants};
use crate::sys::watch::async_fd;
use crate::target::Procfs;

/// How often we look whether all are gone.
const POLL: Duration = Duration::from_millis(10);

/// How long killed processes may take to go. One that waits for a dead disk
/// takes longer than anybody can wait for.
const KILL_TIMEOUT: Duration = Duration::from_secs(5);

/// A shim that has not been reaped.
#[derive(Debug)]
pub(super) struct Shim {
    pub pid: i32,
    pidfd: AsyncFd<OwnedFd>,
}

impl Shim {
    /// Takes the shim over from the entry process.
    ///
    /// Only a child of ours is taken: the report that named it came from a
    /// process that shared its socket, for a moment, with one the target sees.
    pub fn new(pid: i32) -> io::Result<Self> {
        let id = Pid::from_raw(pid).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        let pidfd = pidfd_open(id, PidfdFlags::NONBLOCK)?;
        let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        waitid(WaitId::PidFd(pidfd.as_fd()), look)?;
        Ok(Self { pid, pidfd: async_fd(pidfd)? })
    }

    /// Whether the shim ends within `patience`.
    pub async fn ends_within(&self, patience: Duration) -> bool {
        timeout(patience, self.pidfd.readable()).await.is_ok()
    }

    /// Ends the session: each signal to all of it, with the time given to heed
    /// it, then SIGKILL; then the shim itself, reaped at once: an unreaped child
    /// of ours would hold up the target's own end (threat model, finding 7). Says
    /// whether nothing of the session is left.
    pub async fn end(self, procfs: &Procfs, gently: &[(Signal, Duration)]) -> bool {
        for (signal, patience) in gently {
            if self.signal_until_gone(procfs, *signal, *patience).await {
                break;
            }
        }
        let gone = self.signal_until_gone(procfs, Signal::SIGKILL, KILL_TIMEOUT).await;
        self.kill();
        let ended = self.ends_within(KILL_TIMEOUT).await;
        self.reap();
        if !(gone && ended) {
            // The client shows it with a failure, and with -v.
            eprintln!("processes of the session are left, below the shim {}", self.pid);
        }
        gone && ended
    }

    /// Signals all descendants, each once (SIGKILL: until it is gone), those
    /// that appear meanwhile too. Says whether all are gone.
    async fn signal_until_gone(&self, procfs: &Procfs, signal: Signal, patience: Duration) -> bool {
        let begun = Instant::now();
        let mut told = Vec::new();
        loop {
            let Ok(alive) = descendants(procfs, self.pid) else { return false };
            if alive.is_empty() {
                return true;
            }
            for process in alive {
                if signal == Signal::SIGKILL || !told.contains(&process.pid) {
                    descendants::signal(procfs, process, signal);
                    // A stopped process heeds nothing else.
                    descendants::signal(procfs, process, Signal::SIGCONT);
                    told.push(process.pid);
                }
            }
            if begun.elapsed() >= patience {
                return false;
            }
            sleep(POLL).await;
        }
    }

    fn kill(&self) {
        // It may have ended already.
        let _ended = pidfd_send_signal(&self.pidfd, rustix::process::Signal::KILL);
    }

    fn reap(&self) {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
        // Nothing can be done about a child that cannot be reaped.
        let _status = waitid(WaitId::PidFd(self.pidfd.as_fd()), options);
    }
}

impl Drop for Shim {
    /// For the ways out that do not come by [`Shim::end`]. Waits a moment for
    /// the kernel, because a zombie of ours would hold up the target's end.
    fn drop(&mut self) {
        self.kill();
        let mut poll = [PollFd::new(&self.pidfd, PollFlags::IN)];
        let moment = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
        let _late = rustix::event::poll(&mut poll, Some(&moment));
        self.reap();
    }
}
