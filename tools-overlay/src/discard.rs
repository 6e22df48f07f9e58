//! Writes that are to be discarded: an overlay over the target's root file
//! system, whose upper layer is in memory of ours.
//!
//! The paths the overlay is made of lie in our own tmpfs, the root of this
//! process by then: no name of the target is looked up. That works on every
//! kernel; layers given as descriptors need Linux 6.13, detached ones 6.15.

use std::ffi::CStr;

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags, StatxAttributes, openat, openat2, unlinkat};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags,
    fsconfig_create, fsconfig_set_string, fsmount, fsopen, move_mount, open_tree, unmount,
};

use crate::entries::{self, Taken, about, clone_tree};
use crate::parts::{CLONE, UPPER, WORK};
use crate::plan::{self, Wishes};
use crate::skeleton::{attach, enter, make_directory};
use crate::sys::mount_setattr;
use crate::{Context, Error, SHOW, STACK};

/// Where the layers are while the view is built: below the toolset's mount
/// point, because nothing of the target's is shown by that name.
const BASE: &CStr = c".kpexec";
const LOWER: &CStr = c"lower";
const SCRATCH: &CStr = c"scratch";
const MERGED: &CStr = c"merged";

/// The target's root file system alone, without what is mounted below `root`.
///
/// To be called in the target's own mount namespace: in a copy of it a mount
/// that comes from a user namespace cannot be had without those below it
/// (mount_namespaces(7), "locked").
///
/// # Errors
/// When it cannot be cloned.
pub fn bare_root(root: BorrowedFd<'_>) -> Result<OwnedFd, Error> {
    let tree = open_tree(root, c"", CLONE | OpenTreeFlags::AT_EMPTY_PATH)
        .context("clone", "the target's root file system")?;
    mount_setattr(tree.as_fd(), plan::target_attr(true, true), false)
        .context("protect", "the target's root file system")?;
    Ok(tree)
}

/// Takes the entries of `/` from an overlay over `lower`, with the volumes on
/// top of it read-only. `view` is the root of this process, and has a folder
/// [`BASE`]. What could not be shown is added to `notes`.
pub(crate) fn take_all(
    view: BorrowedFd<'_>,
    target: BorrowedFd<'_>,
    [lower, scratch]: [BorrowedFd<'_>; 2],
    wishes: &Wishes,
    notes: &mut Vec<String>,
) -> Result<Vec<Taken>, Error> {
    let base = enter(view, BASE)?;
    for (name, layer) in [(LOWER, lower), (SCRATCH, scratch)] {
        make_directory(base.as_fd(), name, 0o700)?;
        attach(layer, base.as_fd(), name)?;
    }
    let overlay = overlay(wishes.programs)?;
    for name in [LOWER, SCRATCH] {
        remove(base.as_fd(), name)?;
    }
    make_directory(base.as_fd(), MERGED, 0o700)?;
    attach(overlay.as_fd(), base.as_fd(), MERGED)?;
    for path in &wishes.volumes {
        let shown = String::from_utf8_lossy(path);
        match show_read_only(target, overlay.as_fd(), path, wishes.programs) {
            // The target unmounted or renamed it meanwhile.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {
                notes.push(format!("{shown} is mounted no longer: what lies below is shown"));
            }
            // The folder below would be there in its place, to be written.
            other => other.context(SHOW, shown)?,
        }
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let merged =
        openat(&overlay, c".", flags, Mode::empty()).context("open", "the overlay's root")?;
    let taken = entries::take_all(merged.as_fd(), wishes, notes)?;
    remove(base.as_fd(), MERGED)?;
    Ok(taken)
}

/// The overlay itself, attached nowhere. It keeps to what an image's layer can
/// say: a renamed folder is a new one, a changed file is whole.
fn overlay(programs: bool) -> Result<OwnedFd, Error> {
    let base = BASE.to_string_lossy();
    let path = |name: &CStr| format!("/{base}/{}", name.to_string_lossy());
    let options = [
        ("source", "kpexec".to_owned()),
        ("lowerdir", path(LOWER)),
        ("upperdir", format!("{}/{UPPER}", path(SCRATCH))),
        ("workdir", format!("{}/{WORK}", path(SCRATCH))),
        ("redirect_dir", "nofollow".to_owned()),
        ("metacopy", "off".to_owned()),
        ("index", "off".to_owned()),
        ("xino", "off".to_owned()),
    ];
    let context = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC).context("open", "overlayfs")?;
    for (key, value) in options {
        fsconfig_set_string(context.as_fd(), key, &*value)
            .context("configure", format!("overlayfs: {key}={value}"))?;
    }
    fsconfig_create(context.as_fd()).context(STACK, "the target's root file system")?;
    let mut attr = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    attr.set(MountAttrFlags::MOUNT_ATTR_NOEXEC, !programs);
    fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attr).context("mount", "overlayfs")
}

/// Shows what the target has mounted at `path` at the same place of the overlay,
/// if the target has not renamed it meanwhile.
fn show_read_only(
    target: BorrowedFd<'_>,
    overlay: BorrowedFd<'_>,
    path: &[u8],
    programs: bool,
) -> rustix::io::Result<()> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let original = openat2(target, path, flags, Mode::empty(), resolve)?;
    if !about(original.as_fd())?.stx_attributes.contains(StatxAttributes::MOUNT_ROOT) {
        return Err(Errno::NOENT);
    }
    let tree = clone_tree(original.as_fd())?;
    mount_setattr(tree.as_fd(), plan::target_attr(programs, true), true)?;
    let place = openat2(overlay, path, flags, Mode::empty(), resolve)?;
    let here = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(&tree, c"", &place, c"", here)
}

/// Takes a mount of `base` away, and the folder it was on. Who still holds it by
/// descriptor, or has a copy, keeps it.
fn remove(base: BorrowedFd<'_>, name: &CStr) -> Result<(), Error> {
    let path = format!("/{}/{}", BASE.to_string_lossy(), name.to_string_lossy());
    unmount(&*path, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW).context("unmount", &path)?;
    unlinkat(base, name, AtFlags::REMOVEDIR).context("remove", path)
}
