//! Bad input and refusals: one clear line, exit code 125, nothing left behind.

use std::fs;
use std::process::Command;

use anyhow::{Result, ensure};
use tests::command::{Output, kpexec, run, run_kpexec};
use tests::{Cluster, cluster, kubectl};

/// Runs kpexec and expects a refusal whose first line holds all of `words`.
fn refused(command: Command, words: &[&str]) -> Result<Output> {
    let shown = format!("{:?}", command.get_args().collect::<Vec<_>>());
    let output = run(command, b"")?;
    ensure!(output.code() == 125, "{shown}: exit code {}: {}", output.code(), output.stderr);
    ensure!(output.stdout.is_empty(), "{shown} wrote to stdout: {}", output.text());
    let lines: Vec<&str> = output.stderr.lines().collect();
    let errors = lines.iter().filter(|line| line.starts_with("kpexec: ")).count();
    ensure!(errors == 1, "{shown}: {errors} error lines: {}", output.stderr);
    ensure!(
        lines.iter().all(|line| line.starts_with("kpexec: ") || line.starts_with("hint: ")),
        "{shown}: {}",
        output.stderr
    );
    for word in words {
        ensure!(output.stderr.contains(word), "{shown}: no {word:?} in {}", output.stderr);
    }
    Ok(output)
}

#[test]
fn what_does_not_exist() -> Result<()> {
    refused(kpexec(&["no-such-pod", "--", "true"]), &["no-such-pod", "not found", "default"])?;
    refused(kpexec(&["-n", "no-such-ns", "p", "--", "true"]), &["no-such-ns"])?;
    refused(kpexec(&["busybox", "-c", "no-such", "--", "true"]), &["no-such", "app"])?;
    refused(kpexec(&["--context", "no-such", "busybox", "--", "true"]), &["no-such"])?;
    refused(kpexec(&["--kubeconfig", "/no/such", "busybox", "--", "true"]), &["/no/such"])?;
    Ok(())
}

#[test]
fn what_is_not_an_identity() -> Result<()> {
    refused(kpexec(&["-u", "no-number", "busybox", "--", "true"]), &["no-number"])?;
    refused(kpexec(&["-u", "1:x", "busybox", "--", "true"]), &["1:x"])?;
    refused(kpexec(&["-u", "4294967295", "busybox", "--", "true"]), &["4294967295"])?;
    refused(
        kpexec(&["--cap-add", "NET_ADMN", "busybox", "--", "true"]),
        &["NET_ADMN", "NET_ADMIN"],
    )?;
    refused(kpexec(&["--env", "novalue", "busybox", "--", "true"]), &["novalue"])?;
    Ok(())
}

#[test]
fn an_id_the_user_namespace_does_not_have() -> Result<()> {
    for pod in tests::USER_NAMESPACED {
        let words = ["user 3000000000", "user namespace"];
        refused(kpexec(&["-u", "3000000000", pod, "--", "true"]), &words)?;
    }
    Ok(())
}

#[test]
fn what_is_not_a_command_line() -> Result<()> {
    refused(kpexec(&["busybox"]), &["--"])?;
    refused(kpexec(&["busybox", "--"]), &["--"])?;
    refused(kpexec(&["busybox", "true"]), &["--"])?;
    refused(kpexec(&[]), &["POD"])?;
    refused(kpexec(&["--no-such-flag", "busybox", "--", "true"]), &["--no-such-flag"])?;
    refused(kpexec(&["deploy/x", "--", "true"]), &["deploy/x"])?;
    Ok(())
}

#[test]
fn a_pod_that_does_not_run() -> Result<()> {
    let pod = |name: &str, image: &str, command: &str| {
        cluster::apply(&format!(
            "{{apiVersion: v1, kind: Pod, metadata: {{name: {name}}}, spec: {{nodeName: node1, \
             restartPolicy: Never, terminationGracePeriodSeconds: 0, containers: [{{name: app, \
             image: \"10.200.0.1:5000/{image}\", command: [{command}]}}]}}}}"
        ))
    };
    pod("refused-completed", "busybox:1", "/bin/true")?;
    pod("refused-waiting", "no-such-image:1", "/bin/true")?;
    let phase = "jsonpath={.status.phase}";
    let reason = "{.status.containerStatuses[0].state.waiting.reason}";
    kubectl(&[
        "wait",
        "--timeout=30s",
        &format!("--for={phase}=Succeeded"),
        "pod/refused-completed",
    ])?;
    kubectl(&[
        "wait",
        "--timeout=30s",
        &format!("--for=jsonpath={reason}"),
        "pod/refused-waiting",
    ])?;
    refused(kpexec(&["refused-completed", "--", "true"]), &["refused-completed", "Succeeded"])?;
    refused(kpexec(&["refused-waiting", "--", "true"]), &["app", "Image"])?;
    kubectl(&["delete", "pod", "--now", "refused-completed", "refused-waiting"])?;
    Ok(())
}

#[test]
fn a_sandboxed_container() -> Result<()> {
    refused(kpexec(&["gvisor", "--", "true"]), &["sandbox", "kubectl exec"])?;
    Ok(())
}

#[test]
fn a_helper_that_cannot_start() -> Result<()> {
    let image = "10.200.0.1:5000/no-such-image:1";
    let words = [image, "pull"];
    let output = refused(kpexec(&["--helper-image", image, "distroless", "--", "true"]), &words)?;
    ensure!(!output.stderr.contains("timed out"), "it waited: {}", output.stderr);
    refused(
        kpexec(&["--helper-image", "NOT A NAME", "distroless", "--", "true"]),
        &["NOT A NAME"],
    )?;
    let words = ["no-such-namespace", "kubectl apply"];
    let namespace = ["--helper-namespace", "no-such-namespace", "distroless", "--", "true"];
    refused(kpexec(&namespace), &words)?;
    let socket =
        ["--cri-socket", "/run/no-such.sock", "--helper-timeout", "8s", "distroless", "--", "true"];
    refused(kpexec(&socket), &["/run/no-such.sock"])?;
    let mut none = kpexec(&["distroless", "--", "true"]);
    none.env_remove("KPEXEC_HELPER_IMAGE");
    refused(none, &["--helper-image"])?;
    Ok(())
}

#[test]
fn a_helper_that_policy_forbids() -> Result<()> {
    cluster::apply(
        "{apiVersion: v1, kind: Namespace, metadata: {name: refused-policy, labels: \
         {pod-security.kubernetes.io/enforce: restricted}}}",
    )?;
    let arguments = ["--helper-namespace", "refused-policy", "distroless", "--", "true"];
    refused(kpexec(&arguments), &["PodSecurity", "refused-policy"])?;
    cluster::apply(
        "{apiVersion: v1, kind: ResourceQuota, metadata: {name: none, namespace: refused-quota}, \
         spec: {hard: {pods: \"0\"}}}",
    )
    .or_else(|_| {
        kubectl(&["create", "namespace", "refused-quota"])?;
        cluster::apply(
            "{apiVersion: v1, kind: ResourceQuota, metadata: {name: none, namespace: \
             refused-quota}, spec: {hard: {pods: \"0\"}}}",
        )
    })?;
    kubectl(&[
        "wait",
        "--timeout=30s",
        "--for=jsonpath={.status.hard.pods}=0",
        "-n",
        "refused-quota",
        "resourcequota/none",
    ])?;
    let arguments = ["--helper-namespace", "refused-quota", "distroless", "--", "true"];
    refused(kpexec(&arguments), &["quota"])?;
    kubectl(&["delete", "namespace", "refused-policy", "refused-quota", "--wait=false"])?;
    Ok(())
}

/// A kubeconfig of a user without rights: the administrator's, impersonating.
fn powerless(folder: &std::path::Path) -> Result<std::path::PathBuf> {
    let config = fs::read_to_string(&Cluster::get().kubeconfig)?;
    let mut config: serde_json::Value = serde_json::from_str(&kubectl_config_json(&config)?)?;
    config["users"][0]["user"]["as"] = "nobody@example.com".into();
    let path = folder.join("powerless");
    fs::write(&path, config.to_string())?;
    Ok(path)
}

fn kubectl_config_json(_: &str) -> Result<String> {
    kubectl(&["config", "view", "--raw", "-o", "json"])
}

#[test]
fn a_user_without_rights() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = powerless(folder.path())?;
    let mut command = kpexec(&["distroless", "--", "true"]);
    command.env("KUBECONFIG", &path);
    refused(command, &["nobody@example.com", "get", "pods"])?;
    // One right after the other: each refusal names the next one lacking.
    kubectl(&["create", "clusterrole", "refused-reader", "--verb=get", "--resource=pods,nodes"])?;
    kubectl(&[
        "create",
        "clusterrolebinding",
        "refused-reader",
        "--clusterrole=refused-reader",
        "--user=nobody@example.com",
    ])?;
    let mut command = kpexec(&["distroless", "--", "true"]);
    command.env("KUBECONFIG", &path);
    let result = refused(command, &["nobody@example.com", "create", "pods", "kpexec"]);
    kubectl(&["delete", "clusterrolebinding,clusterrole", "refused-reader"])?;
    result.map(drop)
}

#[test]
fn an_api_server_that_is_away() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut config: serde_json::Value = serde_json::from_str(&kubectl_config_json("")?)?;
    // Port 1 of loopback: nobody listens.
    config["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:1".into();
    let path = folder.path().join("away");
    fs::write(&path, config.to_string())?;
    let mut command = kpexec(&["distroless", "--", "true"]);
    command.env("KUBECONFIG", &path);
    refused(command, &["127.0.0.1:1"])?;
    Ok(())
}

#[test]
fn nothing_was_left_behind() -> Result<()> {
    // A refusal after the helper was made: it must be gone again.
    let output = run_kpexec(&["gvisor", "--", "true"])?;
    ensure!(output.code() == 125, "{output:?}");
    let path = "jsonpath={.items[?(@.metadata.annotations.kpexec\\.io/target-pod==\"gvisor\")].metadata.deletionTimestamp}";
    let all = "jsonpath={.items[?(@.metadata.annotations.kpexec\\.io/target-pod==\"gvisor\")].metadata.name}";
    let (deleted, there) = (
        kubectl(&["get", "pods", "-n", "kpexec", "-o", path])?,
        kubectl(&["get", "pods", "-n", "kpexec", "-o", all])?,
    );
    ensure!(
        deleted.split_whitespace().count() == there.split_whitespace().count(),
        "{there} is not being deleted"
    );
    Ok(())
}
