//! A container without a container runtime: namespaces by unshare(1), a root
//! file system in a temporary folder with busybox in it, `init.c` as its first
//! process.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use node_helper::seccomp;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::OwnedFd;
use rustix::io::retry_on_intr;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde_json::Value;
use tempfile::TempDir;

use crate::inside::{Inside, Ran, Running};
pub use crate::options::*;
use crate::processes;
use crate::programs::{install, link_into};

/// Makes the root file system the root, inside the new namespaces.
const SETUP: &str = include_str!("container.sh");

/// A running container; dropped, it ends.
pub struct FakeContainer {
    unshare: Child,
    root: TempDir,
    inside: Inside,
    pidfd: OwnedFd,
    /// The first process, as this machine numbers it.
    pub pid: i32,
    /// Its filter.
    pub seccomp: Option<Value>,
}

impl FakeContainer {
    /// Starts a container with all that the test has.
    pub fn start() -> Result<Self> {
        Self::with(&Options::own())
    }

    /// Starts a container to attack from.
    pub fn hostile(options: &Options) -> Result<Self> {
        if !rustix::process::geteuid().is_root() {
            bail!("attacks need root: `cargo xtask test` runs them");
        }
        Self::with(options)
    }

    /// Starts a container that is as `options` say.
    pub fn with(options: &Options) -> Result<Self> {
        let root = root_file_system(options.user_namespace).context("make a root file system")?;
        let holder = options.user_namespace.then(|| UserNamespace::new(options)).transpose()?;
        if let Some(profile) = &options.seccomp {
            fs::write(root.path().join(FILTER.trim_start_matches('/')), compiled(profile)?)?;
        }
        let (inside, theirs) = Inside::pair()?;
        let mut command = match &holder {
            Some(holder) => holder.command(),
            None => Command::new("unshare"),
        };
        if !rustix::process::geteuid().is_root() {
            command.args(["--user", "--map-root-user"]);
        }
        let kinds = ["mount", "pid", "uts", "ipc", "net", "cgroup"];
        let own = kinds.into_iter().filter(|kind| !options.shares.contains(kind));
        let unshare = command
            .args(own.map(|kind| format!("--{kind}")))
            .arg("--fork")
            .args(["--kill-child=KILL", "--propagation", "private", "sh", "-c", SETUP])
            .envs(options.environment(root.path()))
            .stdin(theirs)
            .spawn()
            .context("run unshare(1)")?;
        // The command holds the other end too, until it is dropped: then the
        // first process's death is an end of file.
        drop(command);
        inside.wait_until_ready()?;
        let pid = only_child(&unshare)?;
        let id = Pid::from_raw(pid).context("a PID of 0")?;
        let pidfd = pidfd_open(id, PidfdFlags::empty())?;
        Ok(Self { unshare, root, inside, pidfd, pid, seccomp: options.seccomp.clone() })
    }

    /// Runs a shell line in the container, with its own credentials.
    pub fn run(&self, line: &str) -> Result<Ran> {
        self.inside.run(line)
    }

    /// Starts a shell line in the container, with its own credentials.
    pub fn spawn(&self, line: &str) -> Result<Running<'_>> {
        self.inside.spawn(line)
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

    /// A name for the container that its cgroup confirms: one of its own, so that
    /// sessions are not in it. Ordinary users cannot make one: there it is the
    /// folder this test runs in.
    pub fn id(&self) -> Result<String> {
        if rustix::process::geteuid().is_root() {
            return own_cgroup(self.pid);
        }
        let text = fs::read_to_string(format!("/proc/{}/cgroup", self.pid))?;
        let folder =
            text.lines().filter_map(|line| line.rsplit('/').next()).find(|f| !f.is_empty());
        folder.map(str::to_owned).context("find a cgroup")
    }

    /// Puts another process into the container's cgroup.
    pub fn adopt(&self, pid: i32) -> Result<()> {
        match cgroup_folder(self.pid).filter(|folder| folder.exists()) {
            Some(folder) => Ok(fs::write(folder.join("cgroup.procs"), pid.to_string())?),
            // The test's own, in which it is.
            None => Ok(()),
        }
    }

    /// Whether the first process, and unshare(1) which reaps it, end within
    /// `patience`.
    pub fn ends_within(&mut self, patience: Duration) -> Result<bool> {
        let deadline = Instant::now() + patience;
        while self.unshare.try_wait()?.is_none() {
            if Instant::now() > deadline {
                return Ok(false);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(true)
    }

    /// Ends the container, as its runtime would.
    pub fn kill(&mut self) -> Result<()> {
        self.unshare.kill()?;
        self.unshare.wait()?;
        // It may have ended by itself, or with unshare(1).
        let _ended = pidfd_send_signal(&self.pidfd, Signal::KILL);
        let patience = Timespec { tv_sec: 30, tv_nsec: 0 };
        let mut ended = [PollFd::new(&self.pidfd, PollFlags::IN)];
        // Another container of this process that ends interrupts it: SIGCHLD.
        let ready = retry_on_intr(|| poll(&mut ended, Some(&patience)))?;
        ensure!(ready == 1, "the container does not end");
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

/// A user namespace, held by a process until others live in it.
struct UserNamespace {
    holder: Child,
    /// What setpriv(1) is to do about groups.
    groups: &'static str,
}

impl UserNamespace {
    fn new(options: &Options) -> Result<Self> {
        let holder = Command::new("unshare").args(["--user", "sleep", "60"]).spawn()?;
        let groups = if options.no_setgroups { "--keep-groups" } else { "--clear-groups" };
        let namespace = Self { holder, groups };
        let own = fs::read_link("/proc/self/ns/user")?;
        while fs::read_link(namespace.path("ns/user"))? == own {
            std::thread::sleep(Duration::from_millis(1));
        }
        if options.no_setgroups {
            fs::write(namespace.path("setgroups"), "deny")?;
        }
        for map in ["uid_map", "gid_map"] {
            fs::write(namespace.path(map), format!("0 {FIRST_ID} 65536"))?;
        }
        Ok(namespace)
    }

    fn path(&self, file: &str) -> String {
        format!("/proc/{}/{file}", self.holder.id())
    }

    /// unshare(1) in the namespace, as its root.
    fn command(&self) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--user={}", self.path("ns/user")));
        // Its root first: another loses every capability at execve(2).
        command.args(["--preserve-credentials", "--setuid=0", "setpriv", "--regid=0"]);
        command.args([self.groups, "unshare"]);
        command
    }
}

impl Drop for UserNamespace {
    fn drop(&mut self) {
        let _ended = self.holder.kill().and_then(|()| self.holder.wait());
    }
}

/// A profile as `filter.h` takes it.
pub fn compiled(profile: &Value) -> Result<Vec<u8>> {
    let mut file = Vec::new();
    for program in seccomp::compile(&serde_json::from_value(profile.clone())?)? {
        let length = u32::try_from(program.as_bytes().len())?;
        file.extend_from_slice(&length.to_ne_bytes());
        file.extend_from_slice(program.as_bytes());
    }
    Ok(file)
}

fn root_file_system(for_user_namespace: bool) -> Result<TempDir> {
    let root = TempDir::new()?;
    fs::set_permissions(root.path(), fs::Permissions::from_mode(0o755))?;
    for folder in ["attacks", "bin", "dev", "etc", "proc", "tmp", "volume", "srv"] {
        fs::create_dir(root.path().join(folder))?;
    }
    fs::set_permissions(root.path().join("tmp"), fs::Permissions::from_mode(0o1777))?;
    let busybox = root.path().join("bin/busybox");
    install(Path::new("/bin/busybox"), &busybox).context("copy the static busybox of Debian")?;
    for applet in ["cat", "hostname", "id", "ls", "sh", "sleep"] {
        symlink("busybox", root.path().join("bin").join(applet))?;
    }
    fs::write(root.path().join("etc/passwd"), "root:x:0:0:the target's root:/:/bin/sh\n")?;
    fs::write(root.path().join("etc/group"), "root:x:0:\n")?;
    fs::write(root.path().join("etc/no-program"), "text\n")?;
    symlink("etc/passwd", root.path().join("link"))?;
    if for_user_namespace {
        // Where runtimes map the ids of the mount.
        let owner = format!("{FIRST_ID}:{FIRST_ID}");
        let changed =
            Command::new("chown").args(["-Rh", &owner]).arg(root.path()).status()?.success();
        ensure!(changed, "the root file system keeps its owner");
    }
    link_into(&root.path().join("attacks"))?;
    Ok(root)
}

/// The first process: unshare(1) has no other child.
fn only_child(unshare: &Child) -> Result<i32> {
    let parent = unshare.id();
    let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children"))?;
    Ok(children.trim().parse()?)
}

/// Where root may make a cgroup of the container's own: either hierarchy with
/// the least side effects.
fn cgroup_folder(pid: i32) -> Option<PathBuf> {
    let parent = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup/systemd", "/sys/fs/cgroup"]
        .into_iter()
        .find(|parent| Path::new(parent).join("cgroup.procs").exists())?;
    Some(Path::new(parent).join(format!("kpexec-isolated-{pid}")))
}

fn own_cgroup(pid: i32) -> Result<String> {
    let folder = cgroup_folder(pid).context("find a cgroup hierarchy")?;
    fs::create_dir_all(&folder).context("make a cgroup")?;
    fs::write(folder.join("cgroup.procs"), pid.to_string())?;
    Ok(format!("kpexec-isolated-{pid}"))
}
