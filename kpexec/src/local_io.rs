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

/// Reads stdin until its end. The thread cannot be stopped while it waits for
/// input; it ends with the process.
pub fn spawn_stdin() -> mpsc::Receiver<Bytes> {
    let (sender, receiver) = mpsc::channel(QUEUE);
    std::thread::spawn(move || {
        // An error is the end of input too: EIO is what a background process
        // gets from a terminal that hung up.
        while let Ok(bytes) = read_chunk(rustix::stdio::stdin()) {
            if bytes.is_empty() || sender.blocking_send(bytes).is_err() {
                break;
            }
        }
    });
    receiver
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
        let count = |total| {
            if let Some(progress) = &progress {
                progress.set(total);
            }
            count.send_replace(total);
        };
        let (stdout, stderr) = (rustix::stdio::stdout(), rustix::stdio::stderr());
        // Nobody listens if we were interrupted.
        let _ = end.send(write_all_output(receiver, [stdout, stderr], longest, first, count));
    });
    (sender, Written { bytes, end: ended })
}

/// `count` is told how many bytes were written, of all there were from the
/// beginning: after each write, because the next one may be the one that is
/// killed.
fn write_all_output(
    mut output: mpsc::Receiver<Output>,
    [stdout, stderr]: [BorrowedFd<'_>; 2],
    longest: usize,
    first: u64,
    count: impl Fn(u64),
) -> io::Result<()> {
    let mut total = first;
    while let Some(piece) = output.blocking_recv() {
        let end = total + piece.len() as u64;
        // What is shown may be less or more than what came: terminals are guarded.
        let written = Cell::new(total);
        let count_more = |more: usize| {
            written.set(end.min(written.get() + more as u64));
            count(written.get());
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
        if written.get() != end {
            count(end);
        }
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
    fn a_closed_reader_is_a_broken_pipe() {
        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        let error = write_all(writer.as_fd(), b"x", |_| {}).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }

    #[test]
    fn stdout_and_stderr_stay_apart() {
        let ((mut out, stdout), (mut err, stderr)) = (io::pipe().unwrap(), io::pipe().unwrap());
        let (sender, receiver) = mpsc::channel(4);
        sender.blocking_send(Output::Stdout("one".into())).unwrap();
        sender.blocking_send(Output::Stderr("two".into())).unwrap();
        drop(sender);
        let count = Cell::new(0);
        let ends = [stdout.as_fd(), stderr.as_fd()];
        write_all_output(receiver, ends, 2, 100, |total| count.set(total)).unwrap();
        assert_eq!(count.get(), 106);
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
