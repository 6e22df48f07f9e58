//! A node of the cluster, and kpexec run there without the cluster.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context, Result, ensure};

use crate::Cluster;
use crate::cluster::last_line;

/// The nodes, and the pods of each that the demo has: a hardened one without a
/// shell, and a plain one.
pub const NODES: [(&str, [&str; 2]); 2] =
    [("node1", ["distroless", "busybox"]), ("node2", ["distroless-crio", "busybox-crio"])];

/// A node: network and mounts of its own on this machine.
pub struct Node {
    holder: String,
}

impl Node {
    /// The node of this name.
    ///
    /// # Errors
    /// When the cluster has none.
    pub fn find(name: &str) -> Result<Self> {
        // What `cargo xtask cluster enter` reads: PID and start time.
        let record = Cluster::get().kubeconfig.with_file_name("pids").join(name);
        let text = fs::read_to_string(&record).with_context(|| format!("no node {name}"))?;
        let holder = text.split(' ').next().context("the record names no process")?.to_owned();
        Ok(Self { holder })
    }

    /// A command on the node.
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--net", "--mount", "--target", &self.holder, "--"]).args(words);
        command
    }

    /// `kpexec --local` on the node, with nothing that leads to an API server, and
    /// no signal ignored.
    pub fn kpexec(&self, arguments: &[&str]) -> Command {
        let kpexec = Cluster::get().kpexec.to_string_lossy();
        self.with_tools(&["env", "--default-signal", &*kpexec, "--local"], arguments)
    }

    /// A command line that starts kpexec, which finds its helper and its toolset.
    pub fn with_tools(&self, start: &[&str], arguments: &[&str]) -> Command {
        let mut command = self.command(&[start, arguments].concat());
        for variable in ["KUBECONFIG", "KUBERNETES_SERVICE_HOST", "KPEXEC_HELPER_IMAGE"] {
            command.env_remove(variable);
        }
        command.env("HOME", "/nonexistent");
        command.env("KPEXEC_NODE_HELPER", helper_files().join("root/node-helper"));
        command.env("KPEXEC_TOOLSET_FOLDER", helper_files().join("toolset"));
        command
    }

    /// All mounts of the node, but for those that pods come and go with.
    ///
    /// # Errors
    /// When the node is gone.
    pub fn mounts(&self) -> Result<Vec<String>> {
        let text = fs::read_to_string(format!("/proc/{}/mountinfo", self.holder))?;
        let of_pods = ["/kubelet/pods/", "/netns/", "/containers/", "/io.containerd", "/crio/"];
        let is_other = |line: &&str| !of_pods.iter().any(|part| line.contains(part));
        Ok(text.lines().filter(is_other).map(str::to_owned).collect())
    }
}

/// The files of the helper image of this checkout, in a folder: `root` and
/// `toolset`.
pub fn helper_files() -> &'static PathBuf {
    static FILES: OnceLock<PathBuf> = OnceLock::new();
    FILES.get_or_init(|| {
        let context = last_line(&["xtask", "image", "--context"]);
        context.expect("the files of the helper image can be made").into()
    })
}

/// Puts the helper's programs there, and nothing else.
///
/// # Errors
/// When they are not built.
pub fn copy_helper(to: &Path) -> Result<()> {
    for program in ["node-helper", "node-entry"] {
        fs::copy(helper_files().join("root").join(program), to.join(program))?;
    }
    Ok(())
}

/// Sessions' cgroups that this machine has, wherever they are, whose helper is
/// among `helpers`.
///
/// # Errors
/// When the cgroups cannot be looked through.
pub fn cgroups_of(helpers: &[u32]) -> Result<Vec<PathBuf>> {
    let output = Command::new("find")
        .args(["/sys/fs/cgroup", "-maxdepth", "8", "-type", "d", "-name", "kpexec-*"])
        .output()?;
    // Those that vanish meanwhile are no reason to fail.
    ensure!(output.status.code().is_some(), "find(1) was killed");
    let found = String::from_utf8(output.stdout)?;
    let ours = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        helpers.iter().any(|pid| name.starts_with(&format!("kpexec-{pid}-")))
    };
    Ok(found.lines().map(PathBuf::from).filter(ours).collect())
}

/// The children of a process that have this name.
///
/// # Errors
/// When `/proc` cannot be read.
pub fn children(parent: u32, name: &str) -> Result<Vec<u32>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let path = entry?.path();
        let Ok(stat) = fs::read_to_string(path.join("stat")) else { continue };
        let Some((head, rest)) = stat.rsplit_once(") ") else { continue };
        let is_child = rest.split(' ').nth(1) == Some(parent.to_string().as_str());
        if is_child && head.ends_with(&format!("({name}")) {
            found.extend(head.split(' ').next().and_then(|pid| pid.parse::<u32>().ok()));
        }
    }
    Ok(found)
}
