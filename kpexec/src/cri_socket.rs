//! Which CRI socket the target's node has, without asking the node itself.

use k8s_openapi::api::core::v1::Node;
use thiserror::Error;

/// Where kubeadm writes down the socket it gave to the kubelet.
const KUBEADM_ANNOTATION: &str = "kubeadm.alpha.kubernetes.io/cri-socket";

const CONTAINERD: &str = "/run/containerd/containerd.sock";
const K3S_CONTAINERD: &str = "/run/k3s/containerd/containerd.sock";
/// `/run` is where `/var/run` leads; hosts where it does not have this path only.
const CRIO: &str = "/var/run/crio/crio.sock";

/// Where runtimes listen, the most usual ones first.
const USUAL: [&str; 5] = [
    CONTAINERD,
    CRIO,
    K3S_CONTAINERD,
    "/run/k0s/containerd.sock",
    "/var/snap/microk8s/common/run/containerd.sock",
];

/// Why no socket can be named.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum CriSocketError {
    /// It is a path of the node, and nothing says from where it begins.
    #[error("the CRI socket {0:?} is not an absolute path")]
    NotAbsolute(String),
    /// Windows has no namespaces to enter.
    #[error("node {0} runs Windows; kpexec enters Linux containers only")]
    Windows(String),
    /// Docker's CRI gives no OCI spec, so it needs a way of its own.
    #[error("node {0} runs Docker, which kpexec cannot enter yet")]
    Docker(String),
    /// No runtime that we know listens on this machine.
    #[error("there is no container runtime here: none of {}", USUAL.join(", "))]
    NoneHere,
    /// Neither containerd nor CRI-O.
    #[error("the container runtime {0:?} is not known")]
    UnknownRuntime(String),
}

impl CriSocketError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NotAbsolute(_) | Self::UnknownRuntime(_) | Self::NoneHere => {
                Some("give the socket's path on the node with --cri-socket".into())
            }
            Self::Windows(_) | Self::Docker(_) => {
                Some("kubectl exec runs the container's own programs there".into())
            }
        }
    }
}

/// Names the socket: what was asked for, else what kubeadm noted on the node,
/// else the usual path of the runtime the node reports. A node that may not be
/// read (`None`) leaves the `containerd` of `containerd://ID` to go by.
pub fn choose(
    asked_for: Option<&str>,
    node: Option<&Node>,
    runtime_of_container: &str,
) -> Result<String, CriSocketError> {
    if let Some(path) = asked_for {
        return absolute(path);
    }
    let Some(node) = node else {
        return usual_path(runtime_of_container, "", "(unknown)");
    };
    let name = node.metadata.name.as_deref().unwrap_or_default();
    let info = node.status.as_ref().and_then(|status| status.node_info.as_ref());
    if info.is_some_and(|info| info.operating_system.eq_ignore_ascii_case("windows")) {
        return Err(CriSocketError::Windows(name.to_owned()));
    }
    let annotation = node.metadata.annotations.as_ref().and_then(|all| all.get(KUBEADM_ANNOTATION));
    if let Some(path) = annotation {
        return absolute(path);
    }
    let reported = info.map(|info| info.container_runtime_version.as_str()).unwrap_or_default();
    let (runtime, version) = reported.split_once("://").unwrap_or((runtime_of_container, ""));
    usual_path(runtime, version, name)
}

/// Names the socket of this very machine: what was asked for, else the first
/// usual one that is there.
pub fn here(
    asked_for: Option<&str>,
    exists: impl Fn(&str) -> bool,
) -> Result<String, CriSocketError> {
    if let Some(path) = asked_for {
        return absolute(path);
    }
    let found = USUAL.into_iter().find(|path| exists(path));
    found.map(str::to_owned).ok_or(CriSocketError::NoneHere)
}

fn absolute(path: &str) -> Result<String, CriSocketError> {
    // kubeadm writes a URL, people write a path.
    let bare = path.strip_prefix("unix://").unwrap_or(path);
    if bare.starts_with('/') {
        Ok(bare.to_owned())
    } else {
        Err(CriSocketError::NotAbsolute(path.to_owned()))
    }
}

fn usual_path(runtime: &str, version: &str, node: &str) -> Result<String, CriSocketError> {
    match runtime {
        "containerd" if version.contains("k3s") || version.contains("rke2") => {
            Ok(K3S_CONTAINERD.to_owned())
        }
        "containerd" => Ok(CONTAINERD.to_owned()),
        "cri-o" => Ok(CRIO.to_owned()),
        "docker" => Err(CriSocketError::Docker(node.to_owned())),
        other => Err(CriSocketError::UnknownRuntime(other.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn node(os: &str, runtime: &str, annotations: serde_json::Value) -> Node {
        serde_json::from_value(json!({
            "metadata": {"name": "n1", "annotations": annotations},
            "status": {"nodeInfo": {
                "architecture": "amd64", "bootID": "", "containerRuntimeVersion": runtime,
                "kernelVersion": "", "kubeProxyVersion": "", "kubeletVersion": "",
                "machineID": "", "operatingSystem": os, "osImage": "", "systemUUID": "",
            }},
        }))
        .unwrap()
    }

    #[test]
    fn the_flag_wins() {
        let windows = node("windows", "containerd://1.7.0", json!({}));
        assert_eq!(choose(Some("/x.sock"), Some(&windows), "docker").unwrap(), "/x.sock");
        assert_eq!(choose(Some("unix:///x.sock"), None, "docker").unwrap(), "/x.sock");
        assert_eq!(
            choose(Some("x.sock"), None, "containerd"),
            Err(CriSocketError::NotAbsolute("x.sock".into()))
        );
    }

    #[test]
    fn kubeadms_note_comes_before_the_usual_path() {
        let noted = json!({"kubeadm.alpha.kubernetes.io/cri-socket": "unix:///run/odd/cri.sock"});
        let node = node("linux", "containerd://1.7.0", noted);
        assert_eq!(choose(None, Some(&node), "containerd").unwrap(), "/run/odd/cri.sock");
    }

    #[test]
    fn each_runtime_has_its_usual_path() {
        for (reported, path) in [
            ("containerd://2.4.2", "/run/containerd/containerd.sock"),
            ("containerd://1.7.20-k3s1", "/run/k3s/containerd/containerd.sock"),
            ("containerd://2.0.4-rke2r1", "/run/k3s/containerd/containerd.sock"),
            ("cri-o://1.34.0", "/var/run/crio/crio.sock"),
        ] {
            let node = node("linux", reported, json!({}));
            assert_eq!(choose(None, Some(&node), "").unwrap(), path, "{reported}");
        }
    }

    #[test]
    fn on_the_node_itself_the_first_that_is_there_is_taken() {
        let here = |asked_for, there: &[&str]| super::here(asked_for, |path| there.contains(&path));
        assert_eq!(here(Some("unix:///x.sock"), &[CRIO]).unwrap(), "/x.sock");
        assert_eq!(here(None, &[K3S_CONTAINERD, CRIO]).unwrap(), CRIO);
        assert_eq!(here(None, &[USUAL[4]]).unwrap(), USUAL[4]);
        let error = here(None, &[]).unwrap_err();
        assert!(error.to_string().contains(CONTAINERD) && error.hint().is_some(), "{error}");
    }

    #[test]
    fn a_node_that_cannot_be_read_leaves_the_container_to_go_by() {
        assert_eq!(choose(None, None, "containerd").unwrap(), "/run/containerd/containerd.sock");
        assert_eq!(choose(None, None, "cri-o").unwrap(), "/var/run/crio/crio.sock");
        let error = choose(None, None, "rkt").unwrap_err();
        assert_eq!(error, CriSocketError::UnknownRuntime("rkt".into()));
    }

    #[test]
    fn what_cannot_be_entered_is_refused() {
        let windows = node("windows", "containerd://1.7.0", json!({}));
        assert_eq!(
            choose(None, Some(&windows), "containerd"),
            Err(CriSocketError::Windows("n1".into()))
        );
        let docker = node("linux", "docker://27.0.0", json!({}));
        assert_eq!(choose(None, Some(&docker), "docker"), Err(CriSocketError::Docker("n1".into())));
    }
}
