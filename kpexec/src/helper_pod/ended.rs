//! A user's helper pods: those that run, and those that have ended, which nobody
//! else removes.

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::ListParams;

use super::cleanup::at_once;
use super::spec::USER_LABEL;
use crate::api_error::ApiError;
use crate::cluster::Cluster;
use crate::user::User;

/// Deletes this user's helper pods that have ended, and gives their names.
pub async fn remove_ended(
    cluster: &Cluster,
    namespace: &str,
    user: &User,
) -> Result<Vec<String>, ApiError> {
    let pods: Api<Pod> = Api::namespaced(cluster.client.clone(), namespace);
    // From the API server's memory: a pod that is missed is seen the next time.
    let ended = ListParams::default()
        .labels(&format!("{USER_LABEL}={}", user.label()))
        .fields("status.phase!=Pending,status.phase!=Running,status.phase!=Unknown")
        .match_any();
    let ended = pods.list(&ended).await.map_err(|error| cluster.error(error))?;
    let deleted = ended.items.into_iter().map(|pod| delete(&pods, pod));
    let mut deleted: FuturesUnordered<_> = deleted.collect();
    let mut names = Vec::new();
    while let Some(result) = deleted.next().await {
        names.extend(result.map_err(|error| cluster.error(error))?);
    }
    names.sort();
    Ok(names)
}

/// The names of this user's helper pods that run.
pub async fn running(
    cluster: &Cluster,
    namespace: &str,
    user: &User,
) -> Result<Vec<String>, ApiError> {
    let pods: Api<Pod> = Api::namespaced(cluster.client.clone(), namespace);
    let running = ListParams::default()
        .labels(&format!("{USER_LABEL}={}", user.label()))
        .fields("status.phase=Running");
    let running = pods.list(&running).await.map_err(|error| cluster.error(error))?;
    let mut names: Vec<_> = running.items.into_iter().filter_map(|pod| pod.metadata.name).collect();
    names.sort();
    Ok(names)
}

/// `None` if somebody else was faster.
async fn delete(pods: &Api<Pod>, pod: Pod) -> kube::Result<Option<String>> {
    let name = pod.metadata.name.unwrap_or_default();
    match pods.delete(&name, &at_once(pod.metadata.uid)).await {
        Ok(_) => Ok(Some(name)),
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(None),
        Err(error) => Err(error),
    }
}
