//! How much of a session's output has been put out here, in a file, so that a
//! client that comes after this one goes on behind it, however this one ended.
//! What cannot be written or read costs nothing but repeated output.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::fs::OFlags;

use crate::cli::parse_session;
use crate::share::Folder;

/// No helper lives longer, so no session does.
const OLDEST: Duration = Duration::from_secs(24 * 3600);

/// A number in all its digits, so that each write replaces the one before.
const DIGITS: usize = 20;

/// The file of one session.
#[derive(Debug)]
pub struct Progress {
    folder: Folder,
    name: String,
    file: File,
}

impl Progress {
    /// The file of this session; what an earlier client left in it is kept.
    pub fn open(session: &str) -> Option<Self> {
        Self::open_in(&folder()?, session)
    }

    fn open_in(folder: &Path, session: &str) -> Option<Self> {
        let folder = Folder::at(folder.to_owned());
        let folder =
            folder.inspect_err(|error| tracing::debug!(%error, "nothing is noted")).ok()?;
        remove_old(&folder);
        let mut options = File::options();
        let options = options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let nofollow = i32::try_from(OFlags::NOFOLLOW.bits()).ok()?;
        let file = options.custom_flags(nofollow).open(folder.inside(session)).ok()?;
        Some(Self { folder, name: session.to_owned(), file })
    }

    /// How many bytes an earlier client has put out, if there was one here.
    pub fn bytes(&self) -> Option<u64> {
        let mut digits = [0; DIGITS];
        self.file.read_exact_at(&mut digits, 0).ok()?;
        std::str::from_utf8(&digits).ok()?.parse().ok()
    }

    /// So many have been.
    pub fn set(&self, bytes: u64) {
        // A full disk: a later client repeats what came since.
        let _lost = self.file.write_all_at(format!("{bytes:0DIGITS$}").as_bytes(), 0);
    }

    /// The session has ended.
    pub fn remove(&self) {
        // It is removed with the old ones, then.
        let _left = fs::remove_file(self.folder.inside(&self.name));
    }
}

/// XDG Base Directory Specification: state that should persist.
fn folder() -> Option<PathBuf> {
    let absolute =
        |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = absolute("XDG_STATE_HOME").or_else(|| Some(absolute("HOME")?.join(".local/state")));
    Some(state?.join("kpexec/sessions"))
}

fn remove_old(folder: &Folder) {
    let now = SystemTime::now();
    for entry in fs::read_dir(folder.inside("")).into_iter().flatten().flatten() {
        let is_ours = entry.file_name().to_str().is_some_and(|name| parse_session(name).is_ok());
        if !is_ours {
            continue;
        }
        let written = entry.metadata().and_then(|metadata| metadata.modified());
        let age = written.ok().and_then(|written| now.duration_since(written).ok());
        if age.is_some_and(|age| age > OLDEST) {
            // The next one tries again.
            let _left = fs::remove_file(folder.inside(&entry.file_name().to_string_lossy()));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn the_next_client_knows_what_the_one_before_has_shown() {
        let folder = tempfile::tempdir().unwrap();
        let open = || Progress::open_in(&folder.path().join("new/sessions"), "3f9c-7").unwrap();
        let first = open();
        assert_eq!(first.bytes(), None);
        first.set(9);
        first.set(1_234_567);
        assert_eq!(open().bytes(), Some(1_234_567));
        first.remove();
        assert_eq!(open().bytes(), None);
    }

    #[test]
    fn no_link_is_followed() {
        let (folder, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let ours = folder.path().join("ours");
        Progress::open_in(&ours, "3f9c-1").unwrap();
        symlink(elsewhere.path().join("file"), ours.join("3f9c-7")).unwrap();
        assert!(Progress::open_in(&ours, "3f9c-7").is_none());
        assert!(!elsewhere.path().join("file").exists());
        symlink(&ours, folder.path().join("link")).unwrap();
        assert!(Progress::open_in(&folder.path().join("link"), "3f9c-1").is_none());
    }

    #[test]
    fn what_is_old_is_removed_if_it_is_ours() {
        let folder = tempfile::tempdir().unwrap();
        let ours = folder.path().join("ours");
        let open = |name| Progress::open_in(&ours, name).unwrap();
        let long_ago = SystemTime::now() - OLDEST - Duration::from_secs(1);
        open("3f9c-7").file.set_modified(long_ago).unwrap();
        File::create(ours.join("other")).unwrap().set_modified(long_ago).unwrap();
        open("3f9c-8").set(1);
        open("3f9c-9");
        let there = |name| ours.join(name).exists();
        assert!(!there("3f9c-7") && there("3f9c-8") && there("other"));
    }
}
