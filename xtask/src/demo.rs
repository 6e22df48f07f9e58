//! `cargo xtask demo [-- CMD…]`: from a fresh clone to a root shell in a
//! distroless pod, in one command.

use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};
use toolset::Profile;

use crate::cluster::{kubectl, layout, start};
use crate::{image, requirements, run, setup};

/// The hardened pod of each node.
const PODS: [&str; 2] = ["distroless", "distroless-crio"];

/// Prepares everything, then runs kpexec.
pub fn demo(command: &[String]) -> Result<ExitCode> {
    requirements::check()?;
    setup::setup()?;
    start()?;
    let kpexec = build_kpexec()?;
    let reference = image::build_and_push(Profile::Standard, false)?;
    apply_manifests()?;
    apply_pods("demo.yaml")?;
    for line in command_lines(command) {
        eprintln!("$ kpexec {}", shown(&line));
        let mut kpexec = Command::new(&kpexec);
        kpexec.args(&line).envs(environment(&reference));
        let status = run::visibly(&mut kpexec)?;
        if !status.success() {
            // A code of 256 and more does not exist; a signal has none.
            let code = status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1);
            return Ok(ExitCode::from(code));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// What `kpexec` has to be told in order to work on the test cluster.
pub fn environment(reference: &str) -> [(&'static str, String); 2] {
    [
        ("KUBECONFIG", layout::kubeconfig().display().to_string()),
        ("KPEXEC_HELPER_IMAGE", reference.to_owned()),
    ]
}

/// The arguments of each call of kpexec.
fn command_lines(command: &[String]) -> Vec<Vec<String>> {
    if command.is_empty() {
        return vec![["-it", PODS[0], "--", "bash"].map(str::to_owned).to_vec()];
    }
    let line = |pod: &str| {
        let start = [pod.to_owned(), "--".to_owned()];
        start.into_iter().chain(command.iter().cloned()).collect()
    };
    PODS.map(line).to_vec()
}

/// A command line that a shell reads back as the same arguments.
fn shown(arguments: &[String]) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:=,@%+".contains(&byte);
    let quoted = arguments.iter().map(|argument| {
        if !argument.is_empty() && argument.bytes().all(plain) {
            return argument.clone();
        }
        format!("'{}'", argument.replace('\'', r"'\''"))
    });
    quoted.collect::<Vec<_>>().join(" ")
}

/// Builds the CLI as its users have it.
pub fn build_kpexec() -> Result<PathBuf> {
    eprintln!("kpexec: building (about 2 min the first time)");
    let mut cargo = run::cargo();
    run::visibly_or_fail(cargo.args(["build", "--quiet", "--release", "-p", "kpexec"]))?;
    Ok(layout::checkout().join("target/release/kpexec"))
}

/// Applies what an administrator applies before kpexec is used.
pub fn apply_manifests() -> Result<()> {
    let manifests = layout::checkout().join("manifests");
    run::quietly(kubectl().args(["apply", "-f"]).arg(manifests)).context("cannot apply manifests/")
}

/// Applies pods of `tests/cluster/manifests`, and waits until they run.
pub fn apply_pods(file: &str) -> Result<()> {
    let path = layout::checkout().join("tests/cluster/manifests").join(file);
    run::quietly(kubectl().args(["apply", "-f"]).arg(&path))?;
    let mut wait = kubectl();
    wait.args(["wait", "--for=condition=Ready", "--timeout=120s", "pod", "--namespace=default"]);
    run::quietly(wait.args(pods_in(&std::fs::read_to_string(&path)?)))
        .with_context(|| format!("the pods of {file} do not start"))
}

/// The names of the pods that a manifest of ours holds. Waiting for `--all`
/// would include pods that a developer has broken on purpose.
fn pods_in(manifest: &str) -> Vec<&str> {
    let documents = manifest.split("\n---\n").filter(|text| text.contains("kind: Pod\n"));
    documents
        .filter_map(|text| text.lines().find_map(|line| line.strip_prefix("  name: ")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_can_be_copied() {
        let line = ["sh", "-c", "id; echo 'x'", ""].map(str::to_owned);
        assert_eq!(shown(&line), r"sh -c 'id; echo '\''x'\''' ''");
    }

    #[test]
    fn without_a_command_it_is_a_shell() {
        assert_eq!(command_lines(&[]), [["-it", "distroless", "--", "bash"]]);
    }

    #[test]
    fn a_command_runs_on_both_nodes() {
        let lines = command_lines(&["id".to_owned(), "-u".to_owned()]);
        assert_eq!(lines[0], ["distroless", "--", "id", "-u"]);
        assert_eq!(lines[1], ["distroless-crio", "--", "id", "-u"]);
    }

    #[test]
    fn every_pod_of_the_manifests_is_waited_for() {
        let demo = include_str!("../../tests/cluster/manifests/demo.yaml");
        assert_eq!(pods_in(demo), ["distroless", "distroless-crio", "busybox", "busybox-crio"]);
        let fixtures = include_str!("../../tests/cluster/manifests/fixtures.yaml");
        assert_eq!(
            pods_in(fixtures),
            ["userns", "userns-crio", "gvisor", "multi", "volumes", "volumes-crio"]
        );
        let roots = include_str!("../../tests/cluster/manifests/roots.yaml");
        assert_eq!(pods_in(roots).len(), 8);
    }
}
