//! One command, end to end. Read it from top to bottom.

use std::panic::{AssertUnwindSafe, resume_unwind};
use std::sync::{Arc, Mutex};

use futures::FutureExt;
use kpexec_protocol::client_message::Kind;
use kpexec_protocol::{Start, Terminal};
use rustix::process::Signal;
use thiserror::Error;

use crate::api_error::ApiError;
use crate::attach::AttachError;
use crate::attend::Here;
use crate::banner::announce;
use crate::changes::{ChangesFile, SaveError};
use crate::cli::{Cli, SettingsError, session_name};
use crate::cluster::{Cluster, ClusterError};
use crate::cri_socket::CriSocketError;
use crate::diagnosis::{Fault, Scene, diagnose};
use crate::dry_run;
use crate::exit_code;
use crate::explain::explain;
use crate::find::{Wanted, asked, find, wanted};
use crate::helper_pod::{
    CleanupError, HelperPod, ImageError, LaunchError, Phases, Sharing, helper_image, remove_ended,
};
use crate::identity::{Identity, IdentityError};
use crate::local::LocalError;
use crate::manifest::ManifestError;
use crate::recent::Recent;
use crate::reference::ReferenceError;
use crate::report;
use crate::request::{first_message, keep};
use crate::session::SessionError;
use crate::share::{ShareError, Told};
use crate::signals::Signals;
use crate::start::Place;
use crate::status_line;
use crate::target::{self, TargetError};
use crate::terminal::{self, Choice, Terminals};
use crate::transport::{Dialer, End, HelperLog};
use crate::user::User;

/// Why kpexec could not do what it was asked to.
#[derive(Debug, Error)]
pub enum RunError {
    /// Who to be.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// No image to make a helper of.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// The kubeconfig.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// The file that names what to enter.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The pod or container to enter.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// The node's CRI socket.
    #[error(transparent)]
    CriSocket(#[from] CriSocketError),
    /// This node, where kpexec is on one.
    #[error(transparent)]
    Node(#[from] LocalError),
    /// The helper pod.
    #[error(transparent)]
    Launch(#[from] LaunchError),
    /// A helper pod that is in the way.
    #[error(transparent)]
    Cleanup(#[from] CleanupError),
    /// The file for what the command changes.
    #[error(transparent)]
    Save(#[from] SaveError),
    /// The session.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// The session, and why, as well as could be found out.
    #[error("lost the session, and with it the command's result")]
    Lost(#[source] Fault),
    /// The way to the session, which waits for us to come back.
    #[error("lost the way to the session, which is kept: {end}")]
    Kept {
        /// How it ended.
        end: End,
        /// How to come back.
        hint: String,
    },
    /// What is left of helpers that have ended.
    #[error("cannot delete the helper pods that have ended")]
    Gc(#[source] ApiError),
    /// The helpers that may have sessions.
    #[error("cannot list your helper pods")]
    Sessions(#[source] ApiError),
    /// No way back into a session.
    #[error(transparent)]
    Attach(#[from] AttachError),
    /// A session can be kept only in a helper that stays.
    #[error("--linger needs a shared helper, and the API server does not say who you are")]
    NotKept,
    /// Nobody's helpers can be told from others'.
    #[error("the API server does not say who you are")]
    Nobody,
    /// The operating system at this end: entropy, signals, the terminal.
    #[error("cannot {what}")]
    Local {
        /// What was tried.
        what: &'static str,
        /// Why it did not work.
        source: std::io::Error,
    },
    /// What the user has set for all commands.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The background process of `--share`, or the way to it.
    #[error(transparent)]
    Share(#[from] ShareError),
    /// What the background process found.
    #[error(transparent)]
    Told(#[from] Told),
    /// Man pages and the like.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    /// The user left the session by the keyboard.
    #[error("left the session; its command is ended")]
    Left,
    /// A signal ended kpexec. Whoever sent it knows.
    #[error("ended by signal {}", .0.as_raw())]
    Interrupted(Signal),
}

impl RunError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Identity(error) => error.hint(),
            Self::Image(error) => Some(error.hint()),
            Self::Cluster(error) => error.hint(),
            Self::Manifest(error) => error.hint(),
            Self::Target(error) => error.hint(),
            Self::CriSocket(error) => error.hint(),
            Self::Node(error) => error.hint(),
            Self::Launch(error) => error.hint(),
            Self::Session(error) => error.hint(),
            Self::Lost(fault) => Some(fault.hint()),
            Self::Kept { hint, .. } => Some(hint.clone()),
            Self::Settings(error) => error.hint(),
            Self::Share(error) => error.hint(),
            Self::Told(told) => told.hint(),
            Self::Save(error) => error.hint(),
            Self::Gc(error) | Self::Sessions(error) => error.hint(),
            Self::Nobody | Self::NotKept => Some("kubectl auth whoami asks the same".into()),
            Self::Attach(_)
            | Self::Cleanup(_)
            | Self::Reference(_)
            | Self::Local { .. }
            | Self::Left
            | Self::Interrupted(_) => None,
        }
    }

    /// The exit code it is worth.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Session(error) => error.exit_code(),
            Self::Told(told) => told.exit_code(),
            Self::Interrupted(signal) => exit_code::of_own_signal(*signal),
            _ => exit_code::OURS,
        }
    }
}

/// The image that the release was built with, if any.
pub const BUILT_IN_IMAGE: Option<&str> = option_env!("KPEXEC_DEFAULT_HELPER_IMAGE");

/// What is settled at this end before anything is asked for.
pub struct Prepared {
    /// Who to be.
    pub identity: Identity,
    /// The helper's image.
    pub image: String,
    /// For what the command changes.
    pub changes: Option<ChangesFile>,
    /// The terminal, if the command gets one.
    pub terminal: Option<Terminal>,
    /// From here on.
    pub signals: Signals,
}

impl Prepared {
    /// Checks what can be checked here.
    pub fn new(cli: &Cli) -> Result<Self, RunError> {
        let identity = Identity::from_flags(&cli.identity)?;
        let image = image(cli)?;
        asked(cli)?;
        target::check_name(&cli.cluster.helper_namespace, "namespace")?;
        let dry = cli.plan.is_dry();
        let changes = cli.view.save_changes.as_deref().filter(|_| !dry);
        let changes = changes.map(ChangesFile::create).transpose()?;
        let terminal = if dry { None } else { wanted_terminal(cli) };
        let signals = Signals::listen().map_err(|source| local("listen to signals", source))?;
        Ok(Self { identity, image, changes, terminal, signals })
    }
}

/// Runs the command; gives its exit code.
pub async fn run(cli: Cli) -> Result<u8, RunError> {
    let Prepared { identity, image, changes, terminal, mut signals } = Prepared::new(&cli)?;
    let tty = terminal.is_some();
    let resolve = async {
        let cluster = Cluster::new(&cli.cluster).await?;
        let recent = Recent::read(&cli, &image, &cluster);
        let last = recent.as_ref().and_then(|recent| recent.helper.as_deref());
        let ahead = last.map(|helper| {
            tracing::debug!("asking helper pod {helper} ahead");
            let dialer = dialer(&cli, &cluster, helper);
            dialer.dial_ahead();
            dialer
        });
        let found = find(&cli, &cluster, &Mutex::default()).await?;
        Ok::<_, RunError>((cluster, found, recent, ahead))
    };
    let (cluster, found, recent, ahead) = tokio::select! {
        resolved = resolve => resolved?,
        // Nothing has been made yet, so there is nothing to undo.
        signal = signals.next() => return Err(RunError::Interrupted(signal)),
    };
    found.notices.iter().for_each(|notice| report::notice(notice));
    tracing::debug!(?found, ?identity, "resolved");

    let wanted = wanted(&cli, &image, &identity, &found)?;
    if cli.plan.explain {
        let lines = explain(&cli, &found.target, &identity, &wanted);
        lines.iter().for_each(|line| report::notice(line));
    }
    if cli.plan.is_dry() {
        return tokio::select! {
            printed = dry_run::print(&cluster, wanted, &cli.plan) => printed,
            signal = signals.next() => Err(RunError::Interrupted(signal)),
        };
    }
    sweep(&cluster, &cli, found.user.as_ref());
    let Wanted { name, pod, sharing } = wanted;
    let mut helper = HelperPod::new(&cluster, pod, sharing);
    let target = &found.target;
    if let Some(recent) = recent.filter(|_| sharing == Sharing::User) {
        recent.correct(&name);
    }
    let ahead = ahead.filter(|ahead| ahead.leads_to(&name));
    let dialer = ahead.unwrap_or_else(|| dialer(&cli, &cluster, &name));
    let phases = Phases::default();
    let place = Place {
        cli: &cli,
        cluster: &cluster,
        helper: &name,
        dialer,
        target,
        sharing,
        phases: &phases,
    };
    let keep = keep(&cli, sharing, tty)?;
    let start = first_message(&cli, target, &identity, terminal, keep);
    let work = Work { place, tty };
    let work = work.run(&mut helper, start, changes, &mut signals);
    let result = AssertUnwindSafe(work).catch_unwind().await;

    let by_hand = helper.by_hand();
    if let Err(error) = helper.delete().await {
        report::error(&error, Some(&by_hand), cli.verbosity.is_on());
    }
    if tty {
        terminal::discard_input();
    }
    result.unwrap_or_else(|panic| resume_unwind(panic))
}

fn dialer(cli: &Cli, cluster: &Cluster, helper: &str) -> Arc<Dialer> {
    Dialer::new(cluster, &cli.cluster.helper_namespace, helper, cli.life.keepalive)
}

pub fn local(what: &'static str, source: std::io::Error) -> RunError {
    RunError::Local { what, source }
}

/// Shows what the helper logged, if that may tell why a session failed, or is
/// wanted in any case.
pub fn show_log(log: &HelperLog, verbose: bool, result: &Result<u8, RunError>) {
    let failed = matches!(result, Err(error) if !matches!(error, RunError::Interrupted(_)));
    if verbose || failed {
        report::helper_log(&log.text());
    }
}

/// Says of a session that was lost why, as well as can be found out.
pub async fn name_fault(
    result: Result<u8, RunError>,
    scene: &Scene<'_>,
    signals: &mut Signals,
) -> Result<u8, RunError> {
    match result {
        Err(RunError::Session(SessionError::Lost(end))) => tokio::select! {
            fault = diagnose(end, scene) => Err(RunError::Lost(fault)),
            signal = signals.next() => Err(RunError::Interrupted(signal)),
        },
        result => result,
    }
}

/// Flag, what the user has set, or what the release was built with.
fn image(cli: &Cli) -> Result<String, ImageError> {
    let image = cli.helper_image.as_deref().or(BUILT_IN_IMAGE);
    let set = |key: &str| cli.settings.get(key).map(|setting| setting.value.clone());
    helper_image(cli.tools.toolset, image, set)
}

/// The terminal, if the command gets one.
pub fn wanted_terminal(cli: &Cli) -> Option<Terminal> {
    let choice = terminal::choose(cli.tty(), cli.stdin, Terminals::look());
    if let Choice::PipesInstead(end) = choice
        && !cli.quiet
    {
        report::notice(end.is_no_terminal());
    }
    (choice == Choice::Terminal).then(|| Terminal {
        size: Some(terminal::size()),
        term: std::env::var("TERM").unwrap_or_else(|_| "xterm".to_owned()),
    })
}

/// Removes what has ended of this user's helpers, beside all else: it may be cut
/// short by the session's end, and is done by the next one then.
pub fn sweep(cluster: &Cluster, cli: &Cli, user: Option<&User>) {
    let Some(user) = user.cloned() else { return };
    let (cluster, namespace) = (cluster.clone(), cli.cluster.helper_namespace.clone());
    tokio::spawn(async move {
        let removed = remove_ended(&cluster, &namespace, &user).await;
        tracing::debug!(?removed, "helper pods that had ended");
    });
}

/// What is done between making the helper and leaving it.
struct Work<'a> {
    place: Place<'a>,
    tty: bool,
}

impl Work<'_> {
    async fn run(
        &self,
        helper: &mut HelperPod,
        start: Start,
        changes: Option<ChangesFile>,
        signals: &mut Signals,
    ) -> Result<u8, RunError> {
        let cli = self.place.cli;
        let kept = start.keep.is_some();
        let first = Kind::Start(start);
        let mut log = HelperLog::default();
        let started = tokio::select! {
            started = self.place.start(helper, &first, &mut log) => started,
            never = status_line::show(cli, self.place.phases) => match never {},
            signal = signals.next() => Err(RunError::Interrupted(signal)),
        };
        let result = match started {
            Ok(mut session) => {
                session.changes = changes;
                announce(self.place.target, &session.started, cli, self.tty, kept);
                let name = session_name(self.place.helper, &session.started.session);
                let here = Here::new(cli, self.tty, kept.then_some(name));
                let result = here.attend(session, signals).await;
                here.say_how_to_return(cli.keep.linger, &result);
                result
            }
            Err(error) => Err(error),
        };
        let result = name_fault(result, &self.place.scene(), signals).await;
        show_log(&log, cli.verbosity.is_on(), &result);
        result
    }
}
