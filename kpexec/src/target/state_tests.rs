//! What is said of containers that do not run.

use serde_json::{Value, json};

use super::*;

/// Container `app` with this status, and init container `setup` with that one.
fn pod(app: Value, setup: Value) -> Value {
    let status = |name: &str, state: Value| {
        let mut status = json!({"name": name, "image": "", "imageID": "", "ready": false,
                                "restartCount": 0});
        let fields = state.as_object().cloned().unwrap_or_default();
        status.as_object_mut().unwrap().extend(fields);
        status
    };
    json!({
        "metadata": {"name": "web", "namespace": "prod"},
        "spec": {
            "nodeName": "node7",
            "containers": [{"name": "app", "image": "shop/web:2"}],
            "initContainers": [{"name": "setup", "image": "shop/setup:2"}],
        },
        "status": {
            "phase": "Pending",
            "containerStatuses": [status("app", app)],
            "initContainerStatuses": [status("setup", setup)],
        },
    })
}

fn found(pod: Value, container: &str) -> Option<(String, String)> {
    let idle = idle(&serde_json::from_value(pod).unwrap(), container)?;
    Some((idle.state, idle.hint))
}

const AT: &str = "2026-01-02T03:04:05Z";

fn waiting(reason: &str, message: &str) -> Value {
    json!({"state": {"waiting": {"reason": reason, "message": message}}})
}

fn ended(code: i32, reason: &str) -> Value {
    json!({"state": {"terminated": {"exitCode": code, "reason": reason, "finishedAt": AT}}})
}

fn running() -> Value {
    json!({"state": {"running": {"startedAt": AT}}})
}

#[test]
fn each_state_is_told_with_what_to_try() {
    let done = || ended(0, "Completed");
    let crashed = |code: i32, signal: Value| {
        let mut status = waiting("CrashLoopBackOff", "back-off 5m0s restarting failed container");
        status["lastState"] = json!({"terminated": {"exitCode": code, "signal": signal,
                                                    "reason": "Error", "finishedAt": AT}});
        status
    };
    let never_ran = || {
        let mut status = waiting("RunContainerError", "context deadline exceeded");
        status["lastState"] = json!({"terminated": {"exitCode": 128, "reason": "StartError",
                                                    "message": "exec: no such file\n"}});
        status
    };
    let previous = "why it ended: kubectl logs web -n prod -c app --previous";
    let image = "is shop/web:2 there under that name, and may the node pull it?";
    let describe = "kubectl describe pod web -n prod tells more";
    let table = [
        (
            crashed(3, Value::Null),
            done(),
            format!("CrashLoopBackOff, last exit code 3 at {AT} (Error)"),
            previous,
        ),
        (
            crashed(137, json!(9)),
            done(),
            format!("CrashLoopBackOff, last signal 9 at {AT} (Error)"),
            previous,
        ),
        (
            never_ran(),
            done(),
            "RunContainerError, last exit code 128 (StartError): exec: no such file".into(),
            describe,
        ),
        (
            waiting("ImagePullBackOff", "no such image"),
            done(),
            "ImagePullBackOff: no such image".into(),
            image,
        ),
        (waiting("ErrImagePull", ""), done(), "ErrImagePull".into(), image),
        (waiting("InvalidImageName", "bad"), done(), "InvalidImageName: bad".into(), image),
        (
            waiting("CreateContainerConfigError", "secret \"x\" not found"),
            done(),
            "CreateContainerConfigError: secret \"x\" not found".into(),
            describe,
        ),
        (waiting("ContainerCreating", ""), done(), "ContainerCreating".into(), describe),
        (json!({}), done(), "waiting".into(), describe),
        (
            waiting("PodInitializing", ""),
            running(),
            "PodInitializing: init container setup comes first, which runs".into(),
            "-c setup enters that one",
        ),
        (
            waiting("PodInitializing", ""),
            waiting("ImagePullBackOff", "x"),
            "PodInitializing: init container setup comes first, which waits: ImagePullBackOff"
                .into(),
            describe,
        ),
        (
            waiting("PodInitializing", ""),
            ended(4, "Error"),
            format!(
                "PodInitializing: init container setup comes first, which ended: Error, exit code 4 at {AT}"
            ),
            describe,
        ),
        (waiting("PodInitializing", ""), done(), "PodInitializing".into(), describe),
        (
            ended(3, "Error"),
            done(),
            format!("Error, exit code 3 at {AT}"),
            "what it said: kubectl logs web -n prod -c app",
        ),
        (
            ended(137, "OOMKilled"),
            done(),
            format!("OOMKilled, exit code 137 at {AT}"),
            "its memory limit was too low for what it did",
        ),
        (
            json!({"state": {"terminated": {"exitCode": 128, "reason": "StartError", "message": "no such file\n"}}}),
            done(),
            "StartError, exit code 128: no such file".into(),
            "what it said: kubectl logs web -n prod -c app",
        ),
    ];
    for (app, setup, state, hint) in table {
        let got = found(pod(app.clone(), setup.clone()), "app");
        assert_eq!(got, Some((state, hint.to_owned())), "{app} {setup}");
    }
}

#[test]
fn what_runs_is_not_idle_and_what_is_not_reported_is() {
    assert_eq!(found(pod(running(), json!({})), "app"), None);
    let mut pod = pod(json!({}), json!({}));
    pod["status"] = json!({"phase": "Pending"});
    assert_eq!(found(pod, "app").unwrap().0, "its node has not reported it yet");
}

#[test]
fn what_runs_once_is_not_waited_for() {
    let (state, hint) = found(pod(running(), ended(0, "Completed")), "setup").unwrap();
    assert_eq!(state, format!("Completed, exit code 0 at {AT}"));
    assert_eq!(hint, "an init container runs once; -c names another container");

    let mut pod = pod(running(), json!({}));
    pod["spec"]["ephemeralContainers"] = json!([{"name": "dbg"}]);
    let mut status = ended(1, "Error");
    let more =
        json!({"name": "dbg", "image": "", "imageID": "", "ready": false, "restartCount": 0});
    status.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    pod["status"]["ephemeralContainerStatuses"] = json!([status]);
    assert!(found(pod, "dbg").unwrap().1.starts_with("an ephemeral container runs once"));
}

#[test]
fn a_sidecar_that_has_started_is_not_waited_for() {
    let mut sidecar = pod(waiting("PodInitializing", ""), running());
    sidecar["spec"]["initContainers"][0]["restartPolicy"] = json!("Always");
    let awaited = |pod: &Value| found(pod.clone(), "app").unwrap().0.contains("setup");
    assert!(awaited(&sidecar));
    sidecar["status"]["initContainerStatuses"][0]["started"] = json!(true);
    assert!(!awaited(&sidecar));
}

#[test]
fn a_pod_that_is_being_deleted_runs_nothing_again() {
    for app in [ended(0, "Completed"), waiting("CrashLoopBackOff", ""), json!({})] {
        let mut pod = pod(app, json!({}));
        pod["metadata"]["deletionTimestamp"] = json!(AT);
        let hint = found(pod, "app").unwrap().1;
        assert_eq!(hint, "the pod is being deleted, so it will not run again");
    }
}

#[test]
fn a_pod_is_listed_by_what_it_does() {
    let words = |pod: Value| in_words(&serde_json::from_value(pod).unwrap());
    assert_eq!(words(pod(waiting("CrashLoopBackOff", ""), json!({}))), "CrashLoopBackOff");
    let initializing = waiting("PodInitializing", "");
    assert_eq!(words(pod(initializing.clone(), waiting("ErrImagePull", ""))), "ErrImagePull");
    assert_eq!(words(pod(initializing, running())), "Pending");
    let mut pod = pod(running(), json!({}));
    pod["status"]["phase"] = json!("Running");
    assert_eq!(words(pod.clone()), "Running, not ready");
    pod["status"]["conditions"] = json!([{"type": "Ready", "status": "True"}]);
    assert_eq!(words(pod.clone()), "Running");
    pod["status"]["reason"] = json!("Evicted");
    assert_eq!(words(pod.clone()), "Evicted");
    pod["metadata"]["deletionTimestamp"] = json!(AT);
    assert_eq!(words(pod), "Terminating");
}

#[test]
fn of_a_pod_that_has_failed_the_container_that_did_is_named() {
    let named = |app: Value, setup: Value| {
        let pod: Pod = serde_json::from_value(pod(app, setup)).unwrap();
        failed(&pod.status.unwrap())
    };
    let setup = Some(format!("container setup: Error, exit code 4 at {AT}"));
    assert_eq!(named(waiting("PodInitializing", ""), ended(4, "Error")), setup);
    let app = Some(format!("container app: OOMKilled, exit code 137 at {AT}"));
    assert_eq!(named(ended(137, "OOMKilled"), ended(0, "Completed")), app);
    assert_eq!(named(ended(0, "Completed"), ended(0, "Completed")), None);
}
