//! Where the cluster keeps its files, and the addresses it uses.

use std::path::{Path, PathBuf};

/// The one folder of a running cluster. Short, because the path of a Unix
/// socket is limited to 107 bytes and CRI-O puts its attach sockets seven
/// levels below. On disk, because /run is often small and mounted noexec.
pub const STATE: &str = "/var/lib/kpx";
/// Held while `up` or `down` works. Outside of the state folder, which `down`
/// removes.
pub const LOCK: &str = "/run/lock/kpx.lock";
/// Name of the cluster's cgroup, below the root of each hierarchy.
pub const CGROUP: &str = "kpx";
/// The bridge all nodes hang on.
pub const BRIDGE: &str = "kpxbr0";
/// The host's address on the bridge.
pub const HOST_ADDRESS: &str = "10.200.0.1";
/// The local registry, as images name it.
pub const REGISTRY: &str = "10.200.0.1:5000";
/// The image behind every pod sandbox.
pub const PAUSE_IMAGE: &str = "10.200.0.1:5000/pause:1";
/// Environment variable that moves the cache of built programs.
pub const CACHE_VARIABLE: &str = "KPEXEC_CACHE";

/// A file or folder in the state folder.
pub fn state(relative: impl AsRef<Path>) -> PathBuf {
    Path::new(STATE).join(relative)
}

/// The administrator's kubeconfig.
pub fn kubeconfig() -> PathBuf {
    state("kubeconfig")
}

/// Links to every program of the cluster; first on its processes' PATH.
pub fn bin() -> PathBuf {
    state("bin")
}

/// One log file per process.
pub fn log(name: &str) -> PathBuf {
    state("log").join(format!("{name}.log"))
}

/// One record per process, see [`super::process`].
pub fn records() -> PathBuf {
    state("pids")
}

/// Certificates and keys.
pub fn pki(file: &str) -> PathBuf {
    state("pki").join(file)
}

/// Names the checkout a cluster belongs to.
pub fn owner() -> PathBuf {
    state("owner")
}

/// Exists once `up` has finished.
pub fn ready() -> PathBuf {
    state("ready")
}

/// This checkout.
pub fn checkout() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap_or(manifest).to_owned()
}

/// Where built programs are kept between clusters and checkouts.
pub fn cache() -> PathBuf {
    if let Some(folder) = std::env::var_os(CACHE_VARIABLE) {
        return folder.into();
    }
    if rustix::process::geteuid().is_root() {
        return "/var/cache/kpexec".into();
    }
    let home = std::env::var_os("HOME").unwrap_or_else(|| "/tmp".into());
    let xdg = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    xdg.unwrap_or_else(|| Path::new(&home).join(".cache")).join("kpexec")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_socket_path_fits() {
        // CRI-O: ROOT/node2/crio/attach/<64 digits>/attach
        let socket = state("node2/crio/attach").join("0".repeat(64)).join("attach");
        assert!(socket.as_os_str().len() <= 107, "{}", socket.display());
    }

    #[test]
    fn the_checkout_holds_the_workspace() {
        assert!(checkout().join("tests/cluster/go").is_dir());
    }
}
