//! The runtime's lists: which containers there are.

use std::collections::HashMap;

use k8s_cri::v1::{
    Container, ContainerFilter, ContainerState, ContainerStateValue, ListContainersRequest,
    ListPodSandboxRequest, PodSandboxFilter,
};
use kpexec_protocol::Target;

use super::{CONTAINER_NAME, Error, POD_NAME, POD_NAMESPACE, POD_UID, Runtime};

/// kubectl's annotation of a pod.
const DEFAULT_CONTAINER: &str = "kubectl.kubernetes.io/default-container";

/// A container, as the runtime lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// Which it is; empty where the kubelet did not make it.
    pub target: Target,
    /// Whether it runs.
    pub running: bool,
    /// When it was made, in nanoseconds since the epoch.
    pub created_at: i64,
}

impl Runtime {
    /// Finds the running container of this name in a pod, given the pod's UID.
    ///
    /// # Errors
    /// When the runtime does not tell.
    pub async fn find(&mut self, pod_uid: &str, name: &str) -> Result<Option<Target>, Error> {
        let state = ContainerStateValue { state: ContainerState::ContainerRunning.into() };
        let labels = [(POD_UID, pod_uid), (CONTAINER_NAME, name)];
        let filter = ContainerFilter {
            state: Some(state),
            label_selector: labels.map(|(name, value)| (name.into(), value.into())).into(),
            ..ContainerFilter::default()
        };
        let request = ListContainersRequest { filter: Some(filter) };
        let found = self.0.list_containers(request).await.map_err(Box::new)?.into_inner();
        Ok(found.containers.first().map(target_of))
    }

    /// All containers of this node, those that have ended as well.
    ///
    /// # Errors
    /// When the runtime does not tell.
    pub async fn list(&mut self) -> Result<Vec<Known>, Error> {
        let request = ListContainersRequest { filter: None };
        let found = self.0.list_containers(request).await.map_err(Box::new)?.into_inner();
        let known = |container: &Container| Known {
            target: target_of(container),
            running: container.state == i32::from(ContainerState::ContainerRunning),
            created_at: container.created_at,
        };
        Ok(found.containers.iter().map(known).collect())
    }

    /// The name of the default container of a pod, if its annotation has one.
    ///
    /// # Errors
    /// When the runtime does not tell.
    pub async fn default_container(&mut self, pod_uid: &str) -> Result<Option<String>, Error> {
        let label_selector = HashMap::from([(POD_UID.to_owned(), pod_uid.to_owned())]);
        let filter = Some(PodSandboxFilter { label_selector, ..PodSandboxFilter::default() });
        let request = ListPodSandboxRequest { filter };
        let found = self.0.list_pod_sandbox(request).await.map_err(Box::new)?.into_inner();
        Ok(found.items.iter().find_map(|pod| pod.annotations.get(DEFAULT_CONTAINER)).cloned())
    }
}

fn target_of(container: &Container) -> Target {
    let label = |name| container.labels.get(name).cloned().unwrap_or_default();
    Target {
        pod_namespace: label(POD_NAMESPACE),
        pod_name: label(POD_NAME),
        pod_uid: label(POD_UID),
        container_name: label(CONTAINER_NAME),
        container_id: container.id.clone(),
    }
}
