//! Opens a session: asks again and again while the helper's container starts.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use kpexec_protocol::client_message::Kind;
use kpexec_protocol::helper_client::HelperClient;
use kpexec_protocol::{CHUNK, ClientMessage, ServerMessage, Started, server_message};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream};
use tokio::sync::{Mutex, mpsc};
use tokio::time::{sleep, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::{Channel, Endpoint};
use tower::service_fn;

use super::SessionError;
use super::shared::{FromHelper, Way};
use crate::changes::ChangesFile;
use crate::transport::{DialError, Dialer, End, HelperLog, Link};

/// HTTP/2's windows. One session has one stream, so both are its own; large
/// enough for the fastest links at the delays of the longest ones.
const STREAM_WINDOW: u32 = 4 * 1024 * 1024;
const CONNECTION_WINDOW: u32 = 2 * STREAM_WINDOW;
/// Where many sessions share a connection it must hold the windows of all whose
/// output nobody takes, or they would hold up the others.
const SHARED_WINDOW: u32 = 1 << 30;
/// The largest of HTTP/2's frames that we take: a message with its own header.
const FRAME: u32 = 2 * CHUNK as u32;
/// A helper that is silent for this long is given up. With what it takes to find
/// out why less than 15 s, and long enough for a link that is down for 5 s: what
/// was sent meanwhile is sent again after 6.2 s by TCP (RFC 6298, 5.5).
const SILENCE: Duration = Duration::from_secs(10);
/// Messages on their way to the helper; a stdin chunk each at most.
const QUEUE: usize = 4;

/// How long the transport may take to say how a link ended, once it has.
pub(super) const END_PATIENCE: Duration = Duration::from_millis(300);

/// A command that runs.
pub struct Session {
    pub(super) to_helper: mpsc::Sender<ClientMessage>,
    pub(super) from_helper: FromHelper,
    pub(super) way: Way,
    /// What the helper said when the command ran.
    pub started: Started,
    /// Where what the command changed goes, if it was asked for.
    pub changes: Option<ChangesFile>,
    /// What the helper said when the command had ended.
    pub notices: Vec<String>,
}

impl Session {
    /// Ends a session that is kept. A helper that does not answer soon keeps it, as
    /// long as it was told to.
    pub async fn end(&mut self) {
        end(&self.to_helper, &mut self.from_helper).await;
    }

    /// The error for a stream that ended without a result.
    pub(super) async fn lost(&mut self, status: Option<tonic::Status>) -> SessionError {
        // How HTTP/2 puts it interests nobody but us.
        tracing::debug!(?status, "the stream ended");
        SessionError::Lost(match &self.way {
            Way::Direct(connection) => connection.end().await,
            Way::Shared => End::Lost("the process that shares connections has ended".into()),
        })
    }
}

/// Says that the session is to end, and waits until the helper has heard it.
pub(super) async fn end(to_helper: &mpsc::Sender<ClientMessage>, from_helper: &mut FromHelper) {
    let end = ClientMessage { kind: Some(Kind::End(kpexec_protocol::End {})) };
    let ended = async {
        if to_helper.send(end).await.is_ok() {
            while let Ok(Some(_)) = from_helper.message().await {}
        }
    };
    // Then it is lost.
    let _silent = timeout(END_PATIENCE, ended).await;
}

/// Calls the helper, as soon as there is one to answer. Ends with an error if
/// there never will be; how long to wait is for the caller to say.
///
/// `log` is handed every link's log, so that the caller has it on any end.
pub async fn reach(
    dialer: &Dialer,
    load: Load,
    mut log: impl FnMut(HelperLog),
) -> Result<Call, SessionError> {
    loop {
        let attempt = match dialer.dial().await {
            Ok((link, stream)) => {
                log(link.log());
                match attempt(dialer, link, stream, load).await? {
                    Ok(call) => return Ok(call),
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
    load: Load,
) -> Result<Result<Call, DialError>, SessionError> {
    let status = match over(stream, load, dialer.keepalive()).await {
        Ok(channel) => match call(channel.clone()).await {
            Ok((to_helper, from_helper)) => {
                let connection = Connection { channel, link: Arc::new(Mutex::new(link)) };
                return Ok(Ok(Call { connection, to_helper, from_helper }));
            }
            Err(status) => status,
        },
        Err(error) => tonic::Status::from_error(error.into()),
    };
    let end = link.end(END_PATIENCE).await;
    tracing::debug!(?status, ?end, "no session");
    if link.heard() {
        return Err(SessionError::Lost(end));
    }
    Ok(Err(dialer.judge_end(&end)))
}

/// How many sessions a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Load {
    /// One, so that HTTP/2's windows are its own.
    One,
    /// Any number, of which none may hold up the others.
    Many,
}

/// A connection to a helper that has answered on it.
#[derive(Clone)]
pub struct Connection {
    channel: Channel,
    link: Arc<Mutex<Link>>,
}

impl Connection {
    /// Over this stream, to a helper of our own.
    pub(super) async fn over<S>(
        stream: S,
        link: Link,
        keepalive: Duration,
    ) -> Result<Self, (tonic::Status, Link)>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        match over(stream, Load::One, keepalive).await {
            Ok(channel) => Ok(Self { channel, link: Arc::new(Mutex::new(link)) }),
            Err(error) => Err((tonic::Status::from_error(error.into()), link)),
        }
    }

    /// For other calls than that of a session.
    pub(super) fn client(&self) -> HelperClient<Channel> {
        HelperClient::new(self.channel.clone())
    }

    /// Another call on it.
    pub async fn call(&self) -> Result<Call, tonic::Status> {
        let (to_helper, from_helper) = call(self.channel.clone()).await?;
        Ok(Call { connection: self.clone(), to_helper, from_helper })
    }

    /// How it ended. One that has not ended soon is as good as lost.
    pub(super) async fn end(&self) -> End {
        self.link.lock().await.end(END_PATIENCE).await
    }

    /// The helper's log, of all sessions on this connection.
    pub async fn log(&self) -> HelperLog {
        self.link.lock().await.log()
    }

    /// Whether it is this one.
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.link, &other.link)
    }

    /// Whether nobody else has it.
    pub fn is_unused(&self) -> bool {
        Arc::strong_count(&self.link) == 1
    }
}

/// A call that the helper has answered, and in which nothing was said yet.
pub struct Call {
    /// What it is made on.
    pub connection: Connection,
    to_helper: mpsc::Sender<ClientMessage>,
    from_helper: Streaming<ServerMessage>,
}

impl Call {
    /// Says what to run, or to attach to. Not with the call: a link that breaks
    /// before the helper was heard is tried again, and must not run the command
    /// twice.
    pub async fn begin(self, first: &Kind) -> Result<Session, SessionError> {
        let Self { connection, to_helper, mut from_helper } = self;
        let first = ClientMessage { kind: Some(first.clone()) };
        let answer = match to_helper.send(first).await {
            Ok(()) => from_helper.message().await,
            Err(_) => Ok(None),
        };
        let Ok(Some(first)) = answer else {
            tracing::debug!(?answer, "the stream ended");
            return Err(SessionError::Lost(connection.end().await));
        };
        Ok(Session {
            to_helper,
            from_helper: FromHelper::Direct(from_helper),
            way: Way::Direct(connection),
            started: started(first)?,
            changes: None,
            notices: Vec::new(),
        })
    }
}

fn started(first: ServerMessage) -> Result<Started, SessionError> {
    match first.kind {
        Some(server_message::Kind::Started(started)) => Ok(started),
        Some(server_message::Kind::Failure(failure)) => Err(SessionError::Refused(failure)),
        _ => Err(SessionError::Protocol("its first message was neither Started nor Failure")),
    }
}

async fn call(
    channel: Channel,
) -> Result<(mpsc::Sender<ClientMessage>, Streaming<ServerMessage>), tonic::Status> {
    let (to_helper, messages) = mpsc::channel(QUEUE);
    let response = HelperClient::new(channel)
        .max_decoding_message_size(2 * CHUNK)
        .session(ReceiverStream::new(messages))
        .await?;
    Ok((to_helper, response.into_inner()))
}

/// Speaks HTTP/2 over the stream.
async fn over<S>(
    stream: S,
    load: Load,
    keepalive: Duration,
) -> Result<Channel, tonic::transport::Error>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (interval, timeout) = kpexec_protocol::pod::pings(keepalive.min(SILENCE));
    let mut stream = Some(TokioIo::new(stream));
    // Asked a second time only to connect anew: another link is another one.
    let connector = service_fn(move |_: http::Uri| {
        std::future::ready(stream.take().ok_or(io::Error::from(io::ErrorKind::NotConnected)))
    });
    Endpoint::from_static("http://helper")
        // A message is a frame: each costs all the way.
        .max_frame_size(FRAME)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(match load {
            Load::One => CONNECTION_WINDOW,
            Load::Many => SHARED_WINDOW,
        })
        .http2_keep_alive_interval(interval)
        .keep_alive_timeout(timeout)
        .keep_alive_while_idle(true)
        .connect_with_connector(connector)
        .await
}
