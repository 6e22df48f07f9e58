//! From a helper that may be there to a session in it.

use std::time::{Duration, Instant};

use kpexec_protocol::Reason;
use kpexec_protocol::client_message::Kind;
use tokio::time::sleep;

use crate::cli::Cli;
use crate::cluster::Cluster;
use crate::helper_pod::{HelperPod, LaunchError, Sharing, watch_for_failure};
use crate::run::RunError;
use crate::session::{self, Session, SessionError};
use crate::target::Target;
use crate::transport::{Dialer, HelperLog, TransportError};

/// How long a helper that does not reach its runtime is given to be replaced by
/// others, or the runtime to be back.
const DOUBT: Duration = Duration::from_millis(500);

/// Where a session is wanted.
pub struct Place<'a> {
    /// How.
    pub cli: &'a Cli,
    /// In which cluster.
    pub cluster: &'a Cluster,
    /// The helper pod's name.
    pub helper: &'a str,
    /// The container.
    pub target: &'a Target,
    /// Whom the helper is for.
    pub sharing: Sharing,
}

impl Place<'_> {
    /// Talks to the helper as soon as it is there; stops when it will not be.
    /// One that is shared is first asked, and made only if it is missing.
    pub async fn start(
        &self,
        helper: &mut HelperPod,
        first: &Kind,
        log: &mut HelperLog,
    ) -> Result<Session, RunError> {
        let begun = Instant::now();
        let namespace = &self.cli.cluster.helper_namespace;
        let keepalive = self.cli.life.keepalive;
        let dialer = Dialer::new(self.cluster, namespace, self.helper, keepalive);
        if self.sharing == Sharing::None {
            helper.created().await?;
            self.made(&dialer);
        }
        let (mut made, mut stale) = (false, None);
        loop {
            let patience = self.cli.helper_timeout.saturating_sub(begun.elapsed());
            let node = &self.target.node;
            let result = tokio::select! {
                session = session::connect(&dialer, first, |new| *log = new) => {
                    session.map_err(RunError::from)
                }
                error = watch_for_failure(self.cluster, namespace, self.helper, node, patience) => {
                    Err(error.or_reason(dialer.last_reason()).into())
                }
            };
            let error = match result {
                Ok(session) => {
                    helper.leave();
                    return Ok(session);
                }
                Err(error) => error,
            };
            if self.sharing == Sharing::None {
                return Err(error);
            }
            match what_next(&error, made) {
                Next::Create => helper.create().await?,
                Next::Replace => {
                    helper.remove_ended().await?;
                    helper.create().await?;
                }
                Next::Look => {
                    dialer.set_made(false);
                    continue;
                }
                Next::Leave => {
                    helper.leave();
                    return Err(error);
                }
                Next::Delete(uid) => {
                    helper.delete_failed(uid.as_deref()).await?;
                    return Err(error);
                }
                Next::Doubt => match stale.take() {
                    // Once more: another client may have replaced it just now.
                    None => {
                        stale = helper.uid().await?;
                        sleep(DOUBT).await;
                        continue;
                    }
                    uid => {
                        helper.delete_failed(uid.as_deref()).await?;
                        helper.create().await?;
                    }
                },
                Next::Remake(uid) => {
                    helper.delete_failed(uid.as_deref()).await?;
                    helper.create().await?;
                }
                Next::GiveUp => return Err(error),
            }
            made = true;
            self.made(&dialer);
        }
    }

    fn made(&self, dialer: &Dialer) {
        tracing::debug!("helper pod {} is there", self.helper);
        dialer.set_made(true);
    }
}

/// What becomes of a shared helper in which no session began.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    /// There is none: make one.
    Create,
    /// It has ended: make another one.
    Replace,
    /// Somebody deleted it; others may have made a new one.
    Look,
    /// It works; the session was not to be.
    Leave,
    /// It ran, and has ended or is ending: make another one in the place of that of
    /// this UID.
    Remake(Option<String>),
    /// It has perhaps outlived its container runtime.
    Doubt,
    /// It will never start: delete the one of this UID.
    Delete(Option<String>),
    /// It may start, and others may wait for that.
    GiveUp,
}

/// `made` says whether this kpexec has made it.
fn what_next(error: &RunError, made: bool) -> Next {
    match error {
        RunError::Session(SessionError::Transport(TransportError::Absent { .. })) => Next::Create,
        RunError::Session(SessionError::Transport(TransportError::Ended { .. })) => Next::Replace,
        RunError::Session(SessionError::Refused(failure))
            if failure.reason() == Reason::Runtime && !made =>
        {
            Next::Doubt
        }
        RunError::Session(SessionError::Refused(_)) => Next::Leave,
        RunError::Launch(LaunchError::Deleted { .. }) => Next::Look,
        RunError::Launch(LaunchError::Failed { uid, .. }) if made => Next::Delete(uid.clone()),
        RunError::Launch(LaunchError::Failed { uid, .. }) => Next::Remake(uid.clone()),
        _ => Next::GiveUp,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shared_helper_is_made_left_or_deleted_by_what_went_wrong() {
        let (pod, namespace) = (String::from("kpexec-1"), String::from("kpexec"));
        let transport = |error| RunError::Session(SessionError::Transport(error));
        let absent = TransportError::Absent { pod: pod.clone(), namespace: namespace.clone() };
        assert_eq!(what_next(&transport(absent), false), Next::Create);
        let ended = TransportError::Ended { pod: pod.clone(), namespace };
        assert_eq!(what_next(&transport(ended), false), Next::Replace);
        // One that does not speak our protocol may be another version's.
        let died = TransportError::Died { message: "exit code 2".into() };
        assert_eq!(what_next(&transport(died), false), Next::GiveUp);
        let refused = SessionError::Refused(kpexec_protocol::Failure::default());
        assert_eq!(what_next(&refused.into(), false), Next::Leave);
        let stale = || {
            let reason = Reason::Runtime.into();
            let failure = kpexec_protocol::Failure { reason, ..Default::default() };
            RunError::from(SessionError::Refused(failure))
        };
        assert_eq!(what_next(&stale(), false), Next::Doubt);
        assert_eq!(what_next(&stale(), true), Next::Leave);

        let deleted = LaunchError::Deleted { pod: pod.clone() };
        assert_eq!(what_next(&deleted.into(), true), Next::Look);
        let uid = Some("u-1".to_owned());
        let (node, reason) = ("node7".into(), "x".into());
        let failed = LaunchError::Failed { pod, uid: uid.clone(), node, reason };
        let failed = RunError::from(failed);
        assert_eq!(what_next(&failed, true), Next::Delete(uid.clone()));
        // One that ran before was killed, and takes a moment to be told as ended.
        assert_eq!(what_next(&failed, false), Next::Remake(uid));
    }
}
