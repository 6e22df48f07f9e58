//! What a view takes from the helper: opened before the target is joined, so
//! that no path of the target is ever used to find it.

use std::path::Path;

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{CWD, Mode, mkdirat};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, OpenTreeFlags, fsconfig_create, fsconfig_set_fd,
    fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, open_tree,
};

use crate::plan::{DEVICES, device_attr, toolset_attr};
use crate::sys::{map_ids, mount_setattr};
use crate::{Context, Error};

/// One detached mount of a view, and what it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// The empty tmpfs that becomes `/`.
    Root,
    /// The toolset, read-only.
    Toolset,
    /// A procfs of the target's PID namespace.
    Proc,
    /// The session's own devpts.
    Devpts,
    /// Where writes go that are to be discarded: see [`scratch`].
    Scratch,
    /// The device node of this index in [`DEVICES`].
    Device(u8),
}

/// All detached mounts of one view.
#[derive(Debug)]
pub struct Parts(Vec<(Part, OwnedFd)>);

/// Who owns `/` of the view: uid and gid 0 of the target, as the helper's user
/// namespace numbers them.
#[derive(Clone, Copy, Debug)]
pub struct Owner {
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

impl Parts {
    /// Opens everything a view needs.
    ///
    /// `toolset` is a detached mount, as of [`clone_folder`]. `pid_namespace` and `user_namespace`
    /// are the target's; absent when the helper shares them. Kernels before 6.17 cannot make a
    /// procfs for it from outside: then there is no [`Part::Proc`], and the
    /// target's own is shown if it is a real one.
    ///
    /// # Errors
    /// When a mount cannot be made: needs CAP_SYS_ADMIN.
    pub fn open(
        toolset: OwnedFd,
        pid_namespace: Option<BorrowedFd<'_>>,
        user_namespace: Option<BorrowedFd<'_>>,
        owner: Owner,
    ) -> Result<Self, Error> {
        protect_toolset(toolset.as_fd(), user_namespace)?;
        let mut parts = vec![(Part::Root, root(owner)?), (Part::Toolset, toolset)];
        if let Some(proc) = proc(pid_namespace)? {
            parts.push((Part::Proc, proc));
        }
        for (index, name) in (0..).zip(DEVICES) {
            let path = format!("/dev/{name}");
            let device = open_tree(CWD, &path, CLONE).context("clone", &path)?;
            mount_setattr(device.as_fd(), device_attr(), false).context("protect", path)?;
            parts.push((Part::Device(index), device));
        }
        Ok(Self(parts))
    }

    /// Puts together what was taken apart by [`Parts::into_vec`].
    pub fn from_vec(parts: Vec<(Part, OwnedFd)>) -> Self {
        Self(parts)
    }

    /// Takes the parts apart, to hand them to another process.
    pub fn into_vec(self) -> Vec<(Part, OwnedFd)> {
        self.0
    }

    /// Adds a part that not every view has.
    pub fn add(&mut self, part: Part, mount: OwnedFd) {
        self.0.push((part, mount));
    }

    /// The mount of `part`, if this view has one.
    pub fn get(&self, part: Part) -> Option<BorrowedFd<'_>> {
        self.0.iter().find(|(p, _)| *p == part).map(|(_, fd)| fd.as_fd())
    }
}

/// A detached copy of what a name stands for, links not followed.
pub(crate) const CLONE: OpenTreeFlags = OpenTreeFlags::OPEN_TREE_CLONE
    .union(OpenTreeFlags::OPEN_TREE_CLOEXEC)
    .union(OpenTreeFlags::AT_SYMLINK_NOFOLLOW);

/// A detached copy of a folder of the helper's, without what is mounted below.
///
/// # Errors
/// When it is not there: needs CAP_SYS_ADMIN.
pub fn clone_folder(folder: &Path) -> Result<OwnedFd, Error> {
    open_tree(CWD, folder, CLONE).context("clone the toolset at", folder.display().to_string())
}

/// An empty folder, for where there are no tools.
///
/// # Errors
/// When it cannot be mounted: needs CAP_SYS_ADMIN.
pub fn nothing() -> Result<OwnedFd, Error> {
    let options = [("mode", "0755"), ("size", "4k"), ("nr_inodes", "1")];
    filesystem("tmpfs", &options, MountAttrFlags::empty())
}

fn protect_toolset(tree: BorrowedFd<'_>, users: Option<BorrowedFd<'_>>) -> Result<(), Error> {
    mount_setattr(tree, toolset_attr(), false).context("make read-only", "the toolset")?;
    match users.map(|users| map_ids(tree, users)) {
        // Its files then look like nobody's in there; they work all the same.
        None | Some(Ok(()) | Err(Errno::INVAL | Errno::PERM)) => Ok(()),
        Some(Err(errno)) => Err(errno).context("map the owners of", "the toolset"),
    }
}

/// A tmpfs of the helper's own. Tools mounted inside a file system of the
/// target could be evicted by it: rmdir(2) in another mount namespace detaches
/// what is mounted there (threat model, A5).
fn root(owner: Owner) -> Result<OwnedFd, Error> {
    let (uid, gid) = (owner.uid.to_string(), owner.gid.to_string());
    // Of ours it holds folders and links only. What the session makes directly
    // under `/` counts as memory of the helper.
    let limits = [("size", "64m"), ("nr_inodes", "16384")];
    let options = [("mode", "0755"), limits[0], limits[1], ("uid", &uid), ("gid", &gid)];
    filesystem(
        "tmpfs",
        &options,
        MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV,
    )
}

/// The folder of [`scratch`] in which an overlay keeps what was written.
pub const UPPER: &str = "upper";

/// The folder of [`scratch`] that an overlay needs beside it.
pub(crate) const WORK: &str = "work";

/// A tmpfs for what a session writes and nobody is to keep: half of the memory
/// that the helper's container may use. `/` and `/dev/shm` of the view may take
/// 64 MiB each of the rest, so at the worst a quarter is left to the tools.
///
/// # Errors
/// When it cannot be mounted: needs CAP_SYS_ADMIN.
pub fn scratch() -> Result<OwnedFd, Error> {
    let options = [("mode", "0700"), ("size", "256m"), ("nr_inodes", "65536")];
    let attr = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    let scratch = filesystem("tmpfs", &options, attr)?;
    for folder in [UPPER, WORK] {
        mkdirat(&scratch, folder, Mode::from_raw_mode(0o755)).context("make", folder)?;
    }
    Ok(scratch)
}

fn proc(pid_namespace: Option<BorrowedFd<'_>>) -> Result<Option<OwnedFd>, Error> {
    let context = fsopen("proc", FsOpenFlags::FSOPEN_CLOEXEC).context("open", "procfs")?;
    if let Some(pid_namespace) = pid_namespace {
        // Linux 6.17: Documentation/filesystems/proc.rst, "pidns".
        match fsconfig_set_fd(context.as_fd(), "pidns", pid_namespace) {
            Ok(()) => {}
            Err(Errno::INVAL) => return Ok(None),
            Err(errno) => return Err(errno).context("choose the PID namespace of", "procfs"),
        }
    }
    fsconfig_create(context.as_fd()).context("create", "procfs")?;
    let attr = MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attr)
        .map(Some)
        .context("mount", "procfs")
}

/// A devpts of the session's own, whose terminals belong to `owner`.
///
/// # Errors
/// When it cannot be mounted: needs CAP_SYS_ADMIN.
pub fn devpts(owner: Owner) -> Result<OwnedFd, Error> {
    let (uid, gid) = (owner.uid.to_string(), owner.gid.to_string());
    let options =
        [("mode", "0600"), ("ptmxmode", "0666"), ("uid", uid.as_str()), ("gid", gid.as_str())];
    filesystem(
        "devpts",
        &options,
        MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC,
    )
}

pub(crate) fn filesystem(
    kind: &str,
    options: &[(&str, &str)],
    attr: MountAttrFlags,
) -> Result<OwnedFd, Error> {
    let context = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC).context("open", kind)?;
    // Every devpts since Linux 4.7 is an instance of its own; the flag says so
    // to older readers of /proc/mounts and is accepted by devpts alone.
    if kind == "devpts" {
        fsconfig_set_flag(context.as_fd(), "newinstance").context("configure", kind)?;
    }
    fsconfig_set_string(context.as_fd(), "source", "kpexec").context("configure", kind)?;
    for (key, value) in options {
        fsconfig_set_string(context.as_fd(), *key, *value)
            .context("configure", format!("{kind}: {key}={value}"))?;
    }
    fsconfig_create(context.as_fd()).context("create", kind)?;
    fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attr).context("mount", kind)
}
