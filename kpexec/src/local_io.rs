//! kpexec's own stdin, stdout and stderr. Each has a thread of its own, because
//! reading a terminal and writing to a full pipe block for as long as they like.

use std::cell::Cell;
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use kpexec_protocol::CHUNK;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use tokio::sync::{mpsc, oneshot, watch};

use crate::session::{Output, Progress};
use crate::terminal;

/// Pieces on their way in either direction.
const QUEUE: usize = 4;

/// What comes from stdin.
pub struct Stdin {
    /// Its pieces; closed at its end.
    pub bytes: mpsc::Receiver<Bytes>,
    /// Why it cannot be read any further, which is no end: `bytes` stays open.
    pub failure: oneshot::Receiver<io::Error>,
}

/// Reads stdin until its end. The thread cannot be stopped while it waits for
/// input; it ends with the process.
pub fn spawn_stdin() -> Stdin {
    let (sender, bytes) = mpsc::channel(QUEUE);
    let (fails, failure) = oneshot::channel();
    let is_terminal = terminal::stdin_is_terminal();
    std::thread::spawn(move || match send_all(rustix::stdio::stdin(), &sender) {
        Ok(()) => {}
        // What a background process gets from a terminal that hung up.
        Err(Errno::IO) if is_terminal => {}
        // Never open for reading, as nohup(1) leaves it: there is nothing to lose.
        Err(Errno::BADF) => {}
        Err(error) => {
            // A command that sees an end takes what it got for all there was.
            if fails.send(error.into()).is_ok() {
                loop {
                    std::thread::park();
                }
            }
        }
    });
    Stdin { bytes, failure }
}

fn send_all(fd: BorrowedFd<'_>, sender: &mpsc::Sender<Bytes>) -> Result<(), Errno> {
    loop {
        let bytes = read_chunk(fd)?;
        if bytes.is_empty() || sender.blocking_send(bytes).is_err() {
            return Ok(());
        }
    }
}

fn read_chunk(fd: BorrowedFd<'_>) -> Result<Bytes, Errno> {
    let mut buffer = BytesMut::zeroed(CHUNK);
    loop {
        match rustix::io::read(fd, &mut buffer[..]) {
            Ok(length) => {
                buffer.truncate(length);
                return Ok(buffer.freeze());
            }
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => wait(fd, PollFlags::IN)?,
            Err(error) => return Err(error),
        }
    }
}

/// What the thread that writes tells.
pub struct Written {
    /// How many bytes were written since the session's start.
    pub bytes: watch::Receiver<u64>,
    /// How it ended, once the queue is closed or a write fails.
    pub end: oneshot::Receiver<io::Result<()>>,
}

/// Writes output to stdout and stderr, in the order it comes. Bytes are counted
/// from `first`, here and in the file of a session that is kept.
pub fn spawn_output(
    first: u64,
    progress: Option<Arc<Progress>>,
) -> (mpsc::Sender<Output>, Written) {
    let (sender, receiver) = mpsc::channel(QUEUE);
    let (end, ended) = oneshot::channel();
    let (count, bytes) = watch::channel(first);
    // What is kept is counted: of a longer write nobody knows how far it came when
    // the process is killed in it (pipe(7), PIPE_BUF).
    let longest = if progress.is_some() { rustix::pipe::PIPE_BUF } else { usize::MAX };
    std::thread::spawn(move || {
        let count = |total, is_whole: bool| {
            if let Some(progress) = &progress {
                match is_whole.then(terminal::redo).flatten() {
                    Some(screen) => progress.set_screen(total, &screen),
                    None => progress.set(total),
                }
            }
            count.send_if_modified(|known| std::mem::replace(known, total) != total);
        };
        let (stdout, stderr) = (rustix::stdio::stdout(), rustix::stdio::stderr());
        // Nobody listens if we were interrupted.
        let _ = end.send(write_all_output(receiver, [stdout, stderr], longest, first, count));
    });
    (sender, Written { bytes, end: ended })
}

/// `count` is told how many bytes were written, of all there were from the
/// beginning: after each write, because the next one may be the one that is
/// killed. And whether a piece has been written to its end with it.
fn write_all_output(
    mut output: mpsc::Receiver<Output>,
    [stdout, stderr]: [BorrowedFd<'_>; 2],
    longest: usize,
    first: u64,
    count: impl Fn(u64, bool),
) -> io::Result<()> {
    let mut total = first;
    while let Some(piece) = output.blocking_recv() {
        let end = total + piece.len() as u64;
        // What is shown may be less or more than what came: terminals are guarded.
        let written = Cell::new(total);
        let count_more = |more: usize| {
            written.set(end.min(written.get() + more as u64));
            count(written.get(), false);
        };
        let write = |fd, bytes: &[u8]| {
            bytes.chunks(longest).try_for_each(|bytes| write_all(fd, bytes, count_more))
        };
        match piece {
            Output::Stdout(bytes) => {
                if !terminal::show(&bytes, |bytes| write(stdout, bytes))? {
                    // The terminal is given back: it was not shown, and is not counted.
                    return Ok(());
                }
            }
            Output::Stderr(bytes) => write(stderr, &bytes)?,
        }
        count(end, true);
        total = end;
    }
    Ok(())
}

/// As `Write::write_all`, but a descriptor that some other process made
/// non-blocking is waited for; std gives up with part of the bytes written.
fn write_all(fd: BorrowedFd<'_>, mut bytes: &[u8], written: impl Fn(usize)) -> io::Result<()> {
    while !bytes.is_empty() {
        match rustix::io::write(fd, bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(length) => {
                written(length);
                bytes = &bytes[length..];
            }
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => wait(fd, PollFlags::OUT)?,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn wait(fd: BorrowedFd<'_>, until: PollFlags) -> Result<(), Errno> {
    match poll(&mut [PollFd::new(&fd, until)], None) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::io::Read as _;
    use std::os::fd::AsFd as _;

    use super::*;

    #[test]
    fn a_non_blocking_descriptor_loses_nothing() {
        let (mut reader, writer) = io::pipe().unwrap();
        rustix::io::ioctl_fionbio(&writer, true).unwrap();
        // More than a pipe holds, so that EAGAIN is certain.
        let bytes: Vec<u8> = (0..1_000_000u32).map(|n| (n % 251) as u8).collect();
        let expected = bytes.clone();
        let thread = std::thread::spawn(move || write_all(writer.as_fd(), &bytes, |_| {}));
        let mut got = Vec::new();
        reader.read_to_end(&mut got).unwrap();
        thread.join().unwrap().unwrap();
        assert!(got == expected);
    }

    #[test]
    fn what_cannot_be_read_is_no_end() {
        let folder = std::fs::File::open("/").unwrap();
        let (sender, mut receiver) = mpsc::channel(1);
        assert_eq!(send_all(folder.as_fd(), &sender), Err(Errno::ISDIR));
        assert_eq!(receiver.try_recv(), Err(mpsc::error::TryRecvError::Empty));
        let empty = std::fs::File::open("/dev/null").unwrap();
        assert_eq!(send_all(empty.as_fd(), &sender), Ok(()));
    }

    #[test]
    fn a_closed_reader_is_a_broken_pipe() {
        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        // A fork of another test may hold it for a moment.
        let write = |_| {
            let written = write_all(writer.as_fd(), b"x", |_| {});
            std::thread::sleep(std::time::Duration::from_millis(1));
            written.err()
        };
        let error = (0..10_000).find_map(write).unwrap();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }

    #[test]
    fn stdout_and_stderr_stay_apart() {
        let ((mut out, stdout), (mut err, stderr)) = (io::pipe().unwrap(), io::pipe().unwrap());
        let (sender, receiver) = mpsc::channel(4);
        sender.blocking_send(Output::Stdout("one".into())).unwrap();
        sender.blocking_send(Output::Stderr("two".into())).unwrap();
        drop(sender);
        let counted = RefCell::new(Vec::new());
        let count = |total, is_whole| counted.borrow_mut().push((total, is_whole));
        let ends = [stdout.as_fd(), stderr.as_fd()];
        write_all_output(receiver, ends, 2, 100, count).unwrap();
        let writes = [(102, false), (103, false), (103, true)];
        let of_both = writes.into_iter().chain(writes.map(|(total, whole)| (total + 3, whole)));
        assert_eq!(counted.into_inner(), of_both.collect::<Vec<_>>());
        drop((stdout, stderr));
        assert_eq!(io::read_to_string(&mut out).unwrap(), "one");
        assert_eq!(io::read_to_string(&mut err).unwrap(), "two");
    }

    #[test]
    fn reading_waits_for_a_non_blocking_descriptor() {
        let (reader, writer) = io::pipe().unwrap();
        rustix::io::ioctl_fionbio(&reader, true).unwrap();
        let thread = std::thread::spawn(move || read_chunk(reader.as_fd()));
        std::thread::sleep(std::time::Duration::from_millis(20));
        rustix::io::write(&writer, b"late").unwrap();
        assert_eq!(thread.join().unwrap().unwrap(), "late");
    }
}
