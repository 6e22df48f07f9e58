//! Chooses the container of a pod by kubectl's rules, and says why it cannot.

use k8s_openapi::api::core::v1::{ContainerState, ContainerStatus, Pod, PodSpec, PodStatus};

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
        return Err(TargetError::Completed { pod: pod_name, phase: phase.to_owned() });
    }
    let Some(node) = spec.node_name.clone().filter(|node| !node.is_empty()) else {
        return Err(TargetError::Unscheduled { pod: pod_name, reason: scheduler_says(status) });
    };
    let (runtime, container_id) = running_id(status, &container, &pod_name)?;
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

fn scheduler_says(status: &PodStatus) -> String {
    status
        .conditions
        .iter()
        .flatten()
        .find(|condition| condition.type_ == "PodScheduled" && condition.status == "False")
        .and_then(|condition| condition.message.as_deref().or(condition.reason.as_deref()))
        .map(|reason| format!(": {reason}"))
        .unwrap_or_default()
}

fn running_id(
    status: &PodStatus,
    container: &str,
    pod: &str,
) -> Result<(String, String), TargetError> {
    let all = status.container_statuses.iter().flatten();
    let all = all.chain(status.init_container_statuses.iter().flatten());
    let mut all = all.chain(status.ephemeral_container_statuses.iter().flatten());
    let found = all.find(|status| status.name == container);
    let not_running = |state: String| TargetError::NotRunning {
        container: container.to_owned(),
        pod: pod.to_owned(),
        state,
    };
    let Some(found) = found else {
        return Err(not_running("its node has not reported it yet".into()));
    };
    if let Some(state) = idle_state(found) {
        return Err(not_running(state));
    }
    let id = found.container_id.as_deref().unwrap_or_default();
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

/// What a container does instead of running; None if it runs.
fn idle_state(status: &ContainerStatus) -> Option<String> {
    let empty = ContainerState::default();
    let state = status.state.as_ref().unwrap_or(&empty);
    if state.running.is_some() {
        return None;
    }
    if let Some(ended) = &state.terminated {
        let reason = ended.reason.as_deref().unwrap_or("terminated");
        return Some(format!("{reason}, exit code {}", ended.exit_code));
    }
    let waiting = state.waiting.as_ref();
    let reason = waiting.and_then(|waiting| waiting.reason.as_deref()).unwrap_or("waiting");
    let last = status.last_state.as_ref().and_then(|last| last.terminated.as_ref());
    if let Some(last) = last {
        return Some(format!("{reason}, last exit code {}", last.exit_code));
    }
    match waiting.and_then(|waiting| waiting.message.as_deref()) {
        Some(message) => Some(format!("{reason}: {message}")),
        None => Some(reason.to_owned()),
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
        assert!(error_of(pod, None).starts_with("container gone is not valid for pod web"));
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
            assert!(error_of(pod, None).ends_with(&format!("current phase is {phase}")));
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
        let cases = [
            (
                json!({"terminated": {"exitCode": 3, "reason": "Error"}}),
                json!({}),
                "Error, exit code 3",
            ),
            (
                json!({"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 5m"}}),
                json!({"terminated": {"exitCode": 137}}),
                "CrashLoopBackOff, last exit code 137",
            ),
            (
                json!({"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}),
                json!({}),
                "ImagePullBackOff: no such image",
            ),
            (json!({}), json!({}), "waiting"),
        ];
        for (state, last, text) in cases {
            let mut pod = pod();
            pod["status"]["containerStatuses"][1]["state"] = state;
            pod["status"]["containerStatuses"][1]["lastState"] = last;
            let expected = format!("container a of pod web is not running: {text}");
            assert_eq!(error_of(pod, None), expected);
        }
        let mut pod = pod();
        pod["status"]["containerStatuses"] = json!([]);
        assert!(error_of(pod, None).ends_with("its node has not reported it yet"));
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
