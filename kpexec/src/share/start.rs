//! The way to the background process, which is started where there is none.

use std::ffi::OsString;
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, Mode, OFlags, flock, openat};
use tokio::net::UnixStream;
use tokio::time::sleep;

use super::ShareError;
use super::folder::{Folder, own_uid};
use super::name::socket_name;
use crate::cli::{ClusterFlags, background_arguments};
use crate::cluster::kubeconfig_files;

/// Held by who starts a process, so that there is one.
const LOCK: &str = "lock";
/// What of the flags is no argument of the process.
pub const SECRETS: &str = "KPEXEC_SHARE_SECRETS";
/// To start a process takes milliseconds.
const LOCK_PATIENCE: Duration = Duration::from_secs(10);

/// Connects with the background process for these flags.
pub async fn connect(cluster: &ClusterFlags, idle: Duration) -> Result<UnixStream, ShareError> {
    let folder = Folder::open()?;
    let name = socket_name(cluster);
    let socket = folder.inside(&name);
    if let Some(stream) = attempt(&socket).await? {
        return Ok(stream);
    }
    let failed = |what| move |source: io::Error| ShareError::Start { what, source };
    // Until it is dropped.
    let _lock = lock(&folder).await.map_err(failed("lock its folder"))?;
    // Somebody else may have been faster.
    if let Some(stream) = attempt(&socket).await? {
        return Ok(stream);
    }
    // Nobody listens, and whoever would begin to waits for the lock.
    match std::fs::remove_file(&socket) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            return Err(failed("remove its old socket")(error));
        }
        _ => {}
    }
    let listener = UnixListener::bind(&socket).map_err(failed("make its socket"))?;
    start(cluster, &name, idle, listener.into()).map_err(failed("run /proc/self/exe"))?;
    attempt(&socket).await?.ok_or_else(|| ShareError::Silent(ErrorKind::ConnectionRefused.into()))
}

/// None: nobody listens.
pub async fn attempt(socket: &Path) -> Result<Option<UnixStream>, ShareError> {
    match UnixStream::connect(socket).await {
        Ok(stream) => check(&stream, own_uid()).map(|()| Some(stream)),
        Err(error)
            if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) =>
        {
            Ok(None)
        }
        Err(error) => Err(ShareError::Silent(error)),
    }
}

/// Whether the other end is this user's: `SO_PEERCRED` of unix(7).
pub fn check(stream: &UnixStream, us: u32) -> Result<(), ShareError> {
    match stream.peer_cred().map_err(ShareError::Silent)?.uid() {
        uid if uid == us => Ok(()),
        uid => Err(ShareError::Impostor(uid)),
    }
}

/// flock(2): the kernel lets go of it when we end, however we do.
async fn lock(folder: &Folder) -> io::Result<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = openat(folder, LOCK, flags, Mode::RUSR | Mode::WUSR)?;
    let deadline = Instant::now() + LOCK_PATIENCE;
    loop {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(file),
            Err(rustix::io::Errno::WOULDBLOCK) if Instant::now() < deadline => {
                sleep(Duration::from_millis(2)).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// Its stdin is the socket, which is listened on already: so there is no time in
/// which it cannot be connected to.
fn start(cluster: &ClusterFlags, name: &str, idle: Duration, listener: OwnedFd) -> io::Result<()> {
    let mut command = Command::new("/proc/self/exe");
    command.arg0("kpexec").args(background_arguments(name, idle));
    command.args(["--helper-namespace", &cluster.helper_namespace]);
    if let Some(context) = &cluster.context {
        command.args(["--context", context]);
    }
    // It has another working directory.
    let files = kubeconfig_files(cluster.kubeconfig.as_deref(), &std::env::var_os);
    match (&cluster.kubeconfig, &files[..]) {
        (Some(_), [file]) => drop(command.arg("--kubeconfig").arg(file)),
        _ if std::env::var_os("KUBECONFIG").is_some_and(|list| !list.is_empty()) => {
            let list = std::env::join_paths(files).map_err(io::Error::other)?;
            command.env("KUBECONFIG", list);
        }
        _ => {}
    }
    command.args(cluster.connection.arguments());
    for (name, _) in own_variables(std::env::vars_os()) {
        command.env_remove(name);
    }
    // Everybody on this machine can read its arguments, and it stays.
    if let Some(secrets) = cluster.connection.secrets() {
        command.env(SECRETS, secrets);
    }
    command.current_dir("/").stdin(listener).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().map(drop)
}

/// Those that stand for flags: each command sends what it makes of its own.
fn own_variables(
    all: impl Iterator<Item = (OsString, OsString)>,
) -> impl Iterator<Item = (OsString, OsString)> {
    all.filter(|(name, _)| name.to_string_lossy().starts_with("KPEXEC_"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn another_users_process_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("x.sock");
        assert!(attempt(&socket).await.unwrap().is_none());
        let listener = tokio::net::UnixListener::bind(&socket).unwrap();
        let ours = attempt(&socket).await.unwrap().unwrap();
        let (theirs, _) = listener.accept().await.unwrap();
        for end in [&ours, &theirs] {
            check(end, own_uid()).unwrap();
            let other = check(end, own_uid() + 1);
            assert!(matches!(other, Err(ShareError::Impostor(uid)) if uid == own_uid()));
        }
        drop(listener);
        // What is left of a process that was killed, once no fork of another test
        // holds the listener.
        assert!(socket.exists());
        let begun = Instant::now();
        while attempt(&socket).await.unwrap().is_some() {
            assert!(begun.elapsed() < Duration::from_secs(20), "somebody listens");
            sleep(Duration::from_millis(1)).await;
        }
    }
}
