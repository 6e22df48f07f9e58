//! `kpexec attach`, from its flags to its exit code.

use std::time::Duration;

use kpexec_protocol::client_message::Kind;
use kpexec_protocol::{Resumed, pod};
use thiserror::Error;
use tokio::time::timeout;

use crate::attend::Here;
use crate::cli::{Attach, SessionName, session_name};
use crate::cluster::Cluster;
use crate::diagnosis::Scene;
use crate::report;
use crate::run::{RunError, local, name_fault, show_log};
use crate::session::{self, Load, Progress, Session};
use crate::signals::Signals;
use crate::target;
use crate::terminal;
use crate::transport::{Dialer, HelperLog};

/// How long it may take to reach a helper that runs.
const PATIENCE: Duration = Duration::from_secs(15);

/// Why there is no way back into a session.
#[derive(Debug, Error)]
pub enum AttachError {
    /// Its helper runs, but does not answer.
    #[error("the helper did not answer within {} s", PATIENCE.as_secs())]
    Silent,
}

/// Goes on with a session to its end.
pub async fn attach(attach: &Attach) -> Result<u8, RunError> {
    let helper_namespace = &attach.cluster.helper_namespace;
    target::check_name(helper_namespace, "namespace")?;
    let mut signals = Signals::listen().map_err(|source| local("listen to signals", source))?;
    let mut log = HelperLog::default();
    let connected = async {
        let cluster = Cluster::new(&attach.cluster).await?;
        let SessionName { pod: helper, session: number } = &attach.session;
        let keepalive = attach.life.keepalive;
        let seconds = keepalive.as_secs().to_string();
        let role = [pod::CONNECT, &seconds, number];
        let dialer = Dialer::to_start(&cluster, helper_namespace, helper, &role, keepalive);
        let first = Kind::Attach(kpexec_protocol::Attach {
            session: number.clone(),
            output: Progress::bytes_of(&session_name(helper, number)),
            terminal: terminal::stdin_is_terminal(),
        });
        let connected = async {
            session::reach(&dialer, Load::One, |new| log = new).await?.begin(&first).await
        };
        let session = timeout(PATIENCE, connected).await.map_err(|_| AttachError::Silent)??;
        Ok::<_, RunError>((cluster, session))
    };
    let connected = tokio::select! {
        connected = connected => connected,
        signal = signals.next() => return Err(RunError::Interrupted(signal)),
    };
    let result = match connected {
        Ok((cluster, session)) => {
            let result = go_on(attach, session, &mut signals).await;
            let (namespace, helper) = (helper_namespace, &attach.session.pod);
            let scene = Scene { cluster: &cluster, namespace, helper, node: None };
            name_fault(result, &scene, &mut signals).await
        }
        Err(error) => Err(error),
    };
    show_log(&log, attach.verbosity.is_on(), &result);
    result
}

async fn go_on(attach: &Attach, session: Session, signals: &mut Signals) -> Result<u8, RunError> {
    let Resumed { lost, stdin_open, terminal: tty, .. } =
        session.started.resumed.unwrap_or_default();
    if lost > 0 {
        report::notice(&format!("{lost} bytes of output are lost: more than 1 MiB came meanwhile"));
    }
    let SessionName { pod, session: number } = &attach.session;
    let here = Here {
        tty,
        stdin: stdin_open,
        raw_terminal: attach.raw_terminal,
        escape_character: attach.escape_char.0,
        detach_keys: Some(attach.detach.detach_keys.0.clone()),
        name: Ok(session_name(pod, number)),
        cluster: attach.cluster.typed(),
    };
    let result = here.attend(session, signals).await;
    if tty {
        terminal::discard_input();
    }
    result
}
