//! A pod seen from the node: its first process in `/proc`, its files through
//! `/proc/PID/root`.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::kubectl;

/// A running pod of the cluster.
#[derive(Debug)]
pub struct Pod {
    /// Its first process, as this machine numbers it.
    pub pid: i32,
    /// The container's ID, without the runtime's name.
    pub container_id: String,
}

impl Pod {
    /// Finds the first process of the first container of a pod in namespace
    /// `default`.
    ///
    /// # Errors
    /// When the pod or its process is not there.
    pub fn find(name: &str) -> Result<Self> {
        Self::at("default", name, "[0]")
    }

    /// The same in another namespace.
    ///
    /// # Errors
    /// When the pod or its process is not there.
    pub fn find_in(namespace: &str, name: &str) -> Result<Self> {
        Self::at(namespace, name, "[0]")
    }

    /// The same for a container by its name.
    ///
    /// # Errors
    /// When the pod, the container or its process is not there.
    pub fn find_container(name: &str, container: &str) -> Result<Self> {
        Self::at("default", name, &format!("[?(@.name==\"{container}\")]"))
    }

    fn at(namespace: &str, name: &str, selector: &str) -> Result<Self> {
        let path = format!("jsonpath={{.status.containerStatuses{selector}.containerID}}");
        let id = kubectl(&["get", "pod", "-n", namespace, name, "-o", &path])?;
        let (_, id) = id.split_once("://").with_context(|| format!("{name} has no container"))?;
        let pid = first_process(id)?.with_context(|| format!("{name} has no process"))?;
        Ok(Self { pid, container_id: id.to_owned() })
    }

    /// A path of the container, as this machine sees it.
    pub fn path(&self, inside: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{inside}", self.pid))
    }

    /// Reads a file of `/proc/PID`.
    ///
    /// # Errors
    /// When the process has ended.
    pub fn proc(&self, file: &str) -> Result<String> {
        Ok(String::from_utf8_lossy(&fs::read(format!("/proc/{}/{file}", self.pid))?).into_owned())
    }
}

/// The oldest process in the container's cgroup: PID 1 of its namespace, and no
/// monitor of the runtime, which has the node's PID namespace.
fn first_process(container_id: &str) -> Result<Option<i32>> {
    let mut found: Vec<i32> = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        // A process that ends while we look is not the one we look for.
        let read = |file| fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
        let is_first = |status: String| {
            let inner = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
            inner.is_some_and(|pids| pids.split_ascii_whitespace().last() == Some("1"))
        };
        if read("cgroup").contains(container_id) && is_first(read("status")) {
            found.push(pid);
        }
    }
    Ok(found.into_iter().min())
}

/// Processes of this machine, on whatever node, one of whose arguments is
/// `mark`: a number no other test uses.
///
/// # Errors
/// When `/proc` cannot be read.
pub fn processes_with(mark: &str) -> Result<usize> {
    let mut count = 0;
    for entry in fs::read_dir("/proc")? {
        let command = fs::read(entry?.path().join("cmdline")).unwrap_or_default();
        let words: Vec<&[u8]> = command.split(|byte| *byte == 0).collect();
        // kpexec's own command line names it too, after `--`.
        let ours = words.contains(&b"--".as_slice());
        count += usize::from(!ours && words.contains(&mark.as_bytes()));
    }
    Ok(count)
}

/// Waits until `count` processes have `mark` among their arguments.
///
/// # Errors
/// When that does not happen within 90 s.
pub fn wait_for_processes(mark: &str, count: usize) -> Result<()> {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(90);
    loop {
        let found = processes_with(mark)?;
        if found == count {
            return Ok(());
        }
        let late = std::time::Instant::now() > deadline;
        anyhow::ensure!(!late, "{found} processes have {mark}, not {count}");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}
