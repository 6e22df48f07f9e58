//! The target's first process, pinned: everything about it is opened once, by
//! descriptor, and confirmed to be the container's. A PID alone may name
//! another process a moment later (threat model, A21–A25).

use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{Mode, OFlags, fstat, openat};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::facts::{self, IdMap, OVERFLOW_ID, PodCgroup, Stat};
use super::label::Label;
use super::limits::{Limit, limits};
use super::procfs::Procfs;
use super::status::{Status, status};

/// Why a process cannot be entered.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It ended before or while we looked.
    #[error("the container's process {0} has ended")]
    Ended(i32),
    /// A system call failed.
    #[error("cannot {action} of the container's process {pid}")]
    Call {
        /// What was tried.
        action: &'static str,
        /// On which process.
        pid: i32,
        /// What the kernel answered.
        #[source]
        errno: Errno,
    },
    /// A file of `/proc/PID` is not as proc(5) has it.
    #[error("cannot read {file} of the container's process {pid}")]
    Malformed {
        /// File below `/proc/PID`.
        file: &'static str,
        /// Of which process.
        pid: i32,
    },
    /// The PID is another process's by now, or never was the container's.
    #[error("process {pid} is not in the cgroup of container {container_id}")]
    AnotherProcess {
        /// The process looked at.
        pid: i32,
        /// The container asked for.
        container_id: String,
    },
    /// The process sees the node's files: it is no container, or a runtime's
    /// own process in front of a virtual machine.
    #[error("process {0} runs in the node's own mount namespace, not in a container's")]
    NodeMounts(i32),
}

/// The namespaces we join, in the order of namespaces(7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Namespace {
    /// Control groups.
    Cgroup,
    /// System V IPC, POSIX message queues.
    Ipc,
    /// Mounts.
    Mount,
    /// Network.
    Network,
    /// Process IDs, of our children only.
    Pid,
    /// User and group IDs, capabilities.
    User,
    /// Host name.
    Uts,
}

impl Namespace {
    /// Every one of them.
    pub const ALL: [Self; 7] =
        [Self::Cgroup, Self::Ipc, Self::Mount, Self::Network, Self::Pid, Self::User, Self::Uts];

    /// Its file in `/proc/PID/ns`.
    pub fn file(self) -> &'static str {
        match self {
            Self::Cgroup => "ns/cgroup",
            Self::Ipc => "ns/ipc",
            Self::Mount => "ns/mnt",
            Self::Network => "ns/net",
            Self::Pid => "ns/pid",
            Self::User => "ns/user",
            Self::Uts => "ns/uts",
        }
    }
}

/// A pinned process.
#[derive(Debug)]
pub struct TargetProcess {
    pid: i32,
    container_id: String,
    pidfd: Arc<OwnedFd>,
    pub(super) folder: OwnedFd,
    stat: Stat,
    /// Who it is, as its own user namespace numbers users and groups.
    pub status: Status,
    /// The cgroup of its pod.
    pub pod_cgroup: PodCgroup,
    /// Its label of a Linux security module.
    pub label: Option<Label>,
    /// Its resource limits.
    pub limits: Vec<Limit>,
    /// Its root directory.
    pub root: OwnedFd,
    /// Its namespaces, those we share with it left out.
    pub namespaces: Vec<(Namespace, OwnedFd)>,
    /// How its user namespace numbers users.
    pub uid_map: IdMap,
    /// How its user namespace numbers groups.
    pub gid_map: IdMap,
}

impl TargetProcess {
    /// Pins process `pid` and confirms that it belongs to the container.
    ///
    /// # Errors
    /// When it has ended, is another's, or sees the node's own files.
    pub fn pin(procfs: &Procfs, pid: i32, container_id: &str) -> Result<Self, Error> {
        let id = Pid::from_raw(pid).ok_or(Error::Ended(pid))?;
        // First the pidfd: whatever else we open is compared with it at the end.
        let pidfd = pidfd_open(id, PidfdFlags::empty());
        let pidfd = Arc::new(pidfd.map_err(|errno| Error::call("take hold", pid, errno))?);
        let looked = Self::look(procfs, pid, container_id, pidfd.clone());
        // A process that ends has neither cgroup nor namespaces any more.
        looked.map_err(|error| if ended(&pidfd) { Error::Ended(pid) } else { error })
    }

    fn look(
        procfs: &Procfs,
        pid: i32,
        container_id: &str,
        pidfd: Arc<OwnedFd>,
    ) -> Result<Self, Error> {
        let call = |action| move |errno| Error::call(action, pid, errno);
        let folder = procfs.process(pid).map_err(call("open the folder"))?;
        let stat = read_stat(&folder, pid)?;
        let pod_cgroup = confirm_cgroup(&folder, pid, container_id)?;
        let own =
            procfs.process(std::process::id().cast_signed()).map_err(call("compare with us"))?;
        let namespaces = namespaces(&folder, &own, pid)?;
        refuse_node_mounts(procfs, &namespaces, pid)?;
        let (uid_map, gid_map) = id_maps(&folder, &namespaces, pid)?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = openat(&folder, "root", flags, Mode::empty()).map_err(call("open the root"))?;
        let status = status(&text(&folder, c"status", "status", pid)?)
            .ok_or(Error::Malformed { file: "status", pid })?;
        let process = Self {
            pid,
            container_id: container_id.to_owned(),
            pod_cgroup,
            status: as_inside(status, &uid_map, &gid_map),
            label: Label::of(&folder).map_err(call("read the label"))?,
            limits: limits(&text(&folder, c"limits", "limits", pid)?),
            pidfd,
            folder,
            stat,
            root,
            namespaces,
            uid_map,
            gid_map,
        };
        process.confirm()?;
        Ok(process)
    }

    /// Confirms that the process still lives, still is the same one, and still
    /// is in the container's cgroup.
    ///
    /// # Errors
    /// [`Error::Ended`] or [`Error::AnotherProcess`] otherwise.
    pub fn confirm(&self) -> Result<(), Error> {
        let now = read_stat(&self.folder, self.pid)?;
        // A zombie's namespaces are gone, though its PID is not.
        if self.ended() || now.start_time != self.stat.start_time || now.state == b'Z' {
            return Err(Error::Ended(self.pid));
        }
        confirm_cgroup(&self.folder, self.pid, &self.container_id).map(drop)
    }

    /// Whether the process ends within `patience`.
    pub async fn ends_within(&self, patience: Duration) -> bool {
        const POLL: Duration = Duration::from_millis(10);
        let begun = Instant::now();
        while !self.ended() {
            if begun.elapsed() >= patience {
                return false;
            }
            tokio::time::sleep(POLL).await;
        }
        true
    }

    /// Whether the process has ended: pidfd_open(2), "poll".
    pub fn ended(&self) -> bool {
        ended(&self.pidfd)
    }

    /// The namespace of this kind, unless we share it.
    pub fn namespace(&self, wanted: Namespace) -> Option<BorrowedFd<'_>> {
        self.namespaces.iter().find(|(kind, _)| *kind == wanted).map(|(_, fd)| fd.as_fd())
    }

    /// Whether its namespace of this kind, not ours, is the one of this inode
    /// number.
    pub fn is_in(&self, kind: Namespace, inode: u64) -> bool {
        let about = self.namespace(kind).map(fstat);
        about.is_some_and(|about| about.is_ok_and(|about| about.st_ino == inode))
    }

    /// The error for it, if the process ends within a moment: what failed then
    /// most likely failed because of that.
    pub async fn has_ended(&self) -> Option<Error> {
        // Nothing can be forked into a PID namespace before its first process
        // is seen to have ended.
        const MOMENT: Duration = Duration::from_millis(200);
        self.ends_within(MOMENT).await.then_some(Error::Ended(self.pid))
    }
}

impl Error {
    fn call(action: &'static str, pid: i32, errno: Errno) -> Self {
        match errno {
            Errno::SRCH | Errno::NOENT => Self::Ended(pid),
            errno => Self::Call { action, pid, errno },
        }
    }
}

fn ended(pidfd: &OwnedFd) -> bool {
    let mut poll = [rustix::event::PollFd::new(pidfd, rustix::event::PollFlags::IN)];
    let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
    !matches!(rustix::event::poll(&mut poll, Some(&now)), Ok(0))
}

fn confirm_cgroup(folder: &OwnedFd, pid: i32, container_id: &str) -> Result<PodCgroup, Error> {
    PodCgroup::of(&text(folder, c"cgroup", "cgroup", pid)?, container_id)
        .ok_or_else(|| Error::AnotherProcess { pid, container_id: container_id.to_owned() })
}

/// What has no number inside is left as the namespace shows it: nobody's
/// (user_namespaces(7), "Unmapped user and group IDs").
fn as_inside(status: Status, uid_map: &IdMap, gid_map: &IdMap) -> Status {
    let group = |gid| gid_map.inside(gid).unwrap_or(OVERFLOW_ID);
    Status {
        uid: uid_map.inside(status.uid).unwrap_or(OVERFLOW_ID),
        gid: group(status.gid),
        groups: status.groups.iter().copied().filter_map(|gid| gid_map.inside(gid)).collect(),
        ..status
    }
}

fn read_stat(folder: &OwnedFd, pid: i32) -> Result<Stat, Error> {
    let text = Procfs::read(folder, c"stat").map_err(|e| Error::call("read stat", pid, e))?;
    facts::stat(&text).ok_or(Error::Malformed { file: "stat", pid })
}

fn text(
    folder: &OwnedFd,
    name: &std::ffi::CStr,
    file: &'static str,
    pid: i32,
) -> Result<String, Error> {
    let bytes = Procfs::read(folder, name).map_err(|e| Error::call("read a file", pid, e))?;
    String::from_utf8(bytes).map_err(|_| Error::Malformed { file, pid })
}

/// How the process's user namespace numbers users and groups for us. The files
/// of a namespace we share tell of its parent instead: user_namespaces(7).
fn id_maps(
    folder: &OwnedFd,
    namespaces: &[(Namespace, OwnedFd)],
    pid: i32,
) -> Result<(IdMap, IdMap), Error> {
    if !namespaces.iter().any(|(kind, _)| *kind == Namespace::User) {
        return Ok((IdMap::identity(), IdMap::identity()));
    }
    let map = |name, file| {
        let text = text(folder, name, file, pid)?;
        IdMap::parse(&text).ok_or(Error::Malformed { file, pid })
    };
    Ok((map(c"uid_map", "uid_map")?, map(c"gid_map", "gid_map")?))
}

/// Opens every namespace that is not our own. A kernel without a kind of
/// namespace has no file for it.
fn namespaces(
    folder: &OwnedFd,
    own: &OwnedFd,
    pid: i32,
) -> Result<Vec<(Namespace, OwnedFd)>, Error> {
    let mut opened = Vec::new();
    for kind in Namespace::ALL {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let theirs = match openat(folder, kind.file(), flags, Mode::empty()) {
            Ok(fd) => fd,
            Err(Errno::NOENT) => continue,
            Err(errno) => return Err(Error::call("open a namespace", pid, errno)),
        };
        if !same_namespace(theirs.as_fd(), own, kind)
            .map_err(|e| Error::call("compare a namespace", pid, e))?
        {
            opened.push((kind, theirs));
        }
    }
    Ok(opened)
}

fn same_namespace(
    theirs: BorrowedFd<'_>,
    process: &OwnedFd,
    kind: Namespace,
) -> rustix::io::Result<bool> {
    let ours = openat(process, kind.file(), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let (ours, theirs) = (fstat(ours)?, fstat(theirs)?);
    Ok((ours.st_dev, ours.st_ino) == (theirs.st_dev, theirs.st_ino))
}

/// Kata's PID is its hypervisor's on the node: entering it would be entering
/// the node.
fn refuse_node_mounts(
    procfs: &Procfs,
    namespaces: &[(Namespace, OwnedFd)],
    pid: i32,
) -> Result<(), Error> {
    let Some((kind, theirs)) = namespaces.iter().find(|(kind, _)| *kind == Namespace::Mount) else {
        return Err(Error::NodeMounts(pid));
    };
    // Where PID 1 cannot be read (a user namespace of tests) nothing is the
    // node's.
    let Ok(init) = procfs.process(1) else { return Ok(()) };
    match same_namespace(theirs.as_fd(), &init, *kind) {
        Ok(false) | Err(Errno::ACCESS | Errno::PERM) => Ok(()),
        Ok(true) => Err(Error::NodeMounts(pid)),
        Err(errno) => Err(Error::call("compare a namespace", pid, errno)),
    }
}
