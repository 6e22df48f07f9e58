//! The owner of the helper pod: whatever happens, it goes when we go.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::DeleteParams;
use thiserror::Error;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::launch::{self, LaunchError};
use crate::api_error::ApiError;
use crate::cluster::Cluster;

/// Nobody waits longer than this for a prompt. `activeDeadlineSeconds` ends a
/// helper that could not be deleted.
const PATIENCE: Duration = Duration::from_secs(5);

/// A helper pod that exists, or is just being created.
pub struct HelperPod {
    cluster: Cluster,
    namespace: String,
    name: String,
    creation: Creation,
}

enum Creation {
    /// In a task of its own: if we are interrupted while the request is under
    /// way, it must end before the pod can be deleted for certain.
    UnderWay(JoinHandle<Result<(), LaunchError>>),
    /// It exists, or nobody knows.
    Done,
    /// It never came to be, or is deleted: nothing to clean up.
    Gone,
}

/// Why the pod may still be there.
#[derive(Debug, Error)]
pub enum CleanupError {
    /// The API server said no.
    #[error("cannot delete helper pod {pod}")]
    Delete {
        /// Its name.
        pod: String,
        /// What the API server said.
        source: ApiError,
    },
    /// The API server said nothing.
    #[error("cannot delete helper pod {pod}: no answer within {}s", PATIENCE.as_secs())]
    TimedOut {
        /// Its name.
        pod: String,
    },
}

impl HelperPod {
    /// Starts to create the pod, and owns it from here on.
    pub fn create(cluster: &Cluster, pod: Pod) -> Self {
        let namespace = pod.metadata.namespace.clone().unwrap_or_default();
        let name = pod.metadata.name.clone().unwrap_or_default();
        let task = {
            let cluster = cluster.clone();
            tokio::spawn(async move { launch::create(&cluster, &pod).await })
        };
        Self { cluster: cluster.clone(), namespace, name, creation: Creation::UnderWay(task) }
    }

    /// Waits until the API server has the pod.
    pub async fn created(&mut self) -> Result<(), LaunchError> {
        let Creation::UnderWay(task) = &mut self.creation else { return Ok(()) };
        let result = task.await.map_err(LaunchError::Interrupted).and_then(|result| result);
        let refused = result.as_ref().is_err_and(LaunchError::refused);
        self.creation = if refused { Creation::Gone } else { Creation::Done };
        result
    }

    /// Deletes the pod, within a few seconds or not at all.
    pub async fn delete(mut self) -> Result<(), CleanupError> {
        let result = timeout(PATIENCE, self.try_delete()).await;
        // Reported by the caller; `drop` has nothing to add.
        self.creation = Creation::Gone;
        result.unwrap_or_else(|_| Err(CleanupError::TimedOut { pod: self.name.clone() }))
    }

    async fn try_delete(&mut self) -> Result<(), CleanupError> {
        // Its error, if any, was reported by whoever called `created`.
        let _ = self.created().await;
        if matches!(self.creation, Creation::Gone) {
            return Ok(());
        }
        let pods: Api<Pod> = Api::namespaced(self.cluster.client.clone(), &self.namespace);
        let mut attempt = 1;
        loop {
            let deleted = pods.delete(&self.name, &DeleteParams::default().grace_period(0)).await;
            let Err(error) = deleted.map_err(|error| self.cluster.error(error)) else {
                return Ok(());
            };
            match error.code() {
                Some(404) => return Ok(()),
                None | Some(429 | 500 | 503 | 504) if attempt < 3 => attempt += 1,
                _ => return Err(CleanupError::Delete { pod: self.name.clone(), source: error }),
            }
            sleep(Duration::from_millis(200)).await;
        }
    }

    /// How a person deletes it.
    pub fn by_hand(&self) -> String {
        format!("delete it by hand: kubectl delete pod -n {} {}", self.namespace, self.name)
    }
}

impl Drop for HelperPod {
    /// Deleting needs the network, so `drop` cannot: every way out calls
    /// `delete`. This catches the way out that was forgotten.
    fn drop(&mut self) {
        if !matches!(self.creation, Creation::Gone) {
            crate::report::notice(&format!(
                "kpexec: helper pod {} may be left; {}",
                self.name,
                self.by_hand()
            ));
        }
    }
}
