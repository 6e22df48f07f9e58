//! On a node itself: the helper is a child of ours, and speaks over two pipes.
//! No API server is asked.

mod place;
mod spawn;

use std::path::{Path, PathBuf};

use kpexec_protocol::client_message::Kind;
use kpexec_protocol::{Found, Terminal};
use rustix::system::uname;
use thiserror::Error;

use crate::attend::Here;
use crate::banner::announce;
use crate::changes::ChangesFile;
use crate::cli::Cli;
use crate::identity::Identity;
use crate::report;
use crate::request::first_message;
use crate::run::{RunError, local, show_log, wanted_terminal};
use crate::session::{OwnHelper, SessionError};
use crate::signals::Signals;
use crate::target::Target;
use crate::terminal;
use place::Place;

/// Why no session can be had on this node.
#[derive(Debug, Error)]
pub enum LocalError {
    /// Namespaces can be joined by root only.
    #[error("--local must be run by root: it enters the container itself")]
    NotRoot,
    /// The privileged end is a program of its own.
    #[error("there is no node-helper: neither {}", .0.join(" nor "))]
    NoHelper(Vec<String>),
    /// It is two programs, of which one is there.
    #[error("there is no {}", .0.display())]
    NoEntry(PathBuf),
    /// It is there, and cannot be started.
    #[error("cannot start {path}")]
    Start {
        /// Its path.
        path: String,
        /// Why not.
        source: std::io::Error,
    },
}

impl LocalError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NotRoot => Some("sudo kpexec --local ...".into()),
            Self::NoHelper(_) => Some("--local-helper or KPEXEC_NODE_HELPER names it".into()),
            Self::NoEntry(_) => {
                Some("it comes with node-helper, in the root folder of the helper image".into())
            }
            Self::Start { .. } => None,
        }
    }
}

const NO_TOOLSET: &str = "no toolset on this node, only the container's own programs: \
     KPEXEC_TOOLSET_FOLDER names its folder";

/// Runs the command; gives its exit code.
pub async fn run(cli: Cli) -> Result<u8, RunError> {
    let identity = Identity::from_flags(&cli.identity)?;
    if !rustix::process::geteuid().is_root() {
        return Err(LocalError::NotRoot.into());
    }
    let place = Place::find(cli.local.local_helper.as_deref(), cli.cri_socket.as_deref())?;
    let changes = cli.view.save_changes.as_deref().map(ChangesFile::create).transpose()?;
    let terminal = wanted_terminal(&cli);
    let tty = terminal.is_some();
    if place.toolset.is_none() && !cli.quiet {
        report::notice(NO_TOOLSET);
    }
    let mut signals = Signals::listen().map_err(|source| local("listen to signals", source))?;

    let keepalive = cli.life.keepalive;
    let (link, stream) = place.start_helper(keepalive)?;
    let log = link.log();
    let work = Work { cli: &cli, identity: &identity, terminal };
    let helper = OwnHelper::over(stream, link, keepalive).await?;
    let result = work.run(helper, changes, &mut signals).await;
    if matches!(result, Err(RunError::Session(SessionError::Lost(_)))) {
        place.sweep();
    }
    show_log(&log, cli.verbosity.is_on(), &result);
    if tty {
        terminal::discard_input();
    }
    result
}

/// The running containers of this machine, each as POD/NAMESPACE/CONTAINER; none where
/// they cannot be known.
pub async fn containers(helper: Option<&Path>, cri_socket: Option<&str>) -> Option<Vec<String>> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    Place::find(helper, cri_socket).ok()?.containers().await.ok()
}

struct Work<'a> {
    cli: &'a Cli,
    identity: &'a Identity,
    terminal: Option<Terminal>,
}

impl Work<'_> {
    async fn run(
        &self,
        helper: OwnHelper,
        changes: Option<ChangesFile>,
        signals: &mut Signals,
    ) -> Result<u8, RunError> {
        let started = tokio::select! {
            started = self.start(helper) => started,
            signal = signals.next() => Err(RunError::Interrupted(signal)),
        };
        let (mut session, target) = started?;
        session.changes = changes;
        let tty = self.terminal.is_some();
        announce(&target, &session.started, self.cli, tty, false);
        // Nobody could keep it.
        Here::new(self.cli, tty, None).attend(session, signals).await
    }

    async fn start(
        &self,
        helper: OwnHelper,
    ) -> Result<(crate::session::Session, Target), RunError> {
        let name = self.cli.pod.as_deref().unwrap_or_default();
        let Found { target, notice } = helper.find(name).await?;
        if !notice.is_empty() && !self.cli.quiet {
            report::notice(&notice);
        }
        let node = uname().nodename().to_string_lossy().into_owned();
        let target = Target::from_protocol(target.unwrap_or_default(), node);
        tracing::debug!(?target, identity = ?self.identity, "found");
        let terminal = self.terminal.clone();
        let start = first_message(self.cli, &target, self.identity, terminal, None);
        Ok((helper.start(&Kind::Start(start)).await?, target))
    }
}
