//! The tools' files: a folder of the helper's own, or the root of the tools
//! container, which another image was started in for the sake of its files.

use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;
use std::time::{Duration, Instant};

use kpexec_protocol::pod::TOOLS_CONTAINER;
use nix::sched::{CloneFlags, unshare};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;
use rustix::mount::{OpenTreeFlags, open_tree};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tokio::time::sleep;
use tools_overlay::MOUNT_POINT;

use super::{Place, Tools};
use crate::cri::{self, Runtime};
use crate::enter::seal::SealedBinary;
use crate::environment::path;
use crate::interpreter::interpreter;
use crate::names::read::{self, Head};
use crate::program::Program;
use crate::target::{Namespace, Procfs, TargetProcess, process};

/// How long the tools container may take to start: its image may have to be
/// pulled. The client, who hears of it from the kubelet, gives up earlier.
const PATIENCE: Duration = Duration::from_secs(600);

/// How often it is looked for.
const LOOK: Duration = Duration::from_millis(100);

/// How many programs may be run by one another: the kernel follows five scripts
/// (fs/exec.c, exec_binprm).
const DEEPEST: usize = 5;

/// Why there are no tools.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The folder cannot be cloned.
    #[error(transparent)]
    Toolset(#[from] tools_overlay::Error),
    /// The runtime does not tell of the tools container.
    #[error("cannot find the tools container")]
    Runtime(#[from] cri::Error),
    /// It never started.
    #[error("the tools container did not start within {} s", PATIENCE.as_secs())]
    TimedOut,
    /// Its process is not what it should be.
    #[error("cannot use the tools container")]
    Process(#[from] process::Error),
    /// Its root cannot be had.
    #[error("cannot {0} of the tools container")]
    Call(&'static str, #[source] Errno),
}

/// The files of a session's tools.
#[derive(Debug)]
pub struct ToolFiles {
    /// Where the session sees them.
    pub tools: Tools,
    /// Their tree, a detached mount.
    pub root: OwnedFd,
}

impl ToolFiles {
    /// The toolset in a folder of the helper; nothing, if the path is empty.
    ///
    /// # Errors
    /// When it is not there.
    pub fn of_folder(folder: &Path) -> Result<Self, Error> {
        if folder.as_os_str().is_empty() {
            return Ok(Self { tools: Tools::Nothing, root: tools_overlay::parts::nothing()? });
        }
        Ok(Self { tools: Tools::Toolset, root: tools_overlay::parts::clone_folder(folder)? })
    }

    /// The root of the tools container of the pod with this UID, once it runs. It
    /// becomes the session's, if `as_root`.
    ///
    /// # Errors
    /// When it does not start, or its root cannot be had.
    pub async fn of_container(
        procfs: &Procfs,
        cri_socket: &cri::Socket,
        pod_uid: &str,
        as_root: bool,
    ) -> Result<Self, Error> {
        let mut runtime = Runtime::connect(cri_socket).await?;
        let begun = Instant::now();
        let found = loop {
            match runtime.find(pod_uid, TOOLS_CONTAINER).await? {
                Some(found) => break found,
                None if begun.elapsed() > PATIENCE => return Err(Error::TimedOut),
                None => sleep(LOOK).await,
            }
        };
        let container = runtime.container(&found).await?;
        let process = TargetProcess::pin(procfs, container.pid, &container.id)?;
        let mounts = process.namespace(Namespace::Mount);
        let mounts = mounts.ok_or(Error::Call("find the mounts", Errno::NOENT))?;
        let root = clone_root(mounts, process.root.as_fd())?;
        process.confirm()?;
        Ok(Self { tools: Tools::image(path(&container.env), as_root), root })
    }

    /// Replaces each program of an image by the file it leads to in that image:
    /// an absolute link, `/bin/sh` to `/bin/busybox`, would lead to the target's
    /// file. What leads nowhere is left out.
    pub fn resolve(&self, programs: &mut Vec<Program>) {
        if !matches!(self.tools, Tools::Image(_)) {
            return;
        }
        programs.retain_mut(|program| {
            let Some(Place::Tools(path)) = self.tools.place(&program.path) else { return true };
            let Ok(path) = final_path(self.root.as_fd(), &path) else { return false };
            program.path = [MOUNT_POINT.as_bytes(), &path].concat();
            true
        });
    }

    /// What a program, given as the session sees it, cannot be run for: those that
    /// are run by one another, beginning with it, and the file that the last one
    /// names and that is not there. `None` if that is not why.
    pub async fn missing(
        &self,
        binary: &SealedBinary,
        target: BorrowedFd<'_>,
        program: &[u8],
    ) -> Option<(Vec<Vec<u8>>, Vec<u8>)> {
        let mut run_by = Vec::new();
        let mut next = program.to_vec();
        while run_by.len() <= DEEPEST {
            let head = match self.tools.place(&next)? {
                Place::Tools(path) => read::head(binary, self.root.as_fd(), &path).await,
                Place::Target(path) => read::head(binary, target, &path).await,
            };
            match head {
                Head::Missing => return (!run_by.is_empty()).then_some((run_by, next)),
                Head::Unread => return None,
                Head::Text(text) => {
                    run_by.push(next);
                    next = interpreter(&text)?;
                }
            }
        }
        None
    }
}

/// Clones the root of the tools container, without what is mounted below it: its
/// `/proc`, `/dev`, `/etc/hosts` and the like are not the image's.
///
/// Only who stands in a mount namespace may clone its mounts. A thread does that
/// here, not an entry process: nobody lives in that container but our own
/// program, without any capability, so there is nobody to hide from. The thread
/// shares neither working directory nor root with the others, opens nothing by
/// name, and ends.
fn clone_root(mounts: BorrowedFd<'_>, root: BorrowedFd<'_>) -> Result<OwnedFd, Error> {
    let call = |what| move |errno| Error::Call(what, errno);
    let clone = || {
        unshare(CloneFlags::CLONE_FS).map_err(|e| {
            Error::Call("leave the helper's root for that", Errno::from_raw_os_error(e as i32))
        })?;
        move_into_link_name_space(mounts, Some(LinkNameSpaceType::Mount))
            .map_err(call("join the mounts"))?;
        let flags = OpenTreeFlags::OPEN_TREE_CLONE
            | OpenTreeFlags::OPEN_TREE_CLOEXEC
            | OpenTreeFlags::AT_EMPTY_PATH;
        open_tree(root, c"", flags).map_err(call("clone the root"))
    };
    std::thread::scope(|scope| scope.spawn(clone).join())
        .unwrap_or(Err(Error::Call("clone the root", Errno::IO)))
}

/// Where a path leads below `root`, all links followed as if `root` were `/`.
fn final_path(root: BorrowedFd<'_>, path: &[u8]) -> rustix::io::Result<Vec<u8>> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let found = openat2(root, path, flags, Mode::empty(), resolve)?;
    // The mount is attached nowhere, so its own root is where paths begin.
    let link = format!("/proc/self/fd/{}", found.as_raw_fd());
    let path = std::fs::read_link(link).map_err(|_| Errno::NOENT)?.into_os_string().into_vec();
    if path.starts_with(b"/") { Ok(path) } else { Err(Errno::NOENT) }
}
