//! Which hierarchy of cgroups holds those of sessions, and a mount of it.
//!
//! The helper pod's own mount of it is read-only, and may show another part.

use std::io;
use std::thread;

use nix::sched::{CloneFlags, unshare};
use rustix::fd::{AsFd, OwnedFd};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_flag,
    fsconfig_set_string, fsmount, fsopen,
};

/// A hierarchy whose cgroups can be frozen, and so be killed whole: cgroups(7).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hierarchy {
    /// Version 1, with the controller `freezer` and those mounted with it.
    V1 {
        /// All its controllers, and its name if it has one: with any of them
        /// missing the kernel takes a mount for one of another hierarchy.
        controllers: Vec<String>,
    },
    /// Version 2: every cgroup has what is needed, whatever its controllers.
    V2,
}

/// Takes a PID to move its process here, and lists those that are.
pub(super) const PROCS: &str = "cgroup.procs";

/// How a cgroup is frozen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Freezer {
    pub file: &'static str,
    pub freeze: &'static str,
    pub thaw: &'static str,
}

impl Hierarchy {
    /// Chooses by the text of a `/proc/PID/cgroup`, which has a line
    /// `ID:CONTROLLERS:PATH` for each hierarchy.
    ///
    /// Where any controller is in version 1, container runtimes make their
    /// cgroups there: a cgroup of version 2 would not end with the helper's
    /// container. Hierarchies that have a name instead of controllers are the
    /// business of whoever mounted them.
    pub fn choose(text: &str) -> Option<Self> {
        let mut unified = false;
        let mut others = false;
        for line in text.lines() {
            let mut fields = line.splitn(3, ':');
            let (id, controllers) = (fields.next()?, fields.next()?);
            let mut names = controllers.split(',');
            if names.clone().any(|name| name == "freezer") {
                return Some(Self::V1 { controllers: names.map(str::to_owned).collect() });
            }
            unified |= id == "0";
            others |= names.any(|name| !name.is_empty() && !name.starts_with("name="));
        }
        (unified && !others).then_some(Self::V2)
    }

    /// Mounts the hierarchy, attached nowhere; its root is the cgroup of this
    /// process, so the helper container's.
    ///
    /// A cgroup namespace makes it so, on every node and with either version.
    /// It is a short-lived thread's own, because `serve` compares what it reads
    /// of other processes with its own. And it keeps the node as it is: a mount
    /// of version 2 made in the first namespace sets the options of all
    /// (`apply_cgroup_root_flags` in kernel/cgroup/cgroup.c), and one of
    /// version 1 may make a new hierarchy.
    ///
    /// # Errors
    /// When it is refused: needs CAP_SYS_ADMIN.
    pub(super) fn mount(&self) -> io::Result<OwnedFd> {
        thread::scope(|scope| {
            let mounting = thread::Builder::new().spawn_scoped(scope, || {
                unshare(CloneFlags::CLONE_NEWCGROUP)?;
                Ok(self.mount_here()?)
            })?;
            mounting.join().unwrap_or_else(|_| Err(io::Error::other("the thread panicked")))
        })
    }

    fn mount_here(&self) -> rustix::io::Result<OwnedFd> {
        let (kind, controllers) = match self {
            Self::V1 { controllers } => ("cgroup", controllers.as_slice()),
            Self::V2 => ("cgroup2", &[][..]),
        };
        let context = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
        for controller in controllers {
            match controller.split_once('=') {
                Some((key, name)) => fsconfig_set_string(context.as_fd(), key, name)?,
                None => fsconfig_set_flag(context.as_fd(), controller.as_str())?,
            }
        }
        fsconfig_create(context.as_fd())?;
        let attr = MountAttrFlags::MOUNT_ATTR_NOSUID
            | MountAttrFlags::MOUNT_ATTR_NODEV
            | MountAttrFlags::MOUNT_ATTR_NOEXEC;
        fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attr)
    }

    /// The file that takes who joins a cgroup. A thread that moves itself, alone,
    /// waits for nobody from Linux 5.5 (9a3284fad42f). All else takes 10 ms and
    /// more, in which nothing on the node can fork; version 2 has only that, for
    /// a process without threads of their own.
    pub(super) fn joined_by(&self) -> &'static str {
        match self {
            Self::V1 { .. } => "tasks",
            Self::V2 => PROCS,
        }
    }

    /// Version 1: Documentation/admin-guide/cgroup-v1/freezer-subsystem.rst;
    /// version 2, from Linux 5.2: cgroup-v2.rst.
    pub(super) fn freezer(&self) -> Freezer {
        match self {
            Self::V1 { .. } => Freezer { file: "freezer.state", freeze: "FROZEN", thaw: "THAWED" },
            Self::V2 => Freezer { file: "cgroup.freeze", freeze: "1", thaw: "0" },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v1(controllers: &[&str]) -> Option<Hierarchy> {
        let controllers = controllers.iter().map(|name| (*name).to_owned()).collect();
        Some(Hierarchy::V1 { controllers })
    }

    #[test]
    fn version_2_is_taken_where_it_is_alone() {
        assert_eq!(Hierarchy::choose("0::/\n"), Some(Hierarchy::V2));
        let pod = "0::/kubepods.slice/kubepods-pod1.slice/cri-containerd-1.scope\n";
        assert_eq!(Hierarchy::choose(pod), Some(Hierarchy::V2));
    }

    #[test]
    fn version_1_is_taken_where_the_runtime_takes_it() {
        let version1 = "3:freezer:/kubepods/pod1/1\n2:cpu,cpuacct:/kubepods/pod1/1\n";
        assert_eq!(Hierarchy::choose(version1), v1(&["freezer"]));
        let hybrid = format!("{version1}1:name=systemd:/system.slice\n0::/system.slice\n");
        assert_eq!(Hierarchy::choose(&hybrid), v1(&["freezer"]));
        let hybrid = "0::/\n4:memory:/a\n3:freezer:/a:b\n";
        assert_eq!(Hierarchy::choose(hybrid), v1(&["freezer"]));
    }

    #[test]
    fn controllers_mounted_together_stay_together() {
        let together = "5:net_cls,freezer,name=all:/\n";
        assert_eq!(Hierarchy::choose(together), v1(&["net_cls", "freezer", "name=all"]));
    }

    #[test]
    fn a_hierarchy_with_nothing_but_a_name_does_not_count() {
        assert_eq!(Hierarchy::choose("1:name=systemd:/\n0::/a\n"), Some(Hierarchy::V2));
        assert_eq!(Hierarchy::choose("1:name=freezer:/\n"), None);
    }

    #[test]
    fn without_a_freezer_there_is_none() {
        assert_eq!(Hierarchy::choose("2:memory:/a\n1:pids:/a\n"), None);
        // Version 2 is there, but containers are elsewhere.
        assert_eq!(Hierarchy::choose("2:memory:/a\n1:name=systemd:/\n0::/\n"), None);
        assert_eq!(Hierarchy::choose(""), None);
        assert_eq!(Hierarchy::choose("no colons\n"), None);
    }
}
