//! Faults of the cluster itself, undone on every way out.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::kubectl;

/// How long the cluster may take to work again.
const LIMIT: Duration = Duration::from_secs(300);

/// The nodes, as their parts and links are named.
const NODES: [&str; 2] = ["node1", "node2"];

/// A process of the cluster that was killed; it is started again when this is
/// dropped.
#[derive(Debug)]
pub struct Killed(String);

impl Killed {
    /// Kills one, by the name `cargo xtask cluster status` gives it.
    ///
    /// # Errors
    /// When it does not run.
    pub fn part(name: &str) -> Result<Self> {
        let killed = Self(name.to_owned());
        xtask("kill", name)?;
        Ok(killed)
    }
}

impl Drop for Killed {
    fn drop(&mut self) {
        // Said here, because what fails next would not say it.
        if let Err(error) = xtask("restart", &self.0).and_then(|()| settled()) {
            eprintln!("{} is not there again: {error:#}", self.0);
        }
    }
}

/// Links of nodes that are down; up again when this is dropped.
#[derive(Debug)]
pub struct Cut(&'static [&'static str]);

impl Cut {
    /// Takes both nodes' links down, at the host's end.
    ///
    /// # Errors
    /// When ip(8) fails.
    pub fn both() -> Result<Self> {
        let cut = Self(&["kpxv1", "kpxv2"]);
        cut.set("down")?;
        Ok(cut)
    }

    fn set(&self, state: &str) -> Result<()> {
        for link in self.0 {
            let status = Command::new("ip").args(["link", "set", link, state]).status()?;
            ensure!(status.success(), "ip link set {link} {state}");
        }
        Ok(())
    }
}

impl Drop for Cut {
    fn drop(&mut self) {
        if let Err(error) = self.set("up").and_then(|()| settled()) {
            eprintln!("the nodes are not there again: {error:#}");
        }
    }
}

/// Waits until both nodes work: their kubelets and runtimes answer an exec, and
/// they are Ready.
///
/// # Errors
/// When they do not.
pub fn settled() -> Result<()> {
    let deadline = Instant::now() + LIMIT;
    let path = "jsonpath={.status.conditions[?(@.type==\"Ready\")].status}";
    for (node, pod) in NODES.into_iter().zip(["busybox", "busybox-crio"]) {
        let exec = ["--request-timeout=10s", "exec", pod, "--", "/bin/busybox", "true"];
        while kubectl(&exec).is_err()
            || kubectl(&["get", "node", node, "-o", path]).ok().as_deref() != Some("True")
        {
            ensure!(Instant::now() < deadline, "{node} does not work again");
            std::thread::sleep(Duration::from_millis(200));
        }
    }
    Ok(())
}

/// By the program that `cargo xtask test` names, or the one this checkout has:
/// whoever found the cluster has built it.
fn xtask(verb: &str, part: &str) -> Result<()> {
    let built = || {
        let checkout = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
        checkout.join("target/debug/xtask")
    };
    let program = std::env::var_os("KPEXEC_XTASK").map_or_else(built, PathBuf::from);
    // Without what we have open: a lock of whoever runs this test would be held as
    // long as what is restarted lives. sh(1) names nine of them.
    let closed = "exec 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&-; exec \"$@\"";
    let mut command = Command::new("sh");
    command.args(["-c", closed, "sh"]).arg(&program).args(["cluster", verb, part]);
    let output = command.output();
    let output = output.with_context(|| format!("run {}", program.display()))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "xtask cluster {verb} {part}: {said}");
    Ok(())
}
