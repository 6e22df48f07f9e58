//! The tasks that carry bytes between the client and the command.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use kpexec_protocol::server_message::Kind;
use kpexec_protocol::{CHUNK, STDIN_WINDOW, WindowSize};
use rustix::fd::OwnedFd;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::outlet::Outlet;
use super::ring::Stream;
use super::streams::Streams;
use crate::pty;

/// How long output may be silent after the command's end, where something still
/// holds its stream open.
const SILENCE: Duration = Duration::from_secs(1);

/// How much the command takes before the client is told: a word for each piece
/// would cost as much as the piece, and the rest of the window is room enough.
const TOLD_EACH: u64 = (STDIN_WINDOW / 4) as u64;

/// The tasks, and the ways to them.
pub(super) struct Pumps {
    /// Of the command's output.
    pub output: Vec<JoinHandle<()>>,
    /// Set once no more output is to be expected.
    pub ended: watch::Sender<bool>,
    /// Where clients' input goes.
    pub inlets: Arc<Inlets>,
}

/// What a client can do to the command, but for signals.
#[derive(Debug)]
pub(super) struct Inlets {
    stdin: Mutex<Option<mpsc::UnboundedSender<Bytes>>>,
    /// How many bytes of stdin have come.
    received: AtomicU64,
    /// How many of them the command has taken.
    taken: Arc<AtomicU64>,
    /// Whether a client has said that it is there.
    claimed: AtomicBool,
    terminal: Option<OwnedFd>,
}

impl Pumps {
    pub fn start(streams: Streams, outlet: &Outlet) -> Self {
        let (ended, _) = watch::channel(false);
        let read_all = |from: Box<dyn AsyncRead + Send + Unpin>, stream| {
            tokio::spawn(read(from, outlet.clone(), stream, ended.subscribe()))
        };
        let taken = Arc::new(AtomicU64::new(0));
        let (output, stdin, terminal) = match streams {
            Streams::Pipes { stdin, stdout, stderr } => {
                let stdout = read_all(Box::new(stdout), Stream::Stdout);
                let stderr = read_all(Box::new(stderr), Stream::Stderr);
                let stdin = stdin.map(|stdin| write(stdin, outlet.clone(), taken.clone()));
                (vec![stdout, stderr], stdin, None)
            }
            Streams::Terminal { input, output, size } => {
                let output = read_all(Box::new(output), Stream::Stdout);
                (vec![output], Some(write(input, outlet.clone(), taken.clone())), Some(size))
            }
        };
        let inlets = Inlets {
            stdin: Mutex::new(stdin),
            received: AtomicU64::new(0),
            taken,
            claimed: AtomicBool::new(false),
            terminal,
        };
        Self { output, ended, inlets: Arc::new(inlets) }
    }
}

impl Inlets {
    /// A piece of stdin; dropped if the command takes none.
    pub fn stdin(&self, bytes: Bytes) {
        self.received.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        let mut stdin = self.stdin.lock().unwrap_or_else(PoisonError::into_inner);
        if stdin.as_ref().is_some_and(|sender| sender.send(bytes).is_err()) {
            *stdin = None;
        }
    }

    /// The end of stdin.
    pub fn close_stdin(&self) {
        *self.stdin.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Whether stdin has not ended yet.
    pub fn stdin_is_open(&self) -> bool {
        self.stdin.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// How many bytes of stdin have come.
    pub fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// A client has heard that the command runs.
    pub fn claim(&self) {
        self.claimed.store(true, Ordering::Relaxed);
    }

    /// Whether any has: one that was interrupted before does not know that there is
    /// something to come back to.
    pub fn is_claimed(&self) -> bool {
        self.claimed.load(Ordering::Relaxed)
    }

    /// How many of them the command has taken.
    pub fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }

    /// A size for the terminal, if there is one.
    pub fn resize(&self, size: WindowSize) {
        if let Some(terminal) = &self.terminal {
            // A terminal whose processes have ended takes no size.
            let _ended = pty::resize(terminal, size);
        }
    }

    /// Whether the command has a terminal.
    pub fn has_terminal(&self) -> bool {
        self.terminal.is_some()
    }
}

/// Carries output to the client until it ends: by end of file, or by silence
/// once the command has ended. A descriptor that the command gave away, or that
/// the target took, must not keep the session.
async fn read(
    mut from: impl AsyncRead + Unpin,
    outlet: Outlet,
    stream: Stream,
    mut ended: watch::Receiver<bool>,
) {
    let mut buffer = BytesMut::new();
    loop {
        buffer.reserve(CHUNK);
        let count = tokio::select! {
            biased;
            count = from.read_buf(&mut buffer) => count,
            () = silence(&mut ended) => return,
        };
        let bytes = buffer.split().freeze();
        if !matches!(count, Ok(1..)) || !outlet.output(stream, bytes).await {
            return;
        }
    }
}

/// Waits for the command's end, then as long as output may take to be read.
async fn silence(ended: &mut watch::Receiver<bool>) {
    // An error is the sender's end, and with it the session's.
    drop(ended.wait_for(|ended| *ended).await);
    tokio::time::sleep(SILENCE).await;
}

/// Starts the task that writes stdin; dropping the sender is its end of file.
/// The queue has no bound of its own: the client keeps to [`STDIN_WINDOW`].
fn write(
    mut to: impl AsyncWrite + Unpin + Send + 'static,
    outlet: Outlet,
    total: Arc<AtomicU64>,
) -> mpsc::UnboundedSender<Bytes> {
    let (sender, mut receiver) = mpsc::unbounded_channel::<Bytes>();
    tokio::spawn(async move {
        let (mut taken, mut told) = (0, 0);
        while let Some(bytes) = receiver.recv().await {
            // A command that has closed its stdin takes no more, and the client
            // sends none: as a pipe's writer would be told by SIGPIPE.
            if to.write_all(&bytes).await.is_err() {
                return;
            }
            taken += bytes.len() as u64;
            total.store(taken, Ordering::Relaxed);
            if taken - told >= TOLD_EACH {
                told = taken;
                if !outlet.tell(Kind::StdinTaken(taken)).await {
                    return;
                }
            }
        }
    });
    sender
}
