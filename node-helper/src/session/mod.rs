//! One session, from the client's request to the command's end.

mod attributes;
mod audience;
mod begin;
mod changes;
mod command;
mod descendants;
mod executed;
mod last_word;
mod order;
mod outlet;
mod own_root;
mod pumps;
mod ready;
mod relay;
mod ring;
mod sessions;
mod shim;
mod streams;
mod view;
mod who;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use kpexec_protocol::pod::{self, CRI_SOCKET, TOOLS_POD, grace};
use kpexec_protocol::server_message::Kind;
use kpexec_protocol::{Attach, ClientMessage, ServerMessage, Start, client_message};
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl;
use rustix::fs::stat;
use rustix::io::Errno;
use rustix::thread::{CapabilitySet, capability_is_in_bounding_set};
use tokio::sync::mpsc;
use tokio::task::yield_now;
use tokio::time::{sleep, timeout};
use tonic::{Status, Streaming};

use crate::TOOLSET;
use crate::cgroup::{self, Cgroups};
use crate::cri;
use crate::enter::inherited::open_files;
use crate::enter::seal::SealedBinary;
use crate::failure::ours;
use crate::identity::Helper;
use crate::serve::{self, prepare};
use crate::sys::call::join_new_session_keyring;
use crate::target::Procfs;
use crate::target::status::status;
use ready::Ready;
pub use sessions::Sessions;

/// How long a client may take to say what it wants.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long a session may take to end whose client has gone.
const FAREWELL: Duration = Duration::from_secs(20);

/// Where a helper runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// As the main process of a pod.
    Pod,
    /// On the node itself.
    Node,
}

/// What all sessions of a helper share.
#[derive(Clone, Debug)]
pub struct Context {
    /// All processes of the node.
    pub procfs: Arc<Procfs>,
    /// Where sessions' cgroups are made, or why they have none.
    pub cgroups: Arc<Result<Cgroups, cgroup::Error>>,
    /// What entry processes run.
    pub binary: Arc<SealedBinary>,
    /// The container runtime's socket.
    pub cri_socket: cri::Socket,
    /// The toolset's folder in the helper.
    pub toolset: PathBuf,
    /// The UID of the helper's pod, where another image has the tools: the pod
    /// has a tools container then.
    pub tools_pod: Option<String>,
    /// Namespace and name of the helper's pod, if it was told them.
    pub own_pod: Option<String>,
    /// The inode number of the node's network namespace, which the helper has
    /// left.
    pub node_network: u64,
    /// What this helper can give.
    pub helper: Helper,
    /// How long a command whose client has gone may take over each signal.
    pub grace: Duration,
    /// Those of this server.
    pub sessions: Sessions,
}

impl Context {
    /// Prepares it, and leaves the node's network, which no session needs.
    ///
    /// # Errors
    /// When the helper lacks rights, or was not told of the CRI socket.
    pub fn open(place: Place) -> Result<Self, serve::Error> {
        prctl::set_dumpable(false).map_err(prepare("forbid dumps"))?;
        let node_network =
            stat("/proc/self/ns/net").map_err(prepare("look at the node's network"))?.st_ino;
        open_files().map_err(prepare("raise the limit on open files"))?;
        unshare(CloneFlags::CLONE_NEWNET).map_err(prepare("leave the node's network"))?;
        let from_env = |name| std::env::var_os(name).map(PathBuf::from);
        let procfs = Procfs::open().map_err(prepare("open /proc"))?;
        let path = from_env(CRI_SOCKET).ok_or(serve::Error::NoSocket)?;
        let cri_socket = match place {
            Place::Node => Ok(cri::Socket::here(path)),
            Place::Pod => cri::Socket::of_node(&procfs, path),
        };
        let cri_socket = cri_socket.map_err(prepare("look at the node's files"))?;
        Ok(Self {
            helper: own_means(&procfs).map_err(prepare("read what it may do"))?,
            cgroups: Arc::new(Cgroups::open(&procfs)),
            procfs: Arc::new(procfs),
            node_network,
            binary: Arc::new(
                SealedBinary::of_entry().map_err(prepare("seal a copy of node-entry"))?,
            ),
            cri_socket,
            toolset: from_env(pod::TOOLSET).unwrap_or_else(|| TOOLSET.into()),
            tools_pod: std::env::var(TOOLS_POD).ok(),
            own_pod: std::env::var(pod::HELPER_POD).ok(),
            grace: Duration::ZERO,
            sessions: Sessions::default(),
        })
    }

    /// Makes it this process's own, which may be a copy of the one that opened it,
    /// for clients of whom nothing is to be left after a silence of `keepalive`.
    ///
    /// # Errors
    /// When this process's facts cannot be read.
    pub fn own(&mut self, keepalive: Duration) -> io::Result<()> {
        self.grace = grace(keepalive);
        if let Ok(cgroups) = self.cgroups.as_ref() {
            self.cgroups = Arc::new(Ok(cgroups.owned_by_us(&self.procfs)?));
        }
        // What this one forbids to us it forbids to what we start.
        self.helper.own_keyring = join_new_session_keyring() != Err(Errno::PERM);
        Ok(())
    }
}

/// What sessions can be given.
fn own_means(procfs: &Procfs) -> io::Result<Helper> {
    let own = procfs.process(std::process::id().cast_signed())?;
    let text = Procfs::read(&own, c"status")?;
    let status = status(&String::from_utf8_lossy(&text))
        .ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))?;
    // `EINVAL` from the first one that this kernel does not know.
    let known = |number: &u32| {
        capability_is_in_bounding_set(CapabilitySet::from_bits_retain(1 << number)).is_ok()
    };
    let known = (0..u64::BITS).take_while(known).fold(0, |all, number| all | 1 << number);
    let (permitted, filtered) = (status.permitted, status.filtered);
    Ok(Helper { permitted, known, filtered, own_keyring: false })
}

/// Where answers go.
pub type Answers = mpsc::Sender<Result<ServerMessage, Status>>;

/// What the client sends.
pub type Requests = Streaming<ClientMessage>;

/// A client's call.
#[derive(Debug)]
pub struct Client {
    /// What it says.
    pub requests: Requests,
    /// Where it is answered.
    pub answers: Answers,
}

/// Why there is no request.
#[derive(Debug, thiserror::Error)]
enum RequestError {
    #[error("the client did not say what to run")]
    None,
    #[error("the client did not say what to run within {} s", PATIENCE.as_secs())]
    TimedOut,
    #[error("the client's first message is not a request")]
    NotAStart,
    #[error("the request contradicts itself: to keep the session and to save changes")]
    KeptChanges,
}

/// Serves one call; tells the client how it ended, unless the client has gone.
/// Nothing of a session that begins with it runs any more when this returns.
pub async fn run(context: &Context, mut client: Client) {
    // The client is answered before this thread has other things to do.
    yield_now().await;
    let ready = Ready::new(context).await;
    let first = match first(&mut client.requests).await {
        Ok(First::Start(start)) if start.keep.is_some() && start.save_changes => {
            Err(RequestError::KeptChanges)
        }
        first => first,
    };
    match first {
        Ok(First::Start(start)) => new(context, *start, client, ready).await,
        Ok(First::Attach(attach)) => {
            ready.abandon().await;
            let visited = context.sessions.visit(client, &attach).await;
            if let Err(Client { answers, .. }) = visited {
                say(&answers, last_word::no_session(&attach.session)).await;
            }
        }
        Err(error) => {
            ready.abandon().await;
            let unfit = ours(&error, "client and helper may not fit");
            say(&client.answers, Kind::Failure(unfit)).await;
        }
    }
}

async fn new(context: &Context, start: Start, client: Client, ready: Ready) {
    let registered = context.sessions.register(&start, start.keep.is_some());
    let keep = start.keep.as_ref().map(|keep| Duration::from_secs(keep.linger.into()));
    let forsaken = forsaken(client.answers.clone(), keep.is_some());
    let session = async move {
        match begin::begin(context, start, ready).await {
            Err(failure) => drop(say(&client.answers, Kind::Failure(failure)).await),
            Ok(running) => relay::relay(context, running, client, registered, keep).await,
        }
    };
    tokio::select! {
        () = session => {}
        () = forsaken => {}
    }
}

/// How long a session may take to end whose client has gone, and which nobody
/// can come back to.
async fn forsaken(answers: Answers, kept: bool) {
    if kept {
        // It knows itself when it is to end.
        drop(answers);
        return std::future::pending().await;
    }
    answers.closed().await;
    sleep(FAREWELL).await;
}

/// How a call begins.
enum First {
    Start(Box<Start>),
    Attach(Attach),
}

async fn first(requests: &mut Requests) -> Result<First, RequestError> {
    let message =
        timeout(PATIENCE, requests.message()).await.map_err(|_| RequestError::TimedOut)?;
    match message.ok().flatten().ok_or(RequestError::None)?.kind {
        Some(client_message::Kind::Start(start)) => Ok(First::Start(Box::new(start))),
        Some(client_message::Kind::Attach(attach)) => Ok(First::Attach(attach)),
        _ => Err(RequestError::NotAStart),
    }
}

/// Tells the client; says whether it is still there.
async fn say(answers: &Answers, kind: Kind) -> bool {
    answers.send(Ok(ServerMessage { kind: Some(kind) })).await.is_ok()
}
