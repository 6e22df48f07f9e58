//! The file that `--save-changes` writes: there when it is whole, or not at all.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;
use thiserror::Error;

/// Why the changes are not saved.
#[derive(Debug, Error)]
pub enum SaveError {
    /// The file cannot be made, written or put in its place.
    #[error("cannot save the changes to {}", .0.display())]
    File(PathBuf, #[source] io::Error),
    /// Not even the end of an archive came.
    #[error("the helper sent no changes")]
    Nothing,
}

impl SaveError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::File(..) => Some("--save-changes takes a file that you can write".into()),
            Self::Nothing => None,
        }
    }
}

/// A file that is being written under another name, in the same folder. Dropped,
/// it is gone.
#[derive(Debug)]
pub struct ChangesFile {
    file: NamedTempFile,
    path: PathBuf,
    is_empty: bool,
}

impl ChangesFile {
    /// Begins a file that is to become `path`. Only its owner can read it.
    ///
    /// # Errors
    /// When no file can be made there, or what is there is no file: renaming
    /// would replace even a device.
    pub fn create(path: &Path) -> Result<Self, SaveError> {
        let failed = |error| SaveError::File(path.to_owned(), error);
        // Where links lead, that file is meant.
        let path = match fs::canonicalize(path) {
            Ok(there) if there.is_file() => there,
            Ok(_) => return Err(failed(io::Error::other("it is not a regular file"))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => path.to_owned(),
            Err(error) => return Err(failed(error)),
        };
        if path.file_name().is_none_or(|name| name == "-") {
            return Err(failed(io::Error::other("it is not a file's name")));
        }
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new("."));
        fs::metadata(folder).map_err(failed)?;
        let file = NamedTempFile::new_in(folder)
            // Without the temporary name.
            .map_err(|error| failed(error.kind().into()))?;
        Ok(Self { file, path, is_empty: true })
    }

    /// One that takes nothing: full(4).
    #[cfg(test)]
    pub(crate) fn full() -> Self {
        let device = fs::File::options().write(true).open("/dev/full").unwrap();
        let path = PathBuf::from("full.tar");
        let nowhere = tempfile::TempPath::try_from_path("/nonexistent/full.tar").unwrap();
        Self { file: NamedTempFile::from_parts(device, nowhere), path, is_empty: true }
    }

    /// Adds a piece.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn add(&mut self, bytes: &[u8]) -> Result<(), SaveError> {
        self.is_empty &= bytes.is_empty();
        let written = self.file.write_all(bytes);
        written.map_err(|error| SaveError::File(self.path.clone(), error))
    }

    /// Puts it in its place, once it is whole.
    ///
    /// # Errors
    /// When that fails, or nothing was added: every archive has an end.
    pub fn finish(self) -> Result<(), SaveError> {
        if self.is_empty {
            return Err(SaveError::Nothing);
        }
        let placed = self.file.persist(&self.path);
        placed.map(drop).map_err(|error| SaveError::File(self.path, error.error))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn names(folder: &Path) -> usize {
        fs::read_dir(folder).unwrap().count()
    }

    #[test]
    fn the_file_is_there_when_it_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("changes.tar");
        let mut file = ChangesFile::create(&path).unwrap();
        file.add(b"one").unwrap();
        assert!(!path.exists());
        file.add(b"two").unwrap();
        file.finish().unwrap();
        assert_eq!((fs::read(&path).unwrap(), names(folder.path())), (b"onetwo".to_vec(), 1));
        // Cut short, it leaves what was there.
        let mut file = ChangesFile::create(&path).unwrap();
        file.add(b"three").unwrap();
        drop(file);
        assert_eq!((fs::read(&path).unwrap(), names(folder.path())), (b"onetwo".to_vec(), 1));
        assert!(matches!(ChangesFile::create(&path).unwrap().finish(), Err(SaveError::Nothing)));
        assert_eq!((fs::read(&path).unwrap(), names(folder.path())), (b"onetwo".to_vec(), 1));
    }

    #[test]
    fn a_link_stays_one() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("file"), "old").unwrap();
        symlink("file", at("link")).unwrap();
        let mut file = ChangesFile::create(&at("link")).unwrap();
        file.add(b"new").unwrap();
        file.finish().unwrap();
        assert_eq!(fs::read(at("file")).unwrap(), b"new");
        assert!(at("link").is_symlink());
    }

    #[test]
    fn what_cannot_be_a_file_is_refused_at_once() {
        for path in ["/", "-", "/dev/null", "/nonexistent/file", "/proc/file"] {
            assert!(ChangesFile::create(Path::new(path)).is_err(), "{path}");
        }
        let error = ChangesFile::create(Path::new("/nonexistent/file")).err().unwrap();
        let cause = std::error::Error::source(&error).map(ToString::to_string);
        assert_eq!(cause.as_deref(), Some("No such file or directory (os error 2)"));
    }
}
