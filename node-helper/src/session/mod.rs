//! One session, from the client's request to the command's end.

mod attributes;
mod begin;
mod changes;
mod command;
mod descendants;
mod executed;
mod order;
mod own_root;
mod relay;
mod shim;
mod streams;
mod view;
mod who;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use kpexec_protocol::server_message::Kind;
use kpexec_protocol::{ClientMessage, ServerMessage, client_message};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tonic::{Status, Streaming};

use crate::cgroup::{self, Cgroups};
use crate::enter::seal::SealedBinary;
use crate::failure;
use crate::identity::Helper;
use crate::target::Procfs;

/// How long a client may take to say what it wants.
const PATIENCE: Duration = Duration::from_secs(10);

/// What all sessions of one `serve` share.
#[derive(Debug)]
pub struct Context {
    /// All processes of the node.
    pub procfs: Procfs,
    /// Where sessions' cgroups are made, or why they have none.
    pub cgroups: Arc<Result<Cgroups, cgroup::Error>>,
    /// What entry processes run.
    pub binary: SealedBinary,
    /// The container runtime's socket.
    pub cri_socket: PathBuf,
    /// The toolset's folder in the helper.
    pub toolset: PathBuf,
    /// The UID of the helper's pod, where another image has the tools: the pod
    /// has a tools container then.
    pub tools_pod: Option<String>,
    /// The inode number of the node's network namespace, which the helper has
    /// left.
    pub node_network: u64,
    /// What this helper can give.
    pub helper: Helper,
    /// How long a command whose client has gone may take over each signal.
    pub grace: Duration,
}

/// Where answers go.
pub type Answers = mpsc::Sender<Result<ServerMessage, Status>>;

/// What the client sends.
pub type Requests = Streaming<ClientMessage>;

/// Why there is no request.
#[derive(Debug, thiserror::Error)]
enum RequestError {
    #[error("the client did not say what to run")]
    None,
    #[error("the client did not say what to run within {} s", PATIENCE.as_secs())]
    TimedOut,
    #[error("the client's first message is not a request")]
    NotAStart,
}

/// Serves one session; tells the client how it ended, unless the client has
/// gone. Nothing of the session runs any more when this returns.
pub async fn run(context: &Context, mut requests: Requests, answers: Answers) {
    let last = match first(&mut requests).await {
        Err(error) => Kind::Failure(failure::ours(&error, "client and helper may not fit")),
        Ok(start) => match begin::begin(context, start).await {
            Err(failure) => Kind::Failure(failure),
            Ok(running) => relay::relay(context, running, requests, &answers).await,
        },
    };
    say(&answers, last).await;
}

async fn first(requests: &mut Requests) -> Result<kpexec_protocol::Start, RequestError> {
    let message =
        timeout(PATIENCE, requests.message()).await.map_err(|_| RequestError::TimedOut)?;
    match message.ok().flatten().ok_or(RequestError::None)?.kind {
        Some(client_message::Kind::Start(start)) => Ok(start),
        _ => Err(RequestError::NotAStart),
    }
}

/// Tells the client; says whether it is still there.
async fn say(answers: &Answers, kind: Kind) -> bool {
    answers.send(Ok(ServerMessage { kind: Some(kind) })).await.is_ok()
}
