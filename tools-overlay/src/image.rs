//! The root of another image as the session's own: for tools that need their own
//! libraries and files. The target's root is a folder of it.

use std::ffi::CStr;

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, fstat, openat, openat2};
use rustix::io::Errno;
use rustix::mount::{MoveMountFlags, OpenTreeFlags, move_mount, open_tree};

use crate::parts::CLONE;
use crate::plan::{self, Wishes, Writes};
use crate::skeleton::Skeleton;
use crate::sys::mount_setattr;
use crate::{Context, Error, MAKE_WRITABLE, entries};

/// Files of the image that tell of the network it is in. The session is in the
/// target's; and of the image they are what its own container had mounted there.
const OF_THE_NETWORK: [&str; 3] = ["etc/hostname", "etc/hosts", "etc/resolv.conf"];

/// Shows the image, which is attached at `/.kpexec`, as `/`, and `below`, which
/// is [`target_tree`], at `/target`.
pub(crate) fn place(
    skeleton: &Skeleton<'_>,
    target: BorrowedFd<'_>,
    below: BorrowedFd<'_>,
    wishes: &Wishes,
    notes: &mut Vec<String>,
) -> Result<(), Error> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let image = openat(skeleton.root(), c".kpexec", flags, Mode::empty())
        .context("open", "the root of the tools image")?;
    entries::place_all(entries::take_all(image.as_fd(), wishes, notes)?, skeleton)?;
    skeleton.mount_directory(below, c"target")?;
    for name in OF_THE_NETWORK {
        match show_targets(skeleton.root(), target, name) {
            Ok(()) => {}
            Err(Errno::NOENT | Errno::LOOP) => {
                notes.push(format!("/{name} is the tools image's, not the container's"));
            }
            other => other.context("show the container's", format!("/{name}"))?,
        }
    }
    Ok(())
}

/// A detached copy of all of the target's root, to be shown below the image's.
pub(crate) fn target_tree(target: BorrowedFd<'_>, wishes: &Wishes) -> Result<OwnedFd, Error> {
    let tree = entries::clone_tree(target).context("clone", "the container's root")?;
    let attr = plan::target_attr(wishes.programs, wishes.writes == Writes::Deny);
    mount_setattr(tree.as_fd(), attr, true).context("protect", "the container's root")?;
    if wishes.writable {
        entries::make_writable(tree.as_fd()).context(MAKE_WRITABLE, "the container's root")?;
    }
    Ok(tree)
}

/// Mounts the target's file over the image's, for reading.
///
/// # Errors
/// `NOENT` or `LOOP` when either has none, or a link in its place.
fn show_targets(
    view: BorrowedFd<'_>,
    target: BorrowedFd<'_>,
    name: &str,
) -> rustix::io::Result<()> {
    let theirs = open_file(target, name, ResolveFlags::empty())?;
    let ours = open_file(view, name, ResolveFlags::NO_SYMLINKS)?;
    let copy = open_tree(&theirs, c"", CLONE | OpenTreeFlags::AT_EMPTY_PATH)?;
    mount_setattr(copy.as_fd(), plan::target_attr(false, true), false)?;
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    let nothing: &CStr = c"";
    move_mount(&copy, nothing, &ours, nothing, flags)
}

fn open_file(root: BorrowedFd<'_>, name: &str, more: ResolveFlags) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS | more;
    let file = openat2(root, name, flags, Mode::empty(), resolve)?;
    match FileType::from_raw_mode(fstat(&file)?.st_mode) {
        FileType::RegularFile => Ok(file),
        _ => Err(Errno::NOENT),
    }
}
