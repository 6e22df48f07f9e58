//! The container to enter: from what the user typed to node and container ID.

mod rights;
mod select;

use k8s_openapi::api::core::v1::{Node, Pod};
use kube::Api;
use thiserror::Error;

use crate::api_error::ApiError;
use crate::cluster::Cluster;

pub use rights::Rights;
pub use select::select;

/// A running container, as the API server describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Namespace of the pod.
    pub namespace: String,
    /// Name of the pod.
    pub pod: String,
    /// UID of the pod; a new pod of the same name has another one.
    pub pod_uid: String,
    /// Name of the container.
    pub container: String,
    /// What stands before `://` in the container ID: `containerd`, `cri-o`, ...
    pub runtime: String,
    /// What stands after it.
    pub container_id: String,
    /// Node it runs on.
    pub node: String,
    /// What its pod's spec grants it.
    pub rights: Rights,
}

impl Target {
    /// One for tests.
    #[cfg(test)]
    pub fn example() -> Self {
        Self {
            namespace: "prod".into(),
            pod: "web-0".into(),
            pod_uid: "3b0e17a5-5a0e-4d6c-9a31-0f6f1c2d7e11".into(),
            container: "app".into(),
            runtime: "containerd".into(),
            container_id: "4f2a".into(),
            node: "node7".into(),
            rights: Rights::default(),
        }
    }

    /// As it was told by whoever found it, for people: what its pod's spec grants is
    /// for making a helper that can give it, and there is one already.
    pub fn from_protocol(found: kpexec_protocol::Target, node: String) -> Self {
        Self {
            namespace: found.pod_namespace,
            pod: found.pod_name,
            pod_uid: found.pod_uid,
            container: found.container_name,
            runtime: String::new(),
            container_id: found.container_id,
            node,
            rights: Rights::default(),
        }
    }

    /// As it travels to the helper.
    pub fn to_protocol(&self) -> kpexec_protocol::Target {
        kpexec_protocol::Target {
            pod_namespace: self.namespace.clone(),
            pod_name: self.pod.clone(),
            pod_uid: self.pod_uid.clone(),
            container_name: self.container.clone(),
            container_id: self.container_id.clone(),
        }
    }
}

/// Why there is no container to enter.
#[derive(Debug, Error)]
pub enum TargetError {
    /// TYPE/NAME with a type that needs to be resolved to a pod first.
    #[error("cannot enter {0:?}: only pods can be named yet")]
    NotAPod(String),
    /// Not a name an object can have, so it is not put into a URL.
    #[error("{0:?} is not a name that a {1} can have")]
    BadName(String, &'static str),
    /// The API server does not know the pod.
    #[error("pod {pod:?} not found in namespace {namespace:?}")]
    PodNotFound {
        /// Its name.
        pod: String,
        /// Where it was looked for.
        namespace: String,
    },
    /// The API server did not say what the pod is.
    #[error("cannot read pod {namespace}/{pod}")]
    ReadPod {
        /// Its name.
        pod: String,
        /// Its namespace.
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
    /// kubectl's words for a container that does not exist.
    #[error("container {container} is not valid for pod {pod} out of: {known}")]
    UnknownContainer {
        /// The container asked for, by flag or by the pod's annotation.
        container: String,
        /// Name of the pod.
        pod: String,
        /// Those there are, marked as kubectl marks them.
        known: String,
    },
    /// kubectl's words for a pod that has ended.
    #[error("cannot enter a container in completed pod {pod}; current phase is {phase}")]
    Completed {
        /// Name of the pod.
        pod: String,
        /// `Succeeded` or `Failed`.
        phase: String,
    },
    /// No scheduler has found a node.
    #[error("pod {pod} is on no node yet{reason}")]
    Unscheduled {
        /// Name of the pod.
        pod: String,
        /// What the scheduler says, with a colon in front; may be empty.
        reason: String,
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
        match self {
            Self::NotAPod(_) => {
                Some("name one of its pods; a namespace is named by -n, a container by -c".into())
            }
            Self::BadName(..) => Some("names have small letters, digits, - and . only".into()),
            Self::PodNotFound { .. } => {
                Some("is it the right namespace, and is there one of that name? -n names it".into())
            }
            Self::ReadPod { source, .. } | Self::ReadNode { source, .. } => source.hint(),
            Self::NotRunning { .. } => Some("-c names another container".into()),
            _ => None,
        }
    }
}

/// The pod's name in `NAME`, `pod/NAME`, `pods/NAME` or `po/NAME`.
pub fn pod_name(argument: &str) -> Result<&str, TargetError> {
    let name = match argument.split_once('/') {
        None => argument,
        Some((kind, name)) if ["pod", "pods", "po"].contains(&kind.to_lowercase().as_str()) => name,
        Some(_) => return Err(TargetError::NotAPod(argument.to_owned())),
    };
    check_name(name, "pod")?;
    Ok(name)
}

/// Refuses what can be no object's name; it would change the URL it is put into.
pub fn check_name(name: &str, kind: &'static str) -> Result<(), TargetError> {
    let allowed =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.".contains(&byte);
    let edge = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric());
    let (first, last) = (name.bytes().next(), name.bytes().next_back());
    if name.len() <= 253 && name.bytes().all(allowed) && edge(first) && edge(last) {
        Ok(())
    } else {
        Err(TargetError::BadName(name.to_owned(), kind))
    }
}

/// Asks for the pod.
pub async fn fetch_pod(cluster: &Cluster, namespace: &str, pod: &str) -> Result<Pod, TargetError> {
    let api: Api<Pod> = Api::namespaced(cluster.client.clone(), namespace);
    let (pod, namespace) = (pod.to_owned(), namespace.to_owned());
    api.get(&pod).await.map_err(|error| match cluster.error(error) {
        error if error.code() == Some(404) => TargetError::PodNotFound { pod, namespace },
        source => TargetError::ReadPod { pod, namespace, source },
    })
}

/// Asks for the node. None if the user may not read nodes, which many may not:
/// the usual socket of the container's runtime is a good guess then.
pub async fn fetch_node(cluster: &Cluster, node: &str) -> Result<Option<Node>, TargetError> {
    let api: Api<Node> = Api::all(cluster.client.clone());
    match api.get(node).await.map_err(|error| cluster.error(error)) {
        Ok(node) => Ok(Some(node)),
        Err(error) if error.code() == Some(403) => {
            tracing::debug!("may not read node {node}; going by the container's runtime");
            Ok(None)
        }
        Err(source) => Err(TargetError::ReadNode { node: node.to_owned(), source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pods_may_be_named_with_their_type() {
        for argument in ["web-0", "pod/web-0", "pods/web-0", "po/web-0", "Pod/web-0"] {
            assert_eq!(pod_name(argument).unwrap(), "web-0", "{argument}");
        }
    }

    #[test]
    fn other_types_are_refused() {
        for argument in ["deploy/web", "svc/web", "a/b/c", "/web"] {
            assert!(matches!(pod_name(argument), Err(TargetError::NotAPod(_))), "{argument}");
        }
    }

    #[test]
    fn a_name_cannot_change_the_url() {
        for argument in ["", "pod/", "..", "pod/a/../b", "a?b", "a b", "a%2f", "Web", "-a", "a-"] {
            assert!(matches!(pod_name(argument), Err(TargetError::BadName(..))), "{argument:?}");
        }
        assert!(pod_name(&"a".repeat(253)).is_ok());
        assert!(pod_name(&"a".repeat(254)).is_err());
    }
}
