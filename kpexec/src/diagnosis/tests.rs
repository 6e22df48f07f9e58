//! Which fault is told for what can be seen. What the cluster says stands here in
//! its own words, of Kubernetes 1.36, containerd 2.4 and CRI-O 1.34.

use k8s_openapi::api::core::v1::{Node, Pod};
use kube::core::Status;
use serde_json::{Value, json};

use super::facts::{Facts, Helper};
use super::fault::{Fault, judge};
use crate::api_error::ApiError;
use crate::transport::End;

const URL: &str = "https://10.0.0.1:6443";

/// Namespace and name of its pod.
const HELPER: (&str, &str) = ("ops", "kpexec-1");

fn refused(code: u16, message: &str) -> ApiError {
    let status = Status { code, message: message.into(), ..Status::default() };
    ApiError::Refused(status.boxed())
}

fn unreachable(detail: &str) -> ApiError {
    ApiError::Unreachable { url: URL.into(), detail: detail.into() }
}

fn cut() -> End {
    End::Lost("the connection was closed".into())
}

fn running() -> Value {
    json!({"phase": "Running", "containerStatuses": [status_of("helper", json!({"running": {}}))]})
}

fn status_of(name: &str, state: Value) -> Value {
    json!({"name": name, "image": "", "imageID": "", "ready": false, "restartCount": 0,
           "state": state})
}

fn pod(status: Value) -> Pod {
    serde_json::from_value(json!({"metadata": {}, "status": status})).unwrap()
}

fn node(ready: Value) -> Node {
    let conditions = json!([{"type": "MemoryPressure", "status": "False"}, ready]);
    serde_json::from_value(json!({"metadata": {}, "status": {"conditions": conditions}})).unwrap()
}

fn ready_node() -> Node {
    node(json!({"type": "Ready", "status": "True", "reason": "KubeletReady"}))
}

/// Everything looks well but for what the test changes.
fn facts(end: End, helper: Helper) -> Facts {
    let mut facts = Facts::new(end, URL, HELPER, Some("node7"));
    facts.note_pod(Ok(pod(running())));
    facts.note_node(Ok(ready_node()));
    facts.helper = helper;
    facts
}

fn told(facts: &Facts) -> String {
    let fault = judge(facts);
    assert!(!fault.hint().is_empty(), "{fault}");
    fault.to_string()
}

fn of_pod(status: Value) -> Fault {
    // Whatever else is seen: a dead pod explains it.
    let mut facts = facts(cut(), Helper::Fails("connection refused".into()));
    facts.note_pod(Ok(pod(status)));
    judge(&facts)
}

#[test]
fn before_anything_is_known_nothing_answers() {
    let fault = judge(&Facts::new(cut(), URL, HELPER, Some("node7")));
    let expected = "the network is cut: the API server https://10.0.0.1:6443 does not answer";
    assert_eq!((fault.to_string().as_str(), fault.is_certain()), (expected, false));
}

#[test]
fn an_api_server_that_is_away_is_told_in_the_systems_words() {
    for (error, words) in [
        (unreachable("connection refused"), "connection refused"),
        (refused(503, "apiserver is shutting down"), "apiserver is shutting down"),
    ] {
        let mut facts = facts(cut(), Helper::Silent);
        facts.note_pod(Err(error));
        let expected = format!("the API server {URL} was restarted or is away: {words}");
        assert_eq!(told(&facts), expected);
        assert!(judge(&facts).is_certain());
    }
}

#[test]
fn a_refusal_of_the_api_server_is_an_answer() {
    let mut facts = Facts::new(cut(), URL, HELPER, Some("node7"));
    facts.note_pod(Err(refused(403, "pods is forbidden")));
    facts.note_node(Err(refused(403, "nodes is forbidden")));
    assert_eq!(told(&facts), "node node7 does not answer: its network is cut, or it is gone");
    assert!(!judge(&facts).is_certain());
}

#[test]
fn a_pod_that_is_gone_was_deleted_or_evicted() {
    let mut facts = facts(cut(), Helper::Silent);
    facts.note_pod(Err(refused(404, "pods \"kpexec-1\" not found")));
    assert_eq!(told(&facts), "the helper pod was deleted or evicted");
    let events = "kubectl get events -n ops --field-selector involvedObject.name=kpexec-1";
    assert_eq!(judge(&facts).hint(), format!("{events} may tell by whom"));
    let deleted: Pod = serde_json::from_value(json!({
        "metadata": {"deletionTimestamp": "2026-11-26T03:00:00Z"}, "status": running()}))
    .unwrap();
    facts.note_pod(Ok(deleted));
    assert_eq!(told(&facts), "the helper pod was deleted");
}

#[test]
fn an_eviction_is_told_with_its_reason() {
    let mut status = running();
    status["conditions"] = json!([{"type": "DisruptionTarget", "status": "True",
        "reason": "EvictionByEvictionAPI", "message": "Eviction API: evicting"}]);
    let expected = "the helper pod was evicted: EvictionByEvictionAPI: Eviction API: evicting";
    assert_eq!(of_pod(status).to_string(), expected);

    let pressure = json!({"phase": "Failed", "reason": "Evicted",
        "message": "The node was low on resource: memory."});
    let expected = "the helper pod was ended: Evicted: The node was low on resource: memory.";
    assert_eq!(of_pod(pressure).to_string(), expected);
    let late = json!({"phase": "Failed", "reason": "DeadlineExceeded"});
    assert_eq!(of_pod(late).to_string(), "the helper pod was ended: DeadlineExceeded");
}

#[test]
fn the_end_of_the_helpers_container_is_told_with_its_cause() {
    for (terminated, expected) in [
        (
            json!({"exitCode": 137, "reason": "OOMKilled"}),
            "the helper's container ran out of memory",
        ),
        (json!({"exitCode": 137, "reason": "Error"}), "the helper's container was killed"),
        (
            json!({"exitCode": 0, "reason": "Completed"}),
            "the helper's container ended with exit code 0: Completed",
        ),
    ] {
        let tools = status_of("tools", json!({"terminated": {"exitCode": 1}}));
        let helper = status_of("helper", json!({"terminated": terminated}));
        let status = json!({"phase": "Running", "containerStatuses": [tools, helper]});
        let fault = of_pod(status);
        assert_eq!(fault.to_string(), expected);
        assert!(fault.is_certain());
    }
    // The tools container is not what served the session.
    let mut status = running();
    let tools = status_of("tools", json!({"terminated": {"exitCode": 137}}));
    status["containerStatuses"].as_array_mut().unwrap().insert(0, tools);
    assert!(of_pod(status).to_string().contains("kubelet"));
}

#[test]
fn a_node_that_is_not_ready_or_gone_is_told() {
    let mut facts = facts(cut(), Helper::Silent);
    facts.note_node(Ok(node(json!({"type": "Ready", "status": "Unknown",
        "reason": "NodeStatusUnknown", "message": "Kubelet stopped posting node status."}))));
    let expected =
        "node node7 is not Ready: NodeStatusUnknown: Kubelet stopped posting node status.";
    assert_eq!(told(&facts), expected);
    facts.note_node(Err(refused(404, "nodes \"node7\" not found")));
    assert_eq!(told(&facts), "node node7 is gone from the cluster");
    // A question that was not answered makes nothing unknown again.
    facts.note_node(Err(unreachable("x")));
    assert_eq!(told(&facts), "node node7 is gone from the cluster");
}

#[test]
fn who_is_in_the_way_to_the_helper_is_told() {
    let kubelet = "the kubelet of node node7 was restarted or is gone";
    let runtime = "the container runtime of node node7 was restarted or is gone";
    let network = "node node7 cannot be reached: its network is cut, or it is gone";
    for (words, expected) in [
        ("error dialing backend: dial tcp 10.0.0.7:10250: connect: connection refused", kubelet),
        ("error dialing backend: dial tcp 10.0.0.7:10250: i/o timeout", network),
        ("error dialing backend: dial tcp 10.0.0.7:10250: connect: no route to host", network),
        (
            "rpc error: code = Unavailable desc = connection error: desc = \"transport: Error \
             while dialing: dial unix /run/containerd/containerd.sock: connect: connection \
             refused\"",
            runtime,
        ),
        (
            "unable to upgrade connection: container not found (\"helper\")",
            "the helper's container has ended",
        ),
        ("something new", "the helper on node node7 cannot be reached: something new"),
    ] {
        assert_eq!(told(&facts(cut(), Helper::Fails(words.into()))), expected, "{words}");
    }
}

#[test]
fn a_helper_that_answers_again_lost_a_process_or_a_connection() {
    let end = |code: &str| End::ExitCode { code: code.into(), message: "x".into() };
    let of = |end| told(&facts(end, Helper::Answers));
    let killed = "the helper's process for it was killed, perhaps for want of memory";
    assert_eq!(of(end("137")), killed);
    assert_eq!(of(end("1")), "the helper's process for it ended with exit code 1");
    assert_eq!(of(End::Success), "the helper's process for it ended");
    let cut = of(cut());
    assert!(cut.starts_with("the connection to node node7 was lost and a new one works"), "{cut}");
    assert!(cut.ends_with("(the connection was closed)"), "{cut}");
}

#[test]
fn a_node_that_is_not_known_is_the_one_of_the_pod() {
    let mut facts = Facts::new(cut(), URL, HELPER, None);
    facts.note_pod(Err(refused(403, "pods is forbidden")));
    facts.helper = Helper::Fails("dial tcp 10.0.0.7:10250: connect: connection refused".into());
    assert_eq!(told(&facts), "the kubelet of its node was restarted or is gone");
    let mut there = pod(running());
    there.spec.get_or_insert_default().node_name = Some("node9".into());
    facts.note_pod(Ok(there));
    assert_eq!(told(&facts), "the kubelet of node node9 was restarted or is gone");
}
