//! A byte stream to the helper: one exec through API server and kubelet.
//!
//! Not `Api::exec`: that one task both reads and writes, so it stops for ever
//! when both directions are full, cuts everything into 1 KiB messages, and on
//! v4 loses output and status at the end of stdin.

mod carry;
mod channel;
mod verdict;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kpexec_protocol::pod;
use kube::api::AttachParams;
use kube::core::Request;
use thiserror::Error;
use tokio::io::DuplexStream;
use tokio::task::JoinSet;

use crate::api_error::ApiError;
use crate::cluster::Cluster;
use crate::helper_pod::CONTAINER;

pub use carry::{End, HelperLog, Link};
use verdict::Readiness;

/// A starting container accepts exec some tens of milliseconds before the API
/// server calls it Running, so asking is the fastest way to know.
const SOON: Duration = Duration::from_millis(30);
/// For errors that do not say that they will pass, but may.
const LATER: Duration = Duration::from_millis(250);

/// Why there is no way to the helper, for good.
#[derive(Debug, Error)]
pub enum TransportError {
    /// Refused, mostly for want of rights.
    #[error("cannot exec into helper pod {pod} in namespace {namespace}")]
    Exec {
        /// Its name.
        pod: String,
        /// Its namespace.
        namespace: String,
        /// What the API server said.
        source: ApiError,
    },
    /// A helper that was expected is not there, or no more.
    #[error("there is no helper pod {pod} in namespace {namespace}")]
    Absent {
        /// Its name.
        pod: String,
        /// Its namespace.
        namespace: String,
    },
    /// A helper that was expected has ended.
    #[error("helper pod {pod} in namespace {namespace} has ended")]
    Ended {
        /// Its name.
        pod: String,
        /// Its namespace.
        namespace: String,
    },
    /// The image holds something else than the helper.
    #[error("the helper image has no usable {}: {message}", pod::ENTRY)]
    NoHelper {
        /// What the container runtime said.
        message: String,
    },
    /// The helper started and ended without a word of the protocol.
    #[error("no session began: {message}")]
    Died {
        /// What the kubelet said.
        message: String,
    },
}

impl TransportError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Exec { source, .. } => source.hint(),
            Self::NoHelper { .. } => {
                Some("--helper-image or KPEXEC_HELPER_IMAGE names the image".into())
            }
            Self::Absent { .. } => Some(
                "it has ended, or --helper-namespace, --context or --kubeconfig name another one"
                    .into(),
            ),
            Self::Ended { .. } => None,
            // By SIGKILL: whoever was killed need not be of another version.
            Self::Died { message } if message.ends_with("code 137") => None,
            Self::Died { .. } => Some("are kpexec and the helper image of one version?".into()),
        }
    }
}

/// How one attempt to reach the helper failed.
#[derive(Debug)]
pub enum DialError {
    /// Worth another attempt after the pause.
    NotYet(Duration),
    /// Never going to work.
    Final(TransportError),
}

/// Knows how to reach one helper, and why it could not last time.
pub struct Dialer {
    cluster: Cluster,
    namespace: String,
    pod: String,
    /// What is started in it.
    command: Vec<String>,
    /// How long the helper waits for a client that is silent.
    keepalive: Duration,
    /// Whether the pod is known to have been made, so that it only needs time.
    made: AtomicBool,
    /// The first attempt, where it was begun ahead.
    ahead: Mutex<JoinSet<Dialed>>,
    last_reason: Mutex<Option<String>>,
}

/// A link, or why there is none.
type Dialed = Result<(Link, DuplexStream), ApiError>;

async fn connect(cluster: &Cluster, request: http::Request<Vec<u8>>) -> Dialed {
    let connection = cluster.client.connect(request).await;
    connection.map(carry::start).map_err(|error| cluster.error(error))
}

impl Dialer {
    /// Of the helper pod with this name, which may not be there, to begin a session.
    pub fn new(cluster: &Cluster, namespace: &str, pod: &str, keepalive: Duration) -> Arc<Self> {
        let seconds = keepalive.as_secs().to_string();
        Self::to_start(cluster, namespace, pod, &[pod::CONNECT, &seconds], keepalive)
    }

    /// The same, to start another role of the helper's.
    pub fn to_start(
        cluster: &Cluster,
        namespace: &str,
        pod: &str,
        role: &[&str],
        keepalive: Duration,
    ) -> Arc<Self> {
        let program = format!("/{}", pod::ENTRY);
        let words = role.iter().map(|word| (*word).to_owned());
        let command = std::iter::once(program).chain(words).collect();
        Arc::new(Self {
            command,
            cluster: cluster.clone(),
            namespace: namespace.to_owned(),
            pod: pod.to_owned(),
            keepalive,
            made: AtomicBool::new(false),
            ahead: Mutex::default(),
            last_reason: Mutex::new(None),
        })
    }

    /// Whether it leads to this one.
    pub fn leads_to(&self, pod: &str) -> bool {
        self.pod == pod
    }

    /// How long the helper waits for a client that is silent.
    pub fn keepalive(&self) -> Duration {
        self.keepalive
    }

    /// From now on a pod that is missing is one that starts, or the other way
    /// round.
    pub fn set_made(&self, made: bool) {
        self.made.store(made, Ordering::Relaxed);
    }

    /// Begins the first attempt before it is known whether this is the right helper.
    /// It ends with the dialer, if nobody dials.
    pub fn dial_ahead(&self) {
        // One that cannot be built will not be built later either, which is told then.
        let Ok(request) = self.request() else { return };
        let cluster = self.cluster.clone();
        self.ahead().spawn(async move { connect(&cluster, request).await });
    }

    /// One attempt. A link that comes of it may still lead nowhere: from 1.30
    /// on the server upgrades before it dials the container. What happens then
    /// is judged by [`Dialer::judge_end`].
    pub async fn dial(&self) -> Result<(Link, DuplexStream), DialError> {
        let mut ahead = std::mem::take(&mut *self.ahead());
        let result = match ahead.join_next().await {
            Some(Ok(result)) => result,
            _ => self.exec().await,
        };
        result.map_err(|error| {
            self.judged(verdict::of_refusal(&error), |pod, namespace| TransportError::Exec {
                pod,
                namespace,
                source: error,
            })
        })
    }

    /// The same, without a judgement.
    pub async fn exec(&self) -> Dialed {
        let request = self.request().map_err(|error| self.cluster.error(error))?;
        connect(&self.cluster, request).await
    }

    fn ahead(&self) -> MutexGuard<'_, JoinSet<Dialed>> {
        self.ahead.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Judges a link that ended before the helper said anything.
    pub fn judge_end(&self, end: &End) -> DialError {
        let message = end.to_string();
        self.judged(verdict::of_silent_end(end), |_, _| {
            if verdict::is_missing_program(&message) {
                TransportError::NoHelper { message }
            } else {
                TransportError::Died { message }
            }
        })
    }

    /// Why the helper could not be reached, other than that it is starting.
    pub fn last_reason(&self) -> Option<String> {
        self.last_reason.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn judged(
        &self,
        readiness: Readiness,
        make_final: impl FnOnce(String, String) -> TransportError,
    ) -> DialError {
        let (pod, namespace) = (self.pod.clone(), self.namespace.clone());
        let made = self.made.load(Ordering::Relaxed);
        match readiness {
            Readiness::Final => DialError::Final(make_final(pod, namespace)),
            Readiness::Absent if !made => {
                DialError::Final(TransportError::Absent { pod, namespace })
            }
            Readiness::Ended if !made => DialError::Final(TransportError::Ended { pod, namespace }),
            Readiness::Starting | Readiness::Absent => DialError::NotYet(SOON),
            // Why is for the watch over the pod to say.
            Readiness::Ended => DialError::NotYet(LATER),
            Readiness::Unreachable(reason) => {
                let mut last = self.last_reason.lock().unwrap_or_else(PoisonError::into_inner);
                if last.as_ref() != Some(&reason) {
                    tracing::debug!(reason, "helper not reachable");
                }
                *last = Some(reason);
                DialError::NotYet(LATER)
            }
        }
    }

    /// No terminal: the PTY is the helper's, and a terminal here would garble
    /// the protocol. The command says nothing about the session, because URLs
    /// are logged.
    fn request(&self) -> kube::Result<http::Request<Vec<u8>>> {
        let streams = AttachParams {
            container: Some(CONTAINER.to_owned()),
            stdin: true,
            stdout: true,
            stderr: true,
            tty: false,
            ..AttachParams::default()
        };
        Request::new(format!("/api/v1/namespaces/{}/pods", self.namespace))
            .exec(&self.pod, &self.command, &streams)
            .map_err(kube::Error::BuildRequest)
    }
}
