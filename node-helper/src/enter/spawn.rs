//! Starting an entry process, and the socket between it and `serve`.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::process::Stdio;
use std::time::Duration;

use prost::Message;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use rustix::io::{self, Errno};
use rustix::net::{
    RecvAncillaryBuffer, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, recvmsg,
    sendmsg,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::UnixStream;
use tokio::process::Child;
use tokio::time::timeout;

use super::PROCESS_NAME;
use super::message::{Descriptor, Order, Report, Role};
use super::plan::Step;
use super::seal::SealedBinary;
use crate::passed::passed;

/// How long an entry may take. It takes milliseconds, unless the target's root
/// lies on a file system that hangs.
const TIMEOUT: Duration = Duration::from_secs(10);

/// More than any plan needs; the kernel's own limit is 253 (unix(7)).
const MOST_DESCRIPTORS: usize = 64;

/// What the kernel calls MAX_ERRNO: include/linux/err.h.
const HIGHEST_ERRNO: i32 = 4095;

/// Why an entry did not happen.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The entry process could not be started or spoken to.
    #[error("cannot {0} the entry process")]
    Process(&'static str, #[source] std::io::Error),
    /// It ended without a word.
    #[error("the entry process ended without a report")]
    Silent,
    /// It hangs, most likely on a file system of the target.
    #[error("the entry took longer than {} s", TIMEOUT.as_secs())]
    TimedOut,
    /// It said which step failed.
    #[error("cannot {step}")]
    Step {
        /// The step, in words.
        step: String,
        /// What to do about it; may be empty.
        hint: String,
        /// What the kernel answered.
        #[source]
        errno: Errno,
    },
}

/// What comes of an entry.
#[derive(Debug)]
pub struct Entered {
    /// PID of the shim on the node.
    pub shim: i32,
    /// How the view is not as one would expect, a line each; may quote the
    /// target.
    pub notes: Vec<String>,
}

/// An entry process that waits for its order. Dropped, it is killed.
#[derive(Debug)]
pub struct EntryProcess {
    child: Child,
    socket: UnixStream,
}

impl EntryProcess {
    /// Starts an entry process, which joins the cgroup of this door before all else.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn start(binary: &SealedBinary, door: Option<&OwnedFd>) -> Result<Self, Error> {
        let (socket, theirs) = pair().map_err(|e| Error::Process("connect to", e))?;
        // By the main thread, which lives as long as `serve` does.
        let child = binary
            .start(PROCESS_NAME, theirs.as_fd(), |command| {
                match door {
                    Some(door) => command.stdout(door.try_clone()?),
                    None => command.stdout(Stdio::null()),
                };
                Ok(())
            })
            .map_err(|e| Error::Process("start", e))?;
        Ok(Self { child, socket })
    }

    /// Waits until it has joined its cgroup, or was refused. To be called once,
    /// before [`EntryProcess::perform`].
    ///
    /// # Errors
    /// When it has ended, or hangs.
    pub async fn joined(&mut self) -> Result<io::Result<()>, Error> {
        let mut errno = [0; 4];
        let read = timeout(TIMEOUT, self.socket.read_exact(&mut errno));
        read.await.map_err(|_| Error::TimedOut)?.map_err(|_| Error::Silent)?;
        match i32::from_ne_bytes(errno) {
            0 => Ok(Ok(())),
            errno @ 1..=HIGHEST_ERRNO => Ok(Err(Errno::from_raw_os_error(errno))),
            _ => Err(Error::Silent),
        }
    }

    /// Has it perform `order`. The descriptors are closed here once sent.
    ///
    /// # Errors
    /// When a step fails; nothing is left running then.
    pub async fn perform(
        &mut self,
        order: Order,
        descriptors: Vec<Descriptor>,
    ) -> Result<Entered, Error> {
        timeout(TIMEOUT, self.exchange(order, descriptors)).await.map_err(|_| Error::TimedOut)?
    }

    /// Ends it, if it has not ended yet, and reaps it.
    pub async fn end(&mut self) {
        // The error is that it has ended.
        let _ended = self.child.kill().await;
    }

    async fn exchange(
        &mut self,
        mut order: Order,
        mut descriptors: Vec<Descriptor>,
    ) -> Result<Entered, Error> {
        let talk = |e| Error::Process("talk to", e);
        let page = report_page().map_err(|errno| talk(errno.into()))?;
        descriptors.push((Role::Report, page.try_clone().map_err(talk)?));
        order.roles = descriptors.iter().map(|(role, _)| role.code()).collect();
        let answer = exchange(&mut self.socket, &order, descriptors).await.map_err(talk)?;
        // Reaped whatever it said; its exit code adds nothing to the report.
        self.child.wait().await.map_err(|e| Error::Process("wait for", e))?;
        let Report { failed, errno, hint, notes } =
            Report::decode(answer.as_slice()).map_err(|_| Error::Silent)?;
        if !failed.is_empty() {
            return Err(Error::Step { step: failed, hint, errno: Errno::from_raw_os_error(errno) });
        }
        let mut number = [0; 4];
        let read = io::pread(&page, &mut number, 0).map_err(|errno| talk(errno.into()))?;
        match i32::from_ne_bytes(number) {
            shim @ 1.. if read == number.len() => Ok(Entered { shim, notes }),
            0 => Err(Error::Silent),
            errno => {
                let step = Step::Start.name().to_owned();
                let errno = Errno::from_raw_os_error(errno.saturating_neg());
                Err(Error::Step { step, hint: String::new(), errno })
            }
        }
    }
}

/// Where the entry process leaves the shim's PID: in memory, because the shim,
/// which the target can see, inherits whatever descriptor the entry process has
/// when it forks.
fn report_page() -> io::Result<OwnedFd> {
    let page = memfd_create(c"kpexec-report", MemfdFlags::CLOEXEC)?;
    ftruncate(&page, size_of::<i32>() as u64)?;
    Ok(page)
}

fn pair() -> std::io::Result<(UnixStream, OwnedFd)> {
    let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
    ours.set_nonblocking(true)?;
    Ok((UnixStream::from_std(ours)?, theirs.into()))
}

/// Gives the order; what comes back are [`Report`]s, or nothing.
async fn exchange(
    socket: &mut UnixStream,
    order: &Order,
    descriptors: Vec<Descriptor>,
) -> std::io::Result<Vec<u8>> {
    let message = order.encode_to_vec();
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX).to_le_bytes();
    socket
        .async_io(Interest::WRITABLE, || {
            Ok(send_descriptors(socket.as_fd(), &length, &descriptors)?)
        })
        .await?;
    drop(descriptors);
    socket.write_all(&message).await?;
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).await?;
    Ok(answer)
}

/// Sends the length of the order, and with it the descriptors.
fn send_descriptors(
    socket: BorrowedFd<'_>,
    length: &[u8; 4],
    descriptors: &[Descriptor],
) -> io::Result<()> {
    let fds: Vec<BorrowedFd<'_>> = descriptors.iter().map(|(_, fd)| fd.as_fd()).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !control.push(SendAncillaryMessage::ScmRights(&fds)) {
        return Err(Errno::TOOMANYREFS);
    }
    match sendmsg(socket, &[IoSlice::new(length)], &mut control, SendFlags::NOSIGNAL)? {
        4 => Ok(()),
        _ => Err(Errno::MSGSIZE),
    }
}

/// In the entry process: takes the order and its descriptors.
///
/// # Errors
/// When the socket fails or what comes is no order.
pub(super) fn receive_order(socket: BorrowedFd<'_>) -> io::Result<(Order, Vec<Descriptor>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut length = [0; 4];
    let received = recvmsg(
        socket,
        &mut [IoSliceMut::new(&mut length)],
        &mut control,
        RecvFlags::CMSG_CLOEXEC,
    )?;
    if received.bytes != length.len() {
        return Err(Errno::BADMSG);
    }
    let fds = passed(&mut control);
    let mut message = vec![0; u32::from_le_bytes(length) as usize];
    let mut filled = 0;
    while filled < message.len() {
        match io::read(socket, &mut message[filled..])? {
            0 => return Err(Errno::BADMSG),
            count => filled += count,
        }
    }
    let order = Order::decode(message.as_slice()).map_err(|_| Errno::BADMSG)?;
    if order.roles.len() != fds.len() {
        return Err(Errno::BADMSG);
    }
    let roles = order.roles.iter().map(|code| Role::from_code(*code).ok_or(Errno::BADMSG));
    let roles = roles.collect::<Result<Vec<_>, _>>()?;
    Ok((order, roles.into_iter().zip(fds).collect()))
}

/// In the entry process: tells how joining its cgroup went.
///
/// # Errors
/// When `serve` is gone.
pub(super) fn send_joined(socket: BorrowedFd<'_>, joined: io::Result<()>) -> io::Result<()> {
    let errno = joined.err().map_or(0, Errno::raw_os_error);
    send_report(socket, &errno.to_ne_bytes())
}

/// In the entry process: gives a report.
///
/// # Errors
/// When `serve` is gone.
pub(super) fn send_report(socket: BorrowedFd<'_>, report: &[u8]) -> io::Result<()> {
    let mut rest = report;
    while !rest.is_empty() {
        let written = rustix::net::send(socket, rest, SendFlags::NOSIGNAL)?;
        rest = &rest[written..];
    }
    Ok(())
}
