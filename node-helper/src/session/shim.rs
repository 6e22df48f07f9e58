//! The shim, owned: it is our child, and all that runs in a session hangs from
//! it or is in its cgroup. Whoever drops it kills it.

use std::collections::HashSet;
use std::io;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::retry_on_intr;
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, pidfd_open, pidfd_send_signal, waitid,
};
use tokio::io::unix::AsyncFd;
use tokio::time::{sleep, timeout};

use super::descendants::{descendants, living};
use crate::cgroup::SessionCgroup;
use crate::failure::tell;
use crate::signal;
use crate::sys::watch::async_fd;
use crate::target::Procfs;

/// How often we look whether all are gone.
const POLL: Duration = Duration::from_millis(10);

/// How long killed processes may take to go. One that waits for a dead disk
/// takes longer than anybody can wait for.
const KILL_TIMEOUT: Duration = Duration::from_secs(5);

/// How long the shim may take to reap them.
const REAP_TIMEOUT: Duration = Duration::from_millis(500);

/// A shim that has not been reaped.
#[derive(Debug)]
pub(super) struct Shim {
    pub pid: i32,
    pidfd: AsyncFd<OwnedFd>,
    /// All of the session, where the node lets us have it.
    cgroup: Option<SessionCgroup>,
}

impl Shim {
    /// Takes the shim over from the entry process: a child of ours, born in
    /// `cgroup`. It may have ended already, with the target; from here on
    /// somebody reaps it.
    pub fn new(pid: i32, cgroup: Option<SessionCgroup>) -> io::Result<Self> {
        let id = Pid::from_raw(pid).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        let pidfd = pidfd_open(id, PidfdFlags::NONBLOCK)?;
        Ok(Self { pid, pidfd: async_fd(pidfd)?, cgroup })
    }

    /// Whether the shim ends within `patience`.
    pub async fn ends_within(&self, patience: Duration) -> bool {
        timeout(patience, self.pidfd.readable()).await.is_ok()
    }

    /// Ends the session: each signal to all of it, with the time given to heed
    /// it, then SIGKILL; then the shim itself, reaped at once: an unreaped child
    /// of ours would hold up the target's own end (threat model, finding 7). Says
    /// whether nothing of the session is left.
    pub async fn end(mut self, procfs: &Procfs, gently: &[(Signal, Duration)]) -> bool {
        // Stopped by the target, it would reap nothing.
        self.signal(Signal::CONT);
        for (signal, patience) in gently {
            let all = || self.others(procfs);
            if signal_until_gone(*signal, Instant::now() + *patience, all).await {
                break;
            }
        }
        let deadline = Instant::now() + KILL_TIMEOUT;
        let mut gone = self.kill_cgroup(procfs, deadline).await;
        // Also where there is a cgroup: a target that shows a cgroup file system
        // to be written lets the session move processes out.
        gone &= signal_until_gone(Signal::KILL, deadline, || living(procfs, self.pid)).await;
        self.wait_until_reaped(procfs).await;
        self.signal(Signal::KILL);
        gone &= self.ends_within(KILL_TIMEOUT).await;
        self.reap();
        if let Some(cgroup) = self.cgroup.take() {
            gone &= cgroup.remove(deadline).await;
        }
        if !gone {
            // The client shows it with a failure, and with -v.
            tell(&format!("processes of the session are left; its shim was {}", self.pid));
        }
        gone
    }

    /// The living processes of the session, but for the shim.
    fn others(&self, procfs: &Procfs) -> rustix::io::Result<Vec<i32>> {
        let Some(cgroup) = &self.cgroup else { return living(procfs, self.pid) };
        let mut members = cgroup.members()?;
        members.retain(|pid| *pid != self.pid);
        Ok(members)
    }

    /// Kills all of the cgroup but the shim; says whether all are gone.
    async fn kill_cgroup(&self, procfs: &Procfs, deadline: Instant) -> bool {
        let Some(cgroup) = &self.cgroup else { return true };
        if self.others(procfs).is_ok_and(|others| others.is_empty()) {
            return true;
        }
        // It reaps what we kill. If the session has killed it already, or it
        // cannot be moved, it is killed with the rest.
        let _killed_too = cgroup.release(self.pid);
        cgroup.kill_all(deadline).await
    }

    /// The dead that the shim has not reaped when it ends are left to the
    /// target's first process, which may never do so.
    async fn wait_until_reaped(&self, procfs: &Procfs) {
        let deadline = Instant::now() + REAP_TIMEOUT;
        while descendants(procfs, self.pid).is_ok_and(|found| !found.is_empty())
            && Instant::now() < deadline
        {
            sleep(POLL).await;
        }
    }

    fn signal(&self, signal: Signal) {
        // It may have ended already.
        let _ended = pidfd_send_signal(&self.pidfd, signal);
    }

    fn reap(&self) {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
        // Nothing can be done about a child that cannot be reaped.
        let _status = waitid(WaitId::PidFd(self.pidfd.as_fd()), options);
    }
}

/// Signals all that `list` names, each once (SIGKILL: until it is gone), those
/// that appear meanwhile too. Says whether all were gone by `deadline`.
async fn signal_until_gone(
    signal: Signal,
    deadline: Instant,
    list: impl Fn() -> rustix::io::Result<Vec<i32>>,
) -> bool {
    let mut told = HashSet::new();
    loop {
        let Ok(mut pids) = list() else { return false };
        if pids.is_empty() {
            return true;
        }
        pids.retain(|pid| told.insert(*pid) || signal == Signal::KILL);
        // A stopped process heeds nothing else.
        if signal::send(&pids, &[signal, Signal::CONT], &list).is_err() {
            return false;
        }
        if Instant::now() >= deadline {
            return false;
        }
        sleep(POLL).await;
    }
}

impl Drop for Shim {
    /// For the ways out that do not come by [`Shim::end`]. Waits a moment for
    /// the kernel, because a zombie of ours would hold up the target's end.
    fn drop(&mut self) {
        self.signal(Signal::KILL);
        let mut poll = [PollFd::new(&self.pidfd, PollFlags::IN)];
        let moment = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
        let _late = retry_on_intr(|| rustix::event::poll(&mut poll, Some(&moment)));
        self.reap();
    }
}
