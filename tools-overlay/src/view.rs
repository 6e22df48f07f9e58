//! Builds the view, in a private copy of the target's mount namespace.

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{CWD, Mode, OFlags, fstat, fstatfs, openat};
use rustix::io::Errno;
use rustix::mount::open_tree;
use rustix::process::{chdir, chroot, fchdir};

use crate::parts::{CLONE, Part, Parts};
use crate::plan::{self, Wishes};
use crate::skeleton::{Skeleton, attach};
use crate::sys::mount_setattr;
use crate::{Context, Error, discard, entries, image};

/// Replaces `/` of this process by the view.
///
/// The caller stands in a mount namespace of its own (a private copy of the
/// target's) with the target's root as `/`, and is single-threaded. `lower` is
/// what [`discard::bare_root`] gave, for [`Writes::Discard`]. Gives what is not
/// as one would expect, a line each; it may quote the target.
///
/// [`Writes::Discard`]: crate::Writes::Discard
///
/// # Errors
/// When a mount fails. The caller must then give up: its root is half built.
pub fn assemble(
    parts: &Parts,
    lower: Option<BorrowedFd<'_>>,
    wishes: &Wishes,
) -> Result<Vec<String>, Error> {
    let mut notes = Vec::new();
    let root = part(parts, Part::Root)?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let target = openat(CWD, "/", flags, Mode::empty()).context("open", "the target's root")?;
    let read_only = entries::is_read_only(target.as_fd()).context("stat", "the target's root")?;
    let fallback = match parts.get(Part::Proc) {
        Some(_) => None,
        None => target_proc()?,
    };
    let skeleton = Skeleton::new(root, plan::root_is_writable(wishes, read_only))?;
    // Before the view is: it is mounted on the target's root, and so below it.
    let below =
        wishes.tools_root.then(|| image::target_tree(target.as_fd(), wishes)).transpose()?;
    // Stacked on `/`, which nobody can unlink. pivot_root(2) would say the same
    // more clearly, but containerd's default seccomp profile refuses it.
    attach(root, CWD, c"/")?;
    fchdir(root).context("enter", "the view")?;
    chroot(".").context("change root to", "the view")?;
    chdir("/").context("enter", "the view's root")?;
    skeleton.make_directory(c".kpexec", 0o755)?;
    let taken = match lower {
        _ if wishes.tools_root => Vec::new(),
        None => entries::take_all(target.as_fd(), wishes, &mut notes)?,
        Some(lower) => {
            let layers = [lower, part(parts, Part::Scratch)?];
            discard::take_all(root, target.as_fd(), layers, wishes, &mut notes)?
        }
    };
    skeleton.guard(c".kpexec")?;
    attach(part(parts, Part::Toolset)?, root, c".kpexec")?;
    entries::place_all(taken, &skeleton)?;
    if let Some(below) = below {
        image::place(&skeleton, target.as_fd(), below.as_fd(), wishes, &mut notes)?;
    }
    skeleton.make_dev(parts)?;
    match parts.get(Part::Proc).or(fallback.as_ref().map(AsFd::as_fd)) {
        Some(proc) => skeleton.make_proc(proc)?,
        None => notes.push(
            "there is no /proc: this kernel cannot make one, and the container has none".into(),
        ),
    }
    if !skeleton.is_guarded() {
        mount_setattr(root, plan::read_only(), false)
            .context("make read-only", "the view's root")?;
        if plan::root_is_writable(wishes, read_only) {
            notes.push(UNGUARDED.to_owned());
        }
    }
    Ok(notes)
}

const UNGUARDED: &str = "nothing can be made directly under /: this node gives the helper no \
     immutable files (Linux 6.0, CAP_LINUX_IMMUTABLE) to protect the session's root with";

fn part(parts: &Parts, part: Part) -> Result<BorrowedFd<'_>, Error> {
    parts.get(part).ok_or(Errno::NOENT).context("find", format!("the view's {part:?}"))
}

/// The target's own `/proc`, for kernels that cannot make us one: without what
/// the target has mounted over parts of it, and only if it is a procfs at its
/// root. Otherwise the session has none: one that lies is worse.
fn target_proc() -> Result<Option<OwnedFd>, Error> {
    // `PROC_SUPER_MAGIC` of linux/magic.h; its root is inode 1.
    const PROC: (i64, u64) = (0x9fa0, 1);
    // `EINVAL`: mounts below it may not be shed, because a user namespace locks
    // them.
    let Ok(tree) = open_tree(CWD, "/proc", CLONE) else { return Ok(None) };
    let found = fstatfs(&tree).and_then(|fs| Ok((fs.f_type, fstat(&tree)?.st_ino)));
    if found != Ok(PROC) {
        return Ok(None);
    }
    mount_setattr(tree.as_fd(), plan::target_attr(false, false), false)
        .context("protect", "/proc")?;
    Ok(Some(tree))
}
