//! Nothing can be entered on the node. The nodes exist in the API only, and have a pod
//! each whose status is what a kubelet would say.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use tests::command::run_kpexec;
use tests::{BOTH_NODES, NODE_NAMES, Namespace, cluster, kubectl};

use super::row::{Row, check, row};

const ROWS: &[Row] = &[
    row(
        "it runs Windows",
        "kpexec -n $ns --helper-namespace $ns windows -- true",
        "node windows-$ns runs Windows",
        "kubectl exec",
    ),
    row(
        "it runs Docker",
        "kpexec -n $ns --helper-namespace $ns docker -- true",
        "node docker-$ns runs Docker",
        "kubectl exec",
    ),
    row(
        "its runtime is unknown",
        "kpexec -n $ns --helper-namespace $ns fancy -- true",
        "\"fancy\" is not known",
        "--cri-socket",
    ),
    row(
        "it is not Ready",
        "kpexec -n $ns --helper-namespace $ns --helper-timeout 5s broken -- true",
        "node broken-$ns … not Ready: KubeletNotReady: PLEG is not healthy",
        "--helper-timeout",
    ),
];

/// Nodes NAME-NAMESPACE, each with a pod NAME; gone with this.
struct Nodes {
    namespace: Namespace,
    names: Vec<String>,
}

impl Nodes {
    fn create() -> Result<Self> {
        let mut nodes = Self { namespace: Namespace::for_helpers("node")?, names: Vec::new() };
        nodes.add("windows", "windows", "containerd://2.1.0", "True")?;
        nodes.add("docker", "linux", "docker://28.0.0", "True")?;
        nodes.add("fancy", "linux", "fancy://1.0", "True")?;
        Ok(nodes)
    }

    fn add(&mut self, name: &str, system: &str, runtime: &str, ready: &str) -> Result<()> {
        let node = format!("{name}-{}", self.namespace.name());
        let object = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": node}});
        cluster::apply(&object.to_string())?;
        self.names.push(node.clone());
        let mut info = json!({"operatingSystem": system, "containerRuntimeVersion": runtime});
        for field in [
            "architecture",
            "bootID",
            "kernelVersion",
            "kubeletVersion",
            "kubeProxyVersion",
            "machineID",
            "osImage",
            "systemUUID",
        ] {
            info[field] = json!("");
        }
        let condition = json!({"type": "Ready", "status": ready, "reason": "KubeletNotReady",
            "message": "PLEG is not healthy"});
        patch("node", &node, &[], &json!({"nodeInfo": info, "conditions": [condition]}))?;
        self.place_pod(name, &node, runtime)
    }

    fn place_pod(&self, name: &str, node: &str, runtime: &str) -> Result<()> {
        let namespace = self.namespace.name();
        let pod = json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {"nodeName": node, "tolerations": [{"operator": "Exists"}],
                     "containers": [{"name": "app", "image": "none"}]}});
        cluster::apply(&pod.to_string())?;
        let runtime = runtime.split(':').next().unwrap_or_default();
        let container = json!({"name": "app", "image": "none", "imageID": "", "ready": true,
            "restartCount": 0, "containerID": format!("{runtime}://0123456789abcdef"),
            "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}}});
        let status = json!({"phase": "Running", "containerStatuses": [container]});
        patch("pod", name, &["-n", namespace], &status)
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        // No kubelet says that the pods have ended.
        let namespace = self.namespace.name();
        let _gone = kubectl(&["delete", "pod", "--all", "--force", "-n", namespace]);
        for name in &self.names {
            let _gone = kubectl(&["delete", "node", name, "--wait=false"]);
        }
    }
}

fn patch(kind: &str, name: &str, place: &[&str], status: &Value) -> Result<()> {
    let status = json!({"status": status}).to_string();
    let words = ["patch", kind, name, "--subresource=status", "-p", &status];
    kubectl(&[&words, place].concat()).map(drop)
}

#[test]
fn of_the_node() -> Result<()> {
    let mut nodes = Nodes::create()?;
    let namespace = nodes.namespace.name().to_owned();
    let variables = vec![("ns", &*namespace)];
    let begun = Instant::now();
    // Waiting cannot help there, and would take two minutes each.
    check(&ROWS[..3], &variables)?;
    ensure!(begun.elapsed() < Duration::from_secs(60), "it waited");
    // Late: of a node that says nothing more it is soon said that it has stopped to.
    nodes.add("broken", "linux", "containerd://2.1.0", "False")?;
    check(&ROWS[3..], &variables)
}

/// A node that takes no more pods, as before it is shut down.
struct Cordoned(&'static str);

impl Drop for Cordoned {
    fn drop(&mut self) {
        let _as_it_was = kubectl(&["uncordon", self.0]);
    }
}

#[test]
fn a_cordoned_node_is_none_of_them() -> Result<()> {
    let helpers = Namespace::for_helpers("cordoned")?;
    for (node, pod) in NODE_NAMES.into_iter().zip(BOTH_NODES) {
        let _cordoned = Cordoned(node);
        kubectl(&["cordon", node])?;
        let output = run_kpexec(&["--helper-namespace", helpers.name(), pod, "--", "true"])?;
        ensure!((output.code(), &*output.stderr) == (0, ""), "{pod}: {output:?}");
    }
    Ok(())
}
