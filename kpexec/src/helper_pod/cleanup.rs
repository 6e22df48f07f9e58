//! The owner of the helper pod: whatever happens, it goes when we go.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{DeleteParams, Preconditions};
use thiserror::Error;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::launch::{self, Created, LaunchError};
use crate::api_error::ApiError;
use crate::cluster::Cluster;

/// Nobody waits longer than this for a prompt. `activeDeadlineSeconds` ends a
/// helper that could not be deleted.
const PATIENCE: Duration = Duration::from_secs(5);

/// A helper pod that exists, is just being created, or may have to be.
pub struct HelperPod {
    cluster: Cluster,
    pod: Pod,
    sharing: Sharing,
    creation: Creation,
}

/// Whom the pod is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// One session: the pod goes with it.
    None,
    /// All sessions of the user that need one like it: the pod goes by itself.
    User,
}

enum Creation {
    /// Others may have made it.
    NotTried,
    /// In a task of its own: if we are interrupted while the request is under
    /// way, it must end before the pod can be deleted for certain.
    UnderWay(JoinHandle<Result<Created, LaunchError>>),
    /// It exists, or nobody knows.
    Done(Created),
    /// It never came to be, is deleted, or ends by itself: nothing to clean up.
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
    /// Owns the pod from here on. One for a single session is created at once.
    pub fn new(cluster: &Cluster, pod: Pod, sharing: Sharing) -> Self {
        let mut helper =
            Self { cluster: cluster.clone(), pod, sharing, creation: Creation::NotTried };
        if sharing == Sharing::None {
            helper.start_to_create();
        }
        helper
    }

    fn start_to_create(&mut self) {
        let (cluster, pod, shared) =
            (self.cluster.clone(), self.pod.clone(), self.sharing == Sharing::User);
        let task = tokio::spawn(async move { launch::create(&cluster, &pod, shared).await });
        self.creation = Creation::UnderWay(task);
    }

    /// Waits until the API server has a pod of that name, for all we know.
    pub async fn created(&mut self) -> Result<(), LaunchError> {
        let Creation::UnderWay(task) = &mut self.creation else { return Ok(()) };
        let result = task.await.map_err(LaunchError::Interrupted).and_then(|result| result);
        let refused = result.as_ref().is_err_and(LaunchError::refused);
        let created = result.map(|created| self.creation = Creation::Done(created));
        if created.is_err() {
            // Unless it was refused, it may exist.
            self.creation =
                if refused { Creation::Gone } else { Creation::Done(Created::Ours(None)) };
        }
        created
    }

    /// Creates the pod: there is none of that name.
    pub async fn create(&mut self) -> Result<(), LaunchError> {
        self.start_to_create();
        self.created().await
    }

    /// Removes a pod of that name that has ended, to make room for a new one.
    pub async fn remove_ended(&self) -> Result<(), CleanupError> {
        let ended = match self.pods().get(self.name()).await {
            Ok(pod) => pod,
            Err(kube::Error::Api(status)) if status.code == 404 => return Ok(()),
            Err(error) => return Err(self.failed(error)),
        };
        match ended.status.and_then(|status| status.phase).as_deref() {
            Some("Succeeded" | "Failed") => self.try_delete(ended.metadata.uid.as_deref()).await,
            _ => Ok(()),
        }
    }

    /// Lets go of a shared pod, which sessions use or can use: it ends by itself.
    pub fn leave(&mut self) {
        if self.sharing == Sharing::User {
            self.creation = Creation::Gone;
        }
    }

    /// Deletes a pod that nobody can use, if it is we who have made it.
    pub async fn delete_made(&mut self) {
        if let Creation::Done(Created::Ours(uid)) = &self.creation {
            self.delete_failed(uid.clone()).await;
        }
    }

    /// Deletes the pod if it is ours, within a few seconds or not at all.
    pub async fn delete(mut self) -> Result<(), CleanupError> {
        let result = timeout(PATIENCE, self.delete_ours()).await;
        // Reported by the caller; `drop` has nothing to add.
        self.creation = Creation::Gone;
        result.unwrap_or_else(|_| Err(CleanupError::TimedOut { pod: self.name().to_owned() }))
    }

    async fn delete_ours(&mut self) -> Result<(), CleanupError> {
        // Its error, if any, was reported by whoever called `created`.
        let _ = self.created().await;
        let Creation::Done(Created::Ours(uid)) = &self.creation else { return Ok(()) };
        // One that runs may have sessions of others by now, and ends by itself.
        if self.sharing == Sharing::User && self.phase().await?.as_deref() == Some("Running") {
            return Ok(());
        }
        self.try_delete(uid.as_deref()).await
    }

    /// `None` if there is no pod of that name.
    async fn phase(&self) -> Result<Option<String>, CleanupError> {
        match self.pods().get(self.name()).await {
            Ok(pod) => Ok(pod.status.and_then(|status| status.phase)),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
            Err(error) => Err(self.failed(error)),
        }
    }

    /// Deletes the pod that has this UID, whoever made it: it is of no use. Says
    /// whether it is gone; if not, [`HelperPod::delete`] tries again and says why.
    pub async fn delete_failed(&mut self, uid: Option<String>) -> bool {
        let deleted = timeout(PATIENCE, self.try_delete(uid.as_deref())).await;
        tracing::debug!(?deleted, "helper pod {} is of no use", self.name());
        let gone = matches!(deleted, Ok(Ok(())));
        self.creation = if gone { Creation::Gone } else { Creation::Done(Created::Ours(uid)) };
        gone
    }

    async fn try_delete(&self, uid: Option<&str>) -> Result<(), CleanupError> {
        let parameters = at_once(uid.map(str::to_owned));
        let mut attempt = 1;
        loop {
            let deleted = self.pods().delete(self.name(), &parameters).await;
            let Err(error) = deleted.map_err(|error| self.cluster.error(error)) else {
                return Ok(());
            };
            match error.code() {
                // 409 is another pod of that name.
                Some(404 | 409) => return Ok(()),
                None | Some(429 | 500 | 503 | 504) if attempt < 3 => attempt += 1,
                _ => {
                    return Err(CleanupError::Delete {
                        pod: self.name().to_owned(),
                        source: error,
                    });
                }
            }
            sleep(Duration::from_millis(200)).await;
        }
    }

    fn failed(&self, error: kube::Error) -> CleanupError {
        CleanupError::Delete { pod: self.name().to_owned(), source: self.cluster.error(error) }
    }

    fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.cluster.client.clone(), self.namespace())
    }

    fn name(&self) -> &str {
        self.pod.metadata.name.as_deref().unwrap_or_default()
    }

    fn namespace(&self) -> &str {
        self.pod.metadata.namespace.as_deref().unwrap_or_default()
    }

    /// How a person deletes it.
    pub fn by_hand(&self) -> String {
        format!("delete it by hand: kubectl delete pod -n {} {}", self.namespace(), self.name())
    }
}

/// To delete the pod of this UID, and none that has its name by then.
pub(super) fn at_once(uid: Option<String>) -> DeleteParams {
    let preconditions = Preconditions { uid, resource_version: None };
    let parameters = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
    parameters.grace_period(0)
}

impl Drop for HelperPod {
    /// Deleting needs the network, so `drop` cannot: every way out calls
    /// `delete`. This catches the way out that was forgotten.
    fn drop(&mut self) {
        if matches!(self.creation, Creation::UnderWay(_) | Creation::Done(Created::Ours(_))) {
            crate::report::notice(&format!(
                "kpexec: helper pod {} may be left; {}",
                self.name(),
                self.by_hand()
            ));
        }
    }
}
