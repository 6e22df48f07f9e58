//! Relays a running session: stdin, size and signals one way, output the other,
//! until the helper says how the command ended.

use bytes::Bytes;
use kpexec_protocol::{
    CHUNK, ClientMessage, Detach, Eof, Exit, STDIN_WINDOW, WindowSize, client_message, exit,
    server_message,
};
use tokio::sync::{mpsc, watch};

use super::taken::Taken;
use super::{Session, SessionError};
use crate::changes::ChangesFile;
use crate::exit_code;

/// How much stdin may be on its way when another piece is sent.
const ROOM: u64 = (STDIN_WINDOW - CHUNK) as u64;

/// What happens at this end besides stdin.
#[derive(Debug, Clone, PartialEq)]
pub enum Control {
    /// The terminal has a new size.
    Resize(WindowSize),
    /// A signal for the command, by its number.
    Signal(i32),
    /// We leave, and the command goes on.
    Detach,
}

/// How a session ended for us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// The command has, and this is its exit code.
    Command(u8),
    /// We have left it, as we wanted.
    Detached,
    /// Nobody takes output any more: a closed pipe. The writer knows why.
    Unwanted,
}

/// A piece of the command's output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// For stdout.
    Stdout(Bytes),
    /// For stderr.
    Stderr(Bytes),
}

impl Output {
    /// How long it is, in bytes.
    pub fn len(&self) -> usize {
        match self {
            Self::Stdout(bytes) | Self::Stderr(bytes) => bytes.len(),
        }
    }
}

/// This end of the session: what is sent, and where output goes.
pub struct Local {
    /// Chunks of stdin; its end is the end of stdin. None: there is no stdin.
    pub stdin: Option<mpsc::Receiver<Bytes>>,
    /// Resizes and signals.
    pub control: mpsc::Receiver<Control>,
    /// Output, in the order it came. Bounded: what nobody takes holds up the
    /// command, through HTTP/2's flow control.
    pub output: mpsc::Sender<Output>,
    /// How many bytes of output were put out, since the session's start; the
    /// helper is told, if it keeps the session.
    pub written: Option<watch::Receiver<u64>>,
}

/// Relays until the session ends, for us at least.
pub async fn relay(session: &mut Session, local: Local) -> Result<Ended, SessionError> {
    let Local { stdin, control, output, written } = local;
    let to_helper = session.to_helper.clone();
    // A client that comes back goes on where the one before was.
    let resumed = session.started.resumed.as_ref();
    let sent = resumed.map_or(0, |resumed| resumed.stdin);
    let (taken, told) = watch::channel(resumed.map_or(0, |resumed| resumed.stdin_taken));
    let outgoing = Outgoing { to_helper, sent, taken: told, output: Taken::new(written) };
    // Never waits for the other: a command that reads nothing can still write.
    tokio::select! {
        biased;
        end = receive(session, &output, &taken) => end,
        never = outgoing.send(stdin, control) => match never {},
    }
}

async fn receive(
    session: &mut Session,
    output: &mpsc::Sender<Output>,
    taken: &watch::Sender<u64>,
) -> Result<Ended, SessionError> {
    let mut unsaved = None;
    loop {
        let message = match session.from_helper.message().await {
            Ok(Some(message)) => message,
            Ok(None) => return Err(session.lost(None).await),
            Err(status) => return Err(session.lost(Some(status)).await),
        };
        let piece = match message.kind {
            Some(server_message::Kind::Stdout(bytes)) => Output::Stdout(bytes),
            Some(server_message::Kind::Stderr(bytes)) => Output::Stderr(bytes),
            Some(server_message::Kind::Exit(exit)) => {
                let code = code_of(&exit)?;
                session.notices = exit.notices;
                let saved = session.changes.take().map_or(Ok(()), ChangesFile::finish);
                return match unsaved.map_or(saved, Err) {
                    Ok(()) => Ok(Ended::Command(code)),
                    Err(source) => Err(SessionError::Unsaved { code, source }),
                };
            }
            Some(server_message::Kind::Changes(bytes)) => {
                // The command has ended: how is yet to come.
                if let Some(Err(error)) = session.changes.as_mut().map(|file| file.add(&bytes)) {
                    session.changes = None;
                    unsaved = Some(error);
                }
                continue;
            }
            Some(server_message::Kind::Failure(failure)) => {
                return Err(SessionError::Refused(failure));
            }
            Some(server_message::Kind::StdinTaken(total)) => {
                taken.send_replace(total);
                continue;
            }
            Some(server_message::Kind::Detached(_)) => return Ok(Ended::Detached),
            // Unknown kinds may come from a newer helper; they must not be
            // something that matters, or the protocol's version would differ.
            Some(server_message::Kind::Started(_)) | None => continue,
        };
        if output.send(piece).await.is_err() {
            return Ok(Ended::Unwanted);
        }
    }
}

fn code_of(exit: &Exit) -> Result<u8, SessionError> {
    match exit.status {
        Some(exit::Status::Code(code)) => Ok(exit_code::of_exit(code)),
        Some(exit::Status::Signal(signal)) => Ok(exit_code::of_signal(signal)),
        None => Err(SessionError::Protocol("its Exit message says neither code nor signal")),
    }
}

/// What goes to the helper.
struct Outgoing {
    to_helper: mpsc::Sender<ClientMessage>,
    /// How many bytes of stdin were sent, and how many the command has taken.
    sent: u64,
    taken: watch::Receiver<u64>,
    output: Taken,
}

impl Outgoing {
    /// Never ends: what is sent does not decide how the session goes. A stream that
    /// takes nothing any more is seen by `receive`.
    async fn send(
        mut self,
        mut stdin: Option<mpsc::Receiver<Bytes>>,
        mut control: mpsc::Receiver<Control>,
    ) -> std::convert::Infallible {
        loop {
            // What the command does not take would hold up the signals behind it.
            let room = self.sent < *self.taken.borrow_and_update() + ROOM;
            let kind = tokio::select! {
                // Control first: it is rare, and somebody is waiting for it.
                biased;
                Some(control) = control.recv() => match control {
                    Control::Resize(size) => client_message::Kind::Resize(size),
                    Control::Signal(number) => client_message::Kind::Signal(number),
                    Control::Detach => {
                        self.send_rest(&mut stdin).await;
                        client_message::Kind::Detach(Detach {})
                    }
                },
                kind = self.stdin_or_taken(&mut stdin, room) => match kind {
                    Some(kind) => kind,
                    None => continue,
                },
            };
            if self.to_helper.send(ClientMessage { kind: Some(kind) }).await.is_err() {
                return std::future::pending().await;
            }
        }
    }
}

impl Outgoing {
    /// Neither may keep the other waiting: keys must come through while there is
    /// much output, and output must while there is much stdin. `None` if there is
    /// room for stdin now.
    async fn stdin_or_taken(
        &mut self,
        stdin: &mut Option<mpsc::Receiver<Bytes>>,
        room: bool,
    ) -> Option<client_message::Kind> {
        Some(tokio::select! {
            bytes = self.output.next() => client_message::Kind::OutputTaken(bytes),
            Ok(()) = self.taken.changed(), if !room => return None,
            chunk = next(stdin), if room => match chunk {
                Some(bytes) => {
                    debug_assert!(bytes.len() <= CHUNK, "the protocol bounds stdin's pieces");
                    self.sent += bytes.len() as u64;
                    client_message::Kind::Stdin(bytes)
                }
                None => {
                    *stdin = None;
                    client_message::Kind::Eof(Eof {})
                }
            },
        })
    }

    /// Sends what was typed, and what the next client need not get, before we leave.
    async fn send_rest(&mut self, stdin: &mut Option<mpsc::Receiver<Bytes>>) {
        while let Some(bytes) = stdin.as_mut().and_then(|stdin| stdin.try_recv().ok()) {
            self.sent += bytes.len() as u64;
            self.send_one(client_message::Kind::Stdin(bytes)).await;
        }
        if let Some(bytes) = self.output.rest() {
            self.send_one(client_message::Kind::OutputTaken(bytes)).await;
        }
    }

    async fn send_one(&self, kind: client_message::Kind) {
        // A stream that takes nothing any more is seen by `receive`.
        let _lost = self.to_helper.send(ClientMessage { kind: Some(kind) }).await;
    }
}

/// The next chunk; without a stdin there is never one, and no end either.
async fn next(stdin: &mut Option<mpsc::Receiver<Bytes>>) -> Option<Bytes> {
    match stdin {
        Some(stdin) => stdin.recv().await,
        None => std::future::pending().await,
    }
}
