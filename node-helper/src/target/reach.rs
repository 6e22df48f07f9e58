//! Which capabilities those have who will see the session: the pod's processes
//! in the target's PID namespace. What none of them can hold shields the session
//! from all of them (threat model, A8).

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{AtFlags, fstat, statat};
use rustix::io::{self, Errno};

use super::process::{Namespace, TargetProcess};
use super::procfs::Procfs;
use super::status::status;

/// All capabilities that a process of the target holds or can regain by
/// execve(2). Processes in a user namespace of their own do not count: what
/// they hold there is nothing outside of it (user_namespaces(7)). Nor do
/// processes of other pods: those that see the target's are the node's, which
/// could do what they want without us, or other sessions of ours.
///
/// # Errors
/// When `/proc` cannot be listed.
pub fn reach(procfs: &Procfs, target: &TargetProcess) -> io::Result<u64> {
    let users = user_namespace(&target.folder)?;
    // Linux 6.17 lists just those of a namespace; before, all are looked at.
    let inside = match target.namespace(Namespace::Pid) {
        Some(namespace) => Procfs::of_namespace(namespace)?,
        None => None,
    };
    let listed = inside.as_ref().unwrap_or(procfs);
    let mut reach = 0;
    for pid in listed.pids()? {
        match of_process(listed, pid, target, users, inside.is_some()) {
            Ok(found) => reach |= found,
            // A process that ends meanwhile reaches nothing. Whatever else
            // cannot be read could be what we look for.
            Err(Errno::NOENT | Errno::SRCH) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(reach)
}

/// What one process reaches, with any of its threads.
fn of_process(
    procfs: &Procfs,
    pid: i32,
    target: &TargetProcess,
    users: u64,
    is_inside: bool,
) -> io::Result<u64> {
    let process = procfs.process(pid)?;
    let is_the_pods = target.pod_cgroup.holds(&read(&process, c"cgroup")?);
    if !is_the_pods || !(is_inside || sees(&process, target)?) {
        return Ok(0);
    }
    if user_namespace(&process)? != users {
        return Ok(0);
    }
    let mut reach = 0;
    for thread in Procfs::threads(&process)? {
        match read(&thread, c"status") {
            Ok(text) => {
                let found = status(&text).ok_or(Errno::IO)?;
                reach |= found.permitted | found.bounding;
            }
            Err(Errno::NOENT | Errno::SRCH) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(reach)
}

/// Whether a process of the node is in the target's PID namespace; whoever is
/// in one above it sees the session too.
fn sees(process: &OwnedFd, target: &TargetProcess) -> io::Result<bool> {
    let Some(namespace) = target.namespace(Namespace::Pid) else { return Ok(true) };
    let theirs = statat(process, Namespace::Pid.file(), AtFlags::empty())?;
    Ok(theirs.st_ino == fstat(namespace)?.st_ino)
}

/// The inode number of a process's user namespace, which names it.
fn user_namespace(process: impl AsFd) -> io::Result<u64> {
    Ok(statat(process, Namespace::User.file(), AtFlags::empty())?.st_ino)
}

fn read(process: &OwnedFd, name: &std::ffi::CStr) -> io::Result<String> {
    Ok(String::from_utf8_lossy(&Procfs::read(process, name)?).into_owned())
}
