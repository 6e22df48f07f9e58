//! Creates the helper pod, and watches why it does not start.

use std::time::Duration;

use futures::stream::{BoxStream, StreamExt};
use k8s_openapi::api::core::v1::{Event, Pod};
use kube::Api;
use kube::api::PostParams;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event as Watched, watcher};
use thiserror::Error;
use tokio::time::{Instant, sleep, timeout_at};

use super::admission;
use super::phases::{Phases, phases};
use super::spec::PROGRAM;
use super::verdict::{Verdict, judge};
use crate::api_error::ApiError;
use crate::cluster::Cluster;

/// How a reason begins that concerns the tools container.
const TOOLS: &str = "container tools";

/// Most helpers run by then; looking earlier costs two connections for nothing.
const FIRST_LOOK: Duration = Duration::from_secs(1);

/// Why there is no helper to talk to.
#[derive(Debug, Error)]
pub enum LaunchError {
    /// Refused by the API server: rights, admission, quota, namespace.
    #[error("cannot create helper pod {pod} in namespace {namespace:?}")]
    Create {
        /// Its name.
        pod: String,
        /// Its namespace.
        namespace: String,
        /// Whether it was asked before, and may have made the pod then.
        repeated: bool,
        /// What the API server said.
        source: ApiError,
    },
    /// It will not start.
    #[error("helper pod {pod} cannot start on node {node}: {reason}")]
    Failed {
        /// Its name.
        pod: String,
        /// Its UID.
        uid: Option<String>,
        /// Its node.
        node: String,
        /// What the kubelet said.
        reason: String,
    },
    /// Somebody or something deleted it.
    #[error("helper pod {pod} was deleted while it started")]
    Deleted {
        /// Its name.
        pod: String,
    },
    /// It might have started later.
    #[error("helper pod {pod} did not start on node {node} within {}s: {}", .after.as_secs(),
        .reason.as_deref().unwrap_or("its kubelet reported no reason"))]
    TimedOut {
        /// Its name.
        pod: String,
        /// Its node.
        node: String,
        /// How long we waited.
        after: Duration,
        /// The last thing known.
        reason: Option<String>,
    },
    /// The task that creates it did not end as it should.
    #[error("creating the helper pod was cut short")]
    Interrupted(#[source] tokio::task::JoinError),
}

/// What the kubelet says of an image that cannot be pulled at this moment: its
/// reasons (pkg/kubelet/images/types.go and the CRI's own,
/// k8s.io/cri-api/pkg/errors) and the words of its events.
const NOT_PULLED: [&str; 5] =
    ["ErrImagePull", "ImagePullBackOff", "RegistryUnavailable", "pull image", "Back-off pulling"];

/// And of one that is being pulled.
const PULLING: &str = "Pulling image";

/// What it says of one that is the wrong one, and where the runtime does not find
/// our program in it.
const IMAGE: [&str; 7] = [
    "InvalidImageName",
    "ErrImageNeverPull",
    "ImageInspectError",
    "SignatureValidationFailed",
    "ErrImagePull",
    "ImagePullBackOff",
    PROGRAM,
];

fn says(reason: &str, words: &[&str]) -> bool {
    words.iter().any(|word| reason.contains(word))
}

/// What names the image that a reason is about.
fn image(reason: &str) -> String {
    if reason.starts_with(TOOLS) {
        return "--tools-image names the image of that container".into();
    }
    "--helper-image or KPEXEC_HELPER_IMAGE names the image".into()
}

impl LaunchError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Create { source, namespace, .. } if source.code() == Some(404) => Some(format!(
                "namespace {namespace} is missing; create it with: kubectl apply -f manifests/"
            )),
            Self::Create { source, namespace, .. } => {
                source.hint().or_else(|| admission::hint(&source.to_string(), namespace))
            }
            Self::Failed { reason, .. } if reason.starts_with(TOOLS) || says(reason, &IMAGE) => {
                Some(image(reason))
            }
            Self::Failed { reason, .. } if reason.contains("apply caps") => {
                Some("the node cannot give all these capabilities; add those you need".into())
            }
            Self::TimedOut { reason: Some(reason), .. } if says(reason, &NOT_PULLED) => {
                Some("is its name right, and its registry up? --helper-timeout waits longer".into())
            }
            Self::TimedOut { reason: Some(reason), .. } if reason.contains(PULLING) => {
                Some("--helper-timeout waits longer: it covers pulling the images".into())
            }
            Self::TimedOut { reason: Some(reason), .. } if says(reason, &IMAGE) => {
                Some(image(reason))
            }
            Self::TimedOut { .. } => {
                Some("is the node Ready? --helper-timeout waits longer".into())
            }
            _ => None,
        }
    }
}

impl LaunchError {
    /// Whether there is no pod for certain: refused at the first attempt. A
    /// quota may refuse the second because of the pod the first one made.
    pub fn refused(&self) -> bool {
        matches!(self, Self::Create { repeated: false, source, .. }
            if source.code().is_some_and(|code| (400..500).contains(&code)))
    }

    /// Adds what others know to an error that knows no reason.
    pub fn or_reason(mut self, known: Option<String>) -> Self {
        if let Self::TimedOut { reason, .. } = &mut self {
            *reason = reason.take().or(known);
        }
        self
    }

    /// Counts from the beginning: what was done before took time, too.
    pub fn in_all(mut self, timeout: Duration) -> Self {
        if let Self::TimedOut { after, .. } = &mut self {
            *after = timeout;
        }
        self
    }

    /// Adds what is wrong with the node, before all else that is known.
    pub fn on_node(mut self, fault: String) -> Self {
        if let Self::TimedOut { reason, .. } = &mut self {
            *reason = Some(fault);
        }
        self
    }
}

/// Whose pod it is that bears the name.
#[derive(Debug, PartialEq, Eq)]
pub enum Created {
    /// Ours; with its UID, unless the answer that told it got lost.
    Ours(Option<String>),
    /// That of somebody who was faster.
    Theirs,
}

/// Creates the pod. Its name is fixed, so repeating a request whose answer got
/// lost is safe: 409 then means that the first one arrived. Of a name that is
/// shared it may also mean that others have made the pod, which is as good.
pub async fn create(cluster: &Cluster, pod: &Pod, shared: bool) -> Result<Created, LaunchError> {
    let namespace = pod.metadata.namespace.clone().unwrap_or_default();
    let api: Api<Pod> = Api::namespaced(cluster.client.clone(), &namespace);
    let mut attempt = 1;
    loop {
        let error = match api.create(&PostParams::default(), pod).await {
            Ok(created) => return Ok(Created::Ours(created.metadata.uid)),
            Err(error) => cluster.error(error),
        };
        match error.code() {
            Some(409) if shared => return Ok(Created::Theirs),
            Some(409) if attempt > 1 => return Ok(Created::Ours(None)),
            None | Some(429 | 500 | 503 | 504) if attempt < 3 => {
                tracing::debug!(?error, "creating the helper pod again");
            }
            _ => {
                let pod = pod.metadata.name.clone().unwrap_or_default();
                let repeated = attempt > 1;
                return Err(LaunchError::Create { pod, namespace, repeated, source: error });
            }
        }
        attempt += 1;
        sleep(Duration::from_millis(200)).await;
    }
}

/// Has the API server do all that it does to create the pod, but for the last step;
/// gives what it would be. `None`: others have made one of that name, which is shared.
pub async fn rehearse(
    cluster: &Cluster,
    pod: &Pod,
    shared: bool,
) -> Result<Option<Pod>, LaunchError> {
    let namespace = pod.metadata.namespace.clone().unwrap_or_default();
    let api: Api<Pod> = Api::namespaced(cluster.client.clone(), &namespace);
    let parameters = PostParams { dry_run: true, ..PostParams::default() };
    match api.create(&parameters, pod).await.map_err(|error| cluster.error(error)) {
        Ok(mut made) => {
            // For programs; kubectl leaves it out, too.
            made.metadata.managed_fields = None;
            Ok(Some(made))
        }
        Err(error) if shared && error.code() == Some(409) => Ok(None),
        Err(source) => {
            let pod = pod.metadata.name.clone().unwrap_or_default();
            Err(LaunchError::Create { pod, namespace, repeated: false, source })
        }
    }
}

/// One thing seen of the pod.
enum Sighting {
    Pod(Box<Pod>),
    Event(Box<Event>),
    Deleted,
}

/// Ends with the reason once the pod is known not to start, or time is up.
/// Never ends well: that the helper runs is seen by talking to it. Meanwhile what
/// the pod goes through is told.
pub async fn watch_for_failure(
    cluster: &Cluster,
    namespace: &str,
    pod: &str,
    node: &str,
    after: Duration,
    told: &Phases,
) -> LaunchError {
    let deadline = Instant::now() + after;
    sleep(FIRST_LOOK.min(after)).await;
    let mut sightings = sightings(cluster, namespace, pod);
    let (mut seen, mut events, mut reason) = (Pod::default(), Vec::new(), None);
    while let Ok(sighting) = timeout_at(deadline, sightings.next()).await {
        match sighting {
            Some(Sighting::Pod(now)) => seen = *now,
            Some(Sighting::Event(event)) => events.push(*event),
            Some(Sighting::Deleted) => return LaunchError::Deleted { pod: pod.to_owned() },
            // Neither may be watched: only time can tell.
            None => {
                tokio::time::sleep_until(deadline).await;
                break;
            }
        }
        if seen.metadata.uid.is_some() {
            told.tell(node, phases(&seen, &events));
        }
        match judge(&seen, &events) {
            Verdict::Failed(reason) => {
                let (pod, node) = (pod.to_owned(), node.to_owned());
                return LaunchError::Failed { pod, uid: seen.metadata.uid, node, reason };
            }
            Verdict::Starting(now) => {
                if now.is_some() && now != reason {
                    tracing::debug!(?now, "helper pod {pod} is starting");
                }
                reason = now.or(reason);
            }
        }
    }
    LaunchError::TimedOut { pod: pod.to_owned(), node: node.to_owned(), after, reason }
}

/// The pod and the events about it, as they come. A watch that is forbidden
/// ends, one that breaks is taken up again.
fn sightings(cluster: &Cluster, namespace: &str, pod: &str) -> BoxStream<'static, Sighting> {
    let pods: Api<Pod> = Api::namespaced(cluster.client.clone(), namespace);
    let of_pod = watcher::Config::default().fields(&format!("metadata.name={pod}"));
    let pods =
        until_forbidden(watcher(pods, of_pod).default_backoff()).filter_map(
            async |seen| match seen {
                Watched::Apply(pod) | Watched::InitApply(pod) => Some(Sighting::Pod(Box::new(pod))),
                Watched::Delete(_) => Some(Sighting::Deleted),
                Watched::Init | Watched::InitDone => None,
            },
        );
    let events: Api<Event> = Api::namespaced(cluster.client.clone(), namespace);
    let about_pod = watcher::Config::default()
        .fields(&format!("involvedObject.kind=Pod,involvedObject.name={pod}"));
    let events =
        until_forbidden(watcher(events, about_pod).default_backoff()).filter_map(async |seen| {
            match seen {
                Watched::Apply(event) | Watched::InitApply(event) => {
                    Some(Sighting::Event(Box::new(event)))
                }
                Watched::Delete(_) | Watched::Init | Watched::InitDone => None,
            }
        });
    futures::stream::select(pods, events).boxed()
}

fn until_forbidden<T: Send + 'static>(
    watch: impl futures::Stream<Item = watcher::Result<T>> + Send + 'static,
) -> BoxStream<'static, T> {
    watch
        .take_while(|seen| {
            let forbidden = matches!(seen,
                Err(watcher::Error::InitialListFailed(kube::Error::Api(status))
                    | watcher::Error::WatchStartFailed(kube::Error::Api(status)))
                if status.code == 403);
            if forbidden {
                tracing::debug!("may not watch the helper pod's start");
            }
            std::future::ready(!forbidden)
        })
        .filter_map(|seen| std::future::ready(seen.ok()))
        .boxed()
}
