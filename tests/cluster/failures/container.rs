//! There is no such container, or it does not run.

use anyhow::Result;
use tests::{NODE_NAMES, Namespace, cluster, kubectl};

use super::row::{Row, check, row};

const ROWS: &[Row] = &[
    row("no such pod", "kpexec no-such -- true", "pod \"no-such\" not found … \"default\"", "-n "),
    row("no such namespace", "kpexec -n no-such p -- true", "not found … \"no-such\"", "-n "),
    row("no such deployment", "kpexec deploy/x -- true", "deployment \"x\" not found", "-n "),
    row("no such container", "kpexec $pod -c x -- true", "container x is not valid … app", ""),
    row("nothing has the labels", "kpexec -l app=x -- true", "no pod … app=x", "--show-labels"),
    row(
        "a deployment without pods",
        "kpexec -n $ns deploy/none --pod-running-timeout 1s -- true",
        "deployment/none has no pod",
        "kubectl describe deployment/none",
    ),
    row(
        "a service without a selector",
        "kpexec -n $ns svc/bare -- true",
        "without a selector",
        "name a pod",
    ),
    row(
        "no node for it",
        "kpexec -n $ns nowhere -- true",
        "nowhere is on no node yet: 0/",
        "kubectl describe pod nowhere -n $ns",
    ),
    row(
        "it has done its work",
        "kpexec -n $ns done-$node -- true",
        "completed pod done-$node; current phase is Succeeded",
        "kubectl logs done-$node -n $ns",
    ),
    row(
        "it has failed",
        "kpexec -n $ns failed-$node -- true",
        "completed pod failed-$node; current phase is Failed",
        "kubectl logs failed-$node -n $ns",
    ),
    row(
        "its image is not there",
        "kpexec -n $ns pull-$node -- true",
        // It is tried again and again, and has another reason meanwhile.
        "container app of pod pull-$node is not running: … ImagePull",
        "is 10.200.0.1:5000/no-such-image:1 there",
    ),
    row(
        "its image may not be pulled",
        "kpexec -n $ns never-$node -- true",
        "container app of pod never-$node is not running: ErrImageNeverPull",
        "is 10.200.0.1:5000/no-such-image:1 there",
    ),
    row(
        "what it refers to is not there",
        "kpexec -n $ns config-$node -- true",
        "is not running: CreateContainerConfigError: configmap \"no-such\" not found",
        "kubectl describe pod config-$node -n $ns",
    ),
    row(
        "its program is not there",
        "kpexec -n $ns program-$node -- true",
        "container app of pod program-$node is not running: … /no-such-program",
        "kubectl describe pod program-$node -n $ns",
    ),
    row(
        "an init container comes first",
        "kpexec -n $ns init-$node -- true",
        "container app of pod init-$node is not running: PodInitializing: init container setup",
        "-c setup",
    ),
    row(
        "it wanted more memory than it may have",
        "kpexec -n $ns greedy-$node -- true",
        "current phase is Failed: container app: OOMKilled, exit code 137",
        "kubectl logs greedy-$node -n $ns",
    ),
];

const IMAGE: &str = "10.200.0.1:5000/busybox:1";

/// A pod of this name for each node.
fn pods(namespace: &str, name: &str, spec: &str) -> Result<()> {
    for node in NODE_NAMES {
        cluster::apply(&format!(
            "{{apiVersion: v1, kind: Pod, metadata: {{name: {name}-{node}, namespace: \
             {namespace}}}, spec: {{nodeName: {node}, terminationGracePeriodSeconds: 0, {spec}}}}}"
        ))?;
    }
    Ok(())
}

fn wait(namespace: &str, name: &str, condition: &str) -> Result<()> {
    let condition = format!("--for=jsonpath={{.status.{condition}");
    let wait = ["wait", "-n", namespace, "--timeout=300s", &condition];
    kubectl(&[&wait[..], &[&format!("pod/{name}-node1"), &format!("pod/{name}-node2")]].concat())
        .map(drop)
}

/// Waits until the kubelets have said `words` of these pods' containers: in which of
/// their states, depends on the runtime.
fn wait_for_words(namespace: &str, name: &str, words: &str) -> Result<()> {
    for node in NODE_NAMES {
        let pod = format!("{name}-{node}");
        let mut looks = 0..600;
        let path = "jsonpath={.status.containerStatuses}";
        while !kubectl(&["get", "pod", "-n", namespace, &pod, "-o", path])?.contains(words) {
            looks.next().ok_or_else(|| anyhow::anyhow!("{pod}: nothing of {words}"))?;
            std::thread::sleep(std::time::Duration::from_millis(500));
        }
    }
    Ok(())
}

/// A container named `app` that runs this, with more of a container's fields.
fn app(image: &str, script: &str, more: &str) -> String {
    format!(
        "containers: [{{name: app, image: \"{image}\", command: [/bin/sh, -c, \"{script}\"]{more}}}]"
    )
}

/// It is started again and again, and is not waiting meanwhile.
const CRASH: Row = row(
    "it crashes again and again",
    "kpexec -n $ns crash-$node -- true",
    "is not running: CrashLoopBackOff, last exit code 3 at 20",
    "kubectl logs crash-$node -n $ns -c app --previous",
);

/// A kubelet tells of its waiting when next it looks at the pod, as after a change.
fn wait_for_crash_loop(namespace: &str) -> Result<()> {
    for node in NODE_NAMES {
        let pod = format!("crash-{node}");
        let path = "jsonpath={.status.containerStatuses[0].state.waiting.reason}";
        let mut looks = 0..240;
        while kubectl(&["get", "pod", "-n", namespace, &pod, "-o", path])? != "CrashLoopBackOff" {
            let number = looks.next().ok_or_else(|| anyhow::anyhow!("{pod} does not crash"))?;
            let change = format!("look={number}");
            kubectl(&["annotate", "pod", "-n", namespace, &pod, "--overwrite", &change])?;
            std::thread::sleep(std::time::Duration::from_millis(500));
        }
    }
    Ok(())
}

fn set_up(ns: &str) -> Result<()> {
    pods(ns, "crash", &app(IMAGE, "exit 3", ""))?;
    pods(ns, "done", &format!("restartPolicy: Never, {}", app(IMAGE, "exit 0", "")))?;
    pods(ns, "failed", &format!("restartPolicy: Never, {}", app(IMAGE, "exit 4", "")))?;
    let missing = "10.200.0.1:5000/no-such-image:1";
    pods(ns, "pull", &app(missing, "true", ""))?;
    pods(ns, "never", &app(missing, "true", ", imagePullPolicy: Never"))?;
    let from = ", envFrom: [{configMapRef: {name: no-such}}]";
    pods(ns, "config", &app(IMAGE, "true", from))?;
    let program =
        format!("containers: [{{name: app, image: \"{IMAGE}\", command: [/no-such-program]}}]");
    pods(ns, "program", &program)?;
    let first = app(IMAGE, "exec sleep 100000", "").replacen("containers", "initContainers", 1);
    let first = first.replacen("name: app", "name: setup", 1);
    pods(ns, "init", &format!("{first}, {}", app(IMAGE, "true", "")))?;
    let small = ", resources: {limits: {memory: 16Mi}}";
    let greedy = app(IMAGE, "exec tail -f /dev/zero", small);
    pods(ns, "greedy", &format!("restartPolicy: Never, {greedy}"))?;
    cluster::apply(&format!(
        "{{apiVersion: v1, kind: Pod, metadata: {{name: nowhere, namespace: {ns}}}, spec: \
         {{nodeSelector: {{no: such}}, {}}}}}",
        app(IMAGE, "true", "")
    ))?;
    cluster::apply(&format!(
        "{{apiVersion: v1, kind: Service, metadata: {{name: bare, namespace: {ns}}}, spec: \
         {{ports: [{{port: 80}}]}}}}"
    ))?;
    let image = format!("--image={IMAGE}");
    kubectl(&["create", "deployment", "none", "-n", ns, &image, "--replicas=0"]).map(drop)
}

fn wait_for_all(ns: &str) -> Result<()> {
    let waiting = |reason: &str| format!("containerStatuses[0].state.waiting.reason}}={reason}");
    wait(ns, "done", "phase}=Succeeded")?;
    wait(ns, "failed", "phase}=Failed")?;
    wait(ns, "greedy", "phase}=Failed")?;
    wait(ns, "pull", &waiting("ImagePullBackOff"))?;
    wait(ns, "never", &waiting("ErrImageNeverPull"))?;
    wait(ns, "config", &waiting("CreateContainerConfigError"))?;
    wait(ns, "init", "initContainerStatuses[0].state.running.startedAt}")?;
    wait_for_words(ns, "program", "/no-such-program")?;
    let scheduled = "--for=jsonpath={.status.conditions[?(@.type==\"PodScheduled\")].reason}";
    let scheduled = format!("{scheduled}=Unschedulable");
    kubectl(&["wait", "-n", ns, "--timeout=300s", &scheduled, "pod/nowhere"]).map(drop)
}

#[test]
fn of_the_container() -> Result<()> {
    let namespace = Namespace::create("states", "privileged")?;
    set_up(namespace.name())?;
    wait_for_all(namespace.name())?;
    let variables = vec![("ns", namespace.name())];
    check(ROWS, &variables)?;
    let mut attempts = 1..5;
    loop {
        wait_for_crash_loop(namespace.name())?;
        let checked = check(&[CRASH], &variables);
        if checked.is_ok() || attempts.next().is_none() {
            return checked;
        }
    }
}
