//! Judges which fault took a session. Pure.

use k8s_openapi::api::core::v1::{ContainerStateTerminated, Node, Pod};
use kpexec_protocol::pod::get_events;
use thiserror::Error;

use super::facts::{ApiServer, Facts, Helper, Seen};
use crate::helper_pod::CONTAINER;
use crate::transport::End;

/// 128 + SIGKILL: what runtimes report of a process that was killed.
const KILLED: i32 = 137;

/// What took a session.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("{what}")]
pub struct Fault {
    what: String,
    hint: String,
    certain: bool,
}

impl Fault {
    /// What to do about it.
    pub fn hint(&self) -> String {
        self.hint.clone()
    }

    /// Whether more facts could not change it.
    pub fn is_certain(&self) -> bool {
        self.certain
    }
}

const AGAIN: &str = "the command was ended with its session: run it again";
const NODE: &str = "kubectl get nodes tells whether the node is back; the command has ended there, \
                    or does so within --keepalive";
const NETWORK: &str = "the command ends by itself within --keepalive";
const MEMORY: &str = "what is written with --writes=discard counts as the helper's memory";

fn certain(what: impl Into<String>, hint: &str) -> Fault {
    Fault { what: what.into(), hint: hint.to_owned(), certain: true }
}

fn perhaps(what: impl Into<String>, hint: &str) -> Fault {
    Fault { certain: false, ..certain(what, hint) }
}

/// The fault, by what is most certain first: whom we can ask, the pod, the node,
/// the way to the helper, the helper.
pub fn judge(facts: &Facts) -> Fault {
    let url = &facts.url;
    match &facts.api_server {
        ApiServer::Fails(detail) => {
            let what = format!("the API server {url} was restarted or is away: {detail}");
            return certain(what, NETWORK);
        }
        ApiServer::Silent => {
            let what = format!("the network is cut: the API server {url} does not answer");
            return perhaps(what, NETWORK);
        }
        ApiServer::Answers => {}
    }
    let of_pod = match &facts.pod {
        Seen::Gone => Some(certain("the helper pod was deleted or evicted", &by_whom(facts))),
        Seen::There(pod) => end_of_pod(facts, pod),
        Seen::Unknown => None,
    };
    of_pod.or_else(|| end_of_node(facts)).unwrap_or_else(|| on_the_way(facts))
}

/// Where to look who has deleted the helper.
fn by_whom(facts: &Facts) -> String {
    format!("{} may tell by whom", get_events(&facts.namespace, &facts.helper_pod))
}

fn end_of_pod(facts: &Facts, pod: &Pod) -> Option<Fault> {
    let by_whom = &by_whom(facts);
    let status = pod.status.as_ref()?;
    let conditions = status.conditions.iter().flatten();
    // As API-initiated eviction, taints, preemption and the kubelet set it.
    let disruption = conditions
        .into_iter()
        .find(|condition| condition.type_ == "DisruptionTarget" && condition.status == "True");
    if let Some(disruption) = disruption {
        let why = text(disruption.reason.as_deref(), disruption.message.as_deref());
        return Some(certain(format!("the helper pod was evicted{why}"), by_whom));
    }
    if pod.metadata.deletion_timestamp.is_some() {
        return Some(certain("the helper pod was deleted", by_whom));
    }
    if status.reason.is_some() {
        let why = text(status.reason.as_deref(), status.message.as_deref());
        return Some(certain(format!("the helper pod was ended{why}"), by_whom));
    }
    let containers = status.container_statuses.iter().flatten();
    let helper = containers.into_iter().find(|container| container.name == CONTAINER)?;
    Some(end_of_container(helper.state.as_ref()?.terminated.as_ref()?))
}

fn end_of_container(ended: &ContainerStateTerminated) -> Fault {
    let who = "the helper's container";
    match (ended.reason.as_deref(), ended.exit_code) {
        (Some("OOMKilled"), _) => certain(format!("{who} ran out of memory"), MEMORY),
        (_, KILLED) => certain(format!("{who} was killed"), AGAIN),
        (reason, code) => {
            let why = text(reason, ended.message.as_deref());
            certain(format!("{who} ended with exit code {code}{why}"), AGAIN)
        }
    }
}

fn end_of_node(facts: &Facts) -> Option<Fault> {
    let called = facts.node_called();
    match &facts.node {
        Seen::Gone => Some(certain(format!("{called} is gone from the cluster"), NODE)),
        Seen::There(node) => {
            let why = not_ready(node)?;
            Some(certain(format!("{called} is not Ready{why}"), NODE))
        }
        Seen::Unknown => None,
    }
}

/// Why a node is not Ready, with a colon in front, if it is not.
pub fn not_ready(node: &Node) -> Option<String> {
    let conditions = node.status.as_ref()?.conditions.iter().flatten();
    let ready = conditions.into_iter().find(|condition| condition.type_ == "Ready")?;
    let why = || text(ready.reason.as_deref(), ready.message.as_deref());
    (ready.status != "True").then(why)
}

/// Pod and node look well, as they do for a minute after their end.
fn on_the_way(facts: &Facts) -> Fault {
    let node = facts.node_called();
    let text = match &facts.helper {
        Helper::Answers => return while_the_helper_answers(facts),
        Helper::Silent => {
            let what = format!("{node} does not answer: its network is cut, or it is gone");
            return perhaps(what, NETWORK);
        }
        Helper::Fails(text) => text,
    };
    let says = |words: &[&str]| words.iter().any(|word| text.contains(word));
    // The kubelet's words for its runtime; then the API server's for a kubelet.
    if says(&["containerd.sock", "crio.sock", "code = Unavailable", "container runtime"]) {
        let what = format!("the container runtime of {node} was restarted or is gone");
        return certain(what, NODE);
    }
    if says(&["i/o timeout", "no route to host", "network is unreachable", "deadline exceeded"]) {
        let what = format!("{node} cannot be reached: its network is cut, or it is gone");
        return certain(what, NETWORK);
    }
    if says(&["connection refused", "connection reset"]) {
        return certain(format!("the kubelet of {node} was restarted or is gone"), NODE);
    }
    if says(&["not found", "not running", "does not exist", "completed pod", "CONTAINER_EXITED"]) {
        return perhaps("the helper's container has ended", AGAIN);
    }
    perhaps(format!("the helper on {node} cannot be reached: {text}"), NODE)
}

/// What carried the session ended, or the helper's process that served it.
fn while_the_helper_answers(facts: &Facts) -> Fault {
    let node = facts.node_called();
    match &facts.end {
        End::Success => certain("the helper's process for it ended", AGAIN),
        End::ExitCode { code, .. } if code == "137" => {
            certain("the helper's process for it was killed, perhaps for want of memory", MEMORY)
        }
        End::ExitCode { code, .. } => {
            certain(format!("the helper's process for it ended with exit code {code}"), AGAIN)
        }
        End::Failure(text) | End::Lost(text) => certain(
            format!(
                "the connection to {node} was lost and a new one works: API server, kubelet, \
                 container runtime or a proxy was restarted or has dropped it ({text})"
            ),
            NETWORK,
        ),
    }
}

/// `: Reason: message`, or nothing.
fn text(reason: Option<&str>, message: Option<&str>) -> String {
    let parts = [reason, message].into_iter().flatten().filter(|part| !part.is_empty());
    parts.map(|part| format!(": {part}")).collect()
}
