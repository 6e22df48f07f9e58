//! Waiting until each layer of the cluster answers.

use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::control_plane::kubectl;
use super::layout;
use super::node::{NODES, Node};
use super::process::Record;
use crate::run;

/// Generous: a first start on a busy two-core machine.
const PATIENCE: Duration = Duration::from_secs(180);

/// How much of a log is repeated.
const LOG_LINES: usize = 10;

/// One question may hang; the next will not.
const TIMEOUT: &str = "--request-timeout=10s";

/// Waits until a server listens on an address.
pub fn listens(what: &str, log: &str, address: &str) -> Result<()> {
    let address = address.parse().with_context(|| format!("{address} is no address"))?;
    wait(what, log, Duration::from_millis(20), || {
        TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok()
    })
}

/// Waits for the API server.
pub fn api_server() -> Result<()> {
    wait("the API server", "kube-apiserver", Duration::from_millis(200), || {
        run::quietly(kubectl().args([TIMEOUT, "get", "--raw", "/readyz"])).is_ok()
    })
}

/// Waits for a kubelet, by way of the API server: that its node is Ready is
/// believed for a minute after its end.
pub fn kubelet(node: &str) -> Result<()> {
    let health = format!("/api/v1/nodes/{node}/proxy/healthz");
    let log = format!("{node}-kubelet");
    wait(&log, &log, Duration::from_millis(200), || {
        run::quietly(kubectl().args([TIMEOUT, "get", "--raw", &health])).is_ok()
    })
}

/// Waits until somebody takes connections on a node's CRI socket.
pub fn runtime(node: &Node) -> Result<()> {
    let log = format!("{}-runtime", node.name());
    // Seen from here through the holder's mount namespace.
    let socket = format!("/proc/{}/root{}", node.holder()?, node.socket());
    let answers = || UnixStream::connect(&socket).is_ok();
    wait(&log, &log, Duration::from_millis(50), answers)
}

/// Waits for both nodes, and for the account without which no pod is admitted.
pub fn nodes() -> Result<()> {
    wait("both nodes", "node1-kubelet", Duration::from_millis(300), || {
        ready_nodes().is_ok_and(|ready| ready == NODES.len())
    })?;
    wait("the default service account", "kube-controller-manager", PATIENCE / 600, || {
        run::quietly(kubectl().args([TIMEOUT, "get", "serviceaccount", "default"])).is_ok()
    })
}

/// How many nodes are Ready.
pub fn ready_nodes() -> Result<usize> {
    let listing = run::output(kubectl().args([TIMEOUT, "get", "nodes", "-o", "json"]))?;
    Ok(count_ready(&serde_json::from_str(&listing)?))
}

fn count_ready(nodes: &Value) -> usize {
    let is_ready = |node: &&Value| {
        let conditions = node["status"]["conditions"].as_array();
        conditions.is_some_and(|all| {
            all.iter().any(|one| one["type"] == "Ready" && one["status"] == "True")
        })
    };
    nodes["items"].as_array().map_or(0, |items| items.iter().filter(is_ready).count())
}

/// Asks until the answer is yes. Gives up early when a process of the cluster
/// has died: waiting longer would not bring it back.
fn wait(what: &str, log: &str, pause: Duration, answer: impl Fn() -> bool) -> Result<()> {
    let start = Instant::now();
    while !answer() {
        if let Some(dead) = Record::all().into_iter().find(|record| !record.alive()) {
            bail!("{} has died{}", dead.name, end_of_log(&dead.name));
        }
        if start.elapsed() > PATIENCE {
            bail!("{what} did not answer in {} s{}", PATIENCE.as_secs(), end_of_log(log));
        }
        sleep(pause);
    }
    Ok(())
}

/// Where a process has logged, and its last words: on a CI machine the file is
/// gone when somebody reads about it.
fn end_of_log(name: &str) -> String {
    let file = layout::log(name);
    let text = std::fs::read_to_string(&file).unwrap_or_default();
    format!("; the end of {}:\n{}", file.display(), run::last_lines(&text, LOG_LINES))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ready_nodes_count() {
        let nodes = serde_json::json!({"items": [
            {"status": {"conditions": [{"type": "Ready", "status": "True"}]}},
            {"status": {"conditions": [{"type": "Ready", "status": "False"}]}},
            {"status": {}},
        ]});
        assert_eq!(count_ready(&nodes), 1);
    }
}
