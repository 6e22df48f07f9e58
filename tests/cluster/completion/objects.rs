//! Names of objects that have pods, and what of the kubeconfig and of a node is
//! completed.

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use tests::command::run;
use tests::node::NODES;
use tests::{Cluster, Namespace, Node, cluster, kubectl};

use crate::{answer, by_kubectl, in_time};

/// What kubectl and we call each type by.
const TYPES: [(&str, &[&str]); 7] = [
    ("Deployment", &["deploy", "deployment", "deployments", "deployments.apps"]),
    ("StatefulSet", &["sts", "statefulset", "statefulsets.v1.apps"]),
    ("DaemonSet", &["ds", "daemonset"]),
    ("ReplicaSet", &["rs", "replicasets"]),
    ("ReplicationController", &["rc", "replicationcontroller"]),
    ("Job", &["job", "jobs", "jobs.batch"]),
    ("Service", &["svc", "service", "services"]),
];

/// An object of this kind with pods that no node can take.
fn object(kind: &str, namespace: &str, name: &str) -> Value {
    let group = match kind {
        "ReplicationController" | "Service" => "v1",
        "Job" => "batch/v1",
        _ => "apps/v1",
    };
    let labels = json!({"app": name});
    let pod = json!({
        "nodeSelector": {"no": "such"},
        "containers": [{"name": "app", "image": "10.200.0.1:5000/busybox:1"}],
    });
    let mut template = json!({"metadata": {"labels": labels}, "spec": pod});
    let spec = match kind {
        "Service" => json!({"selector": labels, "ports": [{"port": 80}]}),
        "ReplicationController" => json!({"selector": labels, "template": template}),
        "Job" => {
            template["spec"]["restartPolicy"] = json!("Never");
            json!({"template": template})
        }
        _ => json!({"selector": {"matchLabels": labels}, "template": template}),
    };
    json!({
        "apiVersion": group, "kind": kind, "spec": spec,
        "metadata": {"name": name, "namespace": namespace},
    })
}

/// kubectl's candidates, in order; its last two lines are no candidates.
fn kubectls(words: &[&str]) -> Result<Vec<String>> {
    let text = by_kubectl(&[&["__complete", "exec"], words].concat())?.text();
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    lines.retain(|line| !line.starts_with(':'));
    lines.sort();
    Ok(lines)
}

#[test]
fn objects_are_completed_by_every_name_of_their_type() -> Result<()> {
    let namespace = Namespace::create("objects", "privileged")?;
    let ns = namespace.name();
    for (kind, _) in TYPES {
        for number in [1, 2] {
            let name = format!("{}-{number}", kind.to_lowercase());
            cluster::apply(&object(kind, ns, &name).to_string())?;
        }
    }
    for (kind, words) in TYPES {
        let kind = kind.to_lowercase();
        for word in words {
            let typed = format!("{word}/{kind}-");
            let found = answer(&["-n", ns, &typed])?;
            let expected = [1, 2].map(|number| format!("{typed}{number}"));
            assert_eq!(found, [&expected[..], &[":4".to_owned()]].concat(), "{typed}");
            assert_eq!(kubectls(&["-n", ns, &typed])?, expected, "kubectl: {typed}");
        }
    }
    // None of the pods runs.
    assert_eq!(answer(&["-n", ns, "pod/"])?, [":4"]);
    for nothing in ["node/", "cm/", "deploy/deployment-1/"] {
        assert_eq!(answer(&["-n", ns, nothing])?, [":4"], "{nothing}");
    }
    Ok(())
}

#[test]
fn names_of_the_kubeconfig_are_completed() -> Result<()> {
    for (flag, path) in [("--cluster", "clusters"), ("--user", "users"), ("--context", "contexts")]
    {
        let path = format!("jsonpath={{range .{path}[*]}}{{.name}}{{\"\\n\"}}{{end}}");
        let names = kubectl(&["config", "view", "-o", &path])?;
        ensure!(!names.is_empty(), "{flag}: the kubeconfig has none");
        let found = answer(&[flag, ""])?;
        let found = found.iter().filter(|line| *line != ":4").map(|line| line.split('\t').next());
        let found: Vec<&str> = found.map(Option::unwrap_or_default).collect();
        assert_eq!(found, names.lines().collect::<Vec<_>>(), "{flag}");
    }
    Ok(())
}

#[test]
fn a_nodes_own_containers_are_completed() -> Result<()> {
    let kpexec = Cluster::get().kpexec.to_string_lossy();
    let on = |node: &str, words: &[&str]| -> Result<String> {
        let start = ["env", "--default-signal", &*kpexec, "__complete", "--local"];
        let node = Node::find(node)?;
        let output = in_time(|| run(node.with_tools(&start, words), b""))?;
        ensure!(output.code() == 0 && output.stderr.is_empty(), "{words:?}: {output:?}");
        Ok(String::from_utf8(output.stdout)?)
    };
    for (node, pods) in NODES {
        for pod in pods {
            let found = on(node, &[&format!("{pod}/def")])?;
            assert_eq!(found, format!("{pod}/default\tapp\n:4\n"), "{node}");
            let found = on(node, &["-it", &format!("{pod}/default/")])?;
            assert_eq!(found, format!("{pod}/default/app\n:4\n"), "{node}");
        }
        let helper = "--local-helper=/nonexistent";
        assert_eq!(on(node, &[helper, &format!("{}/", pods[0])])?, ":4\n", "{node}");
    }
    // Those that run, and those of this node only.
    assert_eq!(on("node1", &["multi/default/"])?, "multi/default/one\nmulti/default/two\n:4\n");
    assert_eq!(on("node1", &["multi/d"])?, "multi/default\tone, two\n:4\n");
    assert_eq!(on("node2", &["multi/"])?, ":4\n");
    Ok(())
}
