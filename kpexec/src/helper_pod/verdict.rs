//! Judges from a pod and its events whether it will ever start. Pure.

use k8s_openapi::api::core::v1::{ContainerStatus, Event, Pod};

use super::spec::CONTAINER;

/// What is known about a starting pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It may still start; the reason why it has not yet, if one is known.
    Starting(Option<String>),
    /// It will not start, and why.
    Failed(String),
}

/// Judges the pod by what is most certain first: its phase, then the states of
/// its containers, then what the kubelet reported in events.
pub fn judge(pod: &Pod, events: &[Event]) -> Verdict {
    let status = pod.status.clone().unwrap_or_default();
    let main = status.container_statuses.unwrap_or_default();
    let all: Vec<_> = status.init_container_statuses.iter().flatten().chain(&main).collect();
    let failed = all.iter().find(|container| exit_code(container).is_some_and(|code| code != 0));
    if let Some("Failed" | "Succeeded") = status.phase.as_deref() {
        let of_pod = sentence(status.reason.as_deref(), status.message.as_deref());
        let reason = of_pod.or_else(|| failed.copied().or(main.first()).and_then(ended));
        return Verdict::Failed(reason.unwrap_or_else(|| "it ended at once".into()));
    }
    // The pod goes on as long as any of its containers does.
    if let Some(reason) = failed.and_then(|container| ended(container)) {
        return Verdict::Failed(reason);
    }
    let waiting: Vec<Verdict> = all.iter().filter_map(|container| waiting(container)).collect();
    let fatal = waiting.iter().find(|verdict| matches!(verdict, Verdict::Failed(_)));
    if let Some(verdict) = fatal.or(waiting.first()) {
        return verdict.clone();
    }
    if !main.is_empty() && main.iter().all(is_running) {
        return Verdict::Starting(Some("its container runs, but does not answer".into()));
    }
    let warning = events.iter().rev().find(|event| event.type_.as_deref() == Some("Warning"));
    if let Some(event) = warning {
        return by_event(event);
    }
    // Without a complaint, what it was last busy with: a slow pull, mostly.
    Verdict::Starting(events.last().and_then(|event| event.message.clone()))
}

fn exit_code(container: &ContainerStatus) -> Option<i32> {
    Some(container.state.as_ref()?.terminated.as_ref()?.exit_code)
}

fn ended(container: &ContainerStatus) -> Option<String> {
    let ended = container.state.as_ref()?.terminated.as_ref()?;
    let reason = sentence(ended.reason.as_deref(), ended.message.as_deref());
    let who = named(container).unwrap_or_else(|| "it".into());
    Some(format!(
        "{who} ended with exit code {}{}",
        ended.exit_code,
        reason.map(|reason| format!(" ({reason})")).unwrap_or_default()
    ))
}

/// The helper's own container is what one thinks of first; others are named.
fn named(container: &ContainerStatus) -> Option<String> {
    (container.name != CONTAINER).then(|| format!("container {}", container.name))
}

fn is_running(container: &ContainerStatus) -> bool {
    container.state.as_ref().is_some_and(|state| state.running.is_some())
}

fn waiting(container: &ContainerStatus) -> Option<Verdict> {
    let waiting = container.state.as_ref()?.waiting.as_ref()?;
    let reason = waiting.reason.as_deref()?;
    let message = waiting.message.as_deref().unwrap_or_default();
    let text = sentence(Some(reason), Some(message)).unwrap_or_default();
    let text = sentence(named(container).as_deref(), Some(&text)).unwrap_or_default();
    Some(match reason {
        "InvalidImageName"
        | "ErrImageNeverPull"
        | "SignatureValidationFailed"
        | "CreateContainerError" => Verdict::Failed(text),
        "ErrImagePull" | "ImagePullBackOff" if is_final_pull_error(message) => {
            Verdict::Failed(text)
        }
        // The two that every pod goes through: an event may know more.
        "ContainerCreating" | "PodInitializing" => return None,
        _ => Verdict::Starting(Some(text)),
    })
}

/// Whether pulling again cannot help: the registry answered, and said no. A
/// registry that does not answer may be back in a second.
fn is_final_pull_error(message: &str) -> bool {
    let message = message.to_ascii_lowercase();
    // The words of containerd, CRI-O and the registries behind them. "no such
    // host" is DNS, which may recover, and must not match "not found".
    [
        "not found",
        "manifest unknown",
        "name unknown",
        "does not exist",
        "denied",
        "unauthorized",
        "signature validation failed",
    ]
    .iter()
    .any(|words| message.contains(words))
}

fn by_event(event: &Event) -> Verdict {
    let message = event.message.as_deref().unwrap_or_default();
    let Some(text) = sentence(event.reason.as_deref(), Some(message)) else {
        return Verdict::Starting(None);
    };
    Verdict::Starting(Some(text))
}

fn sentence(reason: Option<&str>, message: Option<&str>) -> Option<String> {
    let parts: Vec<&str> =
        [reason, message].into_iter().flatten().filter(|s| !s.is_empty()).collect();
    (!parts.is_empty()).then(|| parts.join(": "))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn judged(status: Value, events: Value) -> Verdict {
        let pod: Pod = serde_json::from_value(json!({"metadata": {}, "status": status})).unwrap();
        judge(&pod, &serde_json::from_value::<Vec<Event>>(events).unwrap())
    }

    fn in_state(state: Value) -> Value {
        json!({"phase": "Pending", "containerStatuses": [{
            "name": "helper", "image": "", "imageID": "", "ready": false, "restartCount": 0,
            "state": state}]})
    }

    fn waiting_for(reason: &str, message: &str) -> Verdict {
        judged(in_state(json!({"waiting": {"reason": reason, "message": message}})), json!([]))
    }

    fn event(kind: &str, reason: &str, message: &str) -> Value {
        json!({"metadata": {}, "involvedObject": {}, "type": kind, "reason": reason,
               "message": message})
    }

    fn failed(text: &str) -> Verdict {
        Verdict::Failed(text.into())
    }

    fn starting(text: &str) -> Verdict {
        Verdict::Starting(Some(text.into()))
    }

    #[test]
    fn a_young_pod_is_starting() {
        assert_eq!(judged(json!({}), json!([])), Verdict::Starting(None));
        assert_eq!(waiting_for("ContainerCreating", ""), Verdict::Starting(None));
    }

    #[test]
    fn a_running_pod_that_we_still_wait_for_does_not_answer() {
        // An earlier complaint no longer matters.
        let before = json!([event("Warning", "FailedCreatePodSandBox", "x")]);
        let expected = starting("its container runs, but does not answer");
        assert_eq!(judged(in_state(json!({"running": {}})), before), expected);
    }

    #[test]
    fn a_failed_pod_says_why() {
        let status = json!({"phase": "Failed", "reason": "OutOfcpu",
                            "message": "Node didn't have enough resource: cpu"});
        let expected = failed("OutOfcpu: Node didn't have enough resource: cpu");
        assert_eq!(judged(status, json!([])), expected);

        let ended = json!({"terminated": {"exitCode": 128, "reason": "StartError",
                                          "message": "exec: \"/node-helper\": no such file"}});
        let mut status = in_state(ended);
        status["phase"] = json!("Failed");
        assert_eq!(
            judged(status, json!([])),
            failed(
                "it ended with exit code 128 (StartError: exec: \"/node-helper\": no such file)"
            )
        );
        // A helper that ends without an error is not there either.
        assert_eq!(judged(json!({"phase": "Succeeded"}), json!([])), failed("it ended at once"));
    }

    #[test]
    fn an_image_that_does_not_exist_is_final() {
        // As containerd 2 and CRI-O 1.34 word it.
        for message in [
            "failed to pull and unpack image \"r/x:1\": failed to resolve reference \"r/x:1\": r/x:1: not found",
            "Back-off pulling image \"r/x:1\": ErrImagePull: reading manifest 1 in r/x: manifest unknown",
            "pull access denied, repository does not exist or may require authorization",
            "Back-off pulling image \"r/x:1\": SignatureValidationFailed: image pull failed for r/x:1 because the signature validation failed: no signature",
        ] {
            for reason in ["ErrImagePull", "ImagePullBackOff"] {
                let expected = failed(&format!("{reason}: {message}"));
                assert_eq!(waiting_for(reason, message), expected);
            }
        }
    }

    #[test]
    fn a_registry_that_does_not_answer_may_come_back() {
        let message = "dial tcp: lookup r on 10.0.0.1:53: no such host";
        let expected = starting(&format!("ErrImagePull: {message}"));
        assert_eq!(waiting_for("ErrImagePull", message), expected);
        assert_eq!(
            waiting_for("CreateContainerConfigError", "x"),
            starting("CreateContainerConfigError: x")
        );
    }

    #[test]
    fn some_reasons_are_always_final() {
        for reason in ["InvalidImageName", "ErrImageNeverPull", "SignatureValidationFailed"] {
            assert_eq!(waiting_for(reason, "bad"), failed(&format!("{reason}: bad")));
        }
        assert_eq!(waiting_for("CreateContainerError", ""), failed("CreateContainerError"));
    }

    fn with_tools(helper: Value, tools: Value) -> Verdict {
        let mut status = in_state(helper);
        let mut other = status["containerStatuses"][0].clone();
        other["name"] = json!("tools");
        other["state"] = tools;
        status["containerStatuses"].as_array_mut().unwrap().push(other);
        let mut prepare = status["containerStatuses"][0].clone();
        prepare["name"] = json!("prepare");
        prepare["state"] = json!({"terminated": {"exitCode": 0, "reason": "Completed"}});
        status["initContainerStatuses"] = json!([prepare]);
        judged(status, json!([]))
    }

    #[test]
    fn a_tools_image_that_does_not_exist_is_final_whatever_the_helper_does() {
        let pull = json!({"waiting": {"reason": "ErrImagePull", "message": "r/x:1: not found"}});
        let expected = failed("container tools: ErrImagePull: r/x:1: not found");
        assert_eq!(with_tools(json!({"running": {}}), pull.clone()), expected);
        assert_eq!(with_tools(json!({"waiting": {"reason": "ContainerCreating"}}), pull), expected);
    }

    #[test]
    fn a_tools_container_that_does_not_start_is_final() {
        let ended = json!({"terminated": {"exitCode": 128, "reason": "StartError"}});
        let expected = failed("container tools ended with exit code 128 (StartError)");
        assert_eq!(with_tools(json!({"running": {}}), ended), expected);
    }

    #[test]
    fn what_prepares_the_pod_may_end() {
        let running = json!({"running": {}});
        let expected = starting("its container runs, but does not answer");
        assert_eq!(with_tools(running.clone(), running.clone()), expected);
        let creating = json!({"waiting": {"reason": "ContainerCreating"}});
        assert_eq!(with_tools(running, creating), Verdict::Starting(None));
    }

    #[test]
    fn events_explain_a_pod_that_says_nothing() {
        let sandbox = event("Warning", "FailedCreatePodSandBox", "plugin type=\"x\" failed");
        let normal = event("Normal", "Pulling", "Pulling image");
        assert_eq!(
            judged(json!({"phase": "Pending"}), json!([sandbox, normal])),
            starting("FailedCreatePodSandBox: plugin type=\"x\" failed")
        );
    }

    #[test]
    fn without_a_complaint_the_last_event_explains() {
        let pulling = event("Normal", "Pulling", "Pulling image \"r/x:1\"");
        let expected = starting("Pulling image \"r/x:1\"");
        assert_eq!(judged(json!({"phase": "Pending"}), json!([pulling])), expected);
    }
}
