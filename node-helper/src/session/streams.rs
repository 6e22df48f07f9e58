//! The command's stdin, stdout and stderr: three pipes, or one terminal.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use kpexec_protocol::{Terminal, WindowSize};
use rustix::fd::{AsFd as _, OwnedFd};
use rustix::fs::{Gid, Mode, OFlags, Uid, fchown, fcntl_getfl, fcntl_setfl, open};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::unix::pipe::{Receiver, Sender};
use tools_overlay::parts::{Owner, devpts};

use crate::pipe::make_roomy;
use crate::pty::{self, Pty};
use crate::sys::watch::async_fd;

/// Why there are no streams.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A pipe or `/dev/null`.
    #[error("cannot open a pipe")]
    Pipe(#[from] io::Error),
    /// A terminal.
    #[error(transparent)]
    Pty(#[from] pty::Error),
}

/// Our ends.
#[derive(Debug)]
pub(super) enum Streams {
    /// `stdin` is absent where the command's is `/dev/null`.
    Pipes { stdin: Option<Sender>, stdout: Receiver, stderr: Receiver },
    /// The terminal, once for each direction and once for its size.
    Terminal { input: Master, output: Master, size: OwnedFd },
}

/// The command's ends.
pub(super) struct Ends {
    pub stdin: OwnedFd,
    pub stdout: OwnedFd,
    pub stderr: OwnedFd,
    /// Where the terminal lives, and those that tmux(1) and script(1) make.
    pub devpts: OwnedFd,
}

impl Streams {
    /// Opens a session's streams. They belong to the session's user, who may
    /// want to open `/dev/stdout` anew.
    pub fn open(
        terminal: Option<&Terminal>,
        stdin: bool,
        owner: Owner,
    ) -> Result<(Self, Ends), Error> {
        match terminal {
            Some(terminal) => open_terminal(terminal.size.unwrap_or_default(), owner),
            None => open_pipes(stdin, owner),
        }
    }
}

fn open_terminal(size: WindowSize, owner: Owner) -> Result<(Streams, Ends), Error> {
    let Pty { devpts, master, slave } = Pty::open(owner, size)?;
    let input = Master::new(master.try_clone()?)?;
    let size = master.try_clone()?;
    let streams = Streams::Terminal { input, output: Master::new(master)?, size };
    let ends =
        Ends { stdin: slave.try_clone()?, stdout: slave.try_clone()?, stderr: slave, devpts };
    Ok((streams, ends))
}

fn open_pipes(stdin: bool, owner: Owner) -> Result<(Streams, Ends), Error> {
    let pipe = || -> io::Result<_> {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
        make_roomy(read.as_fd());
        fchown(&read, Some(Uid::from_raw(owner.uid)), Some(Gid::from_raw(owner.gid)))?;
        Ok((read, write))
    };
    let (theirs, ours) = if stdin {
        let (read, write) = pipe()?;
        (read, Some(Sender::from_owned_fd(write)?))
    } else {
        let null = open("/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
        (null.map_err(io::Error::from)?, None)
    };
    let (stdout, stdout_end) = pipe()?;
    let (stderr, stderr_end) = pipe()?;
    let streams = Streams::Pipes {
        stdin: ours,
        stdout: Receiver::from_owned_fd(stdout)?,
        stderr: Receiver::from_owned_fd(stderr)?,
    };
    let devpts = devpts(owner).map_err(pty::Error::from)?;
    let ends = Ends { stdin: theirs, stdout: stdout_end, stderr: stderr_end, devpts };
    Ok((streams, ends))
}

/// Our end of a terminal, for asynchronous reading and writing.
#[derive(Debug)]
pub(super) struct Master(AsyncFd<OwnedFd>);

impl Master {
    fn new(master: OwnedFd) -> io::Result<Self> {
        fcntl_setfl(&master, fcntl_getfl(&master)? | OFlags::NONBLOCK)?;
        async_fd(master).map(Self)
    }
}

impl AsyncRead for Master {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            let mut guard = ready!(self.0.poll_read_ready(context))?;
            let into = buffer.initialize_unfilled();
            match guard.try_io(|fd| Ok(rustix::io::read(fd.get_ref(), &mut *into)?)) {
                Ok(Ok(count)) => {
                    buffer.advance(count);
                    return Poll::Ready(Ok(()));
                }
                // The last process has closed its end: pty(7) has no end of file.
                Ok(Err(error)) if error.raw_os_error() == Some(Errno::IO.raw_os_error()) => {
                    return Poll::Ready(Ok(()));
                }
                Ok(Err(error)) => return Poll::Ready(Err(error)),
                Err(_would_block) => {}
            }
        }
    }
}

impl AsyncWrite for Master {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        loop {
            let mut guard = ready!(self.0.poll_write_ready(context))?;
            match guard.try_io(|fd| Ok(rustix::io::write(fd.get_ref(), bytes)?)) {
                Ok(result) => return Poll::Ready(result),
                Err(_would_block) => {}
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
