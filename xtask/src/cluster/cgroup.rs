//! The cluster's cgroups: every process of it is in one, so that `down` finds
//! them all.
//!
//! Both kinds of machine are served: version 1 (one tree per controller) and
//! version 2 (one tree). What to do is decided by pure functions; only
//! version 1 could be run where this was written.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::layout;
use super::process;

const MOUNT: &str = "/sys/fs/cgroup";
/// statfs(2): the type of a cgroup 2 file system.
const CGROUP2_SUPER_MAGIC: i64 = 0x6367_7270;

/// Groups below the cluster's own. Version 2 allows processes in leaves only,
/// so a node's daemons have a group beside the one the kubelet makes for pods.
const GROUPS: &[&str] = &["", "up", "control", "node1", "node1/daemons", "node2", "node2/daemons"];
/// Those of them that hold groups instead of processes.
const INNER_GROUPS: &[&str] = &["", "node1", "node2"];

/// How this machine's cgroups are laid out.
#[derive(Debug, PartialEq, Eq)]
pub struct Cgroups {
    version: Version,
    /// Mount point of each tree.
    trees: Vec<PathBuf>,
    /// The tree in which processes are looked for.
    tracking: usize,
}

/// Version of the kernel's cgroup interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// One tree per controller.
    V1,
    /// One tree for all.
    V2,
}

impl Cgroups {
    /// Looks at the machine.
    pub fn detect() -> Result<Self> {
        let magic = rustix::fs::statfs(MOUNT).context("/sys/fs/cgroup is not mounted")?.f_type;
        Self::from(magic, &fs::read_to_string("/proc/self/mountinfo")?)
    }

    fn from(magic: i64, mountinfo: &str) -> Result<Self> {
        if magic == CGROUP2_SUPER_MAGIC {
            return Ok(Self { version: Version::V2, trees: vec![MOUNT.into()], tracking: 0 });
        }
        // Hybrid machines have a cgroup 2 tree without controllers as well, at
        // `unified`; its type is cgroup2, so it is not taken here.
        let trees: Vec<PathBuf> = mountinfo.lines().filter_map(version1_mount).collect();
        // A limit on the number of processes is what nobody else's supervisor
        // moves processes about for, and every container gets a group in it.
        let Some(tracking) = trees.iter().position(|tree| tree.ends_with("pids")) else {
            bail!("neither cgroup v2 nor a v1 `pids` hierarchy is mounted below {MOUNT}");
        };
        Ok(Self { version: Version::V1, trees, tracking })
    }

    /// Which version the machine has.
    pub fn version(&self) -> Version {
        self.version
    }

    /// Makes every group of the cluster, beforehand: the kubelet does not make
    /// its `cgroupRoot` itself.
    pub fn make(&self) -> Result<()> {
        for tree in &self.trees {
            if self.version == Version::V2 {
                enable_controllers(tree, tree)?;
            }
            for group in GROUPS {
                let folder = tree.join(layout::CGROUP).join(group);
                fs::create_dir_all(&folder)
                    .with_context(|| format!("cannot make the cgroup {}", folder.display()))?;
                match self.version {
                    Version::V1 => copy_cpuset_down(tree, &folder)?,
                    Version::V2 if INNER_GROUPS.contains(group) => {
                        enable_controllers(tree, &folder)?;
                    }
                    Version::V2 => {}
                }
            }
        }
        Ok(())
    }

    /// The file that takes the PIDs of a group's new members.
    pub fn procs(&self, group: &str) -> PathBuf {
        self.trees[self.tracking].join(layout::CGROUP).join(group).join("cgroup.procs")
    }

    /// The group this process is in now, as its `cgroup.procs`.
    pub fn current(&self) -> Result<PathBuf> {
        let own = fs::read_to_string("/proc/self/cgroup")?;
        let tree = &self.trees[self.tracking];
        let group = group_in(self.version, &own).context("/proc/self/cgroup names no group")?;
        Ok(tree.join(group.trim_start_matches('/')).join("cgroup.procs"))
    }

    /// Every process of the cluster.
    pub fn members(&self) -> Vec<u32> {
        let mut pids: Vec<u32> = self
            .trees
            .iter()
            .flat_map(|tree| folders_below(&tree.join(layout::CGROUP)))
            .filter_map(|folder| fs::read_to_string(folder.join("cgroup.procs")).ok())
            .flat_map(|list| list.lines().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>())
            .collect();
        pids.sort_unstable();
        pids.dedup();
        pids
    }

    /// Kills every process of the cluster and waits until none is left.
    pub fn kill_members(&self) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let pids = self.members();
            if pids.is_empty() {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!("processes of the cluster do not die: {pids:?}");
            }
            for pid in pids {
                process::kill_if(pid, || is_member(pid))?;
            }
            sleep(Duration::from_millis(20));
        }
    }

    /// Removes the cluster's groups.
    pub fn remove(&self) -> Result<()> {
        for tree in &self.trees {
            let top = tree.join(layout::CGROUP);
            let deadline = Instant::now() + Duration::from_secs(10);
            // The kernel lets go of a dead process's group a moment later.
            while top.exists() {
                let mut last = None;
                for folder in folders_below(&top).iter().rev() {
                    last = fs::remove_dir(folder).err().or(last);
                }
                if let (Some(error), true) = (last, Instant::now() > deadline) {
                    return Err(error).context(format!("cannot remove {}", top.display()));
                }
                sleep(Duration::from_millis(10));
            }
        }
        Ok(())
    }
}

/// The mount point, if the line of mountinfo is a version 1 tree.
fn version1_mount(line: &str) -> Option<PathBuf> {
    let (before, after) = line.split_once(" - ")?;
    let point = before.split(' ').nth(4)?;
    (after.starts_with("cgroup ") && Path::new(point).starts_with(MOUNT)).then(|| point.into())
}

/// The group a process is in, from its /proc/PID/cgroup.
fn group_in(version: Version, listing: &str) -> Option<&str> {
    listing.lines().find_map(|line| {
        let (_, rest) = line.split_once(':')?;
        let (controllers, group) = rest.split_once(':')?;
        let wanted = match version {
            Version::V1 => controllers.split(',').any(|controller| controller == "pids"),
            Version::V2 => controllers.is_empty(),
        };
        wanted.then_some(group)
    })
}

/// A PID read a moment ago may be another process by now: this is asked again
/// with a pidfd in hand.
fn is_member(pid: u32) -> bool {
    let listing = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
    let own = format!("/{}", layout::CGROUP);
    listing.lines().filter_map(|line| line.splitn(3, ':').nth(2)).any(|group| {
        group.strip_prefix(&own).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    })
}

/// Trap: a new cpuset group has no CPUs and no memory nodes, and takes no
/// process until it has.
fn copy_cpuset_down(tree: &Path, folder: &Path) -> Result<()> {
    for file in ["cpuset.cpus", "cpuset.mems"] {
        if let Ok(all) = fs::read(tree.join(file)) {
            fs::write(folder.join(file), all)
                .with_context(|| format!("cannot fill {}", folder.join(file).display()))?;
        }
    }
    Ok(())
}

/// Passes every controller that the tree has on to a group's children. The
/// kubelet refuses a `cgroupRoot` that lacks one.
fn enable_controllers(tree: &Path, folder: &Path) -> Result<()> {
    let available = fs::read_to_string(tree.join("cgroup.controllers"))
        .with_context(|| format!("cannot read the controllers of {}", tree.display()))?;
    let control = folder.join("cgroup.subtree_control");
    let enabled = fs::read_to_string(&control).unwrap_or_default();
    for wanted in controllers_to_enable(&available, &enabled) {
        fs::write(&control, &wanted)
            .with_context(|| format!("cannot write {wanted} to {}", control.display()))?;
    }
    Ok(())
}

fn controllers_to_enable(available: &str, enabled: &str) -> Vec<String> {
    let enabled: Vec<&str> = enabled.split_whitespace().collect();
    ["cpuset", "cpu", "io", "memory", "hugetlb", "pids"]
        .into_iter()
        .filter(|name| available.split_whitespace().any(|one| one == *name))
        .filter(|name| !enabled.contains(name))
        .map(|name| format!("+{name}"))
        .collect()
}

/// A folder and all below it, parents first.
fn folders_below(top: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![top.to_owned()];
    while let Some(folder) = open.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        let folders = entries.flatten().filter(|e| e.file_type().is_ok_and(|kind| kind.is_dir()));
        open.extend(folders.map(|entry| entry.path()));
        found.push(folder);
    }
    found
}

#[cfg(test)]
#[path = "cgroup_tests.rs"]
mod tests;
