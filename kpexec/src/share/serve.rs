//! One command of a client, as the background process sees it.

use std::convert::Infallible;
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
use crate::cli::{Cli, ClusterFlags, Settings, session_name};
use crate::cluster::Cluster;
use crate::diagnosis::diagnose;
use crate::find::{Found, Memory, find, wanted};
use crate::helper_pod::{CleanupError, HelperPod, LaunchError, Phases};
use crate::identity::Identity;
use crate::report;
use crate::request::{first_message, keep};
use crate::run::{RunError, sweep};
use crate::session::{Answers, SessionError, pass_on, say};
use crate::start::{Place, is_path_wrong};
use crate::target::TargetError;
use crate::transport::{Dialer, HelperLog};

/// Answers on their way, each up to 64 KiB.
const ANSWERS: usize = 4;

/// What the process keeps.
pub struct State {
    flags: ClusterFlags,
    /// The cluster with what is known of it, once it was asked.
    known: Mutex<Option<Arc<Known>>>,
    /// Whose turn it is to find it out.
    login: tokio::sync::Mutex<()>,
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
        Self { flags, known, login: tokio::sync::Mutex::default(), helpers, activity }
    }

    /// Lets go of what was not used for so long.
    pub fn sweep(&self, idle: Duration) {
        self.helpers.sweep(idle);
    }

    async fn known(&self) -> Result<Arc<Known>, RunError> {
        let known = || self.known.lock().unwrap_or_else(PoisonError::into_inner);
        // One at a time: a login plugin is run once, and asks the user once.
        let _turn = self.login.lock().await;
        if let Some(known) = &*known() {
            return Ok(known.clone());
        }
        let cluster = Cluster::new(&self.flags).await?;
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
        RunError::Target(
            TargetError::Read { .. } | TargetError::List { .. } | TargetError::ReadNode { .. }
        ) | RunError::Launch(LaunchError::Create { .. })
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
    let settings = Settings::from_client(ask.settings);
    let cli = Cli::parse_with(argv, &settings);
    let cli = cli.map_err(|error| ShareError::Differs(error.to_string()))?;
    let identity = Identity::from_flags(&cli.identity)?;
    let known = tokio::select! {
        // A login plugin may take for ever.
        known = state.known() => known?,
        () = answers.closed() => return Ok(()),
    };
    let cluster = &known.cluster;
    let early = state.helpers.call_early(&cli);
    let found = tokio::select! {
        found = find(&cli, cluster, &known.memory) => found?,
        () = answers.closed() => return Ok(()),
    };
    for notice in &found.notices {
        say(answers, Answer::Notice(notice.clone())).await;
    }
    let wanted = wanted(&cli, &ask.helper_image, &identity, &found)?;
    let keep = keep(&cli, wanted.sharing, ask.terminal.is_some())?;
    let kept = keep.is_some();
    let start = first_message(&cli, &found.target, &identity, ask.terminal, keep);
    let first = client_message::Kind::Start(start);
    let mut helper = HelperPod::new(cluster, wanted.pod, wanted.sharing);
    let (target, sharing) = (&found.target, wanted.sharing);
    let helper_namespace = &cli.cluster.helper_namespace;
    let dialer = Dialer::new(cluster, helper_namespace, &wanted.name, cli.life.keepalive);
    let name = &wanted.name;
    let (phases, all) = (Phases::default(), state.helpers.phases(helper_namespace, name));
    let place =
        Place { cli: &cli, cluster, helper: name, dialer, target, sharing, phases: &phases };
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
        never = pass_on_phases(&phases, answers) => match never {},
        never = pass_on_phases(&all, answers) => match never {},
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
        for notice in notices(&error, &by_hand, cli.verbosity.is_on()) {
            say(answers, Answer::Notice(notice)).await;
        }
    }
    result
}

/// An error beside the one that the command ends with. A notice is one line.
fn notices(error: &CleanupError, hint: &str, verbose: bool) -> Vec<String> {
    report::text(error, Some(hint), verbose).lines().map(str::to_owned).collect()
}

/// Tells the client how the helper starts, until it has or has not.
async fn pass_on_phases(phases: &Phases, answers: &Answers) -> Infallible {
    let mut heard = phases.listen();
    while heard.changed().await.is_ok() {
        let starting = heard.borrow_and_update().clone();
        if !starting.phases.is_empty() {
            say(answers, Answer::Starting(starting)).await;
        }
    }
    std::future::pending().await
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hint_is_a_notice_of_its_own() {
        let error = CleanupError::TimedOut { pod: "kpexec-1".into() };
        let notices = notices(&error, "delete it by hand: kubectl delete", false);
        let expected = [
            "kpexec: cannot delete helper pod kpexec-1: no answer within 5s",
            "hint: delete it by hand: kubectl delete",
        ];
        assert_eq!(notices, expected);
    }
}
