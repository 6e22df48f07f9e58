//! Starting a process of the cluster. The child is this same program: it joins
//! its cgroup and namespaces, mounts, leaves its record, then becomes the
//! wanted program by exec.

use std::convert::Infallible;
use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde::{Deserialize, Serialize};

use super::layout;
use super::mounts::Mount;
use super::process::Record;
use crate::run;

/// PATH of the cluster's processes, behind their own programs.
const SYSTEM_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// One process to start.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Launch {
    /// Names its record and its log.
    pub name: String,
    /// `cgroup.procs` of the group it belongs to.
    pub cgroup: PathBuf,
    /// Begin with a new network and mount namespace.
    pub new_namespaces: bool,
    /// Join the network and mount namespace of that process.
    pub join: Option<u32>,
    /// Mounts to make, in this order.
    pub mounts: Vec<Mount>,
    /// The program and its arguments.
    pub argv: Vec<String>,
}

impl Launch {
    /// Starts the process and returns its PID once it has left its record.
    pub fn start(&self) -> Result<u32> {
        let _ = fs::remove_file(layout::records().join(&self.name));
        let log = layout::log(&self.name);
        // Appended: what a part said before it was restarted explains its end.
        let file = OpenOptions::new().create(true).append(true).open(&log);
        let file = file.with_context(|| format!("cannot write {}", log.display()))?;
        let mut command = self.command()?;
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        let mut child =
            command.spawn().with_context(|| format!("{} cannot be started", self.name))?;
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            if Record::read(&self.name).is_some_and(|record| record.pid == child.id()) {
                return Ok(child.id());
            }
            if child.try_wait()?.is_some() || Instant::now() > deadline {
                let said = fs::read_to_string(&log).unwrap_or_default();
                bail!("{} did not start: {}", self.name, run::last_lines(&said, 10));
            }
            sleep(Duration::from_millis(2));
        }
    }

    fn command(&self) -> Result<Command> {
        // By number, because the child's own `/proc/self/exe` is `unshare`; and
        // not by path, because a build may have replaced the file by now.
        let own = format!("/proc/{}/exe", std::process::id());
        let spec = serde_json::to_string(self)?;
        let mut command;
        if self.new_namespaces {
            // Private, not shared: on a machine whose mounts are shared (any
            // with systemd) the node's would appear on the host otherwise.
            command = Command::new("unshare");
            command.args(["--net", "--mount", "--propagation", "private", "--", &own]);
        } else {
            command = Command::new(own);
        }
        command.args(["launch", &spec]);
        // Nothing of the user's environment, above all no HTTP proxy.
        let path = format!("{}:{SYSTEM_PATH}", layout::bin().display());
        command.env_clear().env("PATH", path).env("HOME", "/root").current_dir("/");
        Ok(command)
    }
}

/// The child's side.
pub fn become_process(spec: &str) -> Result<ExitCode> {
    match become_program(&serde_json::from_str(spec)?)? {}
}

fn become_program(launch: &Launch) -> Result<Infallible> {
    join_cgroup(&launch.cgroup)?;
    // Away from the terminal of whoever called `up`: its Ctrl-C is not for us.
    rustix::process::setsid().context("setsid")?;
    if let Some(pid) = launch.join {
        enter(pid)?;
    }
    for mount in &launch.mounts {
        mount.make().with_context(|| format!("cannot make the mount {mount:?}"))?;
    }
    Record::write_own(&launch.name)?;
    let (program, arguments) = launch.argv.split_first().context("no program to become")?;
    let error = Command::new(program).args(arguments).exec();
    Err(error).with_context(|| format!("cannot execute {program}"))
}

/// Moves this process into a cgroup.
pub fn join_cgroup(procs: &std::path::Path) -> Result<()> {
    OpenOptions::new()
        .write(true)
        .open(procs)
        .and_then(|mut file| file.write_all(std::process::id().to_string().as_bytes()))
        .with_context(|| format!("cannot join {}", procs.display()))
}

/// Joins a node's namespaces. All are opened before the first is joined:
/// afterwards /proc may look different.
pub fn enter(pid: u32) -> Result<()> {
    let open = |kind: &str| {
        let path = format!("/proc/{pid}/ns/{kind}");
        File::open(&path).with_context(|| format!("cannot open {path}"))
    };
    let (net, mnt) = (open("net")?, open("mnt")?);
    for (namespace, kind) in [(net, LinkNameSpaceType::Network), (mnt, LinkNameSpaceType::Mount)] {
        move_into_link_name_space(std::os::fd::AsFd::as_fd(&namespace), Some(kind))
            .with_context(|| format!("cannot join the namespaces of process {pid}"))?;
    }
    Ok(())
}
