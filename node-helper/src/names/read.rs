//! Reads a file of the target's, or of an image that nobody vouches for, in a
//! process of its own. The file may be a device, have no end, or lie on a file
//! system that never answers (threat model, A17): then that process is lost, not
//! `serve`.

use std::ffi::{OsStr, OsString};
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::process::{ExitCode, Stdio};
use std::time::Duration;

use nix::sys::prctl;
use nix::sys::signal::Signal;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, fstat, open, openat2};
use rustix::io::Errno;
use tokio::io::AsyncReadExt;
use tokio::process::Child;
use tokio::time::timeout;

use super::PROCESS_NAME;
use super::database::File;
use crate::enter::credentials;
use crate::enter::seal::SealedBinary;
use crate::failure::tell;
use crate::sys::call;

/// The largest file that is read, in bytes: 10,000 users.
const LARGEST: u64 = 1 << 20;

/// As the reader's first argument: any file, but only its beginning.
const HEAD: &str = "head";

/// How much of it, in bytes. A program names its interpreter in the first page.
const HEAD_SIZE: u64 = 64 * 1024;

/// How long reading may take. It takes milliseconds.
const DEADLINE: Duration = Duration::from_secs(2);

/// How long a killed reader may take to end.
const GRACE: Duration = Duration::from_millis(500);

/// Why a file was not read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is none, or no `/etc`.
    #[error("the container has no {0}")]
    Missing(File),
    /// A directory, a device, a FIFO or a socket.
    #[error("the container's {0} is not a regular file")]
    NotRegular(File),
    /// More than anybody needs.
    #[error("the container's {0} is larger than 1 MiB")]
    TooLarge(File),
    /// It hangs, most likely on a file system of the target.
    #[error("the container's {0} cannot be read within {limit} s", limit = DEADLINE.as_secs())]
    TimedOut(File),
    /// The kernel said no.
    #[error("the container's {0} cannot be read")]
    Refused(File, #[source] Errno),
    /// The reader could not be started or listened to.
    #[error("cannot {0} the process that reads the container's files")]
    Process(&'static str, #[source] io::Error),
    /// The reader could not give up its rights, or was killed.
    #[error("the process that reads the container's files ended without an answer")]
    Silent,
}

/// How the reader says why there is nothing to read: its exit code, which is an
/// error number or one of those below, all of them larger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Code(u8);

impl Code {
    const NOT_REGULAR: Self = Self(200);
    const TOO_LARGE: Self = Self(201);
    const UNPREPARED: Self = Self(202);
}

impl From<Errno> for Code {
    fn from(errno: Errno) -> Self {
        u8::try_from(errno.raw_os_error()).map_or(Self::UNPREPARED, Self)
    }
}

impl From<io::Error> for Code {
    fn from(error: io::Error) -> Self {
        Errno::from_io_error(&error).unwrap_or(Errno::IO).into()
    }
}

/// Reads a file below `root`, a directory, as what is `chroot`ed there sees it.
///
/// # Errors
/// When it is no regular file of a sensible size that can be read in time.
pub async fn file(
    binary: &SealedBinary,
    root: BorrowedFd<'_>,
    file: File,
) -> Result<Vec<u8>, Error> {
    let child = binary.start(PROCESS_NAME, root, |command| {
        command.arg(file.path()).stdout(Stdio::piped());
        Ok(())
    });
    answer(&mut child.map_err(|e| Error::Process("start", e))?, file).await
}

/// The beginning of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Head {
    /// It could be read.
    Text(Vec<u8>),
    /// There is no such file.
    Missing,
    /// It is not regular, may not be read, or cannot be read in time.
    Unread,
}

/// Reads the beginning of a regular file below `root`, whatever its path.
pub async fn head(binary: &SealedBinary, root: BorrowedFd<'_>, path: &[u8]) -> Head {
    let path = OsStr::from_bytes(path);
    let child = binary.start(PROCESS_NAME, root, |command| {
        command.arg(HEAD).arg(path).stdout(Stdio::piped());
        Ok(())
    });
    match child {
        Ok(child) => head_of(child).await,
        Err(_) => Head::Unread,
    }
}

async fn head_of(mut child: Child) -> Head {
    // Of the two files it is none, which only an error would tell.
    match answer(&mut child, File::Passwd).await {
        Ok(text) => Head::Text(text),
        Err(Error::Missing(_)) => Head::Missing,
        Err(_) => Head::Unread,
    }
}

/// Runs the reader and takes its answer.
async fn answer(child: &mut Child, file: File) -> Result<Vec<u8>, Error> {
    let answered = timeout(DEADLINE, listen(child, file)).await;
    if let Ok(answer) = answered {
        return answer;
    }
    child.start_kill().map_err(|e| Error::Process("end", e))?;
    // Not waited for until it has ended: once a FUSE server has taken its
    // request, not even SIGKILL wakes it before the answer (fs/fuse/dev.c,
    // request_wait_answer). tokio reaps it whenever it ends.
    let _late = timeout(GRACE, child.wait()).await;
    Err(Error::TimedOut(file))
}

async fn listen(child: &mut Child, file: File) -> Result<Vec<u8>, Error> {
    let output = child.stdout.take().ok_or(Error::Silent)?;
    let mut text = Vec::new();
    // Closed at the limit: whoever still writes gets SIGPIPE or EPIPE.
    output
        .take(LARGEST + 1)
        .read_to_end(&mut text)
        .await
        .map_err(|e| Error::Process("listen to", e))?;
    let status = child.wait().await.map_err(|e| Error::Process("wait for", e))?;
    if text.len() as u64 > LARGEST {
        return Err(Error::TooLarge(file));
    }
    match status.code() {
        Some(0) => Ok(text),
        code => Err(refusal(file, code)),
    }
}

fn refusal(file: File, code: Option<i32>) -> Error {
    match code.and_then(|code| u8::try_from(code).ok()).map(Code) {
        Some(Code::NOT_REGULAR) => Error::NotRegular(file),
        Some(Code::TOO_LARGE) => Error::TooLarge(file),
        Some(Code(errno @ 1..200)) => match Errno::from_raw_os_error(errno.into()) {
            Errno::NOENT | Errno::NOTDIR => Error::Missing(file),
            errno => Error::Refused(file, errno),
        },
        _ => Error::Silent,
    }
}

/// The reader: stdin is the root. One argument is one of the two files that are
/// read whole; before any other stands [`HEAD`].
pub fn main(mut arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let first = arguments.next();
    let known = [File::Passwd, File::Group].map(|file| file.path());
    let (path, limit) = match first.as_deref().and_then(OsStr::to_str) {
        Some(HEAD) => (arguments.next(), Limit::CutOff(HEAD_SIZE)),
        Some(path) if known.contains(&path) => (first, Limit::Refuse(LARGEST)),
        _ => (None, Limit::Refuse(0)),
    };
    let outcome = path.ok_or(Code::UNPREPARED).and_then(|path| {
        prepare()?;
        let text = read(io::stdin().as_fd(), &path, limit)?;
        Ok(io::stdout().write_all(&text).and_then(|()| io::stdout().flush())?)
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(Code(code)) => ExitCode::from(code),
    }
}

/// What becomes of a file that is larger than so many bytes.
#[derive(Clone, Copy)]
enum Limit {
    Refuse(u64),
    CutOff(u64),
}

/// Before anything of the target's is opened: nothing is left to take over.
fn prepare() -> Result<(), Code> {
    let unprepared = |what: &str, error: &dyn std::error::Error| {
        // The client shows it with -v.
        tell(&format!("the process that reads names cannot {what}: {error}"));
        Code::UNPREPARED
    };
    prctl::set_dumpable(false).map_err(|e| unprepared("forbid dumps", &e))?;
    // For ps(1) on the node, should it hang.
    prctl::set_name(c"kpexec-read").map_err(|e| unprepared("set its name", &e))?;
    prctl::set_pdeathsig(Signal::SIGKILL).map_err(|e| unprepared("die with serve", &e))?;
    call::close_from(3).map_err(|e| unprepared("close what was inherited", &e))?;
    credentials::drop_capabilities().map_err(|e| unprepared("give up its capabilities", &e))
}

fn read(root: BorrowedFd<'_>, path: &OsStr, limit: Limit) -> Result<Vec<u8>, Code> {
    let (file, size) = open_regular(root, path)?;
    let (most, largest) = match limit {
        Limit::Refuse(largest) => (largest + 1, largest),
        Limit::CutOff(most) => (most, u64::MAX),
    };
    if size > largest {
        return Err(Code::TOO_LARGE);
    }
    let mut text = Vec::new();
    // The size is no promise: files grow, and those of procfs have none.
    std::fs::File::from(file).take(most).read_to_end(&mut text)?;
    if text.len() as u64 > largest { Err(Code::TOO_LARGE) } else { Ok(text) }
}

/// Opens a regular file, and nothing else, and tells its size: opening alone
/// lets a watchdog reset the node and a tape rewind. What is opened is the inode
/// that was looked at, through our own `/proc`; by its path it may be another one
/// by then.
fn open_regular(root: BorrowedFd<'_>, path: &OsStr) -> Result<(OwnedFd, u64), Code> {
    /// `EAGAIN` is a rename elsewhere that raced with a `..`: openat2(2).
    const ATTEMPTS: usize = 8;
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let found = (0..ATTEMPTS)
        .map(|_| openat2(root, path, flags, Mode::empty(), resolve))
        .find(|found| !matches!(found, Err(Errno::AGAIN)))
        .unwrap_or(Err(Errno::AGAIN))?;
    let stat = fstat(&found)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(Code::NOT_REGULAR);
    }
    // Non-blocking also where the target holds a lease on it: fcntl(2).
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let same = format!("/proc/self/fd/{}", found.as_raw_fd());
    Ok((open(same, flags, Mode::empty())?, stat.st_size.cast_unsigned()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;
    use std::time::Instant;

    use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};

    use super::*;

    /// What takes longer than this would never end.
    const LIMIT: Duration = Duration::from_secs(20);

    /// A stand-in for the reader.
    fn stand_in(program: &str, arguments: &[&str]) -> Child {
        let mut command = tokio::process::Command::new(program);
        command.args(arguments).stdout(Stdio::piped()).kill_on_drop(true);
        command.spawn().unwrap()
    }

    fn children() -> String {
        std::fs::read_to_string("/proc/thread-self/children").unwrap()
    }

    /// One that has ended, and was not reaped: nothing of it takes time any more.
    fn ended_stand_in(line: &str) -> Child {
        let child = stand_in("sh", &["-c", line]);
        let pid = Pid::from_raw(child.id().unwrap().cast_signed()).unwrap();
        waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT).unwrap();
        child
    }

    #[tokio::test]
    async fn a_reader_that_hangs_is_killed_and_reaped() {
        let begun = Instant::now();
        // Held to the end: dropped, it would be killed in any case.
        let mut child = stand_in("sleep", &["100"]);
        let hanging = answer(&mut child, File::Group).await;
        let (took, left) = (begun.elapsed(), children());
        assert!(matches!(hanging, Err(Error::TimedOut(File::Group))), "{hanging:?}");
        assert!(left.is_empty() || took >= DEADLINE + GRACE, "{left} is left after {took:?}");
        assert!(took < LIMIT, "{took:?}");
        let status = timeout(LIMIT, child.wait()).await.expect("it goes on").unwrap();
        assert_eq!(status.signal(), Some(libc::SIGKILL));
    }

    #[tokio::test]
    async fn a_reader_that_never_ends_is_cut_off() {
        // Whatever time a busy machine takes for a megabyte.
        let mut child = stand_in("yes", &[]);
        let endless = timeout(LIMIT, listen(&mut child, File::Group)).await.expect("it goes on");
        assert!(matches!(endless, Err(Error::TooLarge(File::Group))), "{endless:?}");
        assert_eq!(children(), "");
    }

    #[tokio::test]
    async fn a_reader_that_is_killed_has_no_answer() {
        let of = async |line: &str| answer(&mut ended_stand_in(line), File::Group).await;
        let killed = of("echo text; kill -KILL $$").await;
        assert!(matches!(killed, Err(Error::Silent)), "{killed:?}");
        let complete = of("echo text").await;
        assert_eq!(complete.unwrap(), b"text\n");
    }

    #[tokio::test]
    async fn a_beginning_that_is_not_all_there_is_none() {
        let of = |line: &str| head_of(ended_stand_in(line));
        assert_eq!(of("printf text").await, Head::Text(b"text".into()));
        assert_eq!(of("printf te; exit 5").await, Head::Unread);
        assert_eq!(of("exit 2").await, Head::Missing);
        assert_eq!(children(), "");
        let hanging = stand_in("sh", &["-c", "printf te; exec sleep 100"]);
        assert_eq!(head_of(hanging).await, Head::Unread);
        let begun = Instant::now();
        while !children().is_empty() {
            assert!(begun.elapsed() < LIMIT, "it is left");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    #[test]
    fn exit_codes_keep_their_meaning() {
        let told = |code: Code| refusal(File::Passwd, Some(code.0.into()));
        assert!(matches!(told(Errno::NOENT.into()), Error::Missing(File::Passwd)));
        assert!(matches!(told(Errno::NOTDIR.into()), Error::Missing(_)));
        assert!(matches!(told(Errno::LOOP.into()), Error::Refused(_, Errno::LOOP)));
        assert!(matches!(told(Errno::HWPOISON.into()), Error::Refused(_, Errno::HWPOISON)));
        assert!(matches!(told(Code::NOT_REGULAR), Error::NotRegular(_)));
        assert!(matches!(told(Code::TOO_LARGE), Error::TooLarge(_)));
        assert!(matches!(told(Code::UNPREPARED), Error::Silent));
        assert!(matches!(refusal(File::Passwd, None), Error::Silent));
    }
}
