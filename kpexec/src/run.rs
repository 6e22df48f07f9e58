//! One command, end to end. Read it from top to bottom.

use std::os::unix::ffi::OsStringExt;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::time::{Duration, SystemTime};

use futures::FutureExt;
use kpexec_protocol::client_message::Kind;
use kpexec_protocol::{EnvVar, Keep, Start, Started, Terminal};
use rustix::process::Signal;
use thiserror::Error;

use crate::api_error::ApiError;
use crate::attach::AttachError;
use crate::attend::Here;
use crate::banner;
use crate::changes::{ChangesFile, SaveError};
use crate::cli::{Cli, session_name};
use crate::cluster::{Cluster, ClusterError};
use crate::cri_socket::{self, CriSocketError};
use crate::diagnosis::{Fault, Scene, diagnose};
use crate::exit_code;
use crate::helper_pod::{
    CleanupError, HelperPod, HelperSpec, ImageError, LaunchError, Sharing, ToolsImage,
    helper_image, random_name, remove_ended, shared_name,
};
use crate::identity::{Identity, IdentityError};
use crate::report;
use crate::session::SessionError;
use crate::signals::Signals;
use crate::start::Place;
use crate::target::{self, Target, TargetError};
use crate::terminal::{self, Choice, Terminals};
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
            Self::Lost(fault) => fault.hint(),
            Self::Gc(error) | Self::Sessions(error) => error.hint(),
            Self::Nobody | Self::NotKept => Some("kubectl auth whoami asks the same".into()),
            Self::Attach(_)
            | Self::Cleanup(_)
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
    let keep = keep(&cli, sharing, tty)?;
    let start = first_message(&cli, &target, &identity, tty, keep);
    let work = Work { place, tty };
    let work = work.run(&mut helper, start, changes, &mut signals);
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

fn choose_terminal(cli: &Cli) -> bool {
    let choice = terminal::choose(cli.tty, cli.stdin, Terminals::look());
    if let Choice::PipesInstead(end) = choice
        && !cli.quiet
    {
        report::notice(end.is_no_terminal());
    }
    choice == Choice::Terminal
}

/// With `--tools-root` what a session writes stays in its helper.
fn sharing(cli: &Cli, user: Option<&User>) -> Sharing {
    if cli.rm || cli.tools.tools_root || user.is_none() { Sharing::None } else { Sharing::User }
}

/// Whether the session can be come back to: if it is to linger, or can be left by
/// the keyboard. It needs a helper that stays.
fn keep(cli: &Cli, sharing: Sharing, tty: bool) -> Result<Option<Keep>, RunError> {
    if sharing == Sharing::None {
        return if cli.keep.linger.is_some() { Err(RunError::NotKept) } else { Ok(None) };
    }
    let seconds = |time: Duration| u32::try_from(time.as_secs()).unwrap_or(u32::MAX);
    if let Some(linger) = cli.keep.linger {
        return Ok(Some(Keep { linger: seconds(linger) }));
    }
    Ok((tty && cli.view.save_changes.is_none()).then_some(Keep { linger: 0 }))
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
fn first_message(
    cli: &Cli,
    target: &Target,
    identity: &Identity,
    tty: bool,
    keep: Option<Keep>,
) -> Start {
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
        keep,
    }
}

/// What is done between making the helper and leaving it.
struct Work<'a> {
    place: Place<'a>,
    tty: bool,
}

impl Work<'_> {
    fn announce(&self, started: &Started) {
        let Place { cli, target, .. } = self.place;
        if self.tty && cli.is_shell() && !cli.quiet {
            banner::lines(target, started, cli).iter().for_each(|line| report::notice(line));
        }
        report::started(started, cli.quiet, cli.verbose);
    }

    fn here(&self, name: Option<String>) -> Here {
        let cli = self.place.cli;
        Here {
            tty: self.tty,
            stdin: cli.stdin,
            raw_terminal: cli.raw_terminal,
            escape_character: cli.escape_char.0,
            detach_keys: name.as_ref().map(|_| cli.detach.detach_keys.0.clone()),
            name,
        }
    }

    /// Of a session that was lost, and waits.
    fn say_how_to_return(&self, here: &Here, result: &Result<u8, RunError>) {
        let lost = matches!(result, Err(RunError::Session(SessionError::Lost(_))));
        if let (true, Some(linger), Some(name)) = (lost, self.place.cli.keep.linger, &here.name) {
            let seconds = linger.as_secs();
            report::notice(&format!("it is kept for {seconds} s: kpexec attach {name}"));
        }
    }

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
            signal = signals.next() => Err(RunError::Interrupted(signal)),
        };
        let result = match started {
            Ok(mut session) => {
                session.changes = changes;
                self.announce(&session.started);
                let name = session_name(self.place.helper, &session.started.session);
                let here = self.here(kept.then_some(name));
                let result = here.attend(session, signals).await;
                self.say_how_to_return(&here, &result);
                result
            }
            Err(error) => Err(error),
        };
        let scene = self.scene();
        let result = match result {
            Err(RunError::Session(SessionError::Lost(end))) => tokio::select! {
                fault = diagnose(end, &scene) => Err(RunError::Lost(fault)),
                signal = signals.next() => Err(RunError::Interrupted(signal)),
            },
            result => result,
        };
        let interrupted = matches!(result, Err(RunError::Interrupted(_)));
        if cli.verbose || (result.is_err() && !interrupted) {
            report::helper_log(&log.text());
        }
        result
    }

    fn scene(&self) -> Scene<'_> {
        let Place { cli, cluster, helper, target, .. } = self.place;
        Scene { cluster, namespace: &cli.cluster.helper_namespace, helper, node: &target.node }
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
            first_message(&cli, &target, &identity, false, None)
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
