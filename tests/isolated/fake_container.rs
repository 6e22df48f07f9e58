//! A container without a container runtime: namespaces by unshare(1), a root
//! file system in a temporary folder, busybox as its first process.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use crate::processes;

/// What the first process does: it waits, for its children too.
const INIT: &str = "while :; do busybox sleep 1000; done";

/// Makes the root file system the root, inside the new namespaces.
const SETUP: &str = r#"
set -e
mount --make-rprivate /
mount --bind "$1" "$1"
mount -t proc proc "$1/proc"
mount -t tmpfs tmpfs "$1/dev"
mount -t tmpfs tmpfs "$1/volume"
echo data > "$1/volume/file"
cd "$1"
mkdir -p .old
pivot_root . .old
exec /bin/busybox chroot / /bin/busybox env -i PATH=/bin SECRET=s3cret /bin/busybox sh -c "
    cd /; hostname fake; busybox umount -l /.old; busybox rmdir /.old
    echo ready > /tmp/ready; $2"
"#;

/// A running container; dropped, it ends.
pub struct FakeContainer {
    unshare: Child,
    root: TempDir,
    /// The first process, as this machine numbers it.
    pub pid: i32,
}

impl FakeContainer {
    /// Starts a container, in a user namespace of its own where this test is
    /// not run by root.
    pub fn start() -> Result<Self> {
        Self::start_as(INIT)
    }

    /// Starts a container whose first process goes on with the script `init`.
    pub fn start_as(init: &str) -> Result<Self> {
        let root = root_file_system().context("make a root file system")?;
        let mut command = Command::new("unshare");
        if !rustix::process::geteuid().is_root() {
            command.args(["--user", "--map-root-user"]);
        }
        let unshare = command
            .args(["--mount", "--pid", "--uts", "--ipc", "--net", "--cgroup", "--fork"])
            .args(["--kill-child=KILL", "--propagation", "private", "sh", "-c", SETUP, "sh"])
            .arg(root.path())
            .arg(init)
            .stdin(Stdio::null())
            .spawn()
            .context("run unshare(1)")?;
        let pid = wait_until_ready(&unshare, root.path())?;
        Ok(Self { unshare, root, pid })
    }

    /// A path of the container, as this machine sees it.
    pub fn path(&self, inside: &str) -> PathBuf {
        self.root.path().join(inside.trim_start_matches('/'))
    }

    /// Its processes, as itself numbers them.
    pub fn processes(&self) -> Result<BTreeSet<i32>> {
        processes::all(Path::new(&format!("/proc/{}/root/proc", self.pid)))
    }

    /// Where the user namespace is that the container lives in.
    pub fn user_namespace(&self) -> String {
        format!("/proc/{}/ns/user", self.pid)
    }

    /// A name for the container that its cgroup confirms: the folder this test
    /// runs in, since ordinary users cannot make another. At the top of the
    /// hierarchy there is none.
    pub fn id(&self) -> Result<String> {
        let text = fs::read_to_string(format!("/proc/{}/cgroup", self.pid))?;
        let folder =
            text.lines().filter_map(|line| line.rsplit('/').next()).find(|f| !f.is_empty());
        match folder {
            Some(folder) => Ok(folder.to_owned()),
            None => own_cgroup(self.pid),
        }
    }

    /// Ends the container, as its runtime would.
    pub fn kill(&mut self) -> Result<()> {
        self.unshare.kill()?;
        self.unshare.wait()?;
        Ok(())
    }
}

impl Drop for FakeContainer {
    fn drop(&mut self) {
        let _ended = self.kill();
        if let Some(folder) = cgroup_folder(self.pid) {
            // Empty once the container has ended; a moment late does no harm.
            for _ in 0..50 {
                if fs::remove_dir(&folder).is_ok() {
                    break;
                }
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    }
}

fn root_file_system() -> Result<TempDir> {
    let root = TempDir::new()?;
    fs::set_permissions(root.path(), fs::Permissions::from_mode(0o755))?;
    for folder in ["bin", "dev", "etc", "proc", "tmp", "volume", "srv"] {
        fs::create_dir(root.path().join(folder))?;
    }
    fs::set_permissions(root.path().join("tmp"), fs::Permissions::from_mode(0o1777))?;
    let busybox = root.path().join("bin/busybox");
    fs::copy("/bin/busybox", &busybox).context("copy the static busybox of Debian")?;
    for applet in ["cat", "hostname", "id", "ls", "sh", "sleep"] {
        symlink("busybox", root.path().join("bin").join(applet))?;
    }
    fs::write(root.path().join("etc/passwd"), "root:x:0:0:the target's root:/:/bin/sh\n")?;
    fs::write(root.path().join("etc/group"), "root:x:0:\n")?;
    fs::write(root.path().join("etc/no-program"), "text\n")?;
    symlink("etc/passwd", root.path().join("link"))?;
    Ok(root)
}

fn wait_until_ready(unshare: &Child, root: &Path) -> Result<i32> {
    let parent = unshare.id();
    let deadline = Instant::now() + Duration::from_secs(10);
    while Instant::now() < deadline {
        let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children"))?;
        let child = children.split_ascii_whitespace().next().map(str::parse).transpose()?;
        if let (true, Some(pid)) = (root.join("tmp/ready").exists(), child) {
            return Ok(pid);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    bail!("the container did not start within 10 s")
}

/// Where root may make a cgroup of the container's own: either hierarchy with
/// the least side effects.
fn cgroup_folder(pid: i32) -> Option<PathBuf> {
    let parent = ["/sys/fs/cgroup/pids", "/sys/fs/cgroup/unified", "/sys/fs/cgroup"]
        .into_iter()
        .find(|parent| Path::new(parent).join("cgroup.procs").exists())?;
    Some(Path::new(parent).join(format!("kpexec-isolated-{pid}")))
}

fn own_cgroup(pid: i32) -> Result<String> {
    let folder = cgroup_folder(pid).context("find a cgroup hierarchy")?;
    fs::create_dir_all(&folder).context("make a cgroup (needs root, or a cgroup of one's own)")?;
    fs::write(folder.join("cgroup.procs"), pid.to_string())?;
    Ok(format!("kpexec-isolated-{pid}"))
}
