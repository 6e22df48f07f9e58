//! System calls without a safe wrapper.

use rustix::io::{self, Errno};

/// Why the last system call of this thread failed.
pub(crate) fn last_errno() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}

/// Closes every descriptor from `first` on: close_range(2), Linux 5.9.
///
/// # Errors
/// `ENOSYS` on an older kernel.
pub(crate) fn close_from(first: u32) -> io::Result<()> {
    // SAFETY: closing descriptors cannot break memory safety by itself; the
    // caller (the entry process or the one that reads a file, before it has
    // opened anything) owns no `OwnedFd` at or above `first`, so none is closed
    // under its owner.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, 0) };
    if result == 0 { Ok(()) } else { Err(last_errno()) }
}

/// Joins a new, anonymous session keyring: keyctl(2),
/// `KEYCTL_JOIN_SESSION_KEYRING`.
///
/// # Errors
/// `ENOSYS` where the kernel has no keyrings, `EPERM` where the seccomp filter
/// of the helper pod forbids them.
pub(crate) fn join_new_session_keyring() -> io::Result<()> {
    const JOIN_SESSION_KEYRING: libc::c_int = 1;
    // SAFETY: the operation takes a name or, as here, a null pointer for an
    // anonymous keyring; no memory is passed.
    let result =
        unsafe { libc::syscall(libc::SYS_keyctl, JOIN_SESSION_KEYRING, std::ptr::null::<u8>()) };
    if result < 0 { Err(last_errno()) } else { Ok(()) }
}

/// Gives memory that was freed back to the kernel: malloc_trim(3).
pub(crate) fn give_back_memory() {
    // SAFETY: it takes no pointer, and locks what it works on.
    let _whether_any = unsafe { libc::malloc_trim(0) };
}
