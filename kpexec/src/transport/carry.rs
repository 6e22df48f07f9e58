//! Carries bytes between a WebSocket and a pipe: one task reads, another
//! writes, so that neither direction can hold up the other.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{BufMut, Bytes};
use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt, StreamExt};
use kube::client::Connection;
use kube::core::Status;
use kube::core::response::StatusSummary;
use tokio::io::{
    AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf,
};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{Error as WsError, Message};

use super::channel::{self, Received};

/// Some load balancers cut connections that are silent for 20 s. These pings
/// reach the first proxy only; HTTP/2's own, inside, reach the helper.
const PING: Duration = Duration::from_secs(5);
/// Room in the pipe each way; more only adds latency.
const PIPE: usize = 256 * 1024;
/// How much of the helper's log is kept, from its end.
const LOG: usize = 8 * 1024;

/// How an exec ended, as channel 3 tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// The program exited with 0.
    Success,
    /// It exited with another code.
    ExitCode {
        /// The code, in the server's digits.
        code: String,
        /// The server's sentence about it.
        message: String,
    },
    /// It was not started, or the way to it broke.
    Failure(String),
    /// The connection ended without saying how.
    Lost(String),
}

impl fmt::Display for End {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Success => formatter.write_str("the helper exited with code 0"),
            Self::ExitCode { code, .. } => write!(formatter, "the helper exited with code {code}"),
            Self::Failure(text) | Self::Lost(text) => formatter.write_str(text),
        }
    }
}

/// The last of what the helper wrote to its stderr.
#[derive(Clone, Default)]
pub struct HelperLog(Arc<Mutex<Kept>>);

#[derive(Default)]
struct Kept {
    end: VecDeque<u8>,
    /// All that was ever written, in bytes.
    written: usize,
}

impl HelperLog {
    /// Adds to it.
    pub fn push(&self, bytes: &[u8]) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.written += bytes.len();
        kept.end.extend(bytes);
        let excess = kept.end.len().saturating_sub(LOG);
        kept.end.drain(..excess);
    }

    /// As text; the helper is not trusted to write UTF-8.
    pub fn text(&self) -> String {
        self.since(0)
    }

    /// How much was written until now, in bytes.
    pub fn written(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).written
    }

    /// What is kept of that which was written after the first `bytes`.
    pub fn since(&self, bytes: usize) -> String {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = bytes.saturating_sub(kept.written - kept.end.len());
        let end = kept.end.make_contiguous();
        String::from_utf8_lossy(&end[before.min(end.len())..]).into_owned()
    }
}

/// A running exec; it ends when this is dropped.
pub struct Link {
    heard: Arc<AtomicBool>,
    log: HelperLog,
    end: Option<oneshot::Receiver<End>>,
    ended: Option<End>,
    // Aborts both tasks when dropped.
    _tasks: JoinSet<()>,
}

impl Link {
    /// A link to a helper that is our own child, which ends by itself.
    pub fn of_child(log: HelperLog, end: oneshot::Receiver<End>) -> Self {
        let heard = Arc::new(AtomicBool::new(true));
        Self { heard, log, end: Some(end), ended: None, _tasks: JoinSet::new() }
    }

    /// Whether the helper has said anything.
    pub fn heard(&self) -> bool {
        self.heard.load(Ordering::Acquire)
    }

    /// The helper's log; it goes on growing.
    pub fn log(&self) -> HelperLog {
        self.log.clone()
    }

    /// How the exec ended. One that has not ended soon is as good as lost.
    pub async fn end(&mut self, patience: Duration) -> End {
        if let Some(end) = self.end.take() {
            self.ended = timeout(patience, end).await.ok().and_then(Result::ok);
        }
        self.ended.clone().unwrap_or_else(|| End::Lost("the connection to the helper broke".into()))
    }
}

/// Starts both tasks; the pipe's other end is what the helper sees.
pub fn start(connection: Connection) -> (Link, DuplexStream) {
    let half_close = connection.supports_stream_close();
    tracing::debug!("exec accepted, {}", if half_close { "v5" } else { "v4" });
    let (sink, stream) = connection.into_stream().split();
    let (theirs, ours) = tokio::io::duplex(PIPE);
    let (from_pipe, to_pipe) = tokio::io::split(ours);
    let (heard, log) = (Arc::new(AtomicBool::new(false)), HelperLog::default());
    let (end, ended) = oneshot::channel();
    let mut tasks = JoinSet::new();
    tasks.spawn(write(from_pipe, sink, half_close));
    tasks.spawn({
        let (heard, log) = (heard.clone(), log.clone());
        // The pipe's end is closed only after the reason is known, so whoever
        // sees the end of the pipe can ask for it.
        async move {
            let mut to_pipe = to_pipe;
            let _ = end.send(read(stream, &mut to_pipe, &heard, &log).await);
            let _ = to_pipe.shutdown().await;
        }
    });
    (Link { heard, log, end: Some(ended), ended: None, _tasks: tasks }, theirs)
}

async fn read<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: SplitStream<WebSocketStream<S>>,
    to_pipe: &mut WriteHalf<DuplexStream>,
    heard: &AtomicBool,
    log: &HelperLog,
) -> End {
    loop {
        let message = match stream.next().await {
            Some(Ok(Message::Binary(message))) => message,
            Some(Ok(Message::Close(_))) | None => {
                return End::Lost("the connection was closed without a status".into());
            }
            Some(Ok(_)) => continue,
            Some(Err(error)) => return End::Lost(lost(&error)),
        };
        match channel::decode(message) {
            Received::Stdout(bytes) => {
                heard.store(true, Ordering::Release);
                // Nobody reads any more: the session is over, its end is not ours.
                if to_pipe.write_all(&bytes).await.is_err() {
                    return End::Lost("the session was given up".into());
                }
            }
            Received::Stderr(bytes) => log.push(&bytes),
            Received::Status(json) => return end_of(&json),
            Received::Nothing => {}
        }
    }
}

async fn write<S: AsyncRead + AsyncWrite + Unpin>(
    mut from_pipe: ReadHalf<DuplexStream>,
    mut sink: SplitSink<WebSocketStream<S>, Message>,
    half_close: bool,
) {
    let mut ping = interval(PING);
    ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut message = channel::new_stdin();
    loop {
        let mut room = (&mut message).limit(channel::PAYLOAD);
        tokio::select! {
            read = from_pipe.read_buf(&mut room) => {
                let ended = !matches!(read, Ok(1..));
                let sent = if ended {
                    break;
                } else {
                    let full = std::mem::replace(&mut message, channel::new_stdin());
                    sink.send(Message::Binary(full.freeze())).await
                };
                if sent.is_err() {
                    // The reading task sees the same end, and says why.
                    return;
                }
            }
            _ = ping.tick() => {
                if sink.send(Message::Ping(Bytes::new())).await.is_err() {
                    return;
                }
            }
        }
    }
    // The server may be gone already; then there is nothing to close.
    if half_close {
        let _ = sink.send(Message::Binary(channel::close_stdin())).await;
    } else {
        // On v4 this takes the unread output along: only done when all is said.
        let _ = sink.close().await;
    }
}

fn lost(error: &WsError) -> String {
    match error {
        WsError::ConnectionClosed | WsError::AlreadyClosed => "the connection was closed".into(),
        error => format!("the connection broke: {error}"),
    }
}

fn end_of(json: &[u8]) -> End {
    let Ok(status) = serde_json::from_slice::<Status>(json) else {
        return End::Failure(String::from_utf8_lossy(json).into_owned());
    };
    if status.status == Some(StatusSummary::Success) {
        return End::Success;
    }
    let causes = status.details.iter().flat_map(|details| &details.causes);
    match causes.into_iter().find(|cause| cause.reason == "ExitCode") {
        Some(cause) => End::ExitCode { code: cause.message.clone(), message: status.message },
        None => End::Failure(status.message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Statuses as containerd 2.4 and CRI-O 1.34 sent them.
    #[test]
    fn the_status_tells_how_it_ended() {
        assert_eq!(end_of(br#"{"metadata":{},"status":"Success"}"#), End::Success);
        let seven = br#"{"metadata":{},"status":"Failure","message":"command terminated with non-zero exit code: exit status 7","reason":"NonZeroExitCode","details":{"causes":[{"reason":"ExitCode","message":"7"}]}}"#;
        let expected = End::ExitCode {
            code: "7".into(),
            message: "command terminated with non-zero exit code: exit status 7".into(),
        };
        assert_eq!(end_of(seven), expected);
        let failed = br#"{"status":"Failure","reason":"InternalError","message":"Internal error occurred: x"}"#;
        assert_eq!(end_of(failed), End::Failure("Internal error occurred: x".into()));
        assert_eq!(end_of(b"plain text"), End::Failure("plain text".into()));
    }

    #[test]
    fn the_log_keeps_its_end() {
        let log = HelperLog::default();
        log.push(&[b'a'; LOG]);
        log.push(b"the end");
        let text = log.text();
        assert_eq!(text.len(), LOG);
        assert!(text.ends_with("aathe end"));
        let before = log.written();
        assert_eq!(log.since(before), "");
        log.push(b"more");
        assert_eq!(log.since(before), "more");
        assert_eq!(log.since(0).len(), LOG);
    }
}
