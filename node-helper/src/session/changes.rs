//! What a session changed, as a tar: a layer of the OCI image specification
//! (layer.md), in which what was removed is a whiteout.
//!
//! Everything is opened by descriptor and without following links: processes of
//! the target may hold folders of the session still.

use std::collections::HashMap;
use std::ffi::{CStr, OsStr, OsString};
use std::io::{self, Read, Write};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{
    AtFlags, Dir, FileType, Mode, OFlags, Stat, fgetxattr, fstat, major, minor, openat, readlinkat,
    statat,
};
use rustix::io::Errno;
use tar::{Builder, EntryType, Header};

use super::attributes::Attributes;
use crate::target::facts::{IdMap, OVERFLOW_ID};

/// How deep folders may lie in each other: each costs a descriptor.
const DEEPEST: usize = 200;

/// The most bytes of files, holes included: what a session can write takes half
/// of it, but a hole takes none.
const LARGEST: u64 = 512 * 1024 * 1024;

/// What marks a whiteout, and a folder that hides what was there before.
const WHITEOUT: &[u8] = b".wh.";
const OPAQUE: &str = ".wh..wh..opq";

/// Why there is no whole layer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("cannot read {0:?}")]
    Read(PathBuf, #[source] Errno),
    #[error("cannot send {0:?}")]
    Send(PathBuf, #[source] io::Error),
    #[error("{0:?} lies too deep")]
    TooDeep(PathBuf),
}

/// What a layer lacks, and why; what it is about follows.
pub(super) const LOSSES: [&str; 4] = [MARKS, TOO_LARGE, UNNAMEABLE, OTHERS];
const MARKS: &str = "not saved, as a layer holds neither sockets nor names that begin with .wh.";
const TOO_LARGE: &str = "not saved, as all files would be larger than 512 MiB together";
const UNNAMEABLE: &str = "not saved, as no tar holds a long path that begins with no character";
const OTHERS: &str = "saved without access control lists and the like";

/// One of [`LOSSES`], and of what.
pub(super) type Loss = (&'static str, PathBuf);

/// From this many bytes on the tar crate cuts a path to a character's end.
const LONG: usize = 99;

/// How the target numbers users and groups.
#[derive(Clone, Debug)]
pub(super) struct Owners {
    pub users: IdMap,
    pub groups: IdMap,
}

/// A layer that is being written.
pub(super) struct Layer<W: Write> {
    tar: Builder<W>,
    owners: Owners,
    /// Files of several names: where the first one is.
    linked: HashMap<(u64, u64), PathBuf>,
    losses: Vec<Loss>,
    size: u64,
}

impl<W: Write> Layer<W> {
    /// A layer that goes to `out`.
    pub fn new(out: W, owners: Owners) -> Self {
        let (linked, losses) = (HashMap::new(), Vec::new());
        Self { tar: Builder::new(out), owners, linked, losses, size: 0 }
    }

    /// Adds what is in `folder`, which the layer calls `path`.
    pub fn add_all(&mut self, folder: &OwnedFd, path: &Path) -> Result<(), Error> {
        if path.components().count() > DEEPEST {
            return Err(Error::TooDeep(path.to_owned()));
        }
        let read = |errno| Error::Read(path.to_owned(), errno);
        for entry in Dir::read_from(folder).map_err(read)? {
            let entry = entry.map_err(read)?;
            let name = entry.file_name();
            if name != c"." && name != c".." {
                self.add(folder.as_fd(), name, &path.join(OsStr::from_bytes(name.to_bytes())))?;
            }
        }
        Ok(())
    }

    /// Adds `name` of `folder`, which the layer calls `path`, with all that is
    /// below. One that is removed meanwhile is left out.
    pub fn add(&mut self, folder: BorrowedFd<'_>, name: &CStr, path: &Path) -> Result<(), Error> {
        match self.try_add(folder, name, path) {
            Err(Error::Read(_, Errno::NOENT)) => Ok(()),
            other => other,
        }
    }

    fn try_add(&mut self, folder: BorrowedFd<'_>, name: &CStr, path: &Path) -> Result<(), Error> {
        let read = |errno| Error::Read(path.to_owned(), errno);
        let about = statat(folder, name, AtFlags::SYMLINK_NOFOLLOW).map_err(read)?;
        let open = |more: OFlags| {
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
            openat(folder, name, flags | more, Mode::empty()).map_err(read)
        };
        let kind = FileType::from_raw_mode(about.st_mode);
        // How an overlay says that something was removed.
        if kind == FileType::CharacterDevice && about.st_rdev == 0 {
            return self.remove(path);
        }
        if name.to_bytes().starts_with(WHITEOUT) || kind == FileType::Socket {
            self.lose(MARKS, path);
            return Ok(());
        }
        if self.is_unnameable(path) {
            return Ok(());
        }
        match kind {
            FileType::Directory => self.add_folder(&open(OFlags::DIRECTORY)?, path),
            FileType::RegularFile => self.add_file(open(OFlags::empty())?, path),
            FileType::Symlink => {
                let text = readlinkat(folder, name, Vec::new()).map_err(read)?;
                self.link(&about, EntryType::Symlink, path, OsStr::from_bytes(text.to_bytes()))
            }
            FileType::Fifo => self.append(&about, EntryType::Fifo, path, io::empty()),
            FileType::CharacterDevice => self.append(&about, EntryType::Char, path, io::empty()),
            FileType::BlockDevice => self.append(&about, EntryType::Block, path, io::empty()),
            _ => Err(read(Errno::INVAL)),
        }
    }

    /// Says that what is called `path` is removed.
    pub fn remove(&mut self, path: &Path) -> Result<(), Error> {
        let name = path.file_name().unwrap_or_default().as_bytes();
        let name = OsString::from_vec([WHITEOUT, name].concat());
        self.mark(&path.with_file_name(name))
    }

    /// Ends the layer; gives what it lacks.
    pub fn finish(self) -> Result<Vec<Loss>, Error> {
        let send = |error| Error::Send(PathBuf::from("the end"), error);
        self.tar.into_inner().and_then(|mut out| out.flush()).map_err(send)?;
        Ok(self.losses)
    }

    fn lose(&mut self, why: &'static str, path: &Path) {
        self.losses.push((why, path.to_owned()));
    }

    fn is_unnameable(&mut self, path: &Path) -> bool {
        let bytes = path.as_os_str().as_bytes();
        let cut = std::str::from_utf8(bytes).map_or_else(|error| error.valid_up_to(), str::len);
        let is_unnameable = bytes.len() >= LONG && cut == 0;
        if is_unnameable {
            self.lose(UNNAMEABLE, path);
        }
        is_unnameable
    }

    /// To be called right before the file itself is added.
    fn add_attributes(&mut self, file: &OwnedFd, path: &Path) -> Result<(), Error> {
        let Attributes { records, has_others } =
            Attributes::of(file).map_err(|errno| Error::Read(path.to_owned(), errno))?;
        if has_others {
            self.lose(OTHERS, path);
        }
        let records = records.iter().map(|(key, value)| (key.as_str(), value.as_slice()));
        self.tar.append_pax_extensions(records).map_err(send(path))
    }

    fn add_folder(&mut self, folder: &OwnedFd, path: &Path) -> Result<(), Error> {
        let about = fstat(folder).map_err(|errno| Error::Read(path.to_owned(), errno))?;
        self.add_attributes(folder, path)?;
        // The slash is what older readers know a folder by.
        self.append(&about, EntryType::Directory, &path.join(""), io::empty())?;
        if is_opaque(folder) {
            self.mark(&path.join(OPAQUE))?;
        }
        self.add_all(folder, path)
    }

    fn add_file(&mut self, file: OwnedFd, path: &Path) -> Result<(), Error> {
        let about = fstat(&file).map_err(|errno| Error::Read(path.to_owned(), errno))?;
        if FileType::from_raw_mode(about.st_mode) != FileType::RegularFile {
            return Err(Error::Read(path.to_owned(), Errno::INVAL));
        }
        if about.st_nlink > 1
            && let Some(first) = self.linked.get(&(about.st_dev, about.st_ino)).cloned()
        {
            return self.link(&about, EntryType::Link, path, first.as_os_str());
        }
        let size = about.st_size.cast_unsigned();
        let all = self.size.saturating_add(size);
        if all > LARGEST {
            self.lose(TOO_LARGE, path);
            return Ok(());
        }
        self.size = all;
        if about.st_nlink > 1 {
            self.linked.insert((about.st_dev, about.st_ino), path.to_owned());
        }
        self.add_attributes(&file, path)?;
        // As long as was said, whatever becomes of it meanwhile.
        let content = std::fs::File::from(file).chain(io::repeat(0)).take(size);
        self.append(&about, EntryType::Regular, path, content)
    }

    fn mark(&mut self, path: &Path) -> Result<(), Error> {
        if self.is_unnameable(path) {
            return Ok(());
        }
        let mut header = Header::new_gnu();
        header.set_mode(0o644);
        header.set_size(0);
        self.tar.append_data(&mut header, path, io::empty()).map_err(send(path))
    }

    fn append(
        &mut self,
        about: &Stat,
        kind: EntryType,
        path: &Path,
        content: impl Read,
    ) -> Result<(), Error> {
        let mut header = self.header(about, kind);
        self.tar.append_data(&mut header, path, content).map_err(send(path))
    }

    fn link(
        &mut self,
        about: &Stat,
        kind: EntryType,
        path: &Path,
        to: &OsStr,
    ) -> Result<(), Error> {
        let mut header = self.header(about, kind);
        self.tar.append_link(&mut header, path, to).map_err(send(path))
    }

    fn header(&self, about: &Stat, kind: EntryType) -> Header {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(about.st_mode & 0o7777);
        header.set_uid(self.owners.users.inside(about.st_uid).unwrap_or(OVERFLOW_ID).into());
        header.set_gid(self.owners.groups.inside(about.st_gid).unwrap_or(OVERFLOW_ID).into());
        header.set_mtime(u64::try_from(about.st_mtime).unwrap_or_default());
        let is_file = kind == EntryType::Regular;
        header.set_size(if is_file { about.st_size.cast_unsigned() } else { 0 });
        if matches!(kind, EntryType::Char | EntryType::Block) {
            // The format has room for them: the header is of the GNU kind.
            let _never = header.set_device_major(major(about.st_rdev));
            let _never = header.set_device_minor(minor(about.st_rdev));
        }
        header
    }
}

fn send(path: &Path) -> impl Fn(io::Error) -> Error {
    |error| Error::Send(path.to_owned(), error)
}

/// Whether an overlay shows nothing of the lower folder here: Linux,
/// Documentation/filesystems/overlayfs.rst, "whiteouts and opaque directories".
fn is_opaque(folder: &OwnedFd) -> bool {
    let mut value = [0; 1];
    fgetxattr(folder, c"trusted.overlay.opaque", &mut value) == Ok(1) && value == *b"y"
}

#[cfg(test)]
#[path = "changes_tests.rs"]
mod tests;
