//! Every kind of container can be entered, on both nodes. Those that do not run are in
//! failures/container.rs.

use std::process::Command;

use anyhow::{Result, ensure};
use tests::command::{Output, kpexec, run, run_kpexec};
use tests::{Namespace, cluster, kubectl};

const IMAGE: &str = "10.200.0.1:5000/busybox:1";

const NODES: [&str; 2] = ["node1", "node2"];

/// A container that says in its own file system which one it is, and sleeps.
fn sleeper(name: &str) -> String {
    format!(
        "{{name: {name}, image: \"{IMAGE}\", \
         command: [/bin/sh, -c, \"echo {name} > /tmp/who; exec sleep 100000\"]}}"
    )
}

fn pod(namespace: &str, name: &str, spec: &str) -> Result<()> {
    cluster::apply(&format!(
        "{{apiVersion: v1, kind: Pod, metadata: {{name: {name}, namespace: {namespace}}}, \
         spec: {{terminationGracePeriodSeconds: 1, {spec}}}}}"
    ))
}

fn wait(namespace: &str, pod: &str, condition: &str) -> Result<()> {
    let condition = format!("--for={condition}");
    kubectl(&["wait", "-n", namespace, "--timeout=120s", &condition, &format!("pod/{pod}")])
        .map(drop)
}

/// What the container says it is, once it has: it runs a moment before.
fn who(namespace: &str, pod: &str, container: &str) -> Result<String> {
    let script = "until [ -s /tmp/who ]; do sleep 0.1; done; cat /tmp/who";
    let output = run_kpexec(&["-n", namespace, pod, "-c", container, "--", "sh", "-c", script])?;
    ensure!(output.code() == 0, "{pod} {container}: {output:?}");
    Ok(output.text())
}

/// Runs kpexec and expects a refusal that says all of `words`.
fn refused(mut arguments: Vec<&str>, words: &[&str]) -> Result<Output> {
    arguments.extend(["--", "true"]);
    let command: Command = kpexec(&arguments);
    let output = run(command, b"")?;
    ensure!(output.code() == 125 && output.stdout.is_empty(), "{arguments:?}: {output:?}");
    for word in words {
        ensure!(output.stderr.contains(word), "{arguments:?}: no {word:?}: {}", output.stderr);
    }
    Ok(output)
}

/// What has to succeed within four minutes.
fn in_time(mut attempt: impl FnMut() -> Result<Output>) -> Result<()> {
    let mut pauses = 0..240;
    while let Err(error) = attempt() {
        ensure!(pauses.next().is_some(), "{error:#}");
        std::thread::sleep(std::time::Duration::from_secs(1));
    }
    Ok(())
}

#[test]
fn sidecars_and_ephemeral_containers_are_entered() -> Result<()> {
    let namespace = Namespace::create("kinds", "privileged")?;
    let ns = namespace.name();
    for node in NODES {
        let side = sleeper("side").replacen('{', "{restartPolicy: Always, ", 1);
        let spec =
            format!("nodeName: {node}, initContainers: [{side}], containers: [{}]", sleeper("app"));
        pod(ns, node, &spec)?;
    }
    for node in NODES {
        wait(ns, node, "condition=Ready")?;
        let script = "echo dbg > /tmp/who; exec sleep 100000";
        kubectl(&[
            "debug",
            "-n",
            ns,
            node,
            &format!("--image={IMAGE}"),
            "-c",
            "dbg",
            "-q",
            "--profile=baseline",
            "--",
            "/bin/sh",
            "-c",
            script,
        ])?;
        let path = "{.status.ephemeralContainerStatuses[0].state.running.startedAt}";
        wait(ns, node, &format!("jsonpath={path}"))?;
        for container in ["app", "side", "dbg"] {
            assert_eq!(who(ns, node, container)?, container, "{node}");
        }
    }
    Ok(())
}

#[test]
fn an_init_container_that_runs_is_entered_and_named_to_who_waits_for_it() -> Result<()> {
    let namespace = Namespace::create("init", "privileged")?;
    let ns = namespace.name();
    for node in NODES {
        let containers =
            format!("initContainers: [{}], containers: [{}]", sleeper("setup"), sleeper("app"));
        pod(ns, node, &format!("nodeName: {node}, {containers}"))?;
    }
    for node in NODES {
        wait(ns, node, "jsonpath={.status.initContainerStatuses[0].state.running.startedAt}")?;
        assert_eq!(who(ns, node, "setup")?, "setup", "{node}");
        let words = ["PodInitializing: init container setup comes first, which runs", "-c setup"];
        refused(vec!["-n", ns, node, "-q"], &words)?;
    }
    Ok(())
}

#[test]
fn a_pod_that_is_being_deleted_is_entered_while_it_runs() -> Result<()> {
    let namespace = Namespace::create("going", "privileged")?;
    let ns = namespace.name();
    let container = |name: &str, trap: &str| {
        format!(
            "{{name: {name}, image: \"{IMAGE}\", command: [/bin/sh, -c, \
             \"trap '{trap}' TERM; echo {name} > /tmp/who; while :; do sleep 1; done\"]}}"
        )
    };
    let containers = [container("slow", ":"), container("quick", "exit 5")].join(", ");
    for node in NODES {
        pod(ns, node, &format!("nodeName: {node}, containers: [{containers}]"))?;
    }
    for node in NODES {
        wait(ns, node, "condition=Ready")?;
        // From then on they hear the signal.
        for container in ["slow", "quick"] {
            assert_eq!(who(ns, node, container)?, container, "{node}");
        }
        // Longer than all of this takes.
        kubectl(&["delete", "pod", "-n", ns, node, "--grace-period=180", "--wait=false"])?;
    }
    for node in NODES {
        assert_eq!(who(ns, node, "slow")?, "slow", "{node}");
        // The kubelet does not report what ends of such a pod before all of it has.
        in_time(|| refused(vec!["-n", ns, node, "-c", "quick"], &["not running"]))?;
        kubectl(&["delete", "pod", "-n", ns, node, "--now", "--wait=false"])?;
    }
    Ok(())
}
