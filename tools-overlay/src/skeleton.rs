//! The folders and files of the view's own that something is mounted on, and
//! the `/dev` and `/proc` that it has instead of the target's.

use std::ffi::{CStr, CString};

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{
    AtFlags, IFlags, Mode, OFlags, ResolveFlags, ioctl_setflags, mkdirat, openat, openat2, statat,
    symlinkat,
};
use rustix::io::Errno;
use rustix::mount::{MountAttrFlags, MoveMountFlags, move_mount, open_tree};

use crate::parts::{CLONE, Part, Parts, filesystem};
use crate::plan::{
    self, DEV_LINKS, DEVICES, PROC_HIDDEN_FILES, PROC_HIDDEN_FOLDERS, PROC_READ_ONLY,
};
use crate::sys::mount_setattr;
use crate::{Context, Error};

/// The view's own root.
///
/// Where it can be written, whoever reaches it through `/proc/PID/root` from
/// another mount namespace could remove a folder that something is mounted on,
/// and the mount with it (threat model, A5). So each of them is immutable then.
pub(crate) struct Skeleton<'a> {
    root: BorrowedFd<'a>,
    guarded: bool,
}

impl<'a> Skeleton<'a> {
    /// The skeleton below `root`, an empty tmpfs; guarded if it is `writable` and
    /// this node permits it: [`Skeleton::is_guarded`].
    pub fn new(root: BorrowedFd<'a>, writable: bool) -> Result<Self, Error> {
        Ok(Self { root, guarded: writable && can_guard(root).context("open", "the view's root")? })
    }

    /// Whether what is mounted on is immutable, so that `/` may be written.
    pub fn is_guarded(&self) -> bool {
        self.guarded
    }

    /// The view's root.
    pub fn root(&self) -> BorrowedFd<'a> {
        self.root
    }

    /// Makes a folder directly under `/`.
    pub fn make_directory(&self, name: &CStr, mode: u32) -> Result<(), Error> {
        make_directory(self.root, name, mode)
    }

    /// Makes what is directly under `/` immutable, if the skeleton is guarded. To
    /// be called before anything is mounted there.
    pub fn guard(&self, name: &CStr) -> Result<(), Error> {
        if !self.guarded {
            return Ok(());
        }
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        openat(self.root, name, flags, Mode::empty())
            .and_then(|place| ioctl_setflags(place, IFlags::IMMUTABLE))
            .context("make immutable", name.to_string_lossy())
    }

    /// Mounts `tree` on a new folder directly under `/`.
    pub fn mount_directory(&self, tree: BorrowedFd<'_>, name: &CStr) -> Result<(), Error> {
        self.make_directory(name, 0o755)?;
        self.guard(name)?;
        attach(tree, self.root, name)
    }

    /// Mounts `tree` on a new file directly under `/`.
    pub fn mount_file(&self, tree: BorrowedFd<'_>, name: &CStr) -> Result<(), Error> {
        make_file(self.root, name)?;
        self.guard(name)?;
        attach(tree, self.root, name)
    }

    pub fn make_dev(&self, parts: &Parts) -> Result<(), Error> {
        self.make_directory(c"dev", 0o755)?;
        let dev = enter(self.root, c"dev")?;
        for (index, name) in (0..).zip(DEVICES) {
            if let Some(device) = parts.get(Part::Device(index)) {
                let name = c_string(name)?;
                make_file(dev.as_fd(), &name)?;
                attach(device, dev.as_fd(), &name)?;
            }
        }
        for (name, destination) in DEV_LINKS {
            symlinkat(destination, &dev, name).context("link", format!("/dev/{name}"))?;
        }
        make_directory(dev.as_fd(), c"pts", 0o755)?;
        if let Some(devpts) = parts.get(Part::Devpts) {
            attach(devpts, dev.as_fd(), c"pts")?;
        }
        make_directory(dev.as_fd(), c"shm", 0o755)?;
        let attr = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
        let shm = filesystem("tmpfs", &[("mode", "1777"), ("size", "64m")], attr)?;
        attach(shm.as_fd(), dev.as_fd(), c"shm")?;
        // Nothing can be removed from an immutable folder either.
        self.guard(c"dev")
    }

    /// Shows `proc`, without what container runtimes keep from a container.
    pub fn make_proc(&self, proc: BorrowedFd<'_>) -> Result<(), Error> {
        self.mount_directory(proc, c"proc")?;
        let proc = enter(self.root, c"proc")?;
        for name in PROC_READ_ONLY {
            cover(proc.as_fd(), name, |path| {
                let tree = open_tree(proc.as_fd(), path, CLONE)?;
                mount_setattr(tree.as_fd(), plan::read_only(), false)?;
                Ok(tree)
            })?;
        }
        let dev = enter(self.root, c"dev")?;
        for name in PROC_HIDDEN_FILES {
            cover(proc.as_fd(), name, |_| open_tree(dev.as_fd(), c"null", CLONE))?;
        }
        for name in PROC_HIDDEN_FOLDERS {
            cover(proc.as_fd(), name, |_| {
                filesystem(
                    "tmpfs",
                    &[("mode", "0555"), ("size", "0")],
                    MountAttrFlags::MOUNT_ATTR_RDONLY,
                )
                .map_err(|error| error.errno)
            })?;
        }
        Ok(())
    }
}

/// Whether files of this tmpfs can be made immutable: Linux 6.0, and
/// CAP_LINUX_IMMUTABLE of the node's own user namespace. Tried on its root.
fn can_guard(root: BorrowedFd<'_>) -> rustix::io::Result<bool> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let folder = openat(root, c".", flags, Mode::empty())?;
    if ioctl_setflags(&folder, IFlags::IMMUTABLE).is_err() {
        return Ok(false);
    }
    ioctl_setflags(&folder, IFlags::empty()).map(|()| true)
}

/// Mounts what `with` makes over `folder/name`, if this kernel has that file.
fn cover(
    folder: BorrowedFd<'_>,
    name: &str,
    with: impl FnOnce(&CStr) -> rustix::io::Result<OwnedFd>,
) -> Result<(), Error> {
    let path = c_string(name)?;
    match statat(folder, &path, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => return Ok(()),
        other => other.context("stat", format!("/proc/{name}"))?,
    };
    let mount = with(&path).context("cover", format!("/proc/{name}"))?;
    attach(mount.as_fd(), folder, &path)
}

/// Mounts `mount` on what is called `name` in `folder`.
pub(crate) fn attach(
    mount: BorrowedFd<'_>,
    folder: BorrowedFd<'_>,
    name: &CStr,
) -> Result<(), Error> {
    move_mount(mount, c"", folder, name, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
        .context("attach", name.to_string_lossy())
}

pub(crate) fn make_directory(folder: BorrowedFd<'_>, name: &CStr, mode: u32) -> Result<(), Error> {
    mkdirat(folder, name, Mode::from_raw_mode(mode)).context("make", name.to_string_lossy())
}

fn make_file(folder: BorrowedFd<'_>, name: &CStr) -> Result<(), Error> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
    openat(folder, name, flags, Mode::from_raw_mode(0o444))
        .map(drop)
        .context("make", name.to_string_lossy())
}

/// Opens a folder of ours. Mounts are crossed, links are not.
pub(crate) fn enter(folder: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd, Error> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat2(folder, name, flags, Mode::empty(), ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS)
        .context("open", name.to_string_lossy())
}

fn c_string(name: &str) -> Result<CString, Error> {
    CString::new(name).map_err(|_| Errno::INVAL).context("name", name)
}
