//! Bad input and refusals: one clear line, exit code 125, nothing left behind.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use tests::command::{Output, kpexec, run};
use tests::{Namespace, cluster, kubectl};

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
    refused(kpexec(&["-u", "no-such-user", "busybox", "--", "true"]), &["/etc/passwd", "-u"])?;
    refused(kpexec(&["-u", "1:no-such", "busybox", "--", "true"]), &["/etc/group", "number"])?;
    refused(kpexec(&["-u", "1:", "busybox", "--", "true"]), &["1:"])?;
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
    let begun = Instant::now();
    refused(kpexec(&["--helper-image", image, "distroless", "--", "true"]), &words)?;
    ensure!(begun.elapsed() < Duration::from_secs(30), "it waited for an image that is not there");
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
    let restricted = Namespace::create("policy", "restricted")?;
    let arguments = ["--helper-namespace", restricted.name(), "distroless", "--", "true"];
    refused(kpexec(&arguments), &["PodSecurity", restricted.name()])?;
    let full = Namespace::for_helpers("quota")?;
    kubectl(&["create", "quota", "none", "--hard=pods=0", "-n", full.name()])?;
    let enforced = "--for=jsonpath={.status.hard.pods}=0";
    kubectl(&["wait", "--timeout=30s", enforced, "-n", full.name(), "resourcequota/none"])?;
    let arguments = ["--helper-namespace", full.name(), "distroless", "--", "true"];
    refused(kpexec(&arguments), &["quota"])?;
    for namespace in [restricted, full] {
        ensure!(namespace.pods()?.is_empty(), "{}", namespace.name());
    }
    Ok(())
}

/// The administrator's kubeconfig, changed.
fn changed_kubeconfig(
    folder: &Path,
    change: impl FnOnce(&mut serde_json::Value),
) -> Result<PathBuf> {
    let mut config = serde_json::from_str(&kubectl(&["config", "view", "--raw", "-o", "json"])?)?;
    change(&mut config);
    let path = folder.join("kubeconfig");
    fs::write(&path, config.to_string())?;
    Ok(path)
}

/// A role and its binding, gone with this.
struct Role(String);

impl Role {
    fn give(user: &str, name: &str) -> Result<Self> {
        let role = Self(format!("{name}-{}", std::process::id()));
        kubectl(&["create", "clusterrole", &role.0, "--verb=get", "--resource=pods,nodes"])?;
        let to = [format!("--clusterrole={}", role.0), format!("--user={user}")];
        kubectl(&["create", "clusterrolebinding", &role.0, &to[0], &to[1]])?;
        Ok(role)
    }
}

impl Drop for Role {
    fn drop(&mut self) {
        // A failed test has said why already.
        let _gone = kubectl(&["delete", "clusterrolebinding,clusterrole", &self.0]);
    }
}

#[test]
fn a_user_without_rights() -> Result<()> {
    let user = format!("nobody-{}@example.com", std::process::id());
    let folder = tempfile::tempdir()?;
    let path = changed_kubeconfig(folder.path(), |config| {
        config["users"][0]["user"]["as"] = user.as_str().into();
    })?;
    let command = |flags: &[&str]| {
        let mut command = kpexec(&[flags, &["distroless", "--", "true"]].concat());
        command.env("KUBECONFIG", &path);
        command
    };
    refused(command(&[]), &[&user, "get", "pods"])?;
    // With that right the next one lacking is named.
    let _role = Role::give(&user, "refused-reader")?;
    refused(command(&[]), &[&user, "pods/exec", "kpexec"])?;
    refused(command(&["--rm"]), &[&user, "create", "pods", "kpexec"])?;
    Ok(())
}

#[test]
fn an_api_server_that_is_away() -> Result<()> {
    let folder = tempfile::tempdir()?;
    // Port 1 of loopback: nobody listens.
    let path = changed_kubeconfig(folder.path(), |config| {
        config["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:1".into();
    })?;
    let mut command = kpexec(&["distroless", "--", "true"]);
    command.env("KUBECONFIG", &path);
    refused(command, &["127.0.0.1:1"])?;
    Ok(())
}

#[test]
fn a_refusal_leaves_no_helper_behind() -> Result<()> {
    let namespace = Namespace::for_helpers("refused")?;
    let image = "10.200.0.1:5000/no-such-image:1";
    let helper = ["--helper-namespace", namespace.name()];
    for rest in [
        &["--rm", "gvisor", "--", "true"][..],
        &["--rm", "-u", "3000000000", "userns", "--", "true"],
        // One that never starts is of no use to anybody.
        &["--helper-image", image, "distroless", "--", "true"],
        &["--cri-socket", "/run/no-such.sock", "--helper-timeout", "5s", "busybox", "--", "true"],
    ] {
        let arguments: Vec<&str> = helper.iter().chain(rest).copied().collect();
        refused(kpexec(&arguments), &[])?;
        namespace.wait_until_empty()?;
    }
    Ok(())
}
