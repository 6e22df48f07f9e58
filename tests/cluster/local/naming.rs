//! Which container a name means, where only the node's runtime says it.

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use tests::command::Output;
use tests::node::NODES;
use tests::{Namespace, Pod, cluster, kubectl};

use crate::on;

/// Runs the program in the container that a name leads to.
fn in_container(node: &str, name: &str, program: &[&str]) -> Result<Output> {
    on(node, &[&[name, "--"], program].concat())
}

/// What is said where a name leads to none.
fn refused(node: &str, name: &str) -> Result<String> {
    let output = in_container(node, name, &["true"])?;
    ensure!(output.code() == 125 && output.stdout.is_empty(), "{node}: {name}: {output:?}");
    Ok(output.stderr)
}

/// Starts a pod whose containers have these names, and waits until it runs.
fn start_pod(
    node: &str,
    namespace: &str,
    name: &str,
    annotations: Value,
    containers: &[&str],
) -> Result<()> {
    let containers =
        containers.iter().map(|name| json!({"name": name, "image": "10.200.0.1:5000/busybox:1"}));
    let manifest = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "annotations": annotations},
        "spec": {
            "nodeName": node,
            "terminationGracePeriodSeconds": 0,
            "containers": containers.collect::<Vec<_>>(),
        },
    });
    cluster::apply(&manifest.to_string())?;
    let ready = ["--for=condition=Ready", "--timeout=180s", "pod", name];
    kubectl(&[&["wait", "-n", namespace][..], &ready].concat()).map(drop)
}

#[test]
fn a_container_is_named_by_its_id_or_its_pod() -> Result<()> {
    for (node, pods) in NODES {
        for pod in pods {
            let id = Pod::find(pod)?.container_id;
            let runtime = if node == "node1" { "containerd" } else { "cri-o" };
            for name in [
                id.clone(),
                id[..12].to_owned(),
                format!("{runtime}://{id}"),
                format!("{pod}/default"),
                format!("{pod}/default/app"),
            ] {
                let output = in_container(node, &name, &["cat", "/etc/hostname"])?;
                ensure!(
                    output.code() == 0 && output.stderr.is_empty(),
                    "{node}: {name}: {output:?}"
                );
                assert_eq!(output.text(), pod, "{node}: {name}");
            }
        }
    }
    Ok(())
}

#[test]
fn what_two_containers_have_in_common_is_refused_with_the_choices() -> Result<()> {
    let namespace = Namespace::create("local", "baseline")?;
    // No other test's container has this name.
    let (space, container) = (namespace.name(), namespace.name());
    for (node, _) in NODES {
        let pods = [format!("later-{node}"), format!("earlier-{node}")];
        for pod in &pods {
            start_pod(node, space, pod, json!({}), &[container])?;
        }
        let [later, earlier] = pods.map(|pod| -> Result<String> {
            let id = &Pod::find_in(space, &pod)?.container_id[..13];
            Ok(format!("{pod}/{space}/{container} ({id})"))
        });
        let wanted = format!(
            "kpexec: {container} is ambiguous: {}, {}\n\
             hint: say POD/NAMESPACE/CONTAINER, or more of the ID\n",
            earlier?, later?
        );
        assert_eq!(refused(node, container)?, wanted, "{node}");
    }
    Ok(())
}

#[test]
fn what_is_no_container_is_refused_with_what_is_near() -> Result<()> {
    for (node, [_, pod]) in NODES {
        for (name, words) in [
            ("no-such", "kpexec: no running container on this node is no-such"),
            (pod, &format!("hint: there is a pod of that name: {pod}/default")),
            (&format!("default/{pod}"), &format!("hint: the pod comes first: {pod}/default")),
            (&format!("{pod}/default/x"), &format!("not valid for pod {pod} out of: app")),
            ("no-such/default", "pod no-such of namespace default has no running container"),
            ("a/b/c/d", "hint: say the container's ID or name, POD/NAMESPACE, or"),
        ] {
            let said = refused(node, name)?;
            ensure!(said.contains(words), "{node}: {name}: no {words:?} in {said}");
            ensure!(said.lines().count() == 2 || !said.contains("hint"), "{node}: {said}");
        }
    }
    Ok(())
}

#[test]
fn a_pods_default_container_is_kubectls() -> Result<()> {
    let namespace = Namespace::create("local", "baseline")?;
    let space = namespace.name();
    for (node, _) in NODES {
        let annotation = json!({"kubectl.kubernetes.io/default-container": "two"});
        let notice = "Defaulted container \"one\" out of: one, two\n";
        for (pod, annotations, default, notice) in
            [("plain", json!({}), "one", notice), ("annotated", annotation, "two", "")]
        {
            let pod = format!("{pod}-{node}");
            start_pod(node, space, &pod, annotations, &["one", "two"])?;
            let name = format!("{pod}/{space}");
            let output = in_container(node, &name, &["sh", "-c", "echo $KPEXEC_CONTAINER"])?;
            assert_eq!(output.text(), default, "{node}: {output:?}");
            assert_eq!(output.stderr, notice, "{node}");
            let quiet = on(node, &["-q", &name, "--", "true"])?;
            assert_eq!((quiet.code(), quiet.stderr.as_str()), (0, ""), "{node}");
        }
    }
    Ok(())
}
