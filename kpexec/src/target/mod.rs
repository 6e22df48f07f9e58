//! The container to enter: from what the user typed to node and container ID.

mod asked;
mod error;
mod kind;
mod lookup;
mod order;
mod rights;
mod select;
mod state;

pub use asked::{Asked, check_name};
pub use error::TargetError;
pub use kind::{Kind, POD};
pub use lookup::{fetch_node, look_up};
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
