//! A helper pod seen from the node: its processes, its memory, and what its main
//! process has open.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::kubectl;
use crate::status::status;

/// How the main process calls itself.
const MAIN: &str = "/node-helper supervise";

/// How long a kubelet may take to say that a helper runs, which has sessions before.
const LIMIT: Duration = Duration::from_secs(60);

/// A helper that runs.
#[derive(Debug)]
pub struct Helper {
    container_id: String,
    main: u32,
}

impl Helper {
    /// The only one of a namespace.
    ///
    /// # Errors
    /// When there is none, more than one, or it has no main process.
    pub fn only_of(namespace: &str) -> Result<Self> {
        let path = "jsonpath={.items[*].status.containerStatuses[*].containerID}";
        let deadline = Instant::now() + LIMIT;
        let ids = loop {
            let ids = kubectl(&["get", "pods", "-n", namespace, "-o", path])?;
            if !ids.is_empty() || Instant::now() > deadline {
                break ids;
            }
            sleep(Duration::from_millis(100));
        };
        ensure!(!ids.contains(' '), "more than one: {ids}");
        let (_, id) = ids.split_once("://").context("no helper runs")?;
        let mut helper = Self { container_id: id.to_owned(), main: 0 };
        let main = helper.processes()?.into_iter().find(|(_, command)| command == MAIN);
        helper.main = main.context("the helper has no main process")?.0;
        Ok(helper)
    }

    /// All processes of its container, each with its command line. The command of a
    /// session is one of them, wherever it has gone.
    ///
    /// # Errors
    /// When `/proc` cannot be read.
    pub fn processes(&self) -> Result<Vec<(u32, String)>> {
        let mut found = Vec::new();
        for entry in fs::read_dir("/proc")? {
            let path = entry?.path();
            let Some(pid) = path.file_name().and_then(|name| name.to_str()?.parse().ok()) else {
                continue;
            };
            // One that ends while we look has neither.
            let read = |file| fs::read(path.join(file)).unwrap_or_default();
            let cgroup = String::from_utf8_lossy(&read("cgroup")).into_owned();
            let command = String::from_utf8_lossy(&read("cmdline")).replace('\0', " ");
            // CRI-O's monitors have a cgroup of a similar name.
            if cgroup.contains(&self.container_id) && !cgroup.contains("conmon") {
                found.push((pid, command.trim_end().to_owned()));
            }
        }
        Ok(found)
    }

    /// What else than its main process is there.
    ///
    /// # Errors
    /// When the main process is not there any more.
    pub fn others(&self) -> Result<Vec<(u32, String)>> {
        let mut processes = self.processes()?;
        let all = processes.len();
        processes.retain(|(pid, _)| *pid != self.main);
        ensure!(processes.len() < all, "the main process has gone");
        Ok(processes)
    }

    /// What its main process has open, each as the kernel names it: proc_pid_fd(5).
    ///
    /// # Errors
    /// When the main process is not there any more.
    pub fn descriptors(&self) -> Result<Vec<String>> {
        let mut targets = Vec::new();
        for entry in fs::read_dir(format!("/proc/{}/fd", self.main))? {
            targets.push(fs::read_link(entry?.path())?.to_string_lossy().into_owned());
        }
        targets.sort();
        Ok(targets)
    }

    /// The memory of its container in bytes, the kernel's part included, without
    /// files that the kernel could drop, and without what the sessions' commands
    /// take.
    ///
    /// # Errors
    /// When the container has no cgroup of its own.
    pub fn memory(&self) -> Result<u64> {
        let text = fs::read_to_string(format!("/proc/{}/cgroup", self.main))?;
        ensure!(text.contains(&self.container_id), "its cgroup is not its own: {text}");
        let (folder, usage, files) = memory_cgroup(&text)?;
        let used: u64 = fs::read_to_string(folder.join(usage))?.trim().parse()?;
        let statistics = fs::read_to_string(folder.join("memory.stat"))?;
        let mut cached = 0;
        for name in files {
            let value =
                statistics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            cached +=
                value.with_context(|| format!("memory.stat has no {name}"))?.parse::<u64>()?;
        }
        let commands = self.commands()?.into_iter().map(own_memory).sum::<u64>();
        Ok(used.saturating_sub(cached + commands))
    }

    /// The processes that are not the helper's own.
    fn commands(&self) -> Result<Vec<u32>> {
        let mut found = self.processes()?;
        found.retain(|(pid, command)| {
            let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            let ours = ["/node-helper", "/node-entry"];
            !ours.iter().any(|program| command.starts_with(program)) && !name.starts_with("kpexec-")
        });
        Ok(found.into_iter().map(|(pid, _)| pid).collect())
    }
}

/// What goes with a process, in bytes: its pages, their tables and its stack in the
/// kernel, for one thread (proc_pid_smaps(5), proc_pid_status(5)). Less than that is
/// counted, never more.
fn own_memory(pid: u32) -> u64 {
    const KERNEL_STACK: u64 = 16;
    let kib = |file: &str, name: &str| {
        let text = fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
        let value = status(&text, name).ok().and_then(|words| words.first()?.parse::<u64>().ok());
        value.unwrap_or(0)
    };
    let kib = kib("smaps_rollup", "Pss_Anon") + kib("status", "VmPTE") + KERNEL_STACK;
    kib * 1024
}

/// The folder of a process's memory cgroup, the file that says what is used, and
/// the lines of memory.stat that count files: cgroup v1 or v2.
fn memory_cgroup(text: &str) -> Result<(PathBuf, &'static str, [&'static str; 2])> {
    let path_of = |controller: &str| {
        text.lines().find_map(|line| {
            let mut parts = line.splitn(3, ':').skip(1);
            (parts.next()? == controller).then(|| parts.next())?
        })
    };
    let root = Path::new("/sys/fs/cgroup");
    if let Some(path) = path_of("memory") {
        let folder = root.join("memory").join(path.trim_start_matches('/'));
        return Ok((folder, "memory.usage_in_bytes", ["total_inactive_file", "total_active_file"]));
    }
    let path = path_of("").context("no memory cgroup")?;
    let folder = root.join(path.trim_start_matches('/'));
    Ok((folder, "memory.current", ["inactive_file", "active_file"]))
}
