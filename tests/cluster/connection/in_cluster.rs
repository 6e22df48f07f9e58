//! kpexec in a pod of the cluster: no kubeconfig, but the pod's service account.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tests::command::{HELPER_TIMEOUT, Output, run};
use tests::{Cluster, NODE_NAMES, cluster, kubectl};

use crate::account::Account;

/// The user of the pods: nobody, so that it is kpexec that makes root of it.
const NOBODY: u32 = 65534;

/// A pod in which this checkout's kpexec can run, and kubectl: with the C library of
/// the nodes, whose files are this machine's. It can write nothing.
fn pod(account: &Account, name: &str, node: &str, service_account: &str) -> Result<Value> {
    let kpexec = Cluster::get().kpexec.parent().context("a folder")?;
    let kubectl = Cluster::get().kubeconfig.with_file_name("bin").join("kubectl");
    let paths = [
        ("/lib", "/usr/lib".into()),
        ("/lib64", "/usr/lib64".into()),
        ("/kpexec", kpexec.to_owned()),
        ("/kubectl", kubectl.canonicalize()?),
    ];
    let volume = |(number, (_, path)): (usize, &(&str, PathBuf))| json!({"name": format!("v{number}"), "hostPath": {"path": path}});
    let mount = |(number, (inside, _)): (usize, &(&str, PathBuf))| json!({"name": format!("v{number}"), "mountPath": inside, "readOnly": true});
    // Nothing here leads the addresses of services anywhere, this one's neither.
    let server = tests::api_server::beyond_loopback()?;
    let (_, server) = server.split_once("://").context("a URL")?;
    let (host, port) = server.split_once(':').context("a port")?;
    let variables = [
        ("KUBERNETES_SERVICE_HOST", host),
        ("KUBERNETES_SERVICE_PORT", port),
        ("KPEXEC_HELPER_IMAGE", &Cluster::get().helper_image),
        HELPER_TIMEOUT,
    ];
    Ok(json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": account.namespace()},
        "spec": {
            "nodeName": node,
            "serviceAccountName": service_account,
            "terminationGracePeriodSeconds": 1,
            "volumes": paths.iter().enumerate().map(volume).collect::<Vec<_>>(),
            "containers": [{
                "name": "app",
                "image": "10.200.0.1:5000/busybox:1",
                "env": variables.map(|(name, value)| json!({"name": name, "value": value})),
                "volumeMounts": paths.iter().enumerate().map(mount).collect::<Vec<_>>(),
                "securityContext": {
                    "runAsUser": NOBODY, "runAsGroup": NOBODY, "readOnlyRootFilesystem": true,
                    "allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]},
                },
            }],
        },
    }))
}

/// Makes one on each node and waits until they run; gives their names.
fn pods(account: &Account, service_account: &str) -> Result<[String; 2]> {
    let names = NODE_NAMES.map(|node| format!("{service_account}-{node}"));
    for (name, node) in names.iter().zip(NODE_NAMES) {
        cluster::apply(&pod(account, name, node, service_account)?.to_string())?;
    }
    let [one, other] = names.each_ref().map(|name| format!("pod/{name}"));
    let ready = ["--for=condition=Ready", "--timeout=120s"];
    kubectl(&[&["wait", "-n", account.namespace(), &one, &other], &ready[..]].concat())?;
    Ok(names)
}

/// Runs a command line in a pod, which is made of words without spaces.
fn inside(account: &Account, pod: &str, line: &str) -> Result<Output> {
    let mut command = Command::new(Cluster::get().kubeconfig.with_file_name("bin/kubectl"));
    command.arg("--kubeconfig").arg(&Cluster::get().kubeconfig);
    command.args(["exec", "-n", account.namespace(), pod, "--"]).args(line.split(' '));
    run(command, b"")
}

fn says(account: &Account, pod: &str, line: &str, expected: &str) -> Result<()> {
    let output = inside(account, pod, line)?;
    ensure!(
        (output.code(), &*output.text(), &*output.stderr) == (0, expected, ""),
        "{line} in {pod}: {output:?}"
    );
    Ok(())
}

/// kpexec with its helpers in the account's namespace.
fn kpexec(account: &Account, line: &str) -> String {
    format!("/kpexec/kpexec --helper-namespace {} {line}", account.namespace())
}

#[test]
fn a_pods_service_account_is_enough() -> Result<()> {
    let account = Account::create("inside")?;
    let pods = pods(&account, "walker")?;
    for pod in &pods {
        says(&account, pod, "id -u", "65534")?;
        for target in tests::DEMO_PODS {
            let line = kpexec(&account, &format!("-n default {target} -- id -u"));
            says(&account, pod, &line, "0")?;
        }
        // The namespace is the pod's own, as it is for kubectl.
        for target in &pods {
            let line = format!("/kubectl get pod -o name {target}");
            says(&account, pod, &line, &format!("pod/{target}"))?;
            says(&account, pod, &kpexec(&account, &format!("{target} -- hostname")), target)?;
        }
    }
    // All of them have had the helpers of one user, the account: one a node. The two
    // pods are in the same namespace.
    let found = account.helpers()?;
    ensure!(found == NODE_NAMES.len() + pods.len(), "{found} pods");
    Ok(())
}

#[test]
fn nothing_needs_a_home_in_a_pod() -> Result<()> {
    let account = Account::create("homeless")?;
    let pods = pods(&account, "walker")?;
    for (pod, target) in pods.iter().zip(pods.iter().rev()) {
        // The second can be read, and not written.
        for home in ["HOME=/nonexistent", "HOME=/bin", "HOME=", "-u HOME"] {
            for flags in ["", "--linger 10s "] {
                let line = kpexec(&account, &format!("{flags}{target} -- id -u"));
                says(&account, pod, &format!("env {home} {line}"), "0")?;
            }
            let line = kpexec(&account, "").replacen("/kpexec ", "/kpexec sessions ", 1);
            let line = format!("env {home} {}", line.trim_end());
            let deadline = Instant::now() + Duration::from_secs(60);
            loop {
                let list = inside(&account, pod, &line)?;
                if list.code() == 0 && list.stderr.is_empty() {
                    break;
                }
                // A helper has five seconds to answer, which a busy machine may take.
                let may_come = list.stderr.contains("does not answer");
                ensure!(may_come && Instant::now() < deadline, "{home} in {pod}: {list:?}");
            }
        }
    }
    Ok(())
}

#[test]
fn an_account_without_rights_is_named_with_what_it_lacks() -> Result<()> {
    let account = Account::create("powerless")?;
    let namespace = account.namespace();
    for pod in pods(&account, "default")? {
        let output = inside(&account, &pod, &kpexec(&account, &format!("{pod} -- id -u")))?;
        let told = format!(
            "kpexec: cannot read pod {namespace}/{pod}: pods {pod:?} is forbidden: User \
             \"system:serviceaccount:{namespace}:default\" cannot get resource \"pods\" in API \
             group \"\" in the namespace {namespace:?}\n\
             hint: this role, bound to you, allows it: kubectl create role kpexec -n {namespace} \
             --verb=get --resource=pods; manifests/rbac.yaml has all that kpexec needs\n"
        );
        ensure!(output.code() == 125 && output.stdout.is_empty(), "{pod}: {output:?}");
        // kubectl adds a line about the exit code.
        ensure!(output.stderr.starts_with(&told), "{pod}: {}\nnot {told}", output.stderr);
    }
    Ok(())
}
