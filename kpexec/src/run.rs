//! One command, end to end. Read it from top to bottom.

use std::os::unix::ffi::OsStringExt;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::sync::Mutex;

use futures::FutureExt;
use kpexec_protocol::{EnvVar, Start, Terminal};
use rustix::process::Signal;
use thiserror::Error;

use crate::api_error::ApiError;
use crate::attend::Here;
use crate::changes::{ChangesFile, SaveError};
use crate::cli::{Cli, ClusterFlags};
use crate::cluster::{Cluster, ClusterError};
use crate::cri_socket::CriSocketError;
use crate::exit_code;
use crate::find::{Wanted, find, wanted};
use crate::helper_pod::{
    CleanupError, HelperPod, ImageError, LaunchError, helper_image, remove_ended,
};
use crate::identity::{Identity, IdentityError};
use crate::report;
use crate::session::{Load, SessionError};
use crate::share::{ShareError, Told};
use crate::signals::Signals;
use crate::start::Place;
use crate::target::{self, Target, TargetError};
use crate::terminal::{self, Choice};
use crate::transport::HelperLog;
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
    /// The pod or container to enter.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// The node's CRI socket.
    #[error(transparent)]
    CriSocket(#[from] CriSocketError),
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
    /// What is left of helpers that have ended.
    #[error("cannot delete the helper pods that have ended")]
    Gc(#[source] ApiError),
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
    /// The background process of `--share`, or the way to it.
    #[error(transparent)]
    Share(#[from] ShareError),
    /// What the background process found.
    #[error(transparent)]
    Told(#[from] Told),
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
            Self::Target(error) => error.hint(),
            Self::CriSocket(error) => error.hint(),
            Self::Launch(error) => error.hint(),
            Self::Session(error) => error.hint(),
            Self::Gc(error) => error.hint(),
            Self::Share(error) => error.hint(),
            Self::Told(told) => told.hint(),
            Self::Nobody => Some("kubectl auth whoami asks the same".into()),
            Self::Cleanup(_)
            | Self::Save(_)
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
        target::pod_name(cli.pod.as_deref().unwrap_or_default())?;
        target::check_name(&cli.cluster.helper_namespace, "namespace")?;
        let changes = cli.view.save_changes.as_deref().map(ChangesFile::create).transpose()?;
        let terminal = choose_terminal(cli).then(|| Terminal {
            size: Some(terminal::size()),
            term: std::env::var("TERM").unwrap_or_else(|_| "xterm".to_owned()),
        });
        let signals = Signals::listen().map_err(|source| local("listen to signals", source))?;
        Ok(Self { identity, image, changes, terminal, signals })
    }
}

/// Runs the command; gives its exit code.
pub async fn run(cli: Cli) -> Result<u8, RunError> {
    let Prepared { identity, image, changes, terminal, mut signals } = Prepared::new(&cli)?;
    let tty = terminal.is_some();
    let resolve = async {
        let ClusterFlags { kubeconfig, context, .. } = &cli.cluster;
        let cluster = Cluster::new(kubeconfig.as_deref(), context.as_deref()).await?;
        let found = find(&cli, &cluster, &Mutex::default()).await?;
        Ok::<_, RunError>((cluster, found))
    };
    let (cluster, found) = tokio::select! {
        resolved = resolve => resolved?,
        // Nothing has been made yet, so there is nothing to undo.
        signal = signals.next() => return Err(RunError::Interrupted(signal)),
    };
    if let Some(notice) = &found.notice {
        report::notice(notice);
    }
    tracing::debug!(?found, ?identity, "resolved");

    let wanted = wanted(&cli, &image, &identity, &found)?;
    sweep(&cluster, &cli, found.user.as_ref());
    let Wanted { name, pod, sharing } = wanted;
    let mut helper = HelperPod::new(&cluster, pod, sharing);
    let target = &found.target;
    let place = Place { cli: &cli, cluster: &cluster, helper: &name, target, sharing };
    let start = first_message(&cli, target, &identity, terminal);
    let work = Work { place, tty };
    let work = work.run(&mut helper, &start, changes, &mut signals);
    let result = AssertUnwindSafe(work).catch_unwind().await;

    let by_hand = helper.by_hand();
    if let Err(error) = helper.delete().await {
        report::error(&error, Some(&by_hand), cli.verbose);
    }
    if tty {
        terminal::discard_input();
    }
    result.unwrap_or_else(|panic| resume_unwind(panic))
}

pub fn local(what: &'static str, source: std::io::Error) -> RunError {
    RunError::Local { what, source }
}

/// Flag, environment (clap knows both), or what the release was built with.
fn image(cli: &Cli) -> Result<String, ImageError> {
    let built_in = option_env!("KPEXEC_DEFAULT_HELPER_IMAGE");
    let image = cli.helper_image.as_deref().or(built_in);
    helper_image(cli.tools.toolset, image, |name| std::env::var(name).ok())
}

fn choose_terminal(cli: &Cli) -> bool {
    let choice = terminal::choose(cli.tty, cli.stdin, terminal::stdin_is_terminal());
    if choice == Choice::PipesInstead && !cli.quiet {
        report::notice(terminal::NOT_A_TERMINAL);
    }
    choice == Choice::Terminal
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

/// The session's first message.
pub fn first_message(
    cli: &Cli,
    target: &Target,
    identity: &Identity,
    terminal: Option<Terminal>,
) -> Start {
    let env = cli.env.iter();
    Start {
        target: Some(target.to_protocol()),
        identity: Some(identity.to_protocol()),
        argv: cli.command.iter().map(|arg| arg.clone().into_vec().into()).collect(),
        env: env
            .map(|var| EnvVar { name: var.name.clone().into(), value: var.value.clone().into() })
            .collect(),
        terminal,
        stdin: cli.stdin,
        workdir: cli.workdir.clone().map(|path| path.into_vec().into()),
        trust_target: cli.identity.trust_target,
        writes: kpexec_protocol::Writes::from(cli.view.writes).into(),
        writable: cli.view.writable,
        save_changes: cli.view.save_changes.is_some(),
        tools_root: cli.tools.tools_root,
    }
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
        start: &Start,
        changes: Option<ChangesFile>,
        signals: &mut Signals,
    ) -> Result<u8, RunError> {
        let Place { cli, target, .. } = self.place;
        let here = Here { cli, target, tty: self.tty };
        let mut log = HelperLog::default();
        let start = async {
            let call = self.place.reach(helper, Load::One, &mut log).await?;
            Ok(call.begin(start).await?)
        };
        let started = tokio::select! {
            started = start => started,
            signal = signals.next() => Err(RunError::Interrupted(signal)),
        };
        let result = match started {
            Ok(mut session) => {
                session.changes = changes;
                here.attend(session, signals).await
            }
            Err(error) => Err(error),
        };
        let interrupted = matches!(result, Err(RunError::Interrupted(_)));
        if cli.verbose || (result.is_err() && !interrupted) {
            report::helper_log(&log.text());
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;

    #[test]
    fn the_first_message_says_all_that_was_asked() {
        let target = Target::example();
        let message = |args: &str| {
            let args = args.split_whitespace().map(OsString::from);
            let cli = Cli::parse_args(args).unwrap();
            let identity = Identity::from_flags(&cli.identity).unwrap();
            first_message(&cli, &target, &identity, None)
        };
        let plain = Start {
            target: Some(target.to_protocol()),
            identity: Some(kpexec_protocol::Identity::default()),
            argv: vec!["ls".into(), "-l".into()],
            ..Start::default()
        };
        assert_eq!(message("kpexec web -- ls -l"), plain);
        // The helper chooses the shell: the client does not know what there is.
        let shell = Start { argv: Vec::new(), stdin: true, ..plain.clone() };
        assert_eq!(message("kpexec -i web"), shell);
        let flags = "-i --workdir /srv --trust-target --no-new-privs --env A=1 --writable";
        let expected = Start {
            identity: Some(kpexec_protocol::Identity { no_new_privs: true, ..Default::default() }),
            env: vec![EnvVar { name: "A".into(), value: "1".into() }],
            stdin: true,
            workdir: Some("/srv".into()),
            trust_target: true,
            writable: true,
            ..plain.clone()
        };
        assert_eq!(message(&format!("kpexec {flags} web -- ls -l")), expected);
        let discard = kpexec_protocol::Writes::Discard.into();
        let expected = Start { writes: discard, save_changes: true, ..plain };
        assert_eq!(message("kpexec --save-changes f.tar web -- ls -l"), expected);
    }
}
