//! How much a pipe holds.

use rustix::fd::BorrowedFd;
use rustix::pipe::{fcntl_getpipe_size, fcntl_setpipe_size};

/// In bytes. A pipe holds 64 KiB by itself, and each time it is full or empty
/// another process must run. It is a quarter of what needs no privilege
/// (`fs.pipe-max-size`, pipe(7)): that cost a session 70 KiB of kernel memory.
const ROOM: usize = 256 << 10;

/// Has a pipe hold more than it does by itself, where the kernel lets it.
pub(crate) fn make_roomy(pipe: BorrowedFd<'_>) {
    if fcntl_getpipe_size(pipe).is_ok_and(|size| size < ROOM) {
        // It is slower otherwise, and nothing else.
        let _as_it_is = fcntl_setpipe_size(pipe, ROOM);
    }
}
