//! The two nodes: what each is, and how it is started.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::cgroup::Cgroups;
use super::launch::Launch;
use super::process::Record;
use super::{config, layout, mounts, network};

/// A node's container runtime.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Runtime {
    /// containerd, with runc and gVisor.
    Containerd,
    /// CRI-O, with runc.
    CriO,
}

/// One node.
#[derive(Debug)]
pub struct Node {
    /// 1 or 2: the last part of its addresses.
    pub number: u8,
    /// Its container runtime.
    pub runtime: Runtime,
}

/// All nodes.
pub const NODES: &[Node] =
    &[Node { number: 1, runtime: Runtime::Containerd }, Node { number: 2, runtime: Runtime::CriO }];

impl Node {
    /// `node1`
    pub fn name(&self) -> String {
        format!("node{}", self.number)
    }

    /// Its address on the bridge.
    pub fn address(&self) -> String {
        format!("10.200.0.1{}", self.number)
    }

    /// The network of its pods.
    pub fn pods(&self) -> String {
        format!("10.244.{}.0/24", self.number)
    }

    /// Its folder.
    pub fn folder(&self) -> PathBuf {
        layout::state(self.name())
    }

    /// A file in its folder.
    pub fn file(&self, relative: impl AsRef<Path>) -> PathBuf {
        self.folder().join(relative)
    }

    /// The runtime's CRI socket: its default path, as on any real node.
    pub fn socket(&self) -> &'static str {
        match self.runtime {
            Runtime::Containerd => "/run/containerd/containerd.sock",
            Runtime::CriO => "/run/crio/crio.sock",
        }
    }

    /// PID of the process that holds its namespaces.
    pub fn holder(&self) -> Result<u32> {
        let record = Record::read(&self.name()).filter(Record::alive);
        record.map(|record| record.pid).with_context(|| format!("{} is not running", self.name()))
    }
}

/// Starts a node up to its container runtime.
pub fn start_runtime(node: &Node, cgroups: &Cgroups) -> Result<()> {
    write_files(node, cgroups)?;
    let name = node.name();
    let holder = Launch {
        name: name.clone(),
        cgroup: cgroups.procs(&format!("{name}/daemons")),
        new_namespaces: true,
        mounts: mounts::plan(node, cgroups.version()),
        // It has nothing to do but to exist: namespaces end with their last
        // process, so there is nothing to be taken away when it is killed.
        argv: vec!["sleep".to_owned(), "infinity".to_owned()],
        ..Launch::default()
    }
    .start()?;
    network::connect(node, holder)?;
    start_runtime_again(node, cgroups)
}

/// Starts a node's container runtime where the node itself is there.
pub fn start_runtime_again(node: &Node, cgroups: &Cgroups) -> Result<()> {
    let name = format!("{}-runtime", node.name());
    daemon(node, cgroups, node.holder()?, &name, runtime_argv(node))
}

/// Starts a node's kubelet, once its runtime answers.
pub fn start_kubelet(node: &Node, cgroups: &Cgroups) -> Result<()> {
    let holder = node.holder()?;
    let runtime = format!("{}-runtime", node.name());
    // Seen from here through the holder's mount namespace.
    let socket = PathBuf::from(format!("/proc/{holder}/root{}", node.socket()));
    let deadline = Instant::now() + Duration::from_secs(60);
    while !socket.exists() {
        let alive = Record::read(&runtime).is_some_and(|record| record.alive());
        if !alive || Instant::now() > deadline {
            bail!("{runtime} does not answer: see {}", layout::log(&runtime).display());
        }
        sleep(Duration::from_millis(20));
    }
    daemon(node, cgroups, holder, &format!("{}-kubelet", node.name()), kubelet_argv(node))
}

fn daemon(
    node: &Node,
    cgroups: &Cgroups,
    holder: u32,
    name: &str,
    argv: Vec<String>,
) -> Result<()> {
    Launch {
        name: name.to_owned(),
        cgroup: cgroups.procs(&format!("{}/daemons", node.name())),
        join: Some(holder),
        argv,
        ..Launch::default()
    }
    .start()
    .map(drop)
}

fn runtime_argv(node: &Node) -> Vec<String> {
    let config = node.file("runtime.toml").display().to_string();
    match node.runtime {
        Runtime::Containerd => vec!["containerd".to_owned(), "-c".to_owned(), config],
        // An empty drop-in folder: the machine's own CRI-O is none of ours.
        Runtime::CriO => ["crio", "-c", &config, "-d", ""].map(str::to_owned).to_vec(),
    }
}

fn kubelet_argv(node: &Node) -> Vec<String> {
    let folder = node.folder().display().to_string();
    vec![
        "kubelet".to_owned(),
        format!("--config={folder}/kubelet.json"),
        format!("--kubeconfig={folder}/kubeconfig"),
        format!("--hostname-override={}", node.name()),
        format!("--node-ip={}", node.address()),
        format!("--root-dir={folder}/kubelet"),
        format!("--cert-dir={folder}/kubelet/pki"),
    ]
}

fn write_files(node: &Node, cgroups: &Cgroups) -> Result<()> {
    for folder in ["cni", "static-pods", "volume-plugins", "certs.d/10.200.0.1:5000"] {
        fs::create_dir_all(node.file(folder))?;
    }
    let write = |name: &str, content: String| {
        let path = node.file(name);
        fs::write(&path, content).with_context(|| format!("cannot write {}", path.display()))
    };
    match node.runtime {
        Runtime::Containerd => {
            write("runtime.toml", config::containerd(node))?;
            write("runsc.toml", config::RUNSC.to_owned())?;
            write("certs.d/10.200.0.1:5000/hosts.toml", config::registry_hosts())?;
        }
        Runtime::CriO => {
            write("runtime.toml", config::crio(node))?;
            write("policy.json", config::ACCEPT_ANY_IMAGE.to_owned())?;
            let controllers = fs::read_to_string("/proc/cgroups").unwrap_or_default();
            write("cgroups", mounts::mounted_controllers(&controllers))?;
        }
    }
    write("cni/10-kpx.conflist", config::cni(node))?;
    write("resolv.conf", format!("nameserver {}\n", layout::HOST_ADDRESS))?;
    write("kubelet.json", config::kubelet(node, cgroups.version()))
}
