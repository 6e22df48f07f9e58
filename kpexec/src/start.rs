//! From a helper that may be there to one that answers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use kpexec_protocol::Reason;
use kpexec_protocol::client_message::Kind;

use crate::cli::Cli;
use crate::cluster::Cluster;
use crate::diagnosis::{Scene, unready};
use crate::helper_pod::{HelperPod, LaunchError, Phases, Sharing, watch_for_failure};
use crate::run::RunError;
use crate::session::{self, Call, Load, Session, SessionError};
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
    /// The way to it.
    pub dialer: Arc<Dialer>,
    /// The container.
    pub target: &'a Target,
    /// Whom the helper is for.
    pub sharing: Sharing,
    /// Who hears how the helper starts.
    pub phases: &'a Phases,
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
        let dialer = &self.dialer;
        if self.sharing == Sharing::None {
            helper.created().await?;
            self.made();
        }
        let mut made = false;
        loop {
            let patience = self.cli.helper_timeout.saturating_sub(begun.elapsed());
            let result = tokio::select! {
                call = session::reach(dialer, load, |new| *log = new) => {
                    call.map_err(RunError::from)
                }
                error = self.watch_for_failure(patience) => {
                    Err(self.of_node(error.or_reason(dialer.last_reason())).await.into())
                }
            };
            let error = match result {
                Ok(call) => return Ok(call),
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
                Next::Delete(uid) => {
                    helper.delete_failed(uid).await;
                    return Err(error);
                }
                Next::Remake(uid) => {
                    if !helper.delete_failed(uid).await {
                        return Err(error);
                    }
                    helper.create().await?;
                }
                Next::GiveUp => return Err(error),
            }
            made = true;
            self.made();
        }
    }

    /// The same, and begins a session.
    pub async fn start(
        &self,
        helper: &mut HelperPod,
        first: &Kind,
        log: &mut HelperLog,
    ) -> Result<Session, RunError> {
        let call = self.reach(helper, Load::One, log).await?;
        self.begin(helper, call, first).await
    }

    /// Begins a session in a helper that answers; stops when the rest of its pod will
    /// not come: the tools container, say.
    pub async fn begin(
        &self,
        helper: &mut HelperPod,
        call: Call,
        first: &Kind,
    ) -> Result<Session, RunError> {
        let patience = self.cli.helper_timeout;
        let error: RunError = tokio::select! {
            begun = call.begin(first) => {
                match &begun {
                    // Made with a wrong path, it is of no use to anybody.
                    Err(error) if is_path_wrong(error) => helper.delete_made().await,
                    // It works, be it that the session was not to be.
                    Ok(_) | Err(SessionError::Refused(_)) => helper.leave(),
                    Err(_) => {}
                }
                return Ok(begun?);
            }
            error = self.watch_for_failure(patience) => {
                error.into()
            }
        };
        if let (Sharing::User, Next::Delete(uid)) = (self.sharing, what_next(&error, true)) {
            helper.delete_failed(uid).await;
        }
        Err(error)
    }

    /// Where to look for a fault.
    pub fn scene(&self) -> Scene<'_> {
        let Self { cli, cluster, helper, target, .. } = self;
        let node = Some(target.node.as_str());
        Scene { cluster, namespace: &cli.cluster.helper_namespace, helper, node }
    }

    /// A helper that is late may be so because of its node.
    async fn of_node(&self, error: LaunchError) -> LaunchError {
        if !matches!(error, LaunchError::TimedOut { .. }) {
            return error;
        }
        match unready(self.cluster, &self.target.node).await {
            Some(fault) => error.on_node(fault),
            None => error,
        }
    }

    async fn watch_for_failure(&self, patience: Duration) -> LaunchError {
        let (namespace, node) = (&self.cli.cluster.helper_namespace, &self.target.node);
        watch_for_failure(self.cluster, namespace, self.helper, node, patience, self.phases)
            .await
            .in_all(self.cli.helper_timeout)
    }

    fn made(&self) {
        self.phases.tell(&self.target.node, vec!["created".to_owned()]);
        tracing::debug!("helper pod {} is there", self.helper);
        self.dialer.set_made(true);
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
    /// It ran, and has ended or is ending: make another one in the place of that of
    /// this UID.
    Remake(Option<String>),
    /// It will never start: delete the one of this UID.
    Delete(Option<String>),
    /// It may start, and others may wait for that.
    GiveUp,
}

/// Whether the helper was told a wrong path of its container runtime.
pub fn is_path_wrong(error: &SessionError) -> bool {
    matches!(error, SessionError::Refused(failure) if failure.reason() == Reason::Runtime)
}

/// `made` says whether this kpexec has made it.
fn what_next(error: &RunError, made: bool) -> Next {
    match error {
        RunError::Session(SessionError::Transport(TransportError::Absent { .. })) => Next::Create,
        RunError::Session(SessionError::Transport(TransportError::Ended { .. })) => Next::Replace,
        RunError::Launch(LaunchError::Deleted { .. }) => Next::Look,
        RunError::Launch(LaunchError::Failed { uid, .. }) if made => Next::Delete(uid.clone()),
        RunError::Launch(LaunchError::Failed { uid, .. }) => Next::Remake(uid.clone()),
        _ => Next::GiveUp,
    }
}

#[cfg(test)]
mod tests {
    use http::{Method, Request, Response};
    use kube::client::Body;
    use serde_json::{Value, json};

    use super::*;
    use crate::helper_pod::CleanupError;

    /// A cluster in which the helper is missing at first, and then cannot start; it
    /// may be made, but not be deleted.
    fn cluster() -> Cluster {
        let service = tower::service_fn(async |request: Request<Body>| {
            let (method, path) = (request.method().clone(), request.uri().path().to_owned());
            let (code, body) = answer(&method, &path);
            let body = Body::from(body.to_string().into_bytes());
            Ok::<_, std::io::Error>(Response::builder().status(code).body(body).unwrap())
        });
        Cluster {
            client: kube::Client::new(service, "default"),
            namespace: "default".into(),
            url: "https://test".into(),
            certificate_end: None,
        }
    }

    fn answer(method: &Method, path: &str) -> (u16, Value) {
        let waiting = json!({"reason": "ErrImageNeverPull", "message": "it is not there"});
        let pod = json!({
            "kind": "Pod", "apiVersion": "v1",
            "metadata": {"name": "kpexec-1", "namespace": "kpexec", "uid": "u-1"},
            "status": {"phase": "Pending", "containerStatuses": [{
                "name": "helper", "image": "", "imageID": "", "ready": false, "restartCount": 0,
                "state": {"waiting": waiting}}]},
        });
        let refused = |code: u16, message: &str| {
            let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure",
                                "code": code, "message": message});
            (code, status)
        };
        match (method, path.rsplit('/').next().unwrap_or_default()) {
            (&Method::POST, "pods") | (_, "kpexec-1") if method != Method::DELETE => (200, pod),
            (&Method::GET, "pods") => {
                let metadata = json!({"resourceVersion": "1"});
                (
                    200,
                    json!({"kind": "PodList", "apiVersion": "v1", "metadata": metadata,
                             "items": [pod]}),
                )
            }
            (_, "exec") => refused(404, "pods \"kpexec-1\" not found"),
            _ => refused(403, "User \"bob\" may not do this"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_helper_that_neither_starts_nor_can_be_deleted_is_told_as_both() {
        let cluster = cluster();
        let args = ["kpexec", "web", "--", "id"].map(Into::into);
        let (cli, target) = (Cli::parse_args(args).unwrap(), Target::example());
        let pod = json!({"metadata": {"name": "kpexec-1", "namespace": "kpexec"}});
        let pod = serde_json::from_value(pod).unwrap();
        let mut helper = HelperPod::new(&cluster, pod, Sharing::User);
        let place = Place {
            cli: &cli,
            cluster: &cluster,
            helper: "kpexec-1",
            dialer: Dialer::new(&cluster, "kpexec", "kpexec-1", Duration::from_secs(30)),
            target: &target,
            sharing: Sharing::User,
            phases: &Phases::default(),
        };
        let reached = place.reach(&mut helper, Load::One, &mut HelperLog::default()).await;
        let error = reached.map(drop).unwrap_err();
        assert!(matches!(error, RunError::Launch(LaunchError::Failed { .. })), "{error:?}");
        let left = helper.delete().await.unwrap_err();
        assert!(matches!(left, CleanupError::Delete { .. }), "{left:?}");
    }

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
        let refused = |reason: Reason| {
            let reason = reason.into();
            let failure = kpexec_protocol::Failure { reason, ..Default::default() };
            SessionError::Refused(failure)
        };
        assert!(is_path_wrong(&refused(Reason::Runtime)));
        assert!(!is_path_wrong(&refused(Reason::Helper)));

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
