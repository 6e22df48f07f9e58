//! A session of kpexec with the full toolset, in one of the roots.

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use tests::command::{kpexec, run_within};
use tests::{Cluster, Pod};

/// What a pod's name ends with: nothing on node1 (containerd).
pub const NODES: [&str; 2] = ["", "-crio"];
/// Root, and a user that no root but the distroless one has heard of.
pub const USERS: [u32; 2] = [0, 65532];
/// Functions and servers of the scripts.
pub const PRELUDE: &str = include_str!("prelude.sh");

/// A hundred tools at work, on a machine that does other things as well. What
/// hangs is ended by the time limit of its row.
const LIMIT: Duration = Duration::from_secs(1800);

/// Asked for once: even an up-to-date image takes a while to be recognized.
fn full_image() -> &'static str {
    static IMAGE: OnceLock<String> = OnceLock::new();
    IMAGE.get_or_init(|| Cluster::full_helper_image().expect("the full image"))
}

/// Who is where.
#[derive(Clone, Copy, Debug)]
pub struct Session<'a> {
    /// The pod on node1: scratch, distroless, musl, old-glibc, broken-libc.
    pub root: &'a str,
    /// One of [`NODES`].
    pub node: &'a str,
    /// One of [`USERS`].
    pub uid: u32,
}

impl Session<'_> {
    /// The pod's name.
    pub fn pod(&self) -> String {
        format!("{}{}", self.root, self.node)
    }

    /// Has the pod to itself among these tests: a process has one tracer at a time, and
    /// the ports are the pod's.
    pub fn alone(&self) -> MutexGuard<'static, ()> {
        static PODS: Mutex<BTreeMap<String, &'static Mutex<()>>> = Mutex::new(BTreeMap::new());
        let mut pods = PODS.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || -> &'static Mutex<()> { Box::leak(Box::new(Mutex::new(()))) };
        let pod = *pods.entry(self.pod()).or_insert_with(new);
        drop(pods);
        pod.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The user's name, as every tool has to give it: what the target says, or
    /// else the number.
    fn user_name(&self) -> &'static str {
        match (self.uid, self.root) {
            (0, _) => "root",
            (_, "distroless") => "nonroot",
            _ => "65532",
        }
    }

    /// `kpexec FLAGS POD -- COMMAND`.
    pub fn command(&self, flags: &[&str], command: &[&str]) -> Command {
        let (pod, user) = (self.pod(), format!("{0}:{0}", self.uid));
        // Two sessions of a pod must not want the same ports.
        let port = if self.uid == 0 { "20000" } else { "20100" };
        let port = format!("--env=PORT={port}");
        let me = format!("--env=ME={}", self.user_name());
        let mut arguments = vec!["--toolset", "full", "-u", &user, &port, &me];
        // The first one has a large image pulled.
        arguments.push("--helper-timeout=8m");
        arguments.extend(flags);
        arguments.extend([&pod, "--"]);
        arguments.extend(command);
        let mut kpexec = kpexec(&arguments);
        kpexec.env("KPEXEC_HELPER_IMAGE_FULL", full_image());
        kpexec
    }

    /// Has a bash of the toolset do a script, and gives all that was said.
    pub fn run(&self, flags: &[&str], script: &str) -> Result<String> {
        let _alone = self.alone();
        let output = run_within(LIMIT, self.command(flags, &["bash", "-c", script]), b"")?;
        // What kpexec itself has to say comes on stderr, and ends like this.
        ensure!(output.code() != 125, "{}: {}", self.pod(), output.stderr);
        Ok(output.text() + "\n" + &output.stderr)
    }

    /// Waits until a process of that name runs in the pod, and its terminal's keys are for
    /// it.
    pub fn wait_for_job(&self, name: &str) -> Result<()> {
        let namespace = |pid: &str| std::fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
        let pods = namespace(&Pod::find(&self.pod())?.pid.to_string());
        let deadline = Instant::now() + Duration::from_secs(90);
        loop {
            for entry in std::fs::read_dir("/proc")? {
                let pid = entry?.file_name().to_string_lossy().into_owned();
                let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
                if is_foreground(&stat, name) && namespace(&pid) == pods {
                    return Ok(());
                }
            }
            ensure!(Instant::now() < deadline, "{}: no job {name}", self.pod());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Whether a process of that name has the group that its terminal signals: proc_pid_stat(5).
fn is_foreground(stat: &str, name: &str) -> bool {
    let Some((head, rest)) = stat.rsplit_once(") ") else { return false };
    // Behind the state: its parent, its group, its session, its terminal, that one's group.
    let fields: Vec<&str> = rest.split(' ').collect();
    head.ends_with(&format!("({name}")) && fields.len() > 5 && fields[2] == fields[5]
}
