//! How much a pipe holds.

use rustix::fd::BorrowedFd;
use rustix::pipe::fcntl_setpipe_size;

/// How much a pipe may hold that others fill or empty, in bytes: the most that
/// needs no privilege (`fs.pipe-max-size`, pipe(7)). Each time that it runs full
/// or empty costs a change to another process, for 64 KiB otherwise.
const ROOM: usize = 256 << 10;

/// Has a pipe hold more than it does by itself, where the kernel lets it.
pub(crate) fn make_roomy(pipe: BorrowedFd<'_>) {
    // It is slower otherwise, and nothing else.
    let _as_it_is = fcntl_setpipe_size(pipe, ROOM);
}
