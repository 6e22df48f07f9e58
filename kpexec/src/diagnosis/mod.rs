//! After a session was lost: who can be asked is asked, and it is said which
//! fault it was.

mod facts;
mod fault;
#[cfg(test)]
mod tests;

use std::time::Duration;

use k8s_openapi::api::core::v1::{Node, Pod};
use kube::Api;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::cluster::Cluster;
use crate::transport::{Dialer, End};

use facts::{Facts, Helper};
pub use fault::Fault;

/// How long the facts may take. With the time in which a silent connection is
/// given up ([`crate::session`]) less than 15 s.
const PATIENCE: Duration = Duration::from_secs(4);

/// A pod's end is told a second or two after it.
const PAUSE: Duration = Duration::from_millis(300);

/// How long the way to the helper may take to say why it ended.
const END_PATIENCE: Duration = Duration::from_millis(300);

/// HTTP/2's preface and empty settings: RFC 9113, 3.4. Whoever serves it answers.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// Where the session was.
pub struct Scene<'a> {
    /// The cluster.
    pub cluster: &'a Cluster,
    /// Namespace of the helper.
    pub namespace: &'a str,
    /// Name of the helper.
    pub helper: &'a str,
    /// Its node, if it is known.
    pub node: Option<&'a str>,
}

/// Says which fault it was, as well as can be told within a few seconds.
pub async fn diagnose(end: End, scene: &Scene<'_>) -> Fault {
    let Scene { cluster, namespace, helper, node } = *scene;
    let deadline = Instant::now() + PATIENCE;
    let pods: Api<Pod> = Api::namespaced(cluster.client.clone(), namespace);
    let nodes: Api<Node> = Api::all(cluster.client.clone());
    let dialer = Dialer::new(cluster, namespace, helper, PATIENCE);
    let mut facts = Facts::new(end, &cluster.url, (namespace, helper), node);
    let mut asked = std::pin::pin!(ask(&dialer));
    let (mut known, mut pause) = (false, Duration::ZERO);
    loop {
        let node = facts.node_name.clone();
        let look = async {
            sleep(pause).await;
            tokio::join!(pods.get(helper), get(&nodes, node.as_deref()))
        };
        tokio::select! {
            answer = &mut asked, if !known => (known, facts.helper) = (true, answer),
            (pod, node) = look => {
                facts.note_pod(pod.map_err(|error| cluster.error(error)));
                if let Some(node) = node {
                    facts.note_node(node.map_err(|error| cluster.error(error)));
                }
                pause = PAUSE;
            }
            () = sleep_until(deadline) => break,
        }
        if fault::judge(&facts).is_certain() {
            break;
        }
    }
    tracing::debug!(?facts, "lost");
    fault::judge(&facts)
}

/// What is wrong with the node on which a helper does not start, if anything is.
pub async fn unready(cluster: &Cluster, node: &str) -> Option<String> {
    let nodes: Api<Node> = Api::all(cluster.client.clone());
    let found = timeout(PATIENCE, nodes.get(node)).await.ok()?.ok()?;
    fault::not_ready(&found).map(|why| format!("the node is not Ready{why}"))
}

async fn get(nodes: &Api<Node>, name: Option<&str>) -> Option<kube::Result<Node>> {
    match name {
        Some(name) => Some(nodes.get(name).await),
        None => None,
    }
}

/// Whether the helper answers by another way than the one that was lost.
async fn ask(dialer: &Dialer) -> Helper {
    let (mut link, mut stream) = match dialer.exec().await {
        Ok(link) => link,
        Err(error) => return Helper::Fails(error.to_string()),
    };
    // A pipe that is closed is told by what is read.
    let _closed = stream.write_all(PREFACE).await;
    match stream.read_u8().await {
        Ok(_) => Helper::Answers,
        Err(_) => Helper::Fails(link.end(END_PATIENCE).await.to_string()),
    }
}
