//! Opens a session: asks again and again while the helper's container starts.

use std::io;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use kpexec_protocol::helper_client::HelperClient;
use kpexec_protocol::{
    CHUNK, ClientMessage, ServerMessage, Start, Started, client_message, server_message,
};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream};
use tokio::sync::mpsc;
use tokio::time::sleep;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::{Channel, Endpoint};
use tower::service_fn;

use super::SessionError;
use crate::changes::ChangesFile;
use crate::transport::{DialError, Dialer, HelperLog, Link};

/// HTTP/2's windows. One session has one stream, so both are its own; large
/// enough for the fastest links at the delays of the longest ones.
const STREAM_WINDOW: u32 = 4 * 1024 * 1024;
const CONNECTION_WINDOW: u32 = 2 * STREAM_WINDOW;
/// The largest of HTTP/2's frames that we take: a message with its own header.
const FRAME: u32 = 2 * CHUNK as u32;
/// A silent helper is pinged after the first and given up after the second.
const KEEP_ALIVE: Duration = Duration::from_secs(5);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// Messages on their way to the helper; a stdin chunk each at most.
const QUEUE: usize = 4;

/// How long the transport may take to say how a link ended, once it has.
pub(super) const END_PATIENCE: Duration = Duration::from_secs(1);

/// A command that has been started.
pub struct Session {
    pub(super) to_helper: mpsc::Sender<ClientMessage>,
    pub(super) from_helper: Streaming<ServerMessage>,
    pub(super) link: Link,
    /// What the helper said when the command ran.
    pub started: Started,
    /// Where what the command changed goes, if it was asked for.
    pub changes: Option<ChangesFile>,
    /// What the helper said when the command had ended.
    pub notices: Vec<String>,
}

impl Session {
    /// The error for a stream that ended without a result.
    pub(super) async fn lost(&mut self, status: Option<tonic::Status>) -> SessionError {
        // How HTTP/2 puts it interests nobody but us.
        tracing::debug!(?status, "the stream ended");
        SessionError::Lost(self.link.end(END_PATIENCE).await)
    }
}

/// Starts the command, as soon as there is a helper to start it. Ends with an
/// error if there never will be; how long to wait is for the caller to say.
///
/// `log` is handed every link's log, so that the caller has it on any end.
pub async fn connect(
    dialer: &Dialer,
    start: &Start,
    mut log: impl FnMut(HelperLog),
) -> Result<Session, SessionError> {
    loop {
        let attempt = match dialer.dial().await {
            Ok((link, stream)) => {
                log(link.log());
                match attempt(dialer, link, stream, start).await? {
                    Ok(session) => return Ok(session),
                    Err(error) => error,
                }
            }
            Err(error) => error,
        };
        match attempt {
            DialError::NotYet(pause) => sleep(pause).await,
            DialError::Final(error) => return Err(error.into()),
        }
    }
}

/// Tries a link. Repeating is safe as long as the helper has said nothing: it is
/// told what to run only once it has answered the call.
async fn attempt(
    dialer: &Dialer,
    mut link: Link,
    stream: DuplexStream,
    start: &Start,
) -> Result<Result<Session, DialError>, SessionError> {
    let status = match open(stream, start).await {
        Ok((to_helper, mut from_helper)) => match from_helper.message().await {
            Ok(Some(first)) => {
                let started = started(first)?;
                let (changes, notices) = (None, Vec::new());
                let session = Session { to_helper, from_helper, link, started, changes, notices };
                return Ok(Ok(session));
            }
            Ok(None) => None,
            Err(status) => Some(status),
        },
        Err(status) => Some(status),
    };
    let end = link.end(END_PATIENCE).await;
    tracing::debug!(?status, ?end, "no session");
    if link.heard() {
        return Err(SessionError::Lost(end));
    }
    Ok(Err(dialer.judge_end(&end)))
}

pub(super) fn started(first: ServerMessage) -> Result<Started, SessionError> {
    match first.kind {
        Some(server_message::Kind::Started(started)) => Ok(started),
        Some(server_message::Kind::Failure(failure)) => Err(SessionError::Refused(failure)),
        _ => Err(SessionError::Protocol("its first message was neither Started nor Failure")),
    }
}

/// Speaks HTTP/2 over the stream and makes the one call.
async fn open(
    stream: DuplexStream,
    start: &Start,
) -> Result<(mpsc::Sender<ClientMessage>, Streaming<ServerMessage>), tonic::Status> {
    let channel = over(stream).await.map_err(|error| tonic::Status::from_error(error.into()))?;
    call(channel, start).await
}

pub(super) async fn call(
    channel: Channel,
    start: &Start,
) -> Result<(mpsc::Sender<ClientMessage>, Streaming<ServerMessage>), tonic::Status> {
    let (to_helper, messages) = mpsc::channel(QUEUE);
    let response = HelperClient::new(channel)
        .max_decoding_message_size(2 * CHUNK)
        .session(ReceiverStream::new(messages))
        .await?;
    // Now, not with the call: a link that breaks before the helper was heard is
    // tried again, and must not run the command twice.
    let first = ClientMessage { kind: Some(client_message::Kind::Start(start.clone())) };
    // The queue is new and empty, so there is room.
    to_helper.try_send(first).map_err(|error| tonic::Status::from_error(error.into()))?;
    Ok((to_helper, response.into_inner()))
}

pub(super) async fn over<S>(stream: S) -> Result<Channel, tonic::transport::Error>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let mut stream = Some(TokioIo::new(stream));
    // Asked a second time only to connect anew, which a session never does.
    let connector = service_fn(move |_: http::Uri| {
        std::future::ready(stream.take().ok_or(io::Error::from(io::ErrorKind::NotConnected)))
    });
    Endpoint::from_static("http://helper")
        // A message is a frame: each costs all the way.
        .max_frame_size(FRAME)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        .keep_alive_while_idle(true)
        .connect_with_connector(connector)
        .await
}
