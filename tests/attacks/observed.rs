//! Processes as the node sees them: what a container cannot lie about.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::fake_container::FakeContainer;

/// The processes of the container's PID namespace with this name; the dead do
/// not count.
pub fn inside(container: &FakeContainer, name: &str) -> Result<Vec<i32>> {
    let namespace = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
    let wanted = namespace(&container.pid.to_string()).context("the container has ended")?;
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let pid = entry?.file_name().to_string_lossy().into_owned();
        let comm = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        if comm.trim_end() == name && namespace(&pid).is_some_and(|found| found == wanted) {
            found.extend(pid.parse::<i32>());
        }
    }
    Ok(found)
}

/// The children of a process.
pub fn children(pid: i32) -> Result<Vec<i32>> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))?;
    Ok(text.split_ascii_whitespace().map(str::parse).collect::<Result<_, _>>()?)
}

/// How many descriptors a process has open.
pub fn descriptors(pid: i32) -> Result<usize> {
    Ok(fs::read_dir(format!("/proc/{pid}/fd"))?.count())
}

/// A number from a file of `/proc/PID` with a line for each.
pub fn number(pid: i32, file: &str, name: &str) -> Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/{file}"))?;
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let number = line.and_then(|line| line.split_ascii_whitespace().next());
    Ok(number.with_context(|| format!("no {name} in {text}"))?.parse()?)
}

/// The state of a process and how long it has run, in clock ticks: fields 3, 14
/// and 15 of proc_pid_stat(5).
pub fn state_and_ticks(pid: i32) -> Result<(String, u64)> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields: Vec<&str> =
        text.rsplit_once(')').context("no name")?.1.split_ascii_whitespace().collect();
    Ok((fields[0].to_owned(), fields[11].parse::<u64>()? + fields[12].parse::<u64>()?))
}

/// Waits until it is so; bounded, because a test must not hang.
pub async fn until(what: &str, patience: Duration, so: impl Fn() -> Result<bool>) -> Result<()> {
    let begun = Instant::now();
    while !so()? {
        if begun.elapsed() > patience {
            bail!("not within {patience:?}: {what}");
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    println!("after {:?}: {what}", begun.elapsed());
    Ok(())
}
