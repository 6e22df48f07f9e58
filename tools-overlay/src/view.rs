//! Builds the view, in a private copy of the target's mount namespace.

use std::ffi::{CStr, CString};

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Mode, OFlags, ResolveFlags, StatxFlags, fstat, fstatfs, mkdirat,
    openat, openat2, readlinkat, statat, statx, symlinkat,
};
use rustix::io::Errno;
use rustix::mount::{MountAttrFlags, MoveMountFlags, OpenTreeFlags, move_mount, open_tree};
use rustix::process::{chdir, chroot, fchdir};

use crate::parts::{CLONE, Part, Parts, filesystem};
use crate::plan::{
    self, DEV_LINKS, DEVICES, Entry, PROC_HIDDEN_FILES, PROC_HIDDEN_FOLDERS, PROC_READ_ONLY,
};
use crate::sys::mount_setattr;
use crate::{Context, Error};

/// A top-level entry of the target, taken out of its tree.
struct Taken {
    name: CString,
    content: Content,
}

enum Content {
    Directory(OwnedFd),
    File(OwnedFd),
    Symlink(CString),
}

/// Replaces `/` of this process by the view.
///
/// The caller stands in a mount namespace of its own (a private copy of the
/// target's) with the target's root as `/`, and is single-threaded. Programs of
/// the target can be executed in the view only with `programs`. Says whether the
/// view has a `/proc`.
///
/// # Errors
/// When a mount fails. The caller must then give up: its root is half built.
pub fn assemble(parts: &Parts, programs: bool) -> Result<bool, Error> {
    let root = parts.get(Part::Root).ok_or(Errno::NOENT).context("find", "the view's root")?;
    let taken = take_entries(programs)?;
    let fallback = match parts.get(Part::Proc) {
        Some(_) => None,
        None => target_proc()?,
    };
    // Stacked on `/`, which nobody can unlink. pivot_root(2) would say the same
    // more clearly, but containerd's default seccomp profile refuses it.
    attach(root, CWD, c"/")?;
    fchdir(root).context("enter", "the view")?;
    for entry in taken {
        place(root, entry)?;
    }
    make_dev(root, parts)?;
    let proc = parts.get(Part::Proc).or(fallback.as_ref().map(AsFd::as_fd));
    if let Some(proc) = proc {
        make_proc(root, proc)?;
    }
    let toolset = parts.get(Part::Toolset).ok_or(Errno::NOENT).context("find", "the toolset")?;
    make_directory(root, c".kpexec", 0o755)?;
    attach(toolset, root, c".kpexec")?;
    chroot(".").context("change root to", "the view")?;
    chdir("/").context("enter", "the view's root")?;
    mount_setattr(root, plan::read_only(), false).context("make read-only", "the view's root")?;
    Ok(proc.is_some())
}

/// Takes each entry of `/` by a descriptor: from here on no name of the target
/// is looked up again, so renaming it does not help the target.
fn take_entries(programs: bool) -> Result<Vec<Taken>, Error> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = openat(CWD, "/", flags, Mode::empty()).context("open", "the target's root")?;
    let mut taken = Vec::new();
    for entry in Dir::read_from(&root).context("read", "the target's root")? {
        let entry = entry.context("read", "the target's root")?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        if taken.len() == plan::MOST_ENTRIES {
            break;
        }
        // From the folder itself, where it says so: the root of a mount whose
        // server is dead cannot be asked.
        let kind = match entry.file_type() {
            FileType::Unknown => kind_of(root.as_fd(), name),
            kind => Ok(kind),
        };
        match kind.and_then(|kind| take(root.as_fd(), name, kind, programs)) {
            Ok(Some(content)) => taken.push(Taken { name: name.to_owned(), content }),
            // The target removed or replaced it meanwhile.
            Ok(None) | Err(Error { errno: Errno::NOENT, .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(taken)
}

fn kind_of(root: BorrowedFd<'_>, name: &CStr) -> Result<FileType, Error> {
    let stat = statat(root, name, AtFlags::SYMLINK_NOFOLLOW)
        .context("stat", format!("/{}", name.to_string_lossy()))?;
    Ok(FileType::from_raw_mode(stat.st_mode))
}

fn take(
    root: BorrowedFd<'_>,
    name: &CStr,
    kind: FileType,
    programs: bool,
) -> Result<Option<Content>, Error> {
    let shown = || format!("/{}", name.to_string_lossy());
    let clone = || {
        let tree =
            open_tree(root, name, CLONE | OpenTreeFlags::AT_RECURSIVE).context("clone", shown())?;
        mount_setattr(tree.as_fd(), plan::target_attr(programs), true)
            .context("protect", shown())?;
        // The target may have exchanged it meanwhile. Asked without the server of
        // the file system, which may be dead.
        let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
        let about = statx(&tree, c"", flags, StatxFlags::TYPE).context("stat", shown())?;
        let found = FileType::from_raw_mode(about.stx_mode.into());
        Ok((found == kind).then_some(tree))
    };
    Ok(match plan::entry(name.to_bytes(), kind) {
        Entry::Directory => clone()?.map(Content::Directory),
        Entry::File => clone()?.map(Content::File),
        Entry::Symlink => match readlinkat(root, name, Vec::new()) {
            // The target replaced it meanwhile.
            Err(Errno::INVAL) => None,
            text => Some(Content::Symlink(text.context("read link", shown())?)),
        },
        Entry::Skipped => None,
    })
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
    mount_setattr(tree.as_fd(), plan::target_attr(false), false).context("protect", "/proc")?;
    Ok(Some(tree))
}

fn place(root: BorrowedFd<'_>, entry: Taken) -> Result<(), Error> {
    let name = entry.name.as_c_str();
    let tree = match entry.content {
        Content::Symlink(text) => {
            return symlinkat(text.as_c_str(), root, name).context("link", name.to_string_lossy());
        }
        Content::Directory(tree) => {
            make_directory(root, name, 0o755)?;
            tree
        }
        Content::File(tree) => {
            make_file(root, name)?;
            tree
        }
    };
    attach(tree.as_fd(), root, name)
}

fn make_dev(root: BorrowedFd<'_>, parts: &Parts) -> Result<(), Error> {
    make_directory(root, c"dev", 0o755)?;
    let dev = enter(root, c"dev")?;
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
    attach(shm.as_fd(), dev.as_fd(), c"shm")
}

fn make_proc(root: BorrowedFd<'_>, proc: BorrowedFd<'_>) -> Result<(), Error> {
    make_directory(root, c"proc", 0o555)?;
    attach(proc, root, c"proc")?;
    let proc = enter(root, c"proc")?;
    for name in PROC_READ_ONLY {
        cover(proc.as_fd(), name, |path| {
            let tree = open_tree(proc.as_fd(), path, CLONE)?;
            mount_setattr(tree.as_fd(), plan::read_only(), false)?;
            Ok(tree)
        })?;
    }
    let dev = enter(root, c"dev")?;
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

fn attach(mount: BorrowedFd<'_>, folder: BorrowedFd<'_>, name: &CStr) -> Result<(), Error> {
    move_mount(mount, c"", folder, name, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
        .context("attach", name.to_string_lossy())
}

fn make_directory(folder: BorrowedFd<'_>, name: &CStr, mode: u32) -> Result<(), Error> {
    mkdirat(folder, name, Mode::from_raw_mode(mode)).context("make", name.to_string_lossy())
}

fn make_file(folder: BorrowedFd<'_>, name: &CStr) -> Result<(), Error> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
    openat(folder, name, flags, Mode::from_raw_mode(0o444))
        .map(drop)
        .context("make", name.to_string_lossy())
}

/// Opens a folder of ours. Mounts are crossed, links are not.
fn enter(folder: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd, Error> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat2(folder, name, flags, Mode::empty(), ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS)
        .context("open", name.to_string_lossy())
}

fn c_string(name: &str) -> Result<CString, Error> {
    CString::new(name).map_err(|_| Errno::INVAL).context("name", name)
}
