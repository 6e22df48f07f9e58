//! The one thing that has no safe wrapper.

use std::io;

/// Closes every descriptor but stdin, stdout and stderr: close_range(2), Linux
/// 5.9. What else we inherited is open in others too, and a pipe among it would
/// not end for whoever reads it before the background process does.
///
/// To be called first of all, by a process that has opened nothing.
pub fn close_inherited() -> io::Result<()> {
    const FIRST: libc::c_uint = 3;
    // SAFETY: closing a descriptor is unsound if a value in this process owns it.
    // `main` calls this before it makes any, and with no other thread.
    let closed = unsafe { libc::syscall(libc::SYS_close_range, FIRST, libc::c_uint::MAX, 0) };
    if closed == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
