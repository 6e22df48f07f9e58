//! Descriptors that tokio has no type of its own for.

use std::io;

use rustix::fd::OwnedFd;
use tokio::io::unix::AsyncFd;

/// Has tokio tell when `fd` can be read or written.
///
/// # Errors
/// When epoll_ctl(2) refuses the descriptor: a regular file, for one.
pub(crate) fn async_fd(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` is open and stays so while the `AsyncFd` owns it;
    // it cannot be taken out or replaced through a shared reference.
    Ok(unsafe { AsyncFd::register(fd) }?)
}
