//! A client's streams as one connection.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll};

use rustix::fd::{AsFd as _, OwnedFd};
use rustix::stdio::{dup2_stderr, stderr};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::unix::pipe::{Receiver, Sender};
use tonic::transport::server::Connected;

use super::presence::Present;
use crate::pipe::make_roomy;
use crate::supervise::errand::Caller;
use crate::sys::watch::async_fd;

/// Two pipes, and what is told when they are used no more.
pub(super) struct Connection {
    input: Receiver,
    output: Sender,
    lifeline: Option<Lifeline>,
    _stderr: Option<Stderr>,
    _present: Present,
}

/// As long as this is held, what this process says goes to a client's stderr, if
/// no other client came later.
struct Stderr(u32);

/// How often stderr was a client's.
static TAKEN: AtomicU32 = AtomicU32::new(0);

/// What it was before the first.
static BEFORE: OnceLock<OwnedFd> = OnceLock::new();

impl Stderr {
    fn take(new: &OwnedFd) -> io::Result<Self> {
        if BEFORE.get().is_none() {
            // It is set by nobody else: there is one thread.
            let _set = BEFORE.set(stderr().try_clone_to_owned()?);
        }
        dup2_stderr(new)?;
        Ok(Self(TAKEN.fetch_add(1, Ordering::Relaxed) + 1))
    }
}

impl Drop for Stderr {
    /// The runtime waits for a stream's last holder.
    fn drop(&mut self) {
        if let Some(before) = BEFORE.get()
            && TAKEN.load(Ordering::Relaxed) == self.0
        {
            // What was there before can be used still, or is of no use.
            let _unused = dup2_stderr(before);
        }
    }
}

/// The process that the container runtime started for this client.
struct Lifeline(AsyncFd<OwnedFd>);

impl Drop for Lifeline {
    /// It ends as it should, if it has not ended yet.
    fn drop(&mut self) {
        let _ended = rustix::io::write(self.0.get_ref(), &[0]);
    }
}

impl Connection {
    /// Both must be pipes: what every container runtime gives an exec without a
    /// terminal.
    pub fn new(input: OwnedFd, output: OwnedFd, present: Present) -> io::Result<Self> {
        make_roomy(input.as_fd());
        make_roomy(output.as_fd());
        let (input, output) = (Receiver::from_owned_fd(input)?, Sender::from_owned_fd(output)?);
        Ok(Self { input, output, lifeline: None, _stderr: None, _present: present })
    }

    /// Of a client that was handed over.
    pub fn of_caller(caller: Caller, present: Present) -> io::Result<Self> {
        let Caller { stdin, stdout, stderr, lifeline, .. } = caller;
        let stderr = Stderr::take(&stderr)?;
        let connection = Self::new(stdin, stdout, present)?;
        let lifeline = Lifeline(async_fd(lifeline)?);
        Ok(Self { lifeline: Some(lifeline), _stderr: Some(stderr), ..connection })
    }
}

impl Connected for Connection {
    type ConnectInfo = ();

    fn connect_info(&self) -> Self::ConnectInfo {}
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(lifeline) = &self.lifeline
            && lifeline.0.poll_read_ready(context).is_ready()
        {
            // Nothing is sent on it: that process was killed, whoever holds the
            // other ends of the pipes.
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.input).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.output).poll_write(context, bytes)
    }

    /// A frame's header and what it holds at once: else each would be a message
    /// of its own all the way to the client.
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.output).poll_write_vectored(context, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.output.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.output).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.output).poll_shutdown(context)
    }
}
