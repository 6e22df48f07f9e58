//! One command, end to end. Read it from top to bottom.

use std::os::unix::ffi::OsStringExt;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::time::SystemTime;

use futures::FutureExt;
use kpexec_protocol::{EnvVar, Start, Terminal};
use rustix::process::Signal;
use thiserror::Error;

use crate::api_error::ApiError;
use crate::attend::Here;
use crate::changes::{ChangesFile, SaveError};
use crate::cli::Cli;
use crate::cluster::{Cluster, ClusterError};
use crate::cri_socket::{self, CriSocketError};
use crate::exit_code;
use crate::helper_pod::{
    CleanupError, HelperPod, HelperSpec, ImageError, LaunchError, Sharing, ToolsImage,
    helper_image, random_name, remove_ended, shared_name,
};
use crate::identity::{Identity, IdentityError};
use crate::local::LocalError;
use crate::report;
use crate::session::SessionError;
use crate::signals::Signals;
use crate::start::Place;
use crate::target::{self, Target, TargetError};
use crate::terminal::{self, Choice};
use crate::transport::HelperLog;
use crate::user::{User, who_am_i};

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
            Self::Node(error) => error.hint(),
            Self::Launch(error) => error.hint(),
            Self::Session(error) => error.hint(),
            Self::Gc(error) => error.hint(),
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
            Self::Interrupted(signal) => exit_code::of_own_signal(*signal),
            _ => exit_code::OURS,
        }
    }
}

/// Runs the command; gives its exit code.
pub async fn run(cli: Cli) -> Result<u8, RunError> {
    let identity = Identity::from_flags(&cli.identity)?;
    let image = image(&cli)?;
    let pod = target::pod_name(cli.pod.as_deref().unwrap_or_default())?;
    target::check_name(&cli.cluster.helper_namespace, "namespace")?;
    let changes = cli.view.save_changes.as_deref().map(ChangesFile::create).transpose()?;
    let tty = choose_terminal(&cli);
    let mut signals = Signals::listen().map_err(|source| local("listen to signals", source))?;

    let Resolved { cluster, target, cri_socket, user } = tokio::select! {
        resolved = resolve(&cli, pod) => resolved?,
        // Nothing has been made yet, so there is nothing to undo.
        signal = signals.next() => return Err(RunError::Interrupted(signal)),
    };
    tracing::debug!(?target, cri_socket, ?identity, ?user, "resolved");

    let sharing = sharing(&cli, user.as_ref());
    let spec = HelperSpec {
        name: "",
        namespace: &cli.cluster.helper_namespace,
        image: &image,
        tools_image: tools_image(&cli),
        cri_socket: &cri_socket,
        target: &target,
        identity: &identity,
        user: user.as_ref(),
        shared_for: (sharing == Sharing::User).then_some(cli.helper_ttl),
    };
    let name = match (sharing, &user) {
        (Sharing::User, Some(user)) => shared_name(&spec, user, SystemTime::now()),
        _ => random_name().map_err(|error| local("make a random name", error.into()))?,
    };
    sweep(&cluster, &cli, user.as_ref());
    let mut helper = HelperPod::new(&cluster, HelperSpec { name: &name, ..spec }.pod(), sharing);
    let place = Place { cli: &cli, cluster: &cluster, helper: &name, target: &target, sharing };
    let start = first_message(&cli, &target, &identity, tty);
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

fn tools_image(cli: &Cli) -> Option<ToolsImage<'_>> {
    let name = cli.tools.tools_image.as_deref()?;
    Some(ToolsImage { name, root: cli.tools.tools_root })
}

/// Whether the command gets a terminal.
pub fn choose_terminal(cli: &Cli) -> bool {
    let choice = terminal::choose(cli.tty, cli.stdin, terminal::stdin_is_terminal());
    if choice == Choice::PipesInstead && !cli.quiet {
        report::notice(terminal::NOT_A_TERMINAL);
    }
    choice == Choice::Terminal
}

/// With `--tools-root` what a session writes stays in its helper.
fn sharing(cli: &Cli, user: Option<&User>) -> Sharing {
    if cli.rm || cli.tools.tools_root || user.is_none() { Sharing::None } else { Sharing::User }
}

/// Removes what has ended of this user's helpers, beside all else: it may be cut
/// short by the session's end, and is done by the next one then.
fn sweep(cluster: &Cluster, cli: &Cli, user: Option<&User>) {
    let Some(user) = user.cloned() else { return };
    let (cluster, namespace) = (cluster.clone(), cli.cluster.helper_namespace.clone());
    tokio::spawn(async move {
        let removed = remove_ended(&cluster, &namespace, &user).await;
        tracing::debug!(?removed, "helper pods that had ended");
    });
}

/// What is known before anything is made.
struct Resolved {
    cluster: Cluster,
    target: Target,
    cri_socket: String,
    user: Option<User>,
}

/// Finds the cluster, the container and the CRI socket that knows it.
async fn resolve(cli: &Cli, pod: &str) -> Result<Resolved, RunError> {
    let cluster =
        Cluster::new(cli.cluster.kubeconfig.as_deref(), cli.cluster.context.as_deref()).await?;
    let namespace = cli.namespace.as_deref().unwrap_or(&cluster.namespace);
    target::check_name(namespace, "namespace")?;
    let (pod, user) = tokio::join!(target::fetch_pod(&cluster, namespace, pod), who_am_i(&cluster));
    let pod = pod?;
    let selection = target::select(&pod, cli.container.as_deref())?;
    if let Some(notice) = selection.notice.filter(|_| !cli.quiet) {
        report::notice(&notice);
    }
    let target = selection.target;
    let node = match cli.cri_socket {
        Some(_) => None,
        None => target::fetch_node(&cluster, &target.node).await?,
    };
    let socket = cri_socket::choose(cli.cri_socket.as_deref(), node.as_ref(), &target.runtime)?;
    Ok(Resolved { cluster, target, cri_socket: socket, user })
}

/// The session's first message.
pub fn first_message(cli: &Cli, target: &Target, identity: &Identity, tty: bool) -> Start {
    let env = cli.env.iter();
    Start {
        target: Some(target.to_protocol()),
        identity: Some(identity.to_protocol()),
        argv: cli.command.iter().map(|arg| arg.clone().into_vec().into()).collect(),
        env: env
            .map(|var| EnvVar { name: var.name.clone().into(), value: var.value.clone().into() })
            .collect(),
        terminal: tty.then(|| Terminal {
            size: Some(terminal::size()),
            term: std::env::var("TERM").unwrap_or_else(|_| "xterm".to_owned()),
        }),
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
        let started = tokio::select! {
            started = self.place.start(helper, start, &mut log) => started,
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
            first_message(&cli, &target, &identity, false)
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
