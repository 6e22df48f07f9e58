//! The top-level entries of the target's root, each taken once and by
//! descriptor, so that renaming one afterwards does not help the target.

use std::ffi::{CStr, CString};

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{
    AtFlags, Dir, FileType, StatVfsMountFlags, Statx, StatxFlags, fstatvfs, readlinkat, statat,
    statx, symlinkat,
};
use rustix::io::Errno;
use rustix::mount::{OpenTreeFlags, open_tree};

use crate::parts::CLONE;
use crate::plan::{self, Entry, Wishes, Writes};
use crate::skeleton::Skeleton;
use crate::sys::mount_setattr;
use crate::{Context, Error, MAKE_WRITABLE};

/// A top-level entry, taken out of its tree.
pub(crate) struct Taken {
    name: CString,
    content: Content,
}

enum Content {
    Directory(OwnedFd),
    File(OwnedFd),
    Symlink(CString),
}

/// Takes each entry of `root`: the target's own root, an overlay over it, or the
/// root of a tools image. What is not shown is added to `notes`.
pub(crate) fn take_all(
    root: BorrowedFd<'_>,
    wishes: &Wishes,
    notes: &mut Vec<String>,
) -> Result<Vec<Taken>, Error> {
    let mut taken = Vec::new();
    for entry in Dir::read_from(root).context("read", "the target's root")? {
        let entry = entry.context("read", "the target's root")?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        // From the folder itself, where it says so: the root of a mount whose
        // server is dead cannot be asked.
        let kind = match entry.file_type() {
            FileType::Unknown => kind_of(root, name),
            kind => Ok(kind),
        };
        match kind.and_then(|kind| take(root, name, kind, wishes)) {
            Ok(Some(_)) if taken.len() == plan::MOST_ENTRIES => {
                notes.push(format!("only {} of the entries of / are shown", plan::MOST_ENTRIES));
                break;
            }
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
    wishes: &Wishes,
) -> Result<Option<Content>, Error> {
    let shown = || format!("/{}", name.to_string_lossy());
    Ok(match plan::entry(name.to_bytes(), kind, wishes) {
        Entry::Directory => clone(root, name, kind, wishes)?.map(Content::Directory),
        Entry::File => clone(root, name, kind, wishes)?.map(Content::File),
        Entry::Symlink => match readlinkat(root, name, Vec::new()) {
            // The target replaced it meanwhile.
            Err(Errno::INVAL) => None,
            text => Some(Content::Symlink(text.context("read link", shown())?)),
        },
        Entry::Skipped => None,
    })
}

/// A copy of the entry with everything mounted below it; `None` if it is of
/// another kind than the target's folder said.
fn clone(
    root: BorrowedFd<'_>,
    name: &CStr,
    kind: FileType,
    wishes: &Wishes,
) -> Result<Option<OwnedFd>, Error> {
    let shown = || format!("/{}", name.to_string_lossy());
    // Held, so that what is asked about is what is copied.
    let flags = OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_SYMLINK_NOFOLLOW;
    let original = open_tree(root, name, flags).context("open", shown())?;
    let about = about(original.as_fd()).context("stat", shown())?;
    if FileType::from_raw_mode(about.stx_mode.into()) != kind {
        return Ok(None);
    }
    let tree = clone_tree(original.as_fd()).context("clone", shown())?;
    if wishes.tools_root {
        mount_setattr(tree.as_fd(), plan::image_attr(), false).context("protect", shown())?;
        return Ok(Some(tree));
    }
    let attr = plan::target_attr(wishes.programs, wishes.writes == Writes::Deny);
    mount_setattr(tree.as_fd(), attr, true).context("protect", shown())?;
    // Of the root file system only: what else is mounted read-only stays so.
    if wishes.writable && about.stx_mnt_id == self::about(root).context("stat", "/")?.stx_mnt_id {
        make_writable(tree.as_fd()).context(MAKE_WRITABLE, shown())?;
    }
    Ok(Some(tree))
}

/// A detached copy of a tree given by descriptor, with what is mounted below.
pub(crate) fn clone_tree(original: BorrowedFd<'_>) -> rustix::io::Result<OwnedFd> {
    open_tree(original, c"", CLONE | OpenTreeFlags::AT_EMPTY_PATH | OpenTreeFlags::AT_RECURSIVE)
}

/// Asked without the server of the file system, which may be dead.
pub(crate) fn about(file: BorrowedFd<'_>) -> rustix::io::Result<Statx> {
    let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
    statx(file, c"", flags, StatxFlags::TYPE | StatxFlags::MNT_ID)
}

pub(crate) fn make_writable(tree: BorrowedFd<'_>) -> rustix::io::Result<()> {
    mount_setattr(tree, plan::writable(), false)?;
    // The file system itself may be read-only, beside the mount.
    if is_read_only(tree)? { Err(Errno::ROFS) } else { Ok(()) }
}

/// Whether nothing can be written to a mount: it or its file system is
/// read-only.
pub(crate) fn is_read_only(mount: BorrowedFd<'_>) -> rustix::io::Result<bool> {
    Ok(fstatvfs(mount)?.f_flag.contains(StatVfsMountFlags::RDONLY))
}

/// Shows the entries in the view.
pub(crate) fn place_all(taken: Vec<Taken>, skeleton: &Skeleton<'_>) -> Result<(), Error> {
    taken.into_iter().try_for_each(|entry| {
        let name = entry.name.as_c_str();
        match entry.content {
            Content::Symlink(text) => symlinkat(text.as_c_str(), skeleton.root(), name)
                .context("link", name.to_string_lossy()),
            Content::Directory(tree) => skeleton.mount_directory(tree.as_fd(), name),
            Content::File(tree) => skeleton.mount_file(tree.as_fd(), name),
        }
    })
}
