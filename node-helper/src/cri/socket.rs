//! Where the container runtime listens.
//!
//! A helper pod has no volume for it: the kubelet looks for volumes every 0.3 s
//! only (`podAttachAndMountRetryInterval`), by which each first session would begin
//! later. And a socket that was mounted is lost when the runtime restarts.

use std::io;
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags, ResolveFlags, openat, openat2};
use rustix::io::Errno;
use rustix::process::getppid;
use tokio::net::UnixStream;

use crate::target::Procfs;

/// How often it is looked up while the node's files change.
const TRIES: u32 = 100;

/// The runtime's socket, looked up anew for each connection.
#[derive(Clone, Debug)]
pub struct Socket {
    /// The node's root; none on the node itself.
    root: Option<Arc<OwnedFd>>,
    path: PathBuf,
}

impl Socket {
    /// For a process on the node itself.
    pub fn here(path: PathBuf) -> Self {
        Self { root: None, path }
    }

    /// For a pod's main process, as the node has it. Its parent is the runtime's
    /// own (containerd's shim, conmon), whose root is the node's.
    ///
    /// # Errors
    /// When the parent's root cannot be had: needs the node's PID namespace and
    /// CAP_SYS_PTRACE.
    pub fn of_node(procfs: &Procfs, path: PathBuf) -> io::Result<Self> {
        loop {
            let parent = getppid().ok_or(io::ErrorKind::NotFound)?;
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let opened = procfs
                .process(parent.as_raw_nonzero().get())
                .and_then(|folder| openat(folder, c"root", flags, Mode::empty()));
            // If it ended meanwhile the number may be another's: we have a new one.
            if getppid() == Some(parent) {
                return Ok(Self { root: Some(Arc::new(opened?)), path });
            }
        }
    }

    /// Its path, as the node has it.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Connects to it.
    ///
    /// # Errors
    /// When it is not there, or nobody listens.
    pub async fn connect(&self) -> io::Result<UnixStream> {
        let Some(root) = &self.root else { return UnixStream::connect(&self.path).await };
        // Links of the node are the node's: /var/run is one.
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        // EAGAIN of openat2(2): somebody renames or mounts, anywhere on the node.
        let mut opened = Err(Errno::AGAIN);
        for _try in 0..TRIES {
            opened = openat2(root, &self.path, flags, Mode::empty(), resolve);
            if !matches!(opened, Err(Errno::AGAIN)) {
                break;
            }
        }
        let socket = opened?;
        UnixStream::connect(format!("/proc/self/fd/{}", socket.as_raw_fd())).await
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::UnixListener;

    use super::*;

    #[tokio::test]
    async fn a_socket_is_found_below_the_root_and_anew_each_time() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("run")).unwrap();
        // As it would lead out of the root if it were followed as it is.
        std::os::unix::fs::symlink("/run", folder.path().join("link")).unwrap();
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        let root = rustix::fs::open(folder.path(), flags, Mode::empty()).unwrap();
        let path = PathBuf::from("/link/cri.sock");
        let socket = Socket { root: Some(Arc::new(root)), path };
        assert_eq!(socket.connect().await.unwrap_err().kind(), io::ErrorKind::NotFound);
        for _restart in 0..2 {
            let place = folder.path().join("run/cri.sock");
            let listener = UnixListener::bind(&place).unwrap();
            socket.connect().await.unwrap();
            drop(listener);
            std::fs::remove_file(place).unwrap();
        }
    }

    #[tokio::test]
    async fn a_socket_that_is_not_there_is_told_in_one_line() {
        let socket = Socket::here("/run/no-such.sock".into());
        let Err(error) = super::super::Runtime::connect(&socket).await else {
            panic!("somebody listens");
        };
        assert_eq!(
            crate::failure::chain(&error),
            "cannot reach the container runtime at /run/no-such.sock: \
             No such file or directory"
        );
    }

    #[tokio::test]
    async fn the_parents_root_is_the_nodes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cri.sock");
        let _listener = UnixListener::bind(&path).unwrap();
        let procfs = Procfs::open().unwrap();
        let socket = Socket::of_node(&procfs, path.clone()).unwrap();
        assert_eq!(socket.path(), path);
        socket.connect().await.unwrap();
    }
}
