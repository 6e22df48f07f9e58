//! Which capabilities those have who will see the session: the pod's processes
//! in the target's PID namespace. What none of them can hold shields the session
//! from all of them (threat model, A8).

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{AtFlags, fstat, statat};
use rustix::io;

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
        // A process that ends meanwhile reaches nothing.
        let Ok(process) = listed.process(pid) else { continue };
        let counts = read(&process, c"cgroup").is_some_and(|text| target.pod_cgroup.holds(&text))
            && user_namespace(&process).is_ok_and(|found| found == users)
            && (inside.is_some() || sees(&process, target));
        if counts && let Some(found) = read(&process, c"status").as_deref().and_then(status) {
            reach |= found.permitted | found.bounding;
        }
    }
    Ok(reach)
}

/// Whether a process of the node is in the target's PID namespace; whoever is
/// in one above it sees the session too.
fn sees(process: &OwnedFd, target: &TargetProcess) -> bool {
    let Some(namespace) = target.namespace(Namespace::Pid) else { return true };
    let theirs = statat(process, Namespace::Pid.file(), AtFlags::empty());
    fstat(namespace).is_ok_and(|own| theirs.is_ok_and(|theirs| theirs.st_ino == own.st_ino))
}

/// The inode number of a process's user namespace, which names it.
fn user_namespace(process: impl AsFd) -> io::Result<u64> {
    Ok(statat(process, Namespace::User.file(), AtFlags::empty())?.st_ino)
}

fn read(process: &OwnedFd, name: &std::ffi::CStr) -> Option<String> {
    let text = Procfs::read(process, name).ok()?;
    Some(String::from_utf8_lossy(&text).into_owned())
}
