//! Serves clients, most often one, until they have gone and their sessions have
//! ended.

mod connection;
mod presence;

use std::ffi::{OsStr, OsString};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use kpexec_protocol::helper_server::{Helper, HelperServer};
use kpexec_protocol::pod::{longest_silence, pings};
use kpexec_protocol::{CHUNK, ClientMessage, FindAnswer, FindRequest, ServerMessage};
use rustix::fd::{AsFd as _, BorrowedFd, OwnedFd};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio_stream::wrappers::{ReceiverStream, UnboundedReceiverStream};
use tonic::transport::Server;
use tonic::{Request, Response, Status, Streaming};

use crate::failure::tell;
use crate::find;
use crate::session::{self, Context, Place, Sessions};
use crate::supervise::errand::Caller;
use crate::sys::watch::async_fd;
use connection::Connection;
use presence::{Door, Presence, Present};

/// How long what is left of a silent client may live, if it does not say: longer
/// than a network hiccup or a suspended client that is resumed at once, short
/// enough that nothing lingers.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// How much may be on its way to us for one session, in bytes.
const WINDOW: u32 = 4 << 20;

/// The largest of HTTP/2's frames that we take: a message with its own header.
const FRAME: u32 = 2 * CHUNK as u32;

/// Calls at a time: more would wait, without an end, for one of these to end.
const SESSIONS: u32 = 4096;

/// Answers waiting to be sent, each up to 64 KiB.
const ANSWERS: usize = 8;

/// Why nothing can be served.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Before the first byte was read.
    #[error("cannot {0}")]
    Prepare(&'static str, #[source] io::Error),
    /// Not a time that a client may be silent.
    #[error("{0:?} is no number of seconds")]
    Keepalive(OsString),
    /// The helper pod was made without it.
    #[error("KPEXEC_CRI_SOCKET is not set")]
    NoSocket,
    /// The connection broke in a way that is no end of it.
    #[error("cannot serve")]
    Serve(#[from] tonic::transport::Error),
}

pub(crate) fn prepare<E: Into<io::Error>>(what: &'static str) -> impl FnOnce(E) -> Error {
    move |error| Error::Prepare(what, error.into())
}

/// Serves one client on stdin and stdout. Of one that is silent nothing is left
/// after `keepalive`, in seconds.
///
/// # Errors
/// When it cannot begin, or the connection is no HTTP/2.
pub fn main(keepalive: Option<&OsStr>) -> Result<(), Error> {
    let keepalive = match keepalive {
        Some(text) => seconds(text).ok_or_else(|| Error::Keepalive(text.to_owned()))?,
        None => KEEPALIVE,
    };
    let mut context = Context::open(Place::Node)?;
    let own = |fd: BorrowedFd<'_>| fd.try_clone_to_owned();
    let streams = own(io::stdin().as_fd()).and_then(|i| Ok((i, own(io::stdout().as_fd())?)));
    let (input, output) = streams.map_err(prepare("use stdin and stdout"))?;
    context.own(keepalive).map_err(prepare("read who it is"))?;
    run(context, keepalive, |present| Connection::new(input, output, present), None)
}

/// In a copy of the main process: serves the client of `caller`, and those that
/// come by `way` for sessions that are kept.
///
/// # Errors
/// As [`main`].
pub fn serve_caller(context: &Context, caller: Caller, way: OwnedFd) -> Result<(), Error> {
    let mut context = context.clone();
    let keepalive = match caller.errand.keepalive {
        0 => KEEPALIVE,
        seconds => Duration::from_secs(seconds.into()),
    };
    context.own(keepalive).map_err(prepare("read who it is"))?;
    let note = way.try_clone().map_err(prepare("reach the main process"))?;
    context.sessions = Sessions::of_server(std::process::id(), note);
    run(context, keepalive, |present| Connection::of_caller(caller, present), Some(way))
}

/// As it stands on the command line.
pub(crate) fn seconds(text: &OsStr) -> Option<Duration> {
    let seconds = text.to_str()?.parse::<u32>().ok().filter(|seconds| *seconds > 0)?;
    Some(Duration::from_secs(seconds.into()))
}

fn run(
    context: Context,
    keepalive: Duration,
    first: impl FnOnce(Present) -> io::Result<Connection>,
    way: Option<OwnedFd>,
) -> Result<(), Error> {
    // One thread: the parent-death signals of what it starts refer to it.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(prepare("start"))?;
    runtime.block_on(async {
        let (presence, present, door) = Presence::begin();
        let first = first(present).map_err(prepare("use the client's streams"))?;
        serve(Arc::new(context), keepalive, first, way, presence, door).await
    })
}

async fn serve(
    context: Arc<Context>,
    keepalive: Duration,
    first: Connection,
    way: Option<OwnedFd>,
    mut presence: Presence,
    door: Door,
) -> Result<(), Error> {
    let (connections, incoming) = mpsc::unbounded_channel::<io::Result<Connection>>();
    // It is not closed: both ends are here.
    let _open = connections.send(Ok(first));
    if let Some(way) = way {
        tokio::spawn(take_callers(way, connections.clone(), door.clone()));
    }
    tokio::spawn(end_with_the_pod(context.clone()));
    let service = HelperServer::new(Service { context, door });
    let (interval, timeout) = pings(longest_silence(keepalive));
    let server = Server::builder()
        .http2_keepalive_interval(Some(interval))
        .http2_keepalive_timeout(Some(timeout))
        .max_frame_size(FRAME)
        .max_concurrent_streams(SESSIONS)
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW * 2)
        .add_service(service);
    tokio::select! {
        result = server.serve_with_incoming(UnboundedReceiverStream::new(incoming)) => {
            result.map_err(Error::from)
        }
        () = presence.all_gone() => Ok(()),
    }
}

/// Takes clients that come back to a session that is kept here.
async fn take_callers(
    way: OwnedFd,
    connections: mpsc::UnboundedSender<io::Result<Connection>>,
    door: Door,
) -> io::Result<()> {
    let way = async_fd(way)?;
    loop {
        let mut ready = way.readable().await?;
        let Ok(caller) = ready.try_io(|way| Ok(Caller::take(way.as_fd())?)) else { continue };
        // The main process has ended, or sends what we do not know.
        let caller = caller?;
        let Some(present) = door.enter() else { return Ok(()) };
        match Connection::of_caller(caller, present) {
            // The server is there as long as this task is.
            Ok(connection) => drop(connections.send(Ok(connection))),
            // It is this client's alone, and no end of the server.
            Err(error) => tell(&format!("cannot serve a client: {error}")),
        }
    }
}

/// Tells all clients when the pod is deleted, and ends their commands.
async fn end_with_the_pod(context: Arc<Context>) -> io::Result<()> {
    signal(SignalKind::terminate())?.recv().await;
    context.sessions.end_all();
    Ok(())
}

struct Service {
    context: Arc<Context>,
    door: Door,
}

#[tonic::async_trait]
impl Helper for Service {
    type SessionStream = ReceiverStream<Result<ServerMessage, Status>>;

    async fn session(
        &self,
        request: Request<Streaming<ClientMessage>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let (answers, stream) = mpsc::channel(ANSWERS);
        let (context, present) = (self.context.clone(), self.door.enter());
        let session = async move {
            let client = session::Client { requests: request.into_inner(), answers };
            session::run(&context, client).await;
            drop(present);
        };
        tokio::spawn(session);
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn find(&self, request: Request<FindRequest>) -> Result<Response<FindAnswer>, Status> {
        let name = request.into_inner().name;
        Ok(Response::new(find::find(&self.context, &name).await))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_may_be_silent_for_whole_seconds() {
        assert_eq!(seconds("6".as_ref()), Some(Duration::from_secs(6)));
        for text in ["", "0", "-1", "6s", "1.5", "99999999999999999999"] {
            assert_eq!(seconds(text.as_ref()), None, "{text}");
        }
    }
}
