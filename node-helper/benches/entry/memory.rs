//! What entry process and shim take in memory, and nsenter in their place.
//!
//! The `ru_maxrss` of wait4(2) says nothing of a process started by vfork(2):
//! it begins with that of the one who started it (fs/exec.c, `exec_mmap`). So
//! the entry process is watched while it works.

use std::fs;
use std::io::{Read as _, Write as _};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, ensure};

use crate::session::Entry;

/// Entries that are watched.
const WATCHED: usize = 30;

/// As entry processes call themselves, once execve(2) is behind them.
const NAME: &str = "Name:\tkpexec-enter\n";

/// The highest resident set of an entry process, in KiB, over some entries that
/// are not timed.
pub async fn peak_of_entries(entry: &Entry<'_>) -> Result<u64> {
    let done = Arc::new(AtomicBool::new(false));
    let own = std::process::id();
    let watcher = std::thread::spawn({
        let done = done.clone();
        move || {
            let mut peak = 0;
            while !done.load(Ordering::Relaxed) {
                peak = peak.max(highest_now(own));
            }
            peak
        }
    });
    let mut result = Ok(());
    for _ in 0..WATCHED {
        result = result.and(entry.run().await.map(drop));
    }
    done.store(true, Ordering::Relaxed);
    let peak = watcher.join().ok().context("the watcher panicked")?;
    result?;
    ensure!(peak > 0, "no entry process was seen");
    Ok(peak)
}

/// Of the entry processes that are there; 0 if none is.
fn highest_now(parent: u32) -> u64 {
    let children = format!("/proc/{parent}/task/{parent}/children");
    let children = fs::read_to_string(children).unwrap_or_default();
    let peak = |child: &str| {
        let status = fs::read_to_string(format!("/proc/{child}/status")).ok()?;
        number(status.strip_prefix(NAME)?, "VmHWM:")
    };
    children.split_ascii_whitespace().filter_map(peak).max().unwrap_or(0)
}

/// nsenter's highest resident set and what it holds while its command runs, both
/// in KiB; `nsenter` has all arguments but the command.
pub fn of_nsenter(mut nsenter: Command) -> Result<(u64, u64)> {
    nsenter.arg("cat").stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = nsenter.spawn()?;
    let mut input = child.stdin.take().context("no stdin")?;
    let mut output = child.stdout.take().context("no stdout")?;
    input.write_all(b"x")?;
    // What comes back says that cat runs: nsenter has nothing left to do.
    output.read_exact(&mut [0])?;
    let pid = i32::try_from(child.id())?;
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let found = (number(&status, "VmHWM:").context("status has no VmHWM")?, pss(pid)?);
    drop(input);
    ensure!(child.wait()?.success(), "nsenter failed");
    Ok(found)
}

/// What a process holds in KiB, shared pages in proportion: proc_pid_smaps(5).
pub fn pss(pid: i32) -> Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    number(&text, "Pss:").context("smaps_rollup has no Pss")
}

fn number(text: &str, name: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(name))?;
    value.split_ascii_whitespace().next()?.parse().ok()
}
