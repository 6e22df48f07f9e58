//! What the container runtime starts for a client: it hands the client's streams
//! to the pod's main process and waits. It holds next to nothing, as there is
//! one for each client.

use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use kpexec_protocol::pod::{ENDING, RUN_FOLDER, SOCKET};
use rustix::fd::{AsFd as _, OwnedFd};
use rustix::io::{Errno, read, retry_on_intr};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use rustix::stdio::{stderr, stdin, stdout};

use crate::supervise::errand::{self, Errand, Wish};

/// How long the main process may take to listen: the pod has just started.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a shell reports of a process that was killed: 128 + SIGKILL.
const KILLED: u8 = 137;

/// How often it is looked for.
const LOOK: Duration = Duration::from_millis(2);

/// What the arguments of [`kpexec_protocol::pod::CONNECT`] ask for: seconds, and
/// perhaps the name of a session.
pub fn errand(mut arguments: impl Iterator<Item = OsString>) -> Errand {
    let keepalive = arguments.next().and_then(|text| text.to_str()?.parse().ok()).unwrap_or(0);
    let session = arguments.next();
    let wish = if session.is_some() { Wish::Attach } else { Wish::Serve };
    let session = session.unwrap_or_default().to_string_lossy().into_owned();
    Errand { wish: wish.into(), session, keepalive }
}

/// To list the sessions.
pub fn list() -> Errand {
    Errand { wish: Wish::List.into(), ..Errand::default() }
}

/// Hands the client over; gives the exit code that the main process says, or that
/// of a process that was killed if whoever served the client was.
///
/// # Errors
/// When there is no main process.
pub fn main(errand: &Errand) -> io::Result<u8> {
    let socket = reach(&Path::new(RUN_FOLDER).join(SOCKET))?;
    match errand::send(socket.as_fd(), errand, &[stdin(), stdout(), stderr()]) {
        Err(Errno::PIPE | Errno::CONNRESET) => return Ok(ENDING),
        sent => sent?,
    }
    let mut code = [0];
    match retry_on_intr(|| read(&socket, &mut code)) {
        Ok(1..) => Ok(code[0]),
        // With what it was sent unread, its end is a reset.
        Ok(0) | Err(Errno::CONNRESET) => Ok(KILLED),
        Err(errno) => Err(errno.into()),
    }
}

/// Connects, as soon as the main process listens.
fn reach(path: &Path) -> io::Result<OwnedFd> {
    let address = SocketAddrUnix::new(path)?;
    let begun = Instant::now();
    loop {
        let socket =
            socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        match connect(&socket, &address) {
            Ok(()) => return Ok(socket),
            Err(Errno::NOENT | Errno::CONNREFUSED) if begun.elapsed() < PATIENCE => {
                std::thread::sleep(LOOK);
            }
            Err(errno) => return Err(errno.into()),
        }
    }
}
