//! From a helper that may be there to one that answers.

use std::time::Instant;

use crate::cli::Cli;
use crate::cluster::Cluster;
use crate::helper_pod::{HelperPod, LaunchError, Sharing, watch_for_failure};
use crate::run::RunError;
use crate::session::{self, Call, Load, SessionError};
use crate::target::Target;
use crate::transport::{Dialer, HelperLog, TransportError};

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
    /// Calls the helper as soon as it is there; stops when it will not be. One
    /// that is shared is first asked, and made only if it is missing.
    pub async fn reach(
        &self,
        helper: &mut HelperPod,
        load: Load,
        log: &mut HelperLog,
    ) -> Result<Call, RunError> {
        let begun = Instant::now();
        let namespace = &self.cli.cluster.helper_namespace;
        let dialer = Dialer::new(self.cluster, namespace, self.helper);
        if self.sharing == Sharing::None {
            helper.created().await?;
            self.made(&dialer);
        }
        loop {
            let patience = self.cli.helper_timeout.saturating_sub(begun.elapsed());
            let node = &self.target.node;
            let result = tokio::select! {
                call = session::reach(&dialer, load, |new| *log = new) => {
                    call.map_err(RunError::from)
                }
                error = watch_for_failure(self.cluster, namespace, self.helper, node, patience) => {
                    Err(error.or_reason(dialer.last_reason()).into())
                }
            };
            let error = match result {
                Ok(call) => {
                    helper.leave();
                    return Ok(call);
                }
                Err(error) => error,
            };
            if self.sharing == Sharing::None {
                return Err(error);
            }
            match what_next(&error) {
                Next::Create => helper.create().await?,
                Next::Replace => {
                    helper.remove_ended().await?;
                    helper.create().await?;
                }
                Next::Look => {
                    dialer.set_made(false);
                    continue;
                }
                Next::Delete(uid) => {
                    helper.delete_failed(uid.as_deref()).await?;
                    return Err(error);
                }
                Next::GiveUp => return Err(error),
            }
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
    /// It will never start: delete the one of this UID.
    Delete(Option<String>),
    /// It may start, and others may wait for that.
    GiveUp,
}

fn what_next(error: &RunError) -> Next {
    match error {
        RunError::Session(SessionError::Transport(TransportError::Absent { .. })) => Next::Create,
        RunError::Session(SessionError::Transport(TransportError::Ended { .. })) => Next::Replace,
        RunError::Launch(LaunchError::Deleted { .. }) => Next::Look,
        RunError::Launch(LaunchError::Failed { uid, .. }) => Next::Delete(uid.clone()),
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
        assert_eq!(what_next(&transport(absent)), Next::Create);
        let ended = TransportError::Ended { pod: pod.clone(), namespace };
        assert_eq!(what_next(&transport(ended)), Next::Replace);
        // One that does not speak our protocol may be another version's.
        let died = TransportError::Died { message: "exit code 2".into() };
        assert_eq!(what_next(&transport(died)), Next::GiveUp);

        let deleted = LaunchError::Deleted { pod: pod.clone() };
        assert_eq!(what_next(&deleted.into()), Next::Look);
        let uid = Some("u-1".to_owned());
        let (node, reason) = ("node7".into(), "x".into());
        let failed = LaunchError::Failed { pod, uid: uid.clone(), node, reason };
        assert_eq!(what_next(&failed.into()), Next::Delete(uid));
    }
}
