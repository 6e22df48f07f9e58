//! kpexec's own stdin, stdout and stderr. Each has a thread of its own, because
//! reading a terminal and writing to a full pipe block for as long as they like.

use std::io;
use std::os::fd::BorrowedFd;

use bytes::{Bytes, BytesMut};
use kpexec_protocol::CHUNK;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use tokio::sync::{mpsc, oneshot};

use crate::session::Output;
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

/// Writes output to stdout and stderr, in the order it comes. The second
/// channel tells how that ended, once the first is closed or a write fails.
pub fn spawn_output() -> (mpsc::Sender<Output>, oneshot::Receiver<io::Result<()>>) {
    let (sender, receiver) = mpsc::channel(QUEUE);
    let (report, reported) = oneshot::channel();
    std::thread::spawn(move || {
        let result = write_all_output(receiver, rustix::stdio::stdout(), rustix::stdio::stderr());
        // Nobody listens if we were interrupted.
        let _ = report.send(result);
    });
    (sender, reported)
}

fn write_all_output(
    mut output: mpsc::Receiver<Output>,
    stdout: BorrowedFd<'_>,
    stderr: BorrowedFd<'_>,
) -> io::Result<()> {
    while let Some(piece) = output.blocking_recv() {
        match piece {
            Output::Stdout(bytes) => terminal::show(&bytes, |bytes| write_all(stdout, bytes))?,
            Output::Stderr(bytes) => write_all(stderr, &bytes)?,
        }
    }
    Ok(())
}

/// As `Write::write_all`, but a descriptor that some other process made
/// non-blocking is waited for; std gives up with part of the bytes written.
fn write_all(fd: BorrowedFd<'_>, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match rustix::io::write(fd, bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(length) => bytes = &bytes[length..],
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
        let thread = std::thread::spawn(move || write_all(writer.as_fd(), &bytes));
        let mut got = Vec::new();
        reader.read_to_end(&mut got).unwrap();
        thread.join().unwrap().unwrap();
        assert!(got == expected);
    }

    #[test]
    fn a_closed_reader_is_a_broken_pipe() {
        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        let error = write_all(writer.as_fd(), b"x").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }

    #[test]
    fn stdout_and_stderr_stay_apart() {
        let ((mut out, stdout), (mut err, stderr)) = (io::pipe().unwrap(), io::pipe().unwrap());
        let (sender, receiver) = mpsc::channel(4);
        sender.blocking_send(Output::Stdout("one".into())).unwrap();
        sender.blocking_send(Output::Stderr("two".into())).unwrap();
        drop(sender);
        write_all_output(receiver, stdout.as_fd(), stderr.as_fd()).unwrap();
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
