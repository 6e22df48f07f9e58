//! The mounts of a node: planned here, made by its first process inside its
//! own mount namespace, gone with it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;
use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_bind, mount_change, unmount,
};
use serde::{Deserialize, Serialize};

use super::cgroup::Version;
use super::node::{Node, Runtime};

/// Folders outside of the state folder that a node's programs write to. Each
/// node has its own tmpfs over them, so both runtimes listen on their default
/// socket path and nothing of a node is seen on the host. /run/netns holds the
/// pods' network namespaces, which would stay behind after a hard stop.
pub const PRIVATE_FOLDERS: &[&str] = &[
    "/run/containerd",
    "/run/crio",
    "/run/containers",
    "/run/netns",
    "/run/runc",
    "/var/lib/containers",
    "/var/lib/cni",
    "/var/lib/kubelet",
    "/var/log/containers",
];

/// One change to the mounts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mount {
    /// Everything from the root down propagates between the mount namespaces
    /// of this node.
    ShareAll,
    /// Take a mount away, if it is there.
    Remove(PathBuf),
    /// A fresh procfs.
    Proc(PathBuf),
    /// An empty tmpfs.
    Tmpfs(PathBuf),
    /// A file over another.
    Bind(PathBuf, PathBuf),
}

/// The mounts a node needs, in order.
pub fn plan(node: &Node, cgroups: Version) -> Vec<Mount> {
    let mut plan = vec![Mount::ShareAll];
    if cgroups == Version::V1 {
        // Trap: with the hybrid layout's cgroup 2 tree in sight, runc and
        // CRI-O take the machine for a version 2 one.
        plan.push(Mount::Remove("/sys/fs/cgroup/unified".into()));
    }
    // Trap: `hostUsers: false` needs one fully visible procfs in the mount
    // namespace (mount_namespaces(7), "mount too revealing"); the one at /proc
    // no longer counts once anything is bound over a file in it.
    plan.push(Mount::Proc(node.file("proc")));
    if cgroups == Version::V1 && node.runtime == Runtime::CriO {
        // Trap: CRI-O believes /proc/cgroups, which lists hugetlb even where
        // that hierarchy is not mounted.
        plan.push(Mount::Bind(node.file("cgroups"), "/proc/cgroups".into()));
    }
    plan.extend(PRIVATE_FOLDERS.iter().map(|folder| Mount::Tmpfs(folder.into())));
    plan
}

/// /proc/cgroups without the controllers that no tree is mounted for.
pub fn mounted_controllers(proc_cgroups: &str) -> String {
    let mounted = |line: &&str| line.starts_with('#') || line.split('\t').nth(1) != Some("0");
    proc_cgroups.lines().filter(mounted).map(|line| format!("{line}\n")).collect()
}

impl Mount {
    /// Makes it, in the calling process's mount namespace.
    pub fn make(&self) -> Result<()> {
        let none = None::<&std::ffi::CStr>;
        match self {
            Self::ShareAll => {
                mount_change("/", MountPropagationFlags::REC | MountPropagationFlags::SHARED)?;
            }
            Self::Remove(target) => {
                if is_mount_point(target)? {
                    unmount(target, UnmountFlags::DETACH)?;
                }
            }
            Self::Proc(target) => {
                fs::create_dir_all(target)?;
                mount("proc", target, "proc", MountFlags::empty(), none)?;
            }
            Self::Tmpfs(target) => {
                mount("kpx", target, "tmpfs", MountFlags::empty(), none)?;
            }
            Self::Bind(source, target) => mount_bind(source, target)?,
        }
        Ok(())
    }
}

fn is_mount_point(path: &Path) -> Result<bool> {
    let mountinfo = fs::read_to_string("/proc/self/mountinfo")?;
    Ok(mountinfo.lines().any(|line| line.split(' ').nth(4).map(Path::new) == Some(path)))
}

#[cfg(test)]
mod tests {
    use super::super::node::NODES;
    use super::*;

    fn has(plan: &[Mount], wanted: &Mount) -> bool {
        plan.contains(wanted)
    }

    #[test]
    fn version_1_workarounds_stay_with_version_1() {
        let unified = Mount::Remove("/sys/fs/cgroup/unified".into());
        let filtered = Mount::Bind(NODES[1].file("cgroups"), "/proc/cgroups".into());
        for node in NODES {
            assert!(has(&plan(node, Version::V1), &unified));
            assert!(!has(&plan(node, Version::V2), &unified));
            assert!(!has(&plan(node, Version::V2), &filtered));
        }
        assert!(!has(&plan(&NODES[0], Version::V1), &filtered));
        assert!(has(&plan(&NODES[1], Version::V1), &filtered));
    }

    #[test]
    fn the_visible_procfs_comes_before_anything_is_bound_over_proc() {
        let plan = plan(&NODES[1], Version::V1);
        let place = |wanted: fn(&Mount) -> bool| plan.iter().position(wanted);
        let procfs = place(|mount| matches!(mount, Mount::Proc(_)));
        assert!(procfs < place(|mount| matches!(mount, Mount::Bind(..))));
        assert_eq!(plan[0], Mount::ShareAll);
    }

    #[test]
    fn unmounted_controllers_are_left_out() {
        let listing = "#subsys_name\thierarchy\tnum\tenabled\ncpu\t1\t1\t1\nhugetlb\t0\t1\t1\n";
        assert_eq!(
            mounted_controllers(listing),
            "#subsys_name\thierarchy\tnum\tenabled\ncpu\t1\t1\t1\n"
        );
    }
}
