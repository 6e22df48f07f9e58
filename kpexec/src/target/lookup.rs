//! Asks the API server for the pod to enter, and for its node.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::Api;
use kube::api::ListParams;
use kube::core::Selector;
use serde::Deserialize;
use serde_json::Value;
use tokio::time::sleep;

use super::asked::{Asked, Object};
use super::kind::POD;
use super::{TargetError, order, state};
use crate::api_error::ApiError;
use crate::cluster::Cluster;

/// How often one asks for pods that do not exist yet.
const PAUSE: Duration = Duration::from_millis(500);

/// The pod, and what the user should know about the choice of it.
pub async fn look_up(
    cluster: &Cluster,
    namespace: &str,
    asked: &Asked,
    patience: Duration,
) -> Result<(Pod, Option<String>), TargetError> {
    match asked {
        Asked::Object(object) if object.kind == POD => {
            let api: Api<Pod> = Api::namespaced(cluster.client.clone(), namespace);
            let pod = api.get(&object.name).await;
            Ok((pod.map_err(|error| unread(object, namespace, cluster.error(error)))?, None))
        }
        Asked::Object(object) => pod_of(cluster, namespace, object, patience).await,
        Asked::Labels(labels) => {
            let pods = list(cluster, namespace, labels).await?;
            let pod = only(pods, labels, namespace)?;
            let notice = format!("Entering pod {}", name(&pod));
            Ok((pod, Some(notice)))
        }
    }
}

/// As kubectl does it: the timeout is for pods that do not exist; one that does not
/// run is taken for what it is.
async fn pod_of(
    cluster: &Cluster,
    namespace: &str,
    object: &Object,
    patience: Duration,
) -> Result<(Pod, Option<String>), TargetError> {
    let selector = selector_of(cluster, namespace, object).await?;
    let begun = Instant::now();
    loop {
        let pods = list(cluster, namespace, &selector).await?;
        let count = pods.len();
        if let Some(pod) = order::first(pods) {
            let notice = taken(name(&pod), count, object);
            return Ok((pod, Some(notice)));
        }
        if begun.elapsed() >= patience {
            let (object, seconds) = (object.typed(), patience.as_secs());
            return Err(TargetError::NoPodOf { object, seconds });
        }
        tracing::debug!("{} has no pod yet", object.typed());
        sleep(PAUSE.min(patience.saturating_sub(begun.elapsed()))).await;
    }
}

fn taken(pod: &str, count: usize, object: &Object) -> String {
    match count {
        1 => format!("Entering pod {pod} of {}", object.typed()),
        count => format!("Entering pod {pod}, one of {count} of {}", object.typed()),
    }
}

async fn selector_of(
    cluster: &Cluster,
    namespace: &str,
    object: &Object,
) -> Result<String, TargetError> {
    let failed = |error| unread(object, namespace, cluster.error(error));
    let path = object.kind.path(namespace, &object.name);
    let request = http::Request::get(path).body(Vec::new());
    let request = request.map_err(|error| failed(kube::Error::HttpError(error)))?;
    let found: Value = cluster.client.request(request).await.map_err(failed)?;
    let selector = &found["spec"]["selector"];
    let selector = if object.kind.plain_selector {
        plain_selector(selector)
    } else {
        LabelSelector::deserialize(selector).ok().and_then(|all| Selector::try_from(all).ok())
    };
    let selector = selector.ok_or_else(|| TargetError::NoSelector(object.typed()))?;
    Ok(selector.to_string())
}

/// One without labels would fit every pod, and means that there are none.
fn plain_selector(selector: &Value) -> Option<Selector> {
    let labels = BTreeMap::<String, String>::deserialize(selector).ok()?;
    (!labels.is_empty()).then(|| labels.into_iter().collect())
}

async fn list(cluster: &Cluster, namespace: &str, labels: &str) -> Result<Vec<Pod>, TargetError> {
    let api: Api<Pod> = Api::namespaced(cluster.client.clone(), namespace);
    let pods = api.list(&ListParams::default().labels(labels)).await;
    let pods = pods.map_err(|error| TargetError::List {
        namespace: namespace.to_owned(),
        source: cluster.error(error),
    })?;
    Ok(pods.items)
}

fn only(mut pods: Vec<Pod>, labels: &str, namespace: &str) -> Result<Pod, TargetError> {
    let (labels, namespace) = (labels.to_owned(), namespace.to_owned());
    if pods.len() > 1 {
        let pods = pods.iter().map(|pod| (name(pod).to_owned(), state::in_words(pod))).collect();
        return Err(TargetError::Several { labels, namespace, pods });
    }
    pods.pop().ok_or(TargetError::NoPodWith { labels, namespace })
}

fn name(pod: &Pod) -> &str {
    pod.metadata.name.as_deref().unwrap_or_default()
}

fn unread(object: &Object, namespace: &str, error: ApiError) -> TargetError {
    let (kind, name, namespace) = (object.kind.name, object.name.clone(), namespace.to_owned());
    match error {
        error if error.code() == Some(404) => TargetError::NotFound { kind, name, namespace },
        source => TargetError::Read { kind, name, namespace, source },
    }
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
    use serde_json::json;

    use super::*;

    fn pod(name: &str) -> Pod {
        serde_json::from_value(json!({"metadata": {"name": name}, "status": {"phase": "Pending"}}))
            .unwrap()
    }

    #[test]
    fn labels_choose_exactly_one_pod() {
        assert_eq!(name(&only(vec![pod("a")], "app=x", "prod").unwrap()), "a");
        let none = only(Vec::new(), "app=x", "prod").unwrap_err();
        assert_eq!(none.to_string(), "no pod in namespace prod has labels \"app=x\"");
        let two = only(vec![pod("a"), pod("web-1")], "app=x", "prod").unwrap_err();
        assert_eq!(two.to_string(), "2 pods in namespace prod have labels \"app=x\"");
        let choices = "name the one you mean:\na      Pending\nweb-1  Pending";
        assert_eq!(two.hint().unwrap(), choices);
    }

    #[test]
    fn a_plain_selector_has_labels_or_is_none() {
        let text = |selector| plain_selector(&selector).map(|selector| selector.to_string());
        assert_eq!(text(json!({"b": "2", "a": "1"})).as_deref(), Some("a=1,b=2"));
        for none in [json!({}), Value::Null] {
            assert_eq!(text(none), None);
        }
    }

    #[test]
    fn the_pod_taken_is_told() {
        let object = Object::parse("deploy/web").unwrap();
        assert_eq!(taken("web-1", 1, &object), "Entering pod web-1 of deployment/web");
        assert_eq!(taken("web-1", 3, &object), "Entering pod web-1, one of 3 of deployment/web");
    }
}
