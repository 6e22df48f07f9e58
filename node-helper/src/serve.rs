//! Serves one client on stdin and stdout, until it has gone.

use std::io::{self, IoSlice};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use kpexec_protocol::helper_server::{Helper, HelperServer};
use kpexec_protocol::pod::{self, CRI_SOCKET, TOOLS_POD};
use kpexec_protocol::{CHUNK, ClientMessage, FindAnswer, FindRequest, ServerMessage};
use nix::sys::prctl;
use rustix::fd::{AsFd, BorrowedFd};
use rustix::io::Errno;
use rustix::thread::{CapabilitySet, capability_is_in_bounding_set};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::unix::pipe::{Receiver, Sender};
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Server;
use tonic::transport::server::Connected;
use tonic::{Request, Response, Status, Streaming};

use crate::cgroup::Cgroups;
use crate::enter::seal::SealedBinary;
use crate::identity;
use crate::session::{self, Context};
use crate::sys::call::join_new_session_keyring;
use crate::target::Procfs;
use crate::target::status::status;
use crate::{TOOLSET, find, wait};

/// A client that does not answer a ping within this time has gone. Together
/// with the interval 30 s: longer than a network hiccup or a suspended client
/// that is resumed at once, short enough that nothing lingers.
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(20);

/// How often a silent client is pinged.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(10);

/// How much may be on its way to us for one session, in bytes.
const WINDOW: u32 = 1 << 20;

/// The largest of HTTP/2's frames that we take: a message with its own header.
const FRAME: u32 = 2 * CHUNK as u32;

/// Answers waiting to be sent, each up to 64 KiB.
const ANSWERS: usize = 8;

/// How long the sessions of a client that has gone may take to end.
const FAREWELL: Duration = Duration::from_secs(20);

/// Why nothing can be served.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Before the first byte was read.
    #[error("cannot {0}: {1}")]
    Prepare(&'static str, io::Error),
    /// The helper pod was made without it.
    #[error("KPEXEC_CRI_SOCKET is not set")]
    NoSocket,
    /// The connection broke in a way that is no end of it.
    #[error("cannot serve: {0}")]
    Serve(#[from] tonic::transport::Error),
}

/// Serves until the client has gone and its sessions have ended.
///
/// # Errors
/// When it cannot begin, or the connection is no HTTP/2.
pub fn main() -> Result<(), Error> {
    let prepare = |what| move |error| Error::Prepare(what, error);
    prctl::set_dumpable(false).map_err(|e| Error::Prepare("forbid dumps", e.into()))?;
    let node_network = rustix::fs::stat("/proc/self/ns/net")
        .map_err(|e| Error::Prepare("look at the node's network", e.into()))?
        .st_ino;
    wait::leave_network().map_err(|e| Error::Prepare("leave the node's network", e.into()))?;
    let from_env = |name| std::env::var_os(name).map(PathBuf::from);
    let procfs = Procfs::open().map_err(|e| Error::Prepare("open /proc", e.into()))?;
    let context = Context {
        helper: own_means(&procfs).map_err(prepare("read what it may do"))?,
        cgroups: Arc::new(Cgroups::open(&procfs)),
        procfs,
        node_network,
        binary: SealedBinary::of_self().map_err(prepare("seal a copy of itself"))?,
        cri_socket: from_env(CRI_SOCKET).ok_or(Error::NoSocket)?,
        toolset: from_env(pod::TOOLSET).unwrap_or_else(|| TOOLSET.into()),
        tools_pod: std::env::var(TOOLS_POD).ok(),
    };
    // One thread: the parent-death signals of what it starts refer to it.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(prepare("start"))?;
    runtime.block_on(serve(Arc::new(context)))
}

/// What sessions can be given.
fn own_means(procfs: &Procfs) -> io::Result<identity::Helper> {
    let own = procfs.process(std::process::id().cast_signed())?;
    let text = Procfs::read(&own, c"status")?;
    let status = status(&String::from_utf8_lossy(&text))
        .ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))?;
    // `EINVAL` from the first one that this kernel does not know.
    let known = |number: &u32| {
        capability_is_in_bounding_set(CapabilitySet::from_bits_retain(1 << number)).is_ok()
    };
    let known = (0..u64::BITS).take_while(known).fold(0, |all, number| all | 1 << number);
    Ok(identity::Helper {
        permitted: status.permitted,
        known,
        filtered: status.filtered,
        // Ours too: what it forbids to us it forbids to what we start.
        own_keyring: join_new_session_keyring() != Err(Errno::PERM),
    })
}

async fn serve(context: Arc<Context>) -> Result<(), Error> {
    let (connection, closed) =
        Connection::open().map_err(|error| Error::Prepare("use stdin and stdout", error))?;
    // Each session holds one; the last one dropped ends the wait below.
    let (running, mut all_ended) = mpsc::channel::<()>(1);
    let service = HelperServer::new(Service { context, running });
    let server = Server::builder()
        .http2_keepalive_interval(Some(KEEP_ALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEP_ALIVE_TIMEOUT))
        .max_frame_size(FRAME)
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW * 2)
        .add_service(service);
    // There is no second client: the listener yields once and never ends.
    let listener = tokio_stream::StreamExt::chain(
        tokio_stream::once(Ok::<_, io::Error>(connection)),
        tokio_stream::pending(),
    );
    let served = tokio::select! {
        result = server.serve_with_incoming(listener) => result.map_err(Error::from),
        _ = closed => Ok(()),
    };
    // The server is dropped, and with it its handle on `running`.
    let _late = tokio::time::timeout(FAREWELL, all_ended.recv()).await;
    served
}

struct Service {
    context: Arc<Context>,
    running: mpsc::Sender<()>,
}

#[tonic::async_trait]
impl Helper for Service {
    type SessionStream = ReceiverStream<Result<ServerMessage, Status>>;

    async fn session(
        &self,
        request: Request<Streaming<ClientMessage>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let (answers, stream) = mpsc::channel(ANSWERS);
        let (context, running) = (self.context.clone(), self.running.clone());
        tokio::spawn(async move {
            session::run(&context, request.into_inner(), answers).await;
            drop(running);
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn find(&self, request: Request<FindRequest>) -> Result<Response<FindAnswer>, Status> {
        let name = request.into_inner().name;
        Ok(Response::new(find::find(&self.context, &name).await))
    }
}

/// stdin and stdout as one connection, which tells when it is dropped.
struct Connection {
    input: Receiver,
    output: Sender,
    _closed: oneshot::Sender<()>,
}

impl Connection {
    /// Both must be pipes: what every container runtime gives an exec without a
    /// terminal.
    fn open() -> io::Result<(Self, oneshot::Receiver<()>)> {
        let (sender, closed) = oneshot::channel();
        let own = |fd: BorrowedFd<'_>| fd.try_clone_to_owned();
        let input = Receiver::from_owned_fd(own(io::stdin().as_fd())?)?;
        let output = Sender::from_owned_fd(own(io::stdout().as_fd())?)?;
        Ok((Self { input, output, _closed: sender }, closed))
    }
}

impl Connected for Connection {
    type ConnectInfo = ();

    fn connect_info(&self) -> Self::ConnectInfo {}
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut TaskContext<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.input).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut TaskContext<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.output).poll_write(context, bytes)
    }

    /// A frame's header and what it holds at once: else each would be a message
    /// of its own all the way to the client.
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut TaskContext<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.output).poll_write_vectored(context, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.output.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.output).poll_flush(context)
    }

    fn poll_shutdown(
        mut self: Pin<&mut Self>,
        context: &mut TaskContext<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.output).poll_shutdown(context)
    }
}
