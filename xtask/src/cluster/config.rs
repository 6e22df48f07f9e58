//! The nodes' configuration files, as pure functions of the node.

use serde_json::json;

use super::cgroup::Version;
use super::layout::{CGROUP, HOST_ADDRESS, PAUSE_IMAGE, REGISTRY, bin, pki};
use super::node::Node;

/// Any image may be pulled: CRI-O wants that said.
pub const ACCEPT_ANY_IMAGE: &str = r#"{"default":[{"type":"insecureAcceptAnything"}]}"#;

/// gVisor: no KVM needed, and it does not touch cgroups (it knows neither the
/// kubelet's nested v1 groups nor a hierarchy that is missing).
pub const RUNSC: &str = "\
[runsc_config]
platform = \"systrap\"
ignore-cgroups = \"true\"
network = \"sandbox\"
";

/// containerd, configuration version 3.
pub fn containerd(node: &Node) -> String {
    let folder = node.folder();
    let folder = folder.display();
    // Traps: restrict_oom_score_adj, because without CAP_SYS_RESOURCE no score
    // can be lowered; `opt` and `nri`, because their defaults are folders of
    // the machine.
    format!(
        r#"version = 3
root = "{folder}/containerd"
state = "/run/containerd/state"

[grpc]
address = "{socket}"

[ttrpc]
address = "{socket}.ttrpc"

[plugins."io.containerd.internal.v1.opt"]
path = "{folder}/opt"

[plugins."io.containerd.nri.v1.nri"]
disable = true

[plugins."io.containerd.cri.v1.images"]
snapshotter = "overlayfs"

[plugins."io.containerd.cri.v1.images".pinned_images]
sandbox = "{PAUSE_IMAGE}"

[plugins."io.containerd.cri.v1.images".registry]
config_path = "{folder}/certs.d"

[plugins."io.containerd.cri.v1.runtime"]
restrict_oom_score_adj = true

[plugins."io.containerd.cri.v1.runtime".cni]
bin_dirs = ["/usr/lib/cni"]
conf_dir = "{folder}/cni"

[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"

# Said, though it is the default: without it containerd tells the kubelet to use
# the systemd driver on any machine that systemd has booted.
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
SystemdCgroup = false

[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runsc]
runtime_type = "io.containerd.runsc.v1"

[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runsc.options]
TypeUrl = "io.containerd.runsc.v1.options"
ConfigPath = "{folder}/runsc.toml"
"#,
        socket = node.socket(),
    )
}

/// Trap: a registry over plain HTTP needs this file for containerd, and
/// `insecure_registries` for CRI-O.
pub fn registry_hosts() -> String {
    format!(
        "server = \"http://{REGISTRY}\"\n\n[host.\"http://{REGISTRY}\"]\n\
         capabilities = [\"pull\", \"resolve\"]\n"
    )
}

/// CRI-O. Its default capabilities stay as they are (they lack SYS_CHROOT,
/// NET_RAW, MKNOD, AUDIT_WRITE and SETFCAP): kpexec must cope with that.
pub fn crio(node: &Node) -> String {
    let folder = node.folder();
    let (folder, bin) = (folder.display(), bin());
    let bin = bin.display();
    format!(
        r#"[crio]
root = "{folder}/crio/root"
runroot = "{folder}/crio/run"
storage_driver = "overlay"
log_dir = "{folder}/crio/log"
version_file = "{folder}/crio/version"
version_file_persist = "{folder}/crio/version-persist"
clean_shutdown_file = "{folder}/crio/clean"

[crio.api]
listen = "{socket}"

[crio.runtime]
default_runtime = "runc"
cgroup_manager = "cgroupfs"
conmon_cgroup = "pod"
pinns_path = "{bin}/pinns"
container_exits_dir = "{folder}/crio/exits"
container_attach_socket_dir = "{folder}/crio/attach"
namespaces_dir = "{folder}/crio/ns"
hooks_dir = []

[crio.runtime.runtimes.runc]
runtime_path = "{bin}/runc"
runtime_root = "{folder}/crio/runc"
monitor_path = "/usr/bin/conmon"

[crio.image]
pause_image = "{PAUSE_IMAGE}"
signature_policy = "{folder}/policy.json"
insecure_registries = ["{REGISTRY}"]

[crio.network]
network_dir = "{folder}/cni"
plugin_dirs = ["/usr/lib/cni"]

[crio.nri]
enable_nri = false
"#,
        socket = node.socket(),
    )
}

/// The pods' network: a bridge of their own in the node's network namespace.
pub fn cni(node: &Node) -> String {
    json!({
        "cniVersion": "0.4.0",
        "name": "kpx",
        "plugins": [
            {
                "type": "bridge",
                "bridge": "cni0",
                "isGateway": true,
                "ipMasq": true,
                "ipam": {
                    "type": "host-local",
                    "dataDir": node.file("cni-addresses"),
                    "ranges": [[{"subnet": node.pods()}]],
                    "routes": [{"dst": "0.0.0.0/0"}],
                },
            },
            {"type": "portmap", "capabilities": {"portMappings": true}},
        ],
    })
    .to_string()
}

/// The kubelet's configuration, as JSON, which is YAML too.
pub fn kubelet(node: &Node, cgroups: Version) -> String {
    let mut config = json!({
        "kind": "KubeletConfiguration",
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "authentication": {
            "anonymous": {"enabled": false},
            "webhook": {"enabled": true},
            "x509": {"clientCAFile": pki("ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": pki(&format!("{}.crt", node.name())),
        "tlsPrivateKeyFile": pki(&format!("{}.key", node.name())),
        "address": node.address(),
        "healthzPort": 0,
        "containerRuntimeEndpoint": format!("unix://{}", node.socket()),
        "staticPodPath": node.file("static-pods"),
        "volumePluginDir": node.file("volume-plugins"),
        // Both nodes' kubelets would write to /var/log/pods.
        "podLogsDir": node.file("pod-logs"),
        "resolvConf": node.file("resolv.conf"),
        "clusterDomain": "cluster.local",
        "clusterDNS": [HOST_ADDRESS],
        // cgroupfs on every machine: the cluster's sub-tree is its own, and
        // systemd, where there is one, does not know the slices of two nodes.
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": format!("/{CGROUP}/{}", node.name()),
        "cgroupsPerQOS": true,
        "enforceNodeAllocatable": [],
        "failSwapOn": false,
        // A developer's disk may be nearly full: evict nothing, delete no image.
        "evictionHard": {"nodefs.available": "1%", "imagefs.available": "1%"},
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        "serializeImagePulls": false,
        "registryPullQPS": 0,
        "eventRecordQPS": 0,
    });
    if cgroups == Version::V1 {
        // Trap: since 1.35 the kubelet refuses to run on version 1.
        config["failCgroupV1"] = json!(false);
    }
    config.to_string()
}

#[cfg(test)]
mod tests {
    use super::super::node::NODES;
    use super::*;

    #[test]
    fn failcgroupv1_is_a_version_1_workaround() {
        assert!(kubelet(&NODES[0], Version::V1).contains(r#""failCgroupV1":false"#));
        assert!(!kubelet(&NODES[0], Version::V2).contains("failCgroupV1"));
    }

    #[test]
    fn each_kubelet_has_its_own_cgroup_and_runtime() {
        let (one, two) = (kubelet(&NODES[0], Version::V2), kubelet(&NODES[1], Version::V2));
        assert!(one.contains("/kpx/node1") && one.contains("unix:///run/containerd/"));
        assert!(two.contains("/kpx/node2") && two.contains("unix:///run/crio/"));
    }

    #[test]
    fn both_runtimes_pull_over_plain_http_and_know_the_pause_image() {
        assert!(registry_hosts().contains("http://10.200.0.1:5000"));
        assert!(crio(&NODES[1]).contains(r#"insecure_registries = ["10.200.0.1:5000"]"#));
        for config in [containerd(&NODES[0]), crio(&NODES[1])] {
            assert!(config.contains("10.200.0.1:5000/pause:1"));
        }
    }

    #[test]
    fn both_runtimes_use_the_driver_the_kubelet_has() {
        assert!(containerd(&NODES[0]).contains("SystemdCgroup = false"));
        assert!(crio(&NODES[1]).contains(r#"cgroup_manager = "cgroupfs""#));
        assert!(kubelet(&NODES[0], Version::V2).contains(r#""cgroupDriver":"cgroupfs""#));
    }

    #[test]
    fn pods_ask_the_clusters_own_dns_server() {
        for node in NODES {
            let kubelet = kubelet(node, Version::V2);
            assert!(kubelet.contains(r#""clusterDNS":["10.200.0.1"]"#), "{kubelet}");
        }
    }

    #[test]
    fn containerd_does_not_lower_oom_scores() {
        assert!(containerd(&NODES[0]).contains("restrict_oom_score_adj = true"));
    }

    #[test]
    fn pods_of_the_nodes_have_different_addresses() {
        assert!(cni(&NODES[0]).contains("10.244.1.0/24"));
        assert!(cni(&NODES[1]).contains("10.244.2.0/24"));
    }
}
