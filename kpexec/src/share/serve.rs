//! One command of a client, as the background process sees it.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kpexec_protocol::share_answer::Kind as Answer;
use kpexec_protocol::share_server::Share;
use kpexec_protocol::{
    Ask, Entered, ServerMessage, ShareAnswer, ShareRequest, StopRequest, Stopped, client_message,
    server_message, share_request,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::ShareError;
use super::activity::Activity;
use super::helpers::Helpers;
use super::told::fault;
use crate::cli::{Cli, ClusterFlags, session_name};
use crate::cluster::Cluster;
use crate::diagnosis::diagnose;
use crate::find::{Found, Memory, find, wanted};
use crate::helper_pod::{HelperPod, LaunchError};
use crate::identity::Identity;
use crate::request::{first_message, keep};
use crate::run::{RunError, sweep};
use crate::session::{Answers, SessionError, pass_on, say};
use crate::start::{Place, is_path_wrong};
use crate::target::TargetError;
use crate::transport::HelperLog;

/// Answers on their way, each up to 64 KiB.
const ANSWERS: usize = 4;

/// What the process keeps.
pub struct State {
    flags: ClusterFlags,
    /// The cluster with what is known of it, once it was asked.
    known: Mutex<Option<Arc<Known>>>,
    helpers: Helpers,
    /// What it does.
    pub activity: Activity,
}

struct Known {
    cluster: Cluster,
    memory: Mutex<Memory>,
}

impl State {
    /// Of a process for this cluster.
    pub fn new(flags: ClusterFlags, idle: Duration) -> Self {
        let (known, helpers, activity) =
            (Mutex::default(), Helpers::default(), Activity::new(idle));
        Self { flags, known, helpers, activity }
    }

    /// Lets go of what was not used for so long.
    pub fn sweep(&self, idle: Duration) {
        self.helpers.sweep(idle);
    }

    async fn known(&self) -> Result<Arc<Known>, RunError> {
        let known = || self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = &*known() {
            return Ok(known.clone());
        }
        let ClusterFlags { kubeconfig, context, .. } = &self.flags;
        let cluster = Cluster::new(kubeconfig.as_deref(), context.as_deref()).await?;
        let new = Arc::new(Known { cluster, memory: Mutex::default() });
        Ok(known().get_or_insert(new).clone())
    }

    /// The next command begins anew: with the certificates and tokens there are
    /// by then, say.
    fn forget(&self) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

/// What clients call.
pub struct Service(pub Arc<State>);

#[tonic::async_trait]
impl Share for Service {
    type ShareStream = ReceiverStream<Result<ShareAnswer, Status>>;

    async fn share(
        &self,
        request: Request<Streaming<ShareRequest>>,
    ) -> Result<Response<Self::ShareStream>, Status> {
        let (answers, stream) = mpsc::channel(ANSWERS);
        let state = self.0.clone();
        let command = state.activity.command();
        tokio::spawn(async move {
            let mut requests = request.into_inner();
            if let Some(ask) = first(&mut requests).await {
                state.activity.stay(Duration::from_secs(ask.idle_seconds));
                serve(&state, ask, requests, &answers).await;
            }
            drop(command);
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn stop(&self, _: Request<StopRequest>) -> Result<Response<Stopped>, Status> {
        let commands = self.0.activity.stop();
        Ok(Response::new(Stopped { pid: std::process::id(), commands }))
    }
}

async fn first(requests: &mut Streaming<ShareRequest>) -> Option<Ask> {
    match requests.message().await.ok()??.kind? {
        share_request::Kind::Ask(ask) => Some(ask),
        share_request::Kind::Message(_) => None,
    }
}

/// The command, from what was asked to its end; the client is told how it went.
async fn serve(state: &State, ask: Ask, requests: Streaming<ShareRequest>, answers: &Answers) {
    let mut log = SessionLog::default();
    let result = command(state, ask, requests, answers, &mut log).await;
    if let Err(error) = result {
        if may_pass(&error) {
            state.forget();
        }
        say(answers, Answer::Log(log.text())).await;
        say(answers, Answer::Fault(fault(&error))).await;
    }
}

/// Whether other credentials, or another connection, may be all that is needed.
fn may_pass(error: &RunError) -> bool {
    matches!(
        error,
        RunError::Target(TargetError::ReadPod { .. } | TargetError::ReadNode { .. })
            | RunError::Launch(LaunchError::Create { .. })
            | RunError::Session(SessionError::Transport(_))
    )
}

async fn command(
    state: &State,
    ask: Ask,
    requests: Streaming<ShareRequest>,
    answers: &Answers,
    log: &mut SessionLog,
) -> Result<(), RunError> {
    let argv = ask.argv.iter().map(|arg| OsString::from_vec(arg.to_vec()));
    let mut cli = Cli::parse_args(argv).map_err(|e| ShareError::Differs(e.to_string()))?;
    cli.cluster.helper_namespace = ask.helper_namespace;
    let identity = Identity::from_flags(&cli.identity)?;
    let known = state.known().await?;
    let cluster = &known.cluster;
    let early = state.helpers.call_early(&cli);
    let found = tokio::select! {
        found = find(&cli, cluster, &known.memory) => found?,
        () = answers.closed() => return Ok(()),
    };
    if let Some(notice) = &found.notice {
        say(answers, Answer::Notice(notice.clone())).await;
    }
    let wanted = wanted(&cli, &ask.helper_image, &identity, &found)?;
    let keep = keep(&cli, wanted.sharing, ask.terminal.is_some())?;
    let kept = keep.is_some();
    let start = first_message(&cli, &found.target, &identity, ask.terminal, keep);
    let first = client_message::Kind::Start(start);
    let mut helper = HelperPod::new(cluster, wanted.pod, wanted.sharing);
    let (target, sharing) = (&found.target, wanted.sharing);
    let place = Place { cli: &cli, cluster, helper: &wanted.name, target, sharing };
    let opened = async {
        let sweep = || sweep(cluster, &cli, found.user.as_ref());
        let call = state.helpers.call(&place, &mut helper, early, &mut log.all, sweep).await?;
        *log = SessionLog::of(call.connection.log().await);
        let begun = place.begin(&mut helper, call, &first).await;
        if matches!(&begun, Err(RunError::Session(error)) if is_path_wrong(error)) {
            state.helpers.forget(&place).await;
        }
        begun
    };
    let opened = tokio::select! {
        opened = opened => opened.map(Some),
        () = answers.closed() => Ok(None),
    };
    let result = match opened {
        Ok(Some(session)) => {
            let name = kept.then(|| session_name(&wanted.name, &session.started.session));
            say(answers, Answer::Entered(entered(&found, name))).await;
            let started = server_message::Kind::Started(session.started.clone());
            say(answers, Answer::Message(ServerMessage { kind: Some(started) })).await;
            match pass_on(session, requests, answers, || log.text()).await {
                Some(end) => {
                    let scene = place.scene();
                    tokio::select! {
                        fault = diagnose(end, &scene) => Err(RunError::Lost(fault)),
                        () = answers.closed() => Ok(()),
                    }
                }
                None => Ok(()),
            }
        }
        Ok(None) => Ok(()),
        Err(error) => Err(error),
    };
    let by_hand = helper.by_hand();
    if let Err(error) = helper.delete().await {
        let notice = format!("kpexec: {error}\nhint: {by_hand}");
        say(answers, Answer::Notice(notice)).await;
    }
    result
}

fn entered(found: &Found, kept: Option<String>) -> Entered {
    Entered { target: Some(found.target.to_protocol()), node: found.target.node.clone(), kept }
}

/// What a helper logged while a session was there. Others may be there, too.
#[derive(Default)]
struct SessionLog {
    all: HelperLog,
    /// How much of it others have caused before, in bytes.
    before: usize,
}

impl SessionLog {
    fn of(all: HelperLog) -> Self {
        let before = all.written();
        Self { all, before }
    }

    fn text(&self) -> String {
        self.all.since(self.before)
    }
}
