//! A copy of this process that goes on as something else.

use nix::errno::Errno;
use nix::unistd::{ForkResult, Pid, fork};

/// Forks; the copy runs `child` and exits with the code that gives.
///
/// # Errors
/// `EAGAIN` or `ENOMEM`: fork(2). `EDEADLK` when the process has more than one
/// thread, or it cannot be told.
pub(crate) fn fork_into(child: impl FnOnce() -> i32) -> nix::Result<Pid> {
    if threads() != 1 {
        return Err(Errno::EDEADLK);
    }
    // SAFETY: this is the only thread, so no lock is held by one that the copy
    // does not have, and the copy may do all that this process may.
    match unsafe { fork() }? {
        ForkResult::Parent { child } => Ok(child),
        ForkResult::Child => std::process::exit(child()),
    }
}

/// How many threads this process has; none where it cannot be told.
fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").map_or(0, Iterator::count)
}
