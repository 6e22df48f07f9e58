//! Which of an object's pods is entered: kubectl's order, which is that in which
//! controllers would delete them, turned around (`podutils.ActivePods`). Pure.

use std::cmp::{Ordering, Reverse};

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// The one kubectl would take.
pub fn first(pods: Vec<Pod>) -> Option<Pod> {
    // The last of equal ones would be another one than kubectl's.
    pods.into_iter().reduce(|best, pod| if better(&pod, &best).is_gt() { pod } else { best })
}

/// Greater is better.
fn better(one: &Pod, other: &Pod) -> Ordering {
    is_placed(one)
        .cmp(&is_placed(other))
        .then_with(|| phase(one).cmp(&phase(other)))
        .then_with(|| ready(one).is_some().cmp(&ready(other).is_some()))
        .then_with(|| is_staying(one).cmp(&is_staying(other)))
        .then_with(|| ready(one).flatten().map(Reverse).cmp(&ready(other).flatten().map(Reverse)))
        .then_with(|| restarts(other).cmp(&restarts(one)))
        .then_with(|| created(one).cmp(&created(other)))
}

fn is_placed(pod: &Pod) -> bool {
    let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
    !node.unwrap_or_default().is_empty()
}

/// Those that have ended are as those that have not begun.
fn phase(pod: &Pod) -> u8 {
    match pod.status.as_ref().and_then(|status| status.phase.as_deref()) {
        Some("Running") => 2,
        Some("Unknown") => 1,
        _ => 0,
    }
}

/// Since when it is ready, if it is.
fn ready(pod: &Pod) -> Option<Option<&Time>> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    let ready = conditions.iter().find(|one| one.type_ == "Ready" && one.status == "True")?;
    Some(ready.last_transition_time.as_ref())
}

fn is_staying(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_none()
}

fn restarts(pod: &Pod) -> i32 {
    let statuses = pod.status.as_ref().and_then(|status| status.container_statuses.as_ref());
    statuses.into_iter().flatten().map(|one| one.restart_count).max().unwrap_or_default()
}

/// Older is better.
fn created(pod: &Pod) -> Option<Reverse<&Time>> {
    pod.metadata.creation_timestamp.as_ref().map(Reverse)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn time(minute: u32) -> String {
        format!("2026-01-01T00:{minute:02}:00Z")
    }

    /// Ready since minute 5, made in minute 1.
    fn pod(name: &str) -> Value {
        json!({
            "metadata": {"name": name, "creationTimestamp": time(1)},
            "spec": {"nodeName": "n", "containers": []},
            "status": {
                "phase": "Running",
                "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": time(5)}],
                "containerStatuses": [{"name": "a", "restartCount": 1, "image": "", "imageID": "",
                                       "ready": true}],
            },
        })
    }

    fn taken(pods: &[Value]) -> String {
        let pods = pods.iter().map(|pod| serde_json::from_value(pod.clone()).unwrap());
        first(pods.collect()).unwrap().metadata.name.unwrap()
    }

    #[test]
    fn each_rule_chooses_where_those_before_it_do_not() {
        type Change = fn(&mut Value);
        let worse: [(&str, Change); 8] = [
            ("on no node", |pod| pod["spec"]["nodeName"] = json!("")),
            ("pending", |pod| pod["status"]["phase"] = json!("Pending")),
            ("unknown", |pod| pod["status"]["phase"] = json!("Unknown")),
            ("failed", |pod| pod["status"]["phase"] = json!("Failed")),
            ("not ready", |pod| pod["status"]["conditions"][0]["status"] = json!("False")),
            ("going", |pod| pod["metadata"]["deletionTimestamp"] = json!(time(9))),
            ("ready for less time", |pod| {
                pod["status"]["conditions"][0]["lastTransitionTime"] = json!(time(6));
            }),
            ("restarted", |pod| pod["status"]["containerStatuses"][0]["restartCount"] = json!(2)),
        ];
        let young = |pod: &mut Value| pod["metadata"]["creationTimestamp"] = json!(time(2));
        for (what, change) in worse {
            let (mut bad, mut good) = (pod("bad"), pod("good"));
            change(&mut bad);
            young(&mut good);
            assert_eq!(taken(&[bad.clone(), good.clone()]), "good", "{what}");
            assert_eq!(taken(&[good, bad]), "good", "{what}");
        }
        let (mut bad, good) = (pod("bad"), pod("good"));
        young(&mut bad);
        assert_eq!(taken(&[bad.clone(), good.clone()]), "good");
        assert_eq!(taken(&[good, bad]), "good");
    }

    #[test]
    fn of_equal_ones_it_is_the_first() {
        assert_eq!(taken(&[pod("a"), pod("b")]), "a");
        assert!(first(Vec::new()).is_none());
    }
}
