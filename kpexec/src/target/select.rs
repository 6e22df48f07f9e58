//! Chooses the container of a pod by kubectl's rules, and says why it cannot.

use k8s_openapi::api::core::v1::{Pod, PodSpec, PodStatus};

use super::state::{self, Idle};
use super::{Rights, Target, TargetError};

const DEFAULT_CONTAINER: &str = "kubectl.kubernetes.io/default-container";

/// A target, and what kubectl would say about how it was chosen.
#[derive(Debug)]
pub struct Selection {
    /// The container.
    pub target: Target,
    /// kubectl's line for stderr, if the choice was not the user's.
    pub notice: Option<String>,
}

/// Finds the container in the pod: the one asked for, else the one its
/// annotation names, else the first.
pub fn select(pod: &Pod, asked_for: Option<&str>) -> Result<Selection, TargetError> {
    let pod_name = pod.metadata.name.clone().unwrap_or_default();
    let empty_spec = PodSpec::default();
    let spec = pod.spec.as_ref().unwrap_or(&empty_spec);
    let (container, notice) = choose(pod, spec, &pod_name, asked_for)?;

    let empty_status = PodStatus::default();
    let status = pod.status.as_ref().unwrap_or(&empty_status);
    if let Some(phase @ ("Succeeded" | "Failed")) = status.phase.as_deref() {
        return Err(completed(pod, status, phase));
    }
    let Some(node) = spec.node_name.clone().filter(|node| !node.is_empty()) else {
        return Err(unscheduled(pod, status));
    };
    if let Some(Idle { state, hint }) = state::idle(pod, &container) {
        return Err(TargetError::NotRunning { container, pod: pod_name, state, hint });
    }
    let (runtime, container_id) = id(status, &container, &pod_name)?;
    let rights = Rights::of(spec, &container);
    let target = Target {
        namespace: pod.metadata.namespace.clone().unwrap_or_default(),
        pod: pod_name,
        pod_uid: pod.metadata.uid.clone().unwrap_or_default(),
        container,
        runtime,
        container_id,
        node,
        rights,
    };
    Ok(Selection { target, notice })
}

fn choose(
    pod: &Pod,
    spec: &PodSpec,
    pod_name: &str,
    asked_for: Option<&str>,
) -> Result<(String, Option<String>), TargetError> {
    let annotated = pod.metadata.annotations.as_ref().and_then(|all| all.get(DEFAULT_CONTAINER));
    let asked_for = asked_for.filter(|name| !name.is_empty());
    let wanted = asked_for.or(annotated.map(String::as_str)).filter(|name| !name.is_empty());
    let names = names(spec);
    match wanted {
        Some(wanted) if names.iter().any(|(name, _)| *name == wanted) => {
            Ok((wanted.to_owned(), None))
        }
        Some(wanted) => Err(TargetError::UnknownContainer {
            container: wanted.to_owned(),
            pod: pod_name.to_owned(),
            known: listed(&names),
            annotated: asked_for.is_none(),
        }),
        None => {
            let first = names.first().map(|(name, _)| *name).unwrap_or_default();
            let notice = (names.len() > 1)
                .then(|| format!("Defaulted container {first:?} out of: {}", listed(&names)));
            Ok((first.to_owned(), notice))
        }
    }
}

/// All containers in kubectl's order, each with kubectl's mark.
fn names(spec: &PodSpec) -> Vec<(&str, &'static str)> {
    let regular = spec.containers.iter().map(|container| (container.name.as_str(), ""));
    let ephemeral =
        spec.ephemeral_containers.iter().flatten().map(|c| (c.name.as_str(), " (ephem)"));
    let init = spec.init_containers.iter().flatten().map(|c| (c.name.as_str(), " (init)"));
    regular.chain(ephemeral).chain(init).collect()
}

fn listed(names: &[(&str, &str)]) -> String {
    names.iter().map(|(name, mark)| format!("{name}{mark}")).collect::<Vec<_>>().join(", ")
}

fn completed(pod: &Pod, status: &PodStatus, phase: &str) -> TargetError {
    let of_pod = [&status.reason, &status.message].into_iter().flatten().cloned();
    let why: Vec<String> = of_pod.chain(state::failed(status)).collect();
    let phase =
        if why.is_empty() { phase.to_owned() } else { format!("{phase}: {}", why.join(": ")) };
    let hint = format!("what it said: kubectl logs {}", state::named(pod));
    TargetError::Completed { pod: pod.metadata.name.clone().unwrap_or_default(), phase, hint }
}

fn unscheduled(pod: &Pod, status: &PodStatus) -> TargetError {
    let scheduled = status
        .conditions
        .iter()
        .flatten()
        .find(|condition| condition.type_ == "PodScheduled" && condition.status == "False");
    let reason = scheduled
        .and_then(|condition| condition.message.as_deref().or(condition.reason.as_deref()))
        .map(|reason| format!(": {reason}"));
    TargetError::Unscheduled {
        pod: pod.metadata.name.clone().unwrap_or_default(),
        reason: reason.unwrap_or_default(),
        hint: format!("kubectl describe pod {} shows what it asks of a node", state::named(pod)),
    }
}

fn id(status: &PodStatus, container: &str, pod: &str) -> Result<(String, String), TargetError> {
    let found = state::status_of(status, container);
    let id = found.and_then(|found| found.container_id.as_deref()).unwrap_or_default();
    match id.split_once("://") {
        Some((runtime, id)) if !runtime.is_empty() && !id.is_empty() => {
            Ok((runtime.to_owned(), id.to_owned()))
        }
        _ => Err(TargetError::NoContainerId {
            container: container.to_owned(),
            pod: pod.to_owned(),
            id: id.to_owned(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const ID: &str = "containerd://4f2a";

    fn running(name: &str) -> Value {
        json!({"name": name, "containerID": ID, "image": "", "imageID": "", "ready": true,
               "restartCount": 0, "state": {"running": {"startedAt": null}}})
    }

    /// Containers a and b, an ephemeral one and an init one, all running.
    fn pod() -> Value {
        json!({
            "metadata": {"name": "web", "namespace": "prod", "uid": "u-1"},
            "spec": {
                "nodeName": "node7",
                "containers": [{"name": "a"}, {"name": "b"}],
                "initContainers": [{"name": "setup"}],
                "ephemeralContainers": [{"name": "dbg"}],
            },
            "status": {
                "phase": "Running",
                "containerStatuses": [running("b"), running("a")],
                "initContainerStatuses": [running("setup")],
                "ephemeralContainerStatuses": [running("dbg")],
            },
        })
    }

    fn selected(pod: Value, asked_for: Option<&str>) -> Result<Selection, TargetError> {
        select(&serde_json::from_value(pod).unwrap(), asked_for)
    }

    fn error_of(pod: Value, asked_for: Option<&str>) -> String {
        selected(pod, asked_for).unwrap_err().to_string()
    }

    #[test]
    fn the_first_container_is_the_default_and_said_to_be() {
        let got = selected(pod(), None).unwrap();
        let expected = Target {
            namespace: "prod".into(),
            pod: "web".into(),
            pod_uid: "u-1".into(),
            container: "a".into(),
            runtime: "containerd".into(),
            container_id: "4f2a".into(),
            node: "node7".into(),
            rights: Rights::default(),
        };
        assert_eq!(got.target, expected);
        assert_eq!(
            got.notice.unwrap(),
            "Defaulted container \"a\" out of: a, b, dbg (ephem), setup (init)"
        );
    }

    #[test]
    fn an_only_container_is_not_worth_a_line() {
        let mut pod = pod();
        pod["spec"] = json!({"nodeName": "n", "containers": [{"name": "a"}]});
        assert_eq!(selected(pod, None).unwrap().notice, None);
    }

    #[test]
    fn the_annotation_comes_before_the_first_and_after_the_flag() {
        let mut pod = pod();
        pod["metadata"]["annotations"] = json!({DEFAULT_CONTAINER: "b"});
        let got = selected(pod.clone(), None).unwrap();
        assert_eq!((got.target.container.as_str(), got.notice), ("b", None));
        assert_eq!(selected(pod.clone(), Some("a")).unwrap().target.container, "a");

        pod["metadata"]["annotations"] = json!({DEFAULT_CONTAINER: "gone"});
        let error = selected(pod.clone(), None).unwrap_err();
        assert!(error.to_string().starts_with("container gone is not valid for pod web"));
        assert!(error.hint().unwrap().contains("annotation"));
        assert_eq!(selected(pod, Some("gone")).unwrap_err().hint(), None);
    }

    #[test]
    fn init_and_ephemeral_containers_can_be_entered() {
        for name in ["b", "setup", "dbg"] {
            let got = selected(pod(), Some(name)).unwrap();
            assert_eq!((got.target.container.as_str(), got.notice), (name, None));
        }
    }

    #[test]
    fn the_rights_are_those_of_the_container_chosen() {
        let mut pod = pod();
        pod["spec"]["containers"][1]["securityContext"] = json!({"privileged": true});
        assert!(!selected(pod.clone(), None).unwrap().target.rights.unconfined);
        assert!(selected(pod, Some("b")).unwrap().target.rights.unconfined);
    }

    #[test]
    fn an_unknown_container_is_answered_with_kubectls_list() {
        assert_eq!(
            error_of(pod(), Some("c")),
            "container c is not valid for pod web out of: a, b, dbg (ephem), setup (init)"
        );
    }

    #[test]
    fn a_pod_that_ended_cannot_be_entered() {
        for phase in ["Succeeded", "Failed"] {
            let mut pod = pod();
            pod["status"]["phase"] = json!(phase);
            assert!(error_of(pod.clone(), None).ends_with(&format!("current phase is {phase}")));
            let error = selected(pod.clone(), Some("setup")).unwrap_err();
            assert_eq!(error.hint().unwrap(), "what it said: kubectl logs web -n prod");
            pod["status"]["reason"] = json!("Evicted");
            pod["status"]["message"] = json!("low on memory");
            assert!(error_of(pod, None).ends_with(&format!("{phase}: Evicted: low on memory")));
        }
    }

    #[test]
    fn a_pod_without_a_node_says_what_the_scheduler_says() {
        let mut pod = pod();
        pod["spec"]["nodeName"] = Value::Null;
        assert_eq!(error_of(pod.clone(), None), "pod web is on no node yet");
        pod["status"]["conditions"] = json!([
            {"type": "PodScheduled", "status": "False", "message": "0/3 nodes are available"}]);
        assert_eq!(error_of(pod, None), "pod web is on no node yet: 0/3 nodes are available");
    }

    #[test]
    fn a_container_that_does_not_run_says_what_it_does() {
        let mut pod = pod();
        let state = json!({"terminated": {"exitCode": 3, "reason": "Error"}});
        pod["status"]["containerStatuses"][1]["state"] = state;
        let error = selected(pod, None).unwrap_err();
        let text = "container a of pod web is not running: Error, exit code 3";
        assert_eq!(error.to_string(), text);
        assert_eq!(error.hint().unwrap(), "what it said: kubectl logs web -n prod -c a");
    }

    #[test]
    fn a_container_id_must_name_its_runtime() {
        for id in ["4f2a", "://4f2a", "containerd://", ""] {
            let mut pod = pod();
            pod["status"]["containerStatuses"][1]["containerID"] = json!(id);
            assert!(matches!(selected(pod, None), Err(TargetError::NoContainerId { .. })), "{id}");
        }
    }
}
