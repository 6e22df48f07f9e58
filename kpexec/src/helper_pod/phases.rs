//! What a pod that starts has gone through, in words. Pure, but for who is told.

use k8s_openapi::api::core::v1::{ContainerStatus, Event, Pod};
use kpexec_protocol::Starting;
use tokio::sync::watch;

use crate::report;

/// Where a helper's start is told.
#[derive(Debug, Default)]
pub struct Phases(watch::Sender<Starting>);

impl Phases {
    /// The helper on this node has gone through these.
    pub fn tell(&self, node: &str, phases: Vec<String>) {
        self.pass_on(Starting { node: node.to_owned(), phases });
    }

    /// The same, as another process has found it.
    pub fn pass_on(&self, new: Starting) {
        self.0.send_if_modified(|known| {
            let is_new = *known != new;
            if is_new {
                tracing::debug!("helper on {}: {}", new.node, new.phases.join(", "));
                *known = new;
            }
            is_new
        });
    }

    /// What is known is no longer so: nobody makes the helper now.
    pub fn forget(&self) {
        self.0.send_replace(Starting::default());
    }

    /// Hears of each from now on, and of what is known first.
    pub fn listen(&self) -> watch::Receiver<Starting> {
        let mut heard = self.0.subscribe();
        heard.mark_changed();
        heard
    }
}

/// As far as the pod and the events about it tell; the last is what it is at.
pub fn phases(pod: &Pod, events: &[Event]) -> Vec<String> {
    let status = pod.status.clone().unwrap_or_default();
    let containers: Vec<_> =
        status.init_container_statuses.iter().chain(&status.container_statuses).flatten().collect();
    let has = |reason: &str| {
        // One of the same name that was there before has events, too.
        let mut of_pod =
            events.iter().filter(|event| event.involved_object.uid == pod.metadata.uid);
        of_pod.any(|event| event.reason.as_deref() == Some(reason))
    };
    let bound = status.conditions.iter().flatten();
    let bound = bound.filter(|it| it.type_ == "PodScheduled").any(|it| it.status == "True");
    let mut phases = vec![if bound { "scheduled" } else { "created" }.to_owned()];
    if has("Pulling") {
        phases.push("pulling image".to_owned());
    }
    let complaint = containers.iter().find_map(|container| complaint(container));
    let begun = has("Pulled") || has("Created") || containers.iter().any(|one| is_running(one));
    match complaint {
        Some(complaint) => phases.push(report::escape(complaint)),
        None if begun => phases.push("starting".to_owned()),
        None => {}
    }
    phases
}

/// Why the kubelet does not go on with it for now, in its own word, as `kubectl get
/// pods` shows it.
fn complaint(container: &ContainerStatus) -> Option<&str> {
    let reason = container.state.as_ref()?.waiting.as_ref()?.reason.as_deref()?;
    // The two that every pod goes through.
    (!["ContainerCreating", "PodInitializing"].contains(&reason)).then_some(reason)
}

fn is_running(container: &ContainerStatus) -> bool {
    container.state.as_ref().is_some_and(|state| state.running.is_some())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn told(status: Value, reasons: &[&str]) -> Vec<String> {
        let pod = json!({"metadata": {"uid": "u-1"}, "status": status});
        let event = |(uid, reason): (&str, &str)| json!({"metadata": {}, "involvedObject": {"uid": uid}, "reason": reason});
        let reasons =
            reasons.iter().map(|reason| reason.rsplit_once('@').unwrap_or(("u-1", reason)));
        let events: Value = reasons.map(event).collect();
        let pod: Pod = serde_json::from_value(pod).unwrap();
        phases(&pod, &serde_json::from_value::<Vec<Event>>(events).unwrap())
    }

    fn bound(state: Value) -> Value {
        json!({"conditions": [{"type": "PodScheduled", "status": "True"}], "containerStatuses": [{
            "name": "helper", "image": "", "imageID": "", "ready": false, "restartCount": 0,
            "state": state}]})
    }

    #[test]
    fn a_start_is_told_as_far_as_it_is_known() {
        let creating = || bound(json!({"waiting": {"reason": "ContainerCreating"}}));
        assert_eq!(told(json!({}), &[]), ["created"]);
        assert_eq!(told(creating(), &[]), ["scheduled"]);
        assert_eq!(told(creating(), &["Pulling"]), ["scheduled", "pulling image"]);
        let pulled = ["Pulling", "Pulled", "Created"];
        assert_eq!(told(creating(), &pulled), ["scheduled", "pulling image", "starting"]);
        // The image is there, or events are not for this user to see.
        assert_eq!(told(creating(), &["Pulled"]), ["scheduled", "starting"]);
        assert_eq!(told(bound(json!({"running": {}})), &[]), ["scheduled", "starting"]);
    }

    #[test]
    fn what_it_waits_for_is_told_in_the_kubelets_word() {
        let waiting = |reason: &str| bound(json!({"waiting": {"reason": reason}}));
        let back_off = told(waiting("ImagePullBackOff"), &["Pulling"]);
        assert_eq!(back_off, ["scheduled", "pulling image", "ImagePullBackOff"]);
        assert_eq!(told(waiting("X\u{1b}[2J"), &["Pulled"]), ["scheduled", "X\\x1b[2J"]);
    }

    #[test]
    fn events_of_an_earlier_pod_of_that_name_tell_nothing() {
        assert_eq!(told(bound(json!({})), &["u-0@Pulling", "u-0@Pulled"]), ["scheduled"]);
    }

    #[test]
    fn who_comes_late_hears_what_is_known() {
        let phases = Phases::default();
        phases.tell("node1", vec!["scheduled".to_owned()]);
        let mut late = phases.listen();
        assert!(late.has_changed().unwrap());
        assert_eq!(late.borrow_and_update().phases, ["scheduled"]);
        phases.forget();
        assert_eq!(phases.listen().borrow_and_update().phases, Vec::<String>::new());
    }

    #[test]
    fn the_same_is_told_once() {
        let phases = Phases::default();
        let mut heard = phases.listen();
        let tell = |phase: &str| phases.tell("node1", vec![phase.to_owned()]);
        tell("scheduled");
        assert!(heard.has_changed().unwrap());
        assert_eq!(heard.borrow_and_update().phases, ["scheduled"]);
        tell("scheduled");
        assert!(!heard.has_changed().unwrap());
    }
}
