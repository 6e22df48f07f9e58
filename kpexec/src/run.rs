//! One command, end to end. Read it from top to bottom.

use std::os::unix::ffi::OsStringExt;
use std::panic::{AssertUnwindSafe, resume_unwind};

use futures::FutureExt;
use kpexec_protocol::{EnvVar, Start, Started, Terminal};
use rustix::process::Signal;
use thiserror::Error;
use tokio::sync::mpsc;

use crate::banner;
use crate::changes::{ChangesFile, SaveError};
use crate::cli::Cli;
use crate::cluster::{Cluster, ClusterError};
use crate::cri_socket::{self, CriSocketError};
use crate::exit_code;
use crate::helper_pod::{
    HelperPod, HelperSpec, ImageError, LaunchError, ToolsImage, helper_image, random_name,
    watch_for_failure,
};
use crate::identity::{Identity, IdentityError};
use crate::local_io::{spawn_output, spawn_stdin};
use crate::report;
use crate::session::{self, Local, Session, SessionError};
use crate::signals::{Signals, follow_size};
use crate::target::{self, Target, TargetError};
use crate::terminal::{self, Choice, RawMode};
use crate::transport::{Dialer, HelperLog};

/// What a shell reports for a program that wrote to a closed pipe: 128 + SIGPIPE.
const BROKEN_PIPE: u8 = 141;

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
    /// The file for what the command changes.
    #[error(transparent)]
    Save(#[from] SaveError),
    /// The session.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// The operating system at this end: entropy, signals, the terminal.
    #[error("cannot {what}")]
    Local {
        /// What was tried.
        what: &'static str,
        /// Why it did not work.
        source: std::io::Error,
    },
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
            Self::Save(_) | Self::Local { .. } | Self::Interrupted(_) => None,
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
    target::check_name(&cli.helper_namespace, "namespace")?;
    let changes = cli.view.save_changes.as_deref().map(ChangesFile::create).transpose()?;
    let tty = choose_terminal(&cli);
    let mut signals = Signals::listen().map_err(|source| local("listen to signals", source))?;

    let (cluster, target, cri_socket) = tokio::select! {
        resolved = resolve(&cli, pod) => resolved?,
        // Nothing has been made yet, so there is nothing to undo.
        signal = signals.next() => return Err(RunError::Interrupted(signal)),
    };
    tracing::debug!(?target, cri_socket, ?identity, "resolved");

    let name = random_name().map_err(|error| local("make a random name", error.into()))?;
    let spec = HelperSpec {
        name: &name,
        namespace: &cli.helper_namespace,
        image: &image,
        tools_image: tools_image(&cli),
        cri_socket: &cri_socket,
        target: &target,
        identity: &identity,
    };
    let mut helper = HelperPod::create(&cluster, spec.pod());
    let work = Work { cli: &cli, cluster: &cluster, helper: &name, target: &target, tty };
    let start = first_message(&cli, &target, &identity, tty);
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

fn local(what: &'static str, source: std::io::Error) -> RunError {
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
    let choice = terminal::choose(cli.tty, cli.stdin, terminal::stdin_is_terminal());
    if choice == Choice::PipesInstead && !cli.quiet {
        report::notice(terminal::NOT_A_TERMINAL);
    }
    choice == Choice::Terminal
}

/// Finds the cluster, the container and the CRI socket that knows it.
async fn resolve(cli: &Cli, pod: &str) -> Result<(Cluster, Target, String), RunError> {
    let cluster = Cluster::new(cli.kubeconfig.as_deref(), cli.context.as_deref()).await?;
    let namespace = cli.namespace.as_deref().unwrap_or(&cluster.namespace);
    target::check_name(namespace, "namespace")?;
    let pod = target::fetch_pod(&cluster, namespace, pod).await?;
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
    Ok((cluster, target, socket))
}

/// The session's first message.
fn first_message(cli: &Cli, target: &Target, identity: &Identity, tty: bool) -> Start {
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

/// What is done between making the helper and deleting it.
struct Work<'a> {
    cli: &'a Cli,
    cluster: &'a Cluster,
    helper: &'a str,
    target: &'a Target,
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
        let mut log = HelperLog::default();
        let started = tokio::select! {
            started = self.start_session(helper, start, &mut log) => started,
            signal = signals.next() => Err(RunError::Interrupted(signal)),
        };
        let result = match started {
            Ok(mut session) => {
                session.changes = changes;
                self.attend(session, signals).await
            }
            Err(error) => Err(error),
        };
        let interrupted = matches!(result, Err(RunError::Interrupted(_)));
        if self.cli.verbose || (result.is_err() && !interrupted) {
            report::helper_log(&log.text());
        }
        result
    }

    /// Talks to the helper as soon as it is there; stops when it will not be.
    async fn start_session(
        &self,
        helper: &mut HelperPod,
        start: &Start,
        log: &mut HelperLog,
    ) -> Result<Session, RunError> {
        helper.created().await?;
        tracing::debug!("helper pod {} created", self.helper);
        let namespace = &self.cli.helper_namespace;
        let dialer = Dialer::new(self.cluster, namespace, self.helper);
        let node = &self.target.node;
        let patience = self.cli.helper_timeout;
        tokio::select! {
            session = session::connect(&dialer, start, |new| *log = new) => Ok(session?),
            error = watch_for_failure(self.cluster, namespace, self.helper, node, patience) => {
                Err(error.or_reason(dialer.last_reason()).into())
            }
        }
    }

    fn announce(&self, started: &Started) {
        let Cli { quiet, verbose, .. } = *self.cli;
        if self.tty && self.cli.is_shell() && !quiet {
            let lines = banner::lines(self.target, started, self.cli);
            lines.iter().for_each(|line| report::notice(line));
        }
        report::started(started, quiet, verbose);
    }

    /// Connects the session with the terminal or the pipes here, to its end.
    async fn attend(&self, mut session: Session, signals: &mut Signals) -> Result<u8, RunError> {
        // Before raw mode, in which a line feed would not return to column one.
        self.announce(&session.started);
        let (control, controlled) = mpsc::channel(16);
        let (output, written) = spawn_output();
        let raw = self.tty.then(|| RawMode::enter(self.cli.raw_terminal)).transpose();
        let raw = raw.map_err(|source| local("switch the terminal to raw mode", source))?;
        if self.tty {
            tokio::spawn(follow_size(control.clone()));
        }
        let stdin = self.cli.stdin.then(spawn_stdin);
        let relayed = tokio::select! {
            code = session::relay(&mut session, Local { stdin, control: controlled, output }) => code,
            // With a terminal keys come as bytes, so a signal is always for us.
            signal = signals.meant_for_us((!self.tty).then_some(&control)) => {
                return Err(RunError::Interrupted(signal));
            }
        };
        // What was received last must be written before the exit code is given.
        let written = tokio::select! {
            written = written => written.unwrap_or(Ok(())),
            signal = signals.next() => return Err(RunError::Interrupted(signal)),
        };
        drop(raw);
        // Even with -q: they say what is lost.
        session.notices.iter().for_each(|text| report::notice(text));
        match (relayed?, written) {
            (_, Err(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(BROKEN_PIPE),
            (_, Err(error)) => Err(SessionError::Output(error).into()),
            (Some(code), Ok(())) => Ok(code),
            (None, Ok(())) => Err(SessionError::Protocol("output was cut short").into()),
        }
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
