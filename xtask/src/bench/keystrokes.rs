//! How long a key takes to come back: a terminal is typed into, and what is
//! shown is waited for, key by key.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::retry_on_intr;
use rustix::process::{Pid, Signal, kill_process_group};
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};

use super::child;

/// Keys typed in each run.
pub const KEYS: usize = 50;

/// What the far end runs: its terminal gives back what is typed, `cat` waits.
/// Before the word is shown the near terminal may give back what is typed.
pub const COMMAND: &[&str] = &["sh", "-c", "echo re''ady; exec cat"];

/// How long anything may take to be shown.
const PATIENCE: Duration = Duration::from_secs(60);

/// Types into the program; gives the time of each key, in microseconds.
pub fn measure(command: &Command) -> Result<Vec<u128>> {
    let mut terminal = Terminal::run(command)?;
    terminal.expect(b"ready")?;
    let mut times = Vec::new();
    for number in 0..KEYS {
        let key = b'a' + (number % 26) as u8;
        let begin = Instant::now();
        terminal.master.write_all(&[key])?;
        terminal.expect(&[key])?;
        times.push(begin.elapsed().as_micros());
    }
    terminal.master.write_all(b"\r\x04")?;
    let status = child::wait(&mut terminal.child, PATIENCE)?;
    ensure!(status.success(), "{status}");
    Ok(times)
}

struct Terminal {
    master: File,
    /// Shown, and not waited for yet.
    shown: Vec<u8>,
    child: Child,
}

impl Terminal {
    fn run(command: &Command) -> Result<Self> {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = openpt(flags)?;
        grantpt(&master)?;
        unlockpt(&master)?;
        let slave = ioctl_tiocgptpeer(&master, flags)?;
        // setsid(1) makes the terminal the controlling one, and forks where it
        // leads a group already.
        let mut inside = Command::new("setsid");
        inside.args(["--ctty", "--wait"]).arg(command.get_program()).args(command.get_args());
        inside.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let end = || slave.try_clone();
        inside.stdin(end()?).stdout(end()?).stderr(end()?).process_group(0);
        let child = inside.spawn().context("cannot start setsid(1)")?;
        Ok(Self { master: master.into(), shown: Vec::new(), child })
    }

    /// Waits until this is shown, and takes it with all before it.
    fn expect(&mut self, text: &[u8]) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let found = self.shown.windows(text.len()).position(|window| window == text);
            if let Some(at) = found {
                self.shown.drain(..at + text.len());
                return Ok(());
            }
            let left = Timespec::try_from(deadline.saturating_duration_since(Instant::now()))?;
            let mut ready = [PollFd::new(&self.master, PollFlags::IN)];
            let count = retry_on_intr(|| poll(&mut ready, Some(&left)))?;
            let shown = String::from_utf8_lossy(&self.shown).into_owned();
            ensure!(count == 1, "not shown within {} s; this was: {shown:?}", PATIENCE.as_secs());
            let mut buffer = [0; 4096];
            // EIO is a terminal that nobody has any more.
            let count = self.master.read(&mut buffer).with_context(|| format!("{shown:?}"))?;
            self.shown.extend_from_slice(&buffer[..count]);
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // It has ended, unless something failed; then the hang-up of the
        // terminal ends what this does not reach.
        if self.child.try_wait().is_ok_and(|status| status.is_none()) {
            let _ended = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
            let _ended = self.child.wait();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_key_is_timed() {
        let mut command = Command::new(COMMAND[0]);
        command.args(&COMMAND[1..]);
        assert_eq!(measure(&command).unwrap().len(), KEYS);
    }

    #[test]
    fn a_program_that_ends_early_is_an_error() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo ready; exit 3"]);
        assert!(measure(&command).is_err());
    }
}
