//! Why there is no container to enter, and what to do about it.

use thiserror::Error;

use super::kind::Kind;
use crate::api_error::ApiError;

/// Why there is no container to enter.
#[derive(Debug, Error)]
pub enum TargetError {
    /// A slash, but not a type before and a name behind it; kubectl's words.
    #[error("{0:?}: TYPE/NAME must have a single resource and name")]
    NotTypeAndName(String),
    /// More than a type and a name; kubectl's words.
    #[error("{0:?}: TYPE/NAME may not have more than one slash")]
    TwoSlashes(String),
    /// A type that has no pods, or none that we know of.
    #[error("{kind:?} is no type that has pods, as far as kpexec knows")]
    UnknownType {
        /// What stands before the slash.
        kind: String,
        /// What stands behind it.
        name: String,
    },
    /// A node is no container.
    #[error("cannot enter node {0}: kpexec enters containers")]
    Node(String),
    /// Its pods are those of its jobs.
    #[error("cronjob {0} has jobs, not pods")]
    CronJob(String),
    /// Not a name an object can have, so it is not put into a URL.
    #[error("{0:?} is not a name that a {1} can have")]
    BadName(String, &'static str),
    /// The API server does not know the object.
    #[error("{kind} {name:?} not found in namespace {namespace:?}")]
    NotFound {
        /// Its type.
        kind: &'static str,
        /// Its name.
        name: String,
        /// Where it was looked for.
        namespace: String,
    },
    /// The API server did not say what the object is.
    #[error("cannot read {kind} {namespace}/{name}")]
    Read {
        /// Its type.
        kind: &'static str,
        /// Its name.
        name: String,
        /// Its namespace.
        namespace: String,
        /// What the API server said.
        source: ApiError,
    },
    /// The API server did not say which pods there are.
    #[error("cannot list the pods in namespace {namespace}")]
    List {
        /// Where they were looked for.
        namespace: String,
        /// What the API server said.
        source: ApiError,
    },
    /// The API server did not say what the node is.
    #[error("cannot read node {node}")]
    ReadNode {
        /// Its name.
        node: String,
        /// What the API server said.
        source: ApiError,
    },
    /// The endpoints of such a service are made by hand; kubectl's words.
    #[error("{0} is defined without a selector, so it has no pods of its own")]
    NoSelector(String),
    /// No pod came within `--pod-running-timeout`.
    #[error("{object} has no pod, and got none within {seconds} s")]
    NoPodOf {
        /// `TYPE/NAME`.
        object: String,
        /// How long was waited.
        seconds: u64,
    },
    /// `-l` fits no pod.
    #[error("no pod in namespace {namespace} has labels {labels:?}")]
    NoPodWith {
        /// What was asked for.
        labels: String,
        /// Where it was looked for.
        namespace: String,
    },
    /// `-l` fits more than one pod.
    #[error("{} pods in namespace {namespace} have labels {labels:?}", pods.len())]
    Several {
        /// What was asked for.
        labels: String,
        /// Where it was looked for.
        namespace: String,
        /// Name and state of each.
        pods: Vec<(String, String)>,
    },
    /// kubectl's words for a container that does not exist.
    #[error("container {container} is not valid for pod {pod} out of: {known}")]
    UnknownContainer {
        /// The container asked for, by flag or by the pod's annotation.
        container: String,
        /// Name of the pod.
        pod: String,
        /// Those there are, marked as kubectl marks them.
        known: String,
        /// Whether nobody asked for it but the annotation.
        annotated: bool,
    },
    /// kubectl's words for a pod that has ended.
    #[error("cannot enter a container in completed pod {pod}; current phase is {phase}")]
    Completed {
        /// Name of the pod.
        pod: String,
        /// `Succeeded` or `Failed`, and why where that is known.
        phase: String,
        /// What to do.
        hint: String,
    },
    /// No scheduler has found a node.
    #[error("pod {pod} is on no node yet{reason}")]
    Unscheduled {
        /// Name of the pod.
        pod: String,
        /// What the scheduler says, with a colon in front; may be empty.
        reason: String,
        /// What to do.
        hint: String,
    },
    /// There is nothing to enter in a container that does not run.
    #[error("container {container} of pod {pod} is not running: {state}")]
    NotRunning {
        /// Name of the container.
        container: String,
        /// Name of the pod.
        pod: String,
        /// What it does instead.
        state: String,
        /// What to do.
        hint: String,
    },
    /// A running container without an ID we understand.
    #[error("pod {pod} has no usable container ID for {container}: {id:?}")]
    NoContainerId {
        /// Name of the container.
        container: String,
        /// Name of the pod.
        pod: String,
        /// What stands there.
        id: String,
    },
}

impl TargetError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NotTypeAndName(_) => "for example: kpexec -it pod/NAME".into(),
            Self::TwoSlashes(argument) => match argument.split('/').collect::<Vec<_>>()[..] {
                [namespace, pod, container] => format!(
                    "namespace and container have flags: kpexec -n {namespace} {pod} -c {container}"
                ),
                _ => "for example: kpexec -it deployment/NAME".into(),
            },
            Self::UnknownType { kind, name } => format!(
                "types are {}; if {kind} is a namespace: kpexec -n {kind} {name}",
                Kind::list()
            ),
            Self::Node(name) => format!("for now: kubectl debug node/{name} -it --image=IMAGE"),
            Self::CronJob(_) => "name one of its jobs, as job/NAME: kubectl get jobs".into(),
            Self::BadName(..) => "names have small letters, digits, - and . only".into(),
            Self::NotFound { .. } => {
                "is it the right namespace, and is there one of that name? -n names it".into()
            }
            Self::List { source, .. } if source.code() == Some(400) => {
                "-l takes what kubectl's does: app=web,tier!=db".into()
            }
            Self::Read { source, .. }
            | Self::List { source, .. }
            | Self::ReadNode { source, .. } => {
                return source.hint();
            }
            Self::NoSelector(_) => "name a pod, or what runs it: deployment/NAME, say".into(),
            Self::NoPodOf { object, .. } => format!("kubectl describe {object} tells why"),
            Self::NoPodWith { namespace, .. } => {
                format!("kubectl get pods -n {namespace} --show-labels lists them")
            }
            Self::Several { pods, .. } => {
                let width = pods.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
                let lines = pods.iter().map(|(name, state)| format!("\n{name:width$}  {state}"));
                format!("name the one you mean:{}", lines.collect::<String>())
            }
            Self::UnknownContainer { annotated: true, .. } => {
                "the pod's annotation names it; -c names another".into()
            }
            Self::Completed { hint, .. }
            | Self::Unscheduled { hint, .. }
            | Self::NotRunning { hint, .. } => hint.clone(),
            Self::UnknownContainer { .. } | Self::NoContainerId { .. } => return None,
        })
    }
}
