//! `mount_setattr(2)`, the one system call of the view that rustix lacks.

use rustix::fd::{AsRawFd, BorrowedFd};
use rustix::io::{self, Errno};

/// Flags of a mount, and how it propagates: `struct mount_attr` of
/// mount_setattr(2), Linux 5.12.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct MountAttr {
    /// `MOUNT_ATTR_*` bits to set.
    pub set: u64,
    /// `MOUNT_ATTR_*` bits to clear.
    pub clear: u64,
    /// One of `MS_PRIVATE`, `MS_SLAVE`, …; 0 leaves it.
    pub propagation: u64,
    /// With `MOUNT_ATTR_IDMAP`: the user namespace whose maps to use.
    pub userns_fd: u64,
}

/// Shows the files of `mount` as `users`, a user namespace, numbers them:
/// `MOUNT_ATTR_IDMAP` of mount_setattr(2), Linux 5.12.
///
/// # Errors
/// `EINVAL` where the file system cannot do it: overlayfs, for one.
pub(crate) fn map_ids(mount: BorrowedFd<'_>, users: BorrowedFd<'_>) -> io::Result<()> {
    let userns_fd = u64::from(users.as_raw_fd().cast_unsigned());
    let attr = MountAttr { set: libc::MOUNT_ATTR_IDMAP, userns_fd, ..MountAttr::default() };
    mount_setattr(mount, attr, false)
}

/// Changes `mount`, and every mount below it if `recursive`.
///
/// # Errors
/// What mount_setattr(2) says; `ENOSYS` before Linux 5.12.
pub(crate) fn mount_setattr(
    mount: BorrowedFd<'_>,
    attr: MountAttr,
    recursive: bool,
) -> io::Result<()> {
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: `attr` lives across the call and the size given is its own; the
    // path is a constant C string; the descriptor is borrowed, hence open.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const attr,
            size_of::<MountAttr>(),
        )
    };
    if result == 0 {
        return Ok(());
    }
    let errno = std::io::Error::last_os_error();
    Err(Errno::from_io_error(&errno).unwrap_or(Errno::IO))
}
