//! The helper pod's main process. It prepares once what all sessions need, and
//! makes a copy of itself for each client that comes: a target that has one of
//! them hang hinders nobody else. It has one thread, as fork(2) wants it, and
//! sleeps while nothing happens.
//!
//! It ends when nobody has been for a while: a client that vanished without
//! deleting its helper leaves no privileged pod running.

pub mod errand;
mod registry;

use std::io::{self, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

use kpexec_protocol::pod::{self, HOLD_FOLDER, IDLE_SECONDS, RUN_FOLDER, SOCKET, TOOLS_POD};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use prost::Message as _;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd as _, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::mount::{MountFlags, mount};
use rustix::net::{
    AddressFamily, RecvFlags, SocketAddrUnix, SocketFlags, SocketType, accept_with, bind, listen,
    recv, socket_with, socketpair,
};
use rustix::process::{Pid, kill_process};

use crate::failure::{chain, tell};
use crate::hold;
use crate::serve;
use crate::session::{Context, Place};
use crate::sweep;
use crate::sys::fork::fork_into;
use errand::{Caller, Wish};
pub use registry::Note;
use registry::Registry;

/// How long a helper stays without a session, if its pod does not say: its
/// client deletes it before.
const IDLE: Duration = Duration::from_secs(60);

/// How long sessions may take to end when the pod is deleted: what ends their
/// commands takes 4 s of it.
const FAREWELL: Duration = Duration::from_secs(8);

/// How often it looks whether what it cannot wait for has come.
const TICK: Duration = Duration::from_secs(1);

/// How long those who are there have to end, where there is no room for more.
const LET_GO: Duration = Duration::from_millis(100);

/// More than clients that come at the same moment.
const BACKLOG: i32 = 256;

/// Why it ends before it should.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A system call that cannot fail for a reason that passes.
    #[error("cannot {0}")]
    Call(&'static str, #[source] io::Error),
    /// What all sessions need.
    #[error(transparent)]
    Prepare(#[from] serve::Error),
}

fn call<E: Into<io::Error>>(what: &'static str) -> impl FnOnce(E) -> Error {
    move |error| Error::Call(what, error.into())
}

/// Serves whoever comes, until a signal or idleness ends the helper.
///
/// # Errors
/// When it cannot be reached, or has not what sessions need.
pub fn main() -> Result<(), Error> {
    let context = Context::open(Place::Pod)?;
    // The tools container ends when this is closed, at the latest by our end.
    let _kept = match std::env::var_os(TOOLS_POD) {
        Some(_) => Some(hold::keep(Path::new(HOLD_FOLDER)).map_err(call("hold the tools"))?),
        None => None,
    };
    let signals = signals().map_err(call("listen to signals"))?;
    let folder = run_folder().map_err(call("make a place for its socket"))?;
    let listener = listener(&folder.join(SOCKET)).map_err(call("listen"))?;
    let mut supervisor =
        Supervisor { context, listener, signals, servers: Registry::new(), sweeper: None };
    supervisor.sweep();
    supervisor.run()
}

/// A file system of its own: the root of the image is read-only. A variable
/// names another folder, for tests, which have no such image.
fn run_folder() -> io::Result<std::path::PathBuf> {
    if let Some(folder) = std::env::var_os("KPEXEC_RUN_FOLDER") {
        return Ok(folder.into());
    }
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    mount("kpexec", RUN_FOLDER, "tmpfs", flags, c"mode=0700,size=64k")?;
    Ok(RUN_FOLDER.into())
}

fn listener(path: &Path) -> rustix::io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
    bind(&socket, &SocketAddrUnix::new(path)?)?;
    listen(&socket, BACKLOG)?;
    Ok(socket)
}

/// What ends us or our children.
fn mask() -> SigSet {
    [Signal::SIGTERM, Signal::SIGINT, Signal::SIGCHLD].into_iter().collect()
}

fn signals() -> nix::Result<SignalFd> {
    mask().thread_block()?;
    SignalFd::with_flags(&mask(), SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
}

/// How long to wait for a session.
fn patience() -> Duration {
    let seconds = std::env::var(IDLE_SECONDS).ok().and_then(|text| text.parse().ok());
    seconds.map_or(IDLE, Duration::from_secs)
}

struct Supervisor {
    context: Context,
    listener: OwnedFd,
    signals: SignalFd,
    /// Each with our end of the socket that leads to it.
    servers: Registry<OwnedFd>,
    /// The process that sweeps up, while it runs.
    sweeper: Option<i32>,
}

/// What has happened.
enum Event {
    /// Somebody connects.
    Caller,
    /// A signal came.
    Signal,
    /// A server tells something.
    Note(i32),
}

impl Supervisor {
    fn run(&mut self) -> Result<(), Error> {
        let patience = patience();
        let mut idle_since = Instant::now();
        loop {
            if !self.servers.is_empty() {
                idle_since = Instant::now();
            }
            let idle = self.servers.is_empty();
            let timeout = idle.then(|| patience.saturating_sub(idle_since.elapsed()));
            let happened = self.wait(timeout).map_err(call("wait"))?;
            // Not before: whoever has come in time is served, how many they may be.
            if idle && happened.is_empty() && idle_since.elapsed() >= patience {
                return Ok(());
            }
            for event in happened {
                match event {
                    Event::Caller => self.admit(),
                    Event::Note(server) => self.listen_to(server),
                    Event::Signal if self.told_to_end() => {
                        self.say_farewell();
                        return Ok(());
                    }
                    Event::Signal => {}
                }
            }
        }
    }

    /// Waits until something happens, or for `timeout`.
    fn wait(&self, timeout: Option<Duration>) -> rustix::io::Result<Vec<Event>> {
        let servers: Vec<(i32, &OwnedFd)> = self.servers.servers().collect();
        let ways = servers.iter().map(|(_, way)| way.as_fd());
        let fds: Vec<BorrowedFd<'_>> =
            [self.listener.as_fd(), self.signals.as_fd()].into_iter().chain(ways).collect();
        let mut polled: Vec<PollFd<'_>> =
            fds.iter().map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN)).collect();
        let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
        match poll(&mut polled, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
        let numbers = servers.iter().map(|(pid, _)| Event::Note(*pid));
        let events = [Event::Caller, Event::Signal].into_iter().chain(numbers);
        let happened = events.zip(&polled).filter(|(_, fd)| !fd.revents().is_empty());
        Ok(happened.map(|(event, _)| event).collect())
    }

    /// Takes what is wanted from whoever has connected.
    fn admit(&mut self) {
        let socket = match accept_with(&self.listener, SocketFlags::CLOEXEC) {
            Ok(socket) => socket,
            Err(Errno::AGAIN | Errno::CONNABORTED) => return,
            Err(errno) => {
                tell(&format!("nobody can be let in: {errno}"));
                // There are no descriptors left: whoever waits would wake us at once.
                return std::thread::sleep(LET_GO);
            }
        };
        let caller = match errand::receive(socket) {
            Ok(caller) => caller,
            Err(errno) => return tell(&format!("no errand came: {errno}")),
        };
        match Wish::try_from(caller.errand.wish) {
            Ok(Wish::List) => self.list(caller),
            Ok(Wish::Attach) => match self.servers.server_of(&caller.errand.session) {
                Some(server) => {
                    if let Err(errno) = caller.hand_on(server.as_fd()) {
                        tell(&format!("the session cannot be reached: {errno}"));
                    }
                }
                // It says so to the client.
                None => self.serve(caller),
            },
            Ok(Wish::Serve) => self.serve(caller),
            Ok(Wish::Nothing) | Err(_) => tell("an errand of another version came"),
        }
    }

    /// Tells whoever connects that we are about to end.
    fn turn_away(&self) {
        if let Ok(socket) = accept_with(&self.listener, SocketFlags::CLOEXEC) {
            // It may have gone.
            let _gone = rustix::io::write(socket, &[pod::ENDING]);
        }
    }

    /// Makes a server for a client.
    fn serve(&mut self, caller: Caller) {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let pair = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None);
        let (ours, theirs) = match pair {
            Ok(pair) => pair,
            Err(errno) => return tell(&format!("cannot serve a client: {errno}")),
        };
        let mut child = Some((caller, theirs));
        let forked =
            fork_into(|| child.take().map_or(1, |(caller, way)| self.become_server(caller, way)));
        match forked {
            Ok(pid) => self.servers.add(pid.as_raw(), ours),
            Err(errno) => tell(&format!("cannot serve a client: {errno}")),
        }
    }

    /// In the copy.
    fn become_server(&mut self, caller: Caller, way: OwnedFd) -> i32 {
        // The ways to the other servers are not for this one.
        self.servers = Registry::new();
        let unblocked = mask().thread_unblock();
        let result = unblocked
            .map_err(call("listen to signals"))
            .and_then(|()| Ok(serve::serve_caller(&self.context, caller, way)?));
        result.map_or_else(
            |error| {
                tell(&format!("node-helper: {}", chain(&error)));
                1
            },
            |()| 0,
        )
    }

    /// Has a copy write the list: nobody has to read it.
    fn list(&self, caller: Caller) {
        let mut caller = Some(caller);
        let forked = fork_into(|| {
            if let Some(Caller { stdout, lifeline, .. }) = caller.take() {
                let written = std::fs::File::from(stdout).write_all(self.servers.list().as_bytes());
                if written.is_ok() {
                    // Whoever asked may have gone.
                    let _ended = rustix::io::write(lifeline, &[0]);
                }
            }
            0
        });
        if let Err(errno) = forked {
            tell(&format!("cannot list the sessions: {errno}"));
        }
    }

    /// Notes what a server says.
    fn listen_to(&mut self, server: i32) {
        let Some((_, way)) = self.servers.servers().find(|(pid, _)| *pid == server) else { return };
        let mut bytes = [0; Note::LONGEST];
        match recv(way, &mut bytes[..], RecvFlags::DONTWAIT) {
            Ok((length @ 1.., _)) => {
                if let Ok(note) = Note::decode(&bytes[..length]) {
                    self.servers.note(server, note);
                }
            }
            // Its end is told by SIGCHLD; here it would be told again and again.
            Ok(_) => self.servers.remove(server),
            Err(_nothing) => {}
        }
    }

    /// Takes the signals that came; says whether one ends us.
    fn told_to_end(&mut self) -> bool {
        let mut end = false;
        while let Ok(Some(signal)) = self.signals.read_signal() {
            end |= signal.ssi_signo.cast_signed() != Signal::SIGCHLD as i32;
        }
        self.reap();
        end
    }

    /// Reaps whoever has ended, and has swept up what a server left.
    fn reap(&mut self) {
        let mut ended = false;
        while let Ok(status) = waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            let Some(pid) = status.pid().filter(|_| status != WaitStatus::StillAlive) else {
                break;
            };
            let pid = pid.as_raw();
            self.servers.remove(pid);
            // After the sweeper too: what was left meanwhile it has not seen.
            ended = true;
            if self.sweeper == Some(pid) {
                self.sweeper = None;
            }
        }
        if ended {
            self.sweep();
        }
    }

    /// Has a process end what servers that were killed have left, if anything.
    fn sweep(&mut self) {
        if self.sweeper.is_some() || !sweep::is_needed(&self.context) {
            return;
        }
        let forked = fork_into(|| {
            // As the runtime of asynchronous code wants it.
            let _masked = mask().thread_unblock();
            sweep::sweep_all(&self.context);
            0
        });
        match forked {
            Ok(pid) => self.sweeper = Some(pid.as_raw()),
            Err(errno) => tell(&format!("cannot sweep up: {errno}")),
        }
    }

    /// Tells the servers, which tell their clients and end their commands.
    fn say_farewell(&mut self) {
        for (pid, _) in self.servers.servers() {
            if let Some(pid) = Pid::from_raw(pid) {
                // It may have ended meanwhile.
                let _ended = kill_process(pid, rustix::process::Signal::TERM);
            }
        }
        let deadline = Instant::now() + FAREWELL;
        while !self.servers.is_empty() && Instant::now() < deadline {
            let Ok(events) = self.wait(Some(TICK)) else { return };
            for event in events {
                match event {
                    Event::Caller => self.turn_away(),
                    Event::Note(server) => self.listen_to(server),
                    Event::Signal => drop(self.told_to_end()),
                }
            }
        }
    }
}
