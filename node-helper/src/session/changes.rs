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
    #[error("the files are larger than {} MiB together", LARGEST >> 20)]
    TooLarge,
}

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
    left_out: Vec<PathBuf>,
    size: u64,
}

impl<W: Write> Layer<W> {
    /// A layer that goes to `out`.
    pub fn new(out: W, owners: Owners) -> Self {
        let (linked, left_out) = (HashMap::new(), Vec::new());
        Self { tar: Builder::new(out), owners, linked, left_out, size: 0 }
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
            self.left_out.push(path.to_owned());
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

    /// Ends the layer; gives what it cannot hold: sockets, and names that would
    /// be taken for whiteouts.
    pub fn finish(self) -> Result<Vec<PathBuf>, Error> {
        let send = |error| Error::Send(PathBuf::from("the end"), error);
        self.tar.into_inner().and_then(|mut out| out.flush()).map_err(send)?;
        Ok(self.left_out)
    }

    fn add_folder(&mut self, folder: &OwnedFd, path: &Path) -> Result<(), Error> {
        let about = fstat(folder).map_err(|errno| Error::Read(path.to_owned(), errno))?;
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
        if about.st_nlink > 1 {
            let first = self.linked.entry((about.st_dev, about.st_ino));
            let first = first.or_insert_with(|| path.to_owned()).clone();
            if first != path {
                return self.link(&about, EntryType::Link, path, first.as_os_str());
            }
        }
        let size = about.st_size.cast_unsigned();
        self.size = self.size.saturating_add(size);
        if self.size > LARGEST {
            return Err(Error::TooLarge);
        }
        // As long as was said, whatever becomes of it meanwhile.
        let content = std::fs::File::from(file).chain(io::repeat(0)).take(size);
        self.append(&about, EntryType::Regular, path, content)
    }

    fn mark(&mut self, path: &Path) -> Result<(), Error> {
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
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    use std::{fs, os::unix::net::UnixListener};

    use super::*;

    fn owners() -> Owners {
        Owners { users: IdMap::identity(), groups: IdMap::identity() }
    }

    fn layer(folder: &Path, owners: Owners) -> (Vec<u8>, Result<Vec<PathBuf>, Error>) {
        let mut bytes = Vec::new();
        let mut layer = Layer::new(&mut bytes, owners);
        let folder = std::fs::File::open(folder).unwrap().into();
        let added = layer.add_all(&folder, Path::new("")).and_then(|()| layer.finish());
        (bytes, added)
    }

    /// What tar(1) makes of it.
    fn listed(bytes: &[u8]) -> Vec<String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(&file, bytes).unwrap();
        let list = ["--numeric-owner", "--quoting-style=escape", "-tvf"];
        let output =
            std::process::Command::new("tar").args(list).arg(file.path()).output().unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        let mut lines: Vec<_> = text.lines().map(|line| shorn(line, bytes)).collect();
        lines.sort();
        lines
    }

    /// Without owner and time, which are the test's.
    fn shorn(line: &str, _: &[u8]) -> String {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        format!("{} {}", words[0], words[5..].join(" "))
    }

    #[test]
    fn tar_reads_what_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir(at("d")).unwrap();
        fs::write(at("d/file"), "text").unwrap();
        fs::set_permissions(at("d/file"), fs::Permissions::from_mode(0o4755)).unwrap();
        fs::hard_link(at("d/file"), at("d/same")).unwrap();
        symlink("../away", at("link")).unwrap();
        let long = "l".repeat(150);
        fs::write(at(&long), "").unwrap();
        fs::write(folder.path().join(OsStr::from_bytes(b"odd\n\xff")), "").unwrap();
        let _listener = UnixListener::bind(at("socket")).unwrap();
        fs::write(at(".wh.fake"), "").unwrap();
        let (bytes, left_out) = layer(folder.path(), owners());
        let mut left_out = left_out.unwrap();
        left_out.sort();
        assert_eq!(left_out, [Path::new(".wh.fake"), Path::new("socket")]);
        let found = listed(&bytes);
        let expected = [
            format!("-rw-r--r-- {long}"),
            r"-rw-r--r-- odd\n\377".to_owned(),
            "drwxr-xr-x d/".to_owned(),
            "lrwxrwxrwx link -> ../away".to_owned(),
        ];
        for line in expected {
            assert!(found.contains(&line), "{line} is none of {found:?}");
        }
        // Whichever comes first is the file.
        let pair = |first: &str, second: &str| {
            [format!("-rwsr-xr-x d/{first}"), format!("hrwsr-xr-x d/{second} link to d/{first}")]
        };
        let has = |lines: &[String; 2]| lines.iter().all(|line| found.contains(line));
        assert!(has(&pair("file", "same")) || has(&pair("same", "file")), "{found:?}");
        assert_eq!(found.len(), 6, "{found:?}");
    }

    #[test]
    fn what_was_removed_is_a_whiteout() {
        let mut bytes = Vec::new();
        let mut layer = Layer::new(&mut bytes, owners());
        layer.remove(Path::new("etc/passwd")).unwrap();
        layer.remove(Path::new("lib")).unwrap();
        layer.finish().unwrap();
        assert_eq!(listed(&bytes), ["-rw-r--r-- .wh.lib", "-rw-r--r-- etc/.wh.passwd"]);
    }

    #[test]
    fn owners_are_numbered_as_the_target_does() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("file"), "").unwrap();
        let own = rustix::process::geteuid().as_raw();
        let users = IdMap::parse(&format!("33 {own} 1")).unwrap();
        let (bytes, _) = layer(folder.path(), Owners { users, groups: IdMap::parse("").unwrap() });
        let mut archive = tar::Archive::new(bytes.as_slice());
        let header = archive.entries().unwrap().next().unwrap().unwrap().header().clone();
        assert_eq!((header.uid().unwrap(), header.gid().unwrap()), (33, 65534));
    }

    #[test]
    fn holes_and_depth_are_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let file = fs::File::create(folder.path().join("hole")).unwrap();
        file.set_len(LARGEST + 1).unwrap();
        assert!(matches!(layer(folder.path(), owners()).1, Err(Error::TooLarge)));
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("d/".repeat(DEEPEST + 1))).unwrap();
        assert!(matches!(layer(folder.path(), owners()).1, Err(Error::TooDeep(_))));
    }
}
