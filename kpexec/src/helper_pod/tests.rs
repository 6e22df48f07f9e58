//! The life of a helper pod against an API server that is a function.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{Method, Request, Response};
use k8s_openapi::api::core::v1::Pod;
use kube::client::Body;
use serde_json::json;

use super::cleanup::{CleanupError, HelperPod, Sharing};
use super::launch::{Created, LaunchError, create, watch_for_failure};
use super::phases::Phases;
use crate::cluster::Cluster;

type Log = Arc<Mutex<Vec<String>>>;

/// A cluster that answers each request as `answer` says, given its method and
/// how many of that method came before, and notes when it has answered.
fn cluster(
    answer: impl Fn(&Method, usize) -> (u16, &'static str) + Copy + Send + 'static,
    delay: Duration,
) -> (Cluster, Log) {
    let log = Log::default();
    let noted = log.clone();
    let service = tower::service_fn(move |request: Request<Body>| {
        let noted = noted.clone();
        async move {
            tokio::time::sleep(delay).await;
            let line = format!("{} {}", request.method(), request.uri().path());
            let before = {
                let mut noted = noted.lock().unwrap();
                noted.push(line.clone());
                noted.iter().filter(|other| **other == line).count() - 1
            };
            let (code, message) = answer(request.method(), before);
            let body = match code {
                200 => json!({"kind": "Pod", "apiVersion": "v1", "status": {"phase": message},
                              "metadata": {"name": "kpexec-1", "uid": "u-1"}}),
                _ => json!({"kind": "Status", "apiVersion": "v1", "status": "Failure",
                            "code": code, "message": message}),
            };
            let response = Response::builder().status(code);
            Ok::<_, std::io::Error>(
                response.body(Body::from(body.to_string().into_bytes())).unwrap(),
            )
        }
    });
    let client = kube::Client::new(service, "default");
    (
        Cluster {
            client,
            namespace: "default".into(),
            url: "https://test".into(),
            certificate_end: None,
        },
        log,
    )
}

fn pod() -> Pod {
    let metadata = json!({"metadata": {"name": "kpexec-1", "namespace": "kpexec"}});
    serde_json::from_value(metadata).unwrap()
}

fn requests(log: &Log) -> Vec<String> {
    log.lock().unwrap().clone()
}

const GET: &str = "GET /api/v1/namespaces/kpexec/pods/kpexec-1";
const CREATE: &str = "POST /api/v1/namespaces/kpexec/pods";
const DELETE: &str = "DELETE /api/v1/namespaces/kpexec/pods/kpexec-1";

#[tokio::test]
async fn a_create_whose_answer_got_lost_is_repeated_and_recognised() {
    let answers = |_: &Method, before: usize| match before {
        0 => (504, "the server was too slow"),
        _ => (409, "pods \"kpexec-1\" already exists"),
    };
    let (cluster, log) = cluster(answers, Duration::ZERO);
    assert_eq!(create(&cluster, &pod(), false).await.unwrap(), Created::Ours(None));
    assert_eq!(requests(&log), [CREATE, CREATE]);
}

#[tokio::test]
async fn a_pod_that_was_there_before_is_not_ours() {
    let (cluster, _) = cluster(|_, _| (409, "pods \"kpexec-1\" already exists"), Duration::ZERO);
    assert!(matches!(create(&cluster, &pod(), false).await, Err(LaunchError::Create { .. })));
}

#[tokio::test]
async fn a_shared_pod_that_others_made_is_not_deleted() {
    let exists = |_: &Method, _| (409, "pods \"kpexec-1\" already exists");
    let (cluster, log) = cluster(exists, Duration::ZERO);
    let mut helper = HelperPod::new(&cluster, pod(), Sharing::User);
    assert_eq!(requests(&log), [""; 0]);
    helper.create().await.unwrap();
    helper.delete().await.unwrap();
    assert_eq!(requests(&log), [CREATE]);
}

#[tokio::test]
async fn a_shared_pod_of_ours_is_deleted_unless_we_leave_it() {
    for (phase, leave, expected) in [
        ("Pending", false, &[CREATE, GET, DELETE][..]),
        // Others may have begun a session in it.
        ("Running", false, &[CREATE, GET]),
        ("Pending", true, &[CREATE]),
    ] {
        let (cluster, log) = cluster(move |_, _| (200, phase), Duration::ZERO);
        let mut helper = HelperPod::new(&cluster, pod(), Sharing::User);
        helper.create().await.unwrap();
        if leave {
            helper.leave();
        }
        helper.delete().await.unwrap();
        assert_eq!(requests(&log), expected);
    }
}

#[tokio::test]
async fn only_a_pod_that_has_ended_makes_room() {
    for (phase, expected) in [
        ((200, "Running"), &[GET][..]),
        ((404, "not found"), &[GET]),
        ((200, "Succeeded"), &[GET, DELETE]),
        ((200, "Failed"), &[GET, DELETE]),
    ] {
        let answers = move |_: &Method, _| phase;
        let (cluster, log) = cluster(answers, Duration::ZERO);
        HelperPod::new(&cluster, pod(), Sharing::User).remove_ended().await.unwrap();
        assert_eq!(requests(&log), expected, "{phase:?}");
    }
}

#[tokio::test]
async fn a_pod_of_our_own_is_not_left() {
    let (cluster, log) = cluster(|_, _| (200, ""), Duration::ZERO);
    let mut helper = HelperPod::new(&cluster, pod(), Sharing::None);
    helper.leave();
    helper.delete().await.unwrap();
    assert_eq!(requests(&log), [CREATE, DELETE]);
}

#[tokio::test]
async fn a_missing_namespace_comes_with_the_remedy() {
    let (cluster, log) = cluster(|_, _| (404, "namespaces \"kpexec\" not found"), Duration::ZERO);
    let error = create(&cluster, &pod(), false).await.unwrap_err();
    assert!(error.hint().unwrap().contains("kubectl apply -f manifests/"));
    assert_eq!(requests(&log), [CREATE]);
}

#[tokio::test]
async fn a_pod_whose_create_is_under_way_is_deleted_after_it() {
    let (cluster, log) = cluster(|_, _| (200, ""), Duration::from_millis(50));
    // As after a signal: nobody waited for `created`.
    HelperPod::new(&cluster, pod(), Sharing::None).delete().await.unwrap();
    assert_eq!(requests(&log), [CREATE, DELETE]);
}

#[tokio::test]
async fn a_pod_that_was_refused_needs_no_delete() {
    let (cluster, log) = cluster(|_, _| (403, "exceeded quota"), Duration::ZERO);
    let mut helper = HelperPod::new(&cluster, pod(), Sharing::None);
    assert!(helper.created().await.is_err());
    helper.delete().await.unwrap();
    assert_eq!(requests(&log), [CREATE]);
}

#[tokio::test]
async fn a_pod_that_is_gone_is_deleted_well_enough() {
    let answers = |method: &Method, before: usize| match (method, before) {
        (&Method::POST, _) => (200, ""),
        (_, 0) => (503, "later"),
        _ => (404, "pods \"kpexec-1\" not found"),
    };
    let (cluster, log) = cluster(answers, Duration::ZERO);
    HelperPod::new(&cluster, pod(), Sharing::None).delete().await.unwrap();
    assert_eq!(requests(&log), [CREATE, DELETE, DELETE]);
}

#[tokio::test]
async fn a_pod_that_may_not_be_deleted_is_reported() {
    let answers = |method: &Method, _| match *method {
        Method::POST => (200, ""),
        _ => (403, "User \"bob\" cannot delete resource \"pods\""),
    };
    let (cluster, _) = cluster(answers, Duration::ZERO);
    let helper = HelperPod::new(&cluster, pod(), Sharing::None);
    assert_eq!(helper.by_hand(), "delete it by hand: kubectl delete pod -n kpexec kpexec-1");
    assert!(matches!(helper.delete().await, Err(CleanupError::Delete { .. })));
}

#[tokio::test]
async fn an_api_server_that_says_nothing_does_not_hold_us_for_ever() {
    tokio::time::pause();
    let (cluster, _) = cluster(|_, _| (200, ""), Duration::from_secs(3600));
    let before = tokio::time::Instant::now();
    let result = HelperPod::new(&cluster, pod(), Sharing::None).delete().await;
    assert!(matches!(result, Err(CleanupError::TimedOut { .. })), "{result:?}");
    assert!(before.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn without_the_right_to_watch_only_the_time_limit_ends_the_wait() {
    tokio::time::pause();
    let (cluster, _) = cluster(|_, _| (403, "cannot watch"), Duration::ZERO);
    let limit = Duration::from_secs(60);
    let before = tokio::time::Instant::now();
    let error =
        watch_for_failure(&cluster, "kpexec", "kpexec-1", "node7", limit, &Phases::default()).await;
    assert!(before.elapsed() >= limit);
    assert_eq!(
        error.to_string(),
        "helper pod kpexec-1 did not start on node node7 within 60s: its kubelet reported no reason"
    );
}

#[test]
fn each_reason_of_the_kubelet_has_its_hint() {
    let [wait, ready] = ["--helper-timeout waits longer: it covers", "is the node Ready?"];
    let pull = "is its name right, and its registry up?";
    let [helper, tools] = ["--helper-image or", "--tools-image names"];
    // What the kubelets of containerd and CRI-O nodes say, while it may start.
    for (reason, expected) in [
        (None, ready),
        (Some("FailedCreatePodSandBox: plugin failed"), ready),
        (Some("CreateContainerConfigError: no secret"), ready),
        (Some("Pulling image \"r/x:1\""), wait),
        (Some("Failed: Failed to pull image \"r/x:1\": i/o timeout"), pull),
        (Some("BackOff: Back-off pulling image \"r/x:1\""), pull),
        (Some("ErrImagePull: dial tcp: lookup r: no such host"), pull),
        (Some("container tools: ErrImagePull: dial tcp: lookup r: no such host"), pull),
        (Some("container tools: ImagePullBackOff: Back-off pulling image \"r/x:1\""), pull),
        (Some("RegistryUnavailable: image pull failed for r/x:1: pinging r: refused"), pull),
        (Some("ImageInspectError: Failed to inspect image \"x\": short name"), helper),
        (Some("container tools: ImageInspectError: short name"), tools),
    ] {
        let reason = reason.map(str::to_owned);
        let (pod, node, after) = ("kpexec-1".into(), "node1".into(), Duration::from_secs(60));
        let error = LaunchError::TimedOut { pod, node, after, reason };
        let hint = error.hint().unwrap_or_default();
        assert!(hint.starts_with(expected), "{error}: {hint}");
    }
    // And when it never will.
    for (reason, expected) in [
        ("InvalidImageName: bad", helper),
        ("ErrImageNeverPull: it is not there", helper),
        ("SignatureValidationFailed: image pull failed for r/x:1", helper),
        ("ErrImagePull: r/x:1: not found", helper),
        ("ImagePullBackOff: manifest unknown", helper),
        ("it ended with exit code 128 (StartError: exec: \"/node-helper\": no such file)", helper),
        ("container tools: SignatureValidationFailed: x", tools),
        ("container tools ended with exit code 128 (StartError)", tools),
        ("CreateContainerError: apply caps: not permitted", "the node cannot give"),
        ("OutOfcpu: too much", ""),
    ] {
        let (pod, node) = ("kpexec-1".into(), "node1".into());
        let error = LaunchError::Failed { pod, uid: None, node, reason: reason.into() };
        let hint = error.hint().unwrap_or_default();
        let right = if expected.is_empty() { hint.is_empty() } else { hint.starts_with(expected) };
        assert!(right, "{error}: {hint}");
    }
}
