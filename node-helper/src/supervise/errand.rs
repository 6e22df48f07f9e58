//! What a process that the container runtime starts in the helper hands to the
//! pod's main process: what its client wants, and the client's streams.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::time::Duration;

use prost::Message as _;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::{Errno, Result, retry_on_intr};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    RecvAncillaryBuffer, RecvFlags, ReturnFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};

use crate::passed::passed;

/// More than any errand needs.
const LONGEST: usize = 1024;

/// stdin, stdout, stderr, and the socket the errand came by.
const DESCRIPTORS: usize = 4;

/// How long whoever connects may take to say why.
const PATIENCE: Duration = Duration::from_secs(1);

/// What is wanted.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Errand {
    /// What of it: [`Wish`].
    #[prost(enumeration = "Wish", tag = "1")]
    pub wish: i32,
    /// With [`Wish::Attach`]: the session's name in this helper.
    #[prost(string, tag = "2")]
    pub session: String,
    /// How long the client may be silent before it is given up, in seconds; 0
    /// leaves it to the helper.
    #[prost(uint32, tag = "3")]
    pub keepalive: u32,
}

/// The kinds of errands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
pub enum Wish {
    /// None: so that no errand is an empty message, which is an end.
    Nothing = 0,
    /// A client to be served.
    Serve = 1,
    /// A client of a session that runs.
    Attach = 2,
    /// What sessions there are.
    List = 3,
}

/// An errand with the descriptors that came with it.
#[derive(Debug)]
pub struct Caller {
    /// What is wanted.
    pub errand: Errand,
    /// What the client sends.
    pub stdin: OwnedFd,
    /// What it reads.
    pub stdout: OwnedFd,
    /// What it shows with a failure.
    pub stderr: OwnedFd,
    /// Tells when the process that the runtime started ends; told a byte, that
    /// one ends as it should.
    pub lifeline: OwnedFd,
}

/// Sends an errand with the descriptors it is about.
///
/// # Errors
/// When nobody takes it.
pub fn send(socket: BorrowedFd<'_>, errand: &Errand, fds: &[BorrowedFd<'_>]) -> Result<()> {
    let message = errand.encode_to_vec();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !control.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(Errno::TOOMANYREFS);
    }
    let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    retry_on_intr(|| sendmsg(socket, &[IoSlice::new(&message)], &mut control, flags)).map(drop)
}

/// Takes an errand from a process that has connected.
///
/// # Errors
/// `BADMSG` when it is none, `AGAIN` when it does not come.
pub fn receive(socket: OwnedFd) -> Result<Caller> {
    set_socket_timeout(&socket, Timeout::Recv, Some(PATIENCE))?;
    let (errand, fds) = receive_message(socket.as_fd())?;
    let [stdin, stdout, stderr] = <[OwnedFd; 3]>::try_from(fds).map_err(|_| Errno::BADMSG)?;
    Ok(Caller { errand, stdin, stdout, stderr, lifeline: socket })
}

impl Caller {
    /// Hands it on to the process that has its session.
    ///
    /// # Errors
    /// When that one takes nothing.
    pub fn hand_on(&self, socket: BorrowedFd<'_>) -> Result<()> {
        let Self { errand, stdin, stdout, stderr, lifeline } = self;
        send(socket, errand, &[stdin, stdout, stderr, lifeline].map(OwnedFd::as_fd))
    }

    /// Takes one that was handed on.
    ///
    /// # Errors
    /// `BADMSG` when it is none.
    pub fn take(socket: BorrowedFd<'_>) -> Result<Self> {
        let (errand, fds) = receive_message(socket)?;
        let [stdin, stdout, stderr, lifeline] =
            <[OwnedFd; 4]>::try_from(fds).map_err(|_| Errno::BADMSG)?;
        Ok(Self { errand, stdin, stdout, stderr, lifeline })
    }
}

fn receive_message(socket: BorrowedFd<'_>) -> Result<(Errand, Vec<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut bytes = [0; LONGEST];
    let received = retry_on_intr(|| {
        let mut pieces = [IoSliceMut::new(&mut bytes)];
        recvmsg(socket, &mut pieces, &mut control, RecvFlags::CMSG_CLOEXEC)
    })?;
    let fds = passed(&mut control);
    if received.bytes == 0 || received.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC) {
        return Err(Errno::BADMSG);
    }
    let errand = Errand::decode(&bytes[..received.bytes]).map_err(|_| Errno::BADMSG)?;
    Ok((errand, fds))
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};

    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

    use super::*;

    fn pair() -> (OwnedFd, OwnedFd) {
        let flags = SocketFlags::CLOEXEC;
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap()
    }

    #[test]
    fn an_errand_comes_with_the_clients_streams() {
        let (ours, theirs) = pair();
        let (mut reader, writer) = std::io::pipe().unwrap();
        let (stdin, _held) = std::io::pipe().unwrap();
        let errand = Errand { wish: Wish::Attach.into(), session: "7".into(), keepalive: 30 };
        send(ours.as_fd(), &errand, &[stdin.as_fd(), writer.as_fd(), writer.as_fd()]).unwrap();
        drop(writer);
        let caller = receive(theirs).unwrap();
        assert_eq!(caller.errand, errand);

        let (ours, theirs) = pair();
        caller.hand_on(ours.as_fd()).unwrap();
        drop(caller);
        let caller = Caller::take(theirs.as_fd()).unwrap();
        let mut stdout = std::fs::File::from(caller.stdout);
        stdout.write_all(b"out").unwrap();
        drop((stdout, caller.stderr));
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!((caller.errand, text.as_str()), (errand, "out"));
    }

    #[test]
    fn what_is_no_errand_is_refused() {
        let (ours, theirs) = pair();
        let (stdin, _writer) = std::io::pipe().unwrap();
        let errand = Errand { wish: Wish::Serve.into(), ..Errand::default() };
        send(ours.as_fd(), &errand, &[stdin.as_fd()]).unwrap();
        assert_eq!(receive(theirs).unwrap_err(), Errno::BADMSG);
        let (ours, theirs) = pair();
        drop(ours);
        assert_eq!(receive(theirs).unwrap_err(), Errno::BADMSG);
    }
}
