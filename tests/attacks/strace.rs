//! strace(1) on the helper and all that it starts: to see what it does, and to
//! hold it up where an attack needs time.

use std::fs;
use std::process::{Child, Command};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tempfile::NamedTempFile;

use crate::observed::state_and_ticks;

/// Dropped, it ends, and what it traced goes on.
pub struct Strace {
    child: Child,
    log: NamedTempFile,
}

impl Strace {
    /// Attaches to a process; `options` say what is traced.
    pub fn attach(pid: u32, options: &[&str]) -> Result<Self> {
        let log = NamedTempFile::new()?;
        let child = Command::new("strace")
            .args(["-f", "-qq"])
            .args(options)
            .arg("-o")
            .arg(log.path())
            .args(["-p", &pid.to_string()])
            .spawn()
            .context("run strace (`cargo xtask setup` installs it)")?;
        let mut strace = Self { child, log };
        let status = format!("/proc/{pid}/status");
        // Attached, it may not have stopped the process yet: not before it waits for it is
        // each call seen.
        while fs::read_to_string(&status)?.contains("TracerPid:\t0\n")
            || state_and_ticks(strace.child.id().cast_signed())?.0 != "S"
        {
            let ended = strace.child.try_wait()?;
            ensure!(ended.is_none(), "strace has ended: {ended:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(strace)
    }

    /// What it has written so far.
    pub fn log(&self) -> Result<String> {
        Ok(String::from_utf8_lossy(&fs::read(self.log.path())?).into_owned())
    }

    /// Ends it; gives what it wrote.
    pub fn stop(mut self) -> Result<String> {
        self.end();
        self.log()
    }

    fn end(&mut self) {
        // Not SIGKILL: that way it writes the last line, and detaches.
        let id = rustix::process::Pid::from_child(&self.child);
        let _ended = rustix::process::kill_process(id, rustix::process::Signal::TERM)
            .map(|()| self.child.wait());
    }
}

impl Drop for Strace {
    fn drop(&mut self) {
        if !matches!(self.child.try_wait(), Ok(Some(_))) {
            self.end();
        }
    }
}
