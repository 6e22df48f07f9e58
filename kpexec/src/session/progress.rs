//! How much of a session's output has been put out here, in a file, so that a
//! client that comes after this one goes on behind it, however this one ended; and
//! how the terminal was then. What cannot be written or read costs nothing but
//! repeated output, and a terminal that is as any other.
//!
//! The file has three numbers: the bytes put out, those after which the terminal
//! was so, and how long that is. What makes it so follows.

use std::fs::{self, File};
use std::io::{Read as _, Seek as _};
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

/// How much is noted of a terminal at most, in bytes; no program sets so much.
const SCREEN: usize = 1 << 16;

/// What is in the file.
#[derive(Debug, PartialEq, Eq)]
struct Noted {
    /// How many bytes were put out.
    bytes: u64,
    /// What makes a terminal as the session had it, and behind how many of them.
    screen: Option<(u64, Vec<u8>)>,
}

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

    /// How many bytes an earlier client has put out, if there was one here. Leaves
    /// nothing of a session that does not exist.
    pub fn bytes_of(session: &str) -> Option<u64> {
        Self::bytes_in(&folder()?, session)
    }

    fn bytes_in(folder: &Path, session: &str) -> Option<u64> {
        let there = folder.join(session).symlink_metadata().is_ok();
        Some(there.then(|| Self::open_in(folder, session))??.read()?.bytes)
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

    fn read(&self) -> Option<Noted> {
        let (mut file, mut noted) = (&self.file, Vec::new());
        file.rewind().ok()?;
        file.take((3 * DIGITS + SCREEN) as u64).read_to_end(&mut noted).ok()?;
        let number = |place: usize| -> Option<u64> {
            let digits = noted.get(place * DIGITS..(place + 1) * DIGITS)?;
            std::str::from_utf8(digits).ok()?.parse().ok()
        };
        let screen = || {
            let length = usize::try_from(number(2)?).ok()?;
            Some((number(1)?, noted.get(3 * DIGITS..)?.get(..length)?.to_vec()))
        };
        Some(Noted { bytes: number(0)?, screen: screen() })
    }

    /// What makes a terminal as the session had it, for who goes on behind so many
    /// bytes. What is of before them is not true any more; what is of after them
    /// will be, whatever they do.
    pub fn screen(&self, bytes: u64) -> Vec<u8> {
        let known = self.read().and_then(|noted| noted.screen);
        known.filter(|(at, _)| *at >= bytes).map(|(_, screen)| screen).unwrap_or_default()
    }

    /// A session begins, or goes on, behind so many bytes.
    pub fn begin(&self, bytes: u64, again: bool) {
        if !again {
            // What another session of the same name has left there.
            let _lost = self.file.set_len(0);
        }
        self.set(bytes);
    }

    /// So many have been put out.
    pub fn set(&self, bytes: u64) {
        self.write(&format!("{bytes:0DIGITS$}").into_bytes());
    }

    /// So many have been, and this makes a terminal as it is now.
    pub fn set_screen(&self, bytes: u64, screen: &[u8]) {
        let screen = if screen.len() > SCREEN { b"" } else { screen };
        let numbers = [bytes, bytes, screen.len() as u64];
        let mut record: Vec<u8> =
            numbers.iter().flat_map(|number| format!("{number:0DIGITS$}").into_bytes()).collect();
        record.extend_from_slice(screen);
        self.write(&record);
    }

    fn write(&self, record: &[u8]) {
        // A full disk: a later client repeats what came since.
        let _lost = self.file.write_all_at(record, 0);
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
        let folder = folder.path().join("new/sessions");
        let open = || Progress::open_in(&folder, "3f9c-7").unwrap();
        let first = open();
        assert_eq!(first.read(), None);
        first.begin(9, false);
        first.set(1_234_567);
        assert_eq!(Progress::bytes_in(&folder, "3f9c-7"), Some(1_234_567));
        first.remove();
        assert_eq!(Progress::bytes_in(&folder, "3f9c-7"), None);
    }

    #[test]
    fn how_the_terminal_was_is_known_until_more_has_come() {
        let folder = tempfile::tempdir().unwrap();
        let open = || Progress::open_in(&folder.path().join("ours"), "3f9c-7").unwrap();
        let less = b"\x1b[?1049h\x1b[?1h";
        open().begin(0, false);
        assert_eq!(open().screen(0), b"");
        open().set_screen(9, less);
        for (bytes, screen) in [(9, &less[..]), (8, less), (10, b"")] {
            assert_eq!(open().screen(bytes), screen, "{bytes}");
        }
        open().begin(9, true);
        assert_eq!(open().screen(9), less);
        open().set(10);
        assert_eq!(open().screen(10), b"");
        open().set_screen(12, b"\x1b[4h");
        assert_eq!(open().screen(12), b"\x1b[4h");
        open().set_screen(13, b"");
        assert_eq!(open().screen(13), b"");
        // What is longer than is noted is not cut.
        open().set_screen(14, &vec![b'x'; SCREEN + 1]);
        assert_eq!(open().screen(14), b"");
        // And what was not written to its end is not taken.
        open().set_screen(15, less);
        open().file.set_len((3 * DIGITS + 4) as u64).unwrap();
        assert_eq!((open().screen(15), open().read().unwrap().bytes), (vec![], 15));
        // Another session of that name knows nothing.
        open().set_screen(20, less);
        open().begin(0, false);
        assert_eq!(open().screen(0), b"");
    }

    #[test]
    fn nothing_is_left_of_a_session_that_is_only_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let ours = folder.path().join("ours");
        assert_eq!(Progress::bytes_in(&ours, "3f9c-7"), None);
        Progress::open_in(&ours, "3f9c-8").unwrap().set(5);
        assert_eq!(Progress::bytes_in(&ours, "3f9c-7"), None);
        assert_eq!(fs::read_dir(&ours).unwrap().count(), 1);
        assert_eq!(Progress::bytes_in(&ours, "3f9c-8"), Some(5));
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
