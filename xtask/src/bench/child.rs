//! Programs that a bench starts: each has a time limit, and says what it cost.

use std::fs::{self, File};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::retry_on_intr;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};

use crate::image;

/// What one run cost.
pub struct Cost {
    /// From before the fork until it is reaped, in microseconds.
    pub time: u128,
    /// Of the client's processors, user and system, in milliseconds.
    pub processor: u64,
    /// The client's largest resident set, in KiB.
    pub memory: u64,
}

/// Runs a program by time(1), with this file going in through a pipe: of a file
/// kubectl makes messages that the server refuses.
pub fn timed(command: &Command, input: Option<&Path>, limit: Duration) -> Result<Cost> {
    let costs = image::target().join("bench-costs");
    let mut timed = Command::new("/usr/bin/time");
    timed.args(["-f", "%U %S %M", "-o"]).arg(&costs);
    timed.arg(command.get_program()).args(command.get_args());
    timed.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let mut source = input.map(source).transpose()?;
    let pipe = source.as_mut().and_then(|source| source.stdout.take());
    timed.stdin(pipe.map_or_else(Stdio::null, Stdio::from)).stdout(Stdio::null());
    let ended = run(timed, limit);
    if let Some(mut source) = source {
        // What nobody reads any more it would go on writing.
        let _ended = source.kill();
        source.wait()?;
    }
    let Ended { status, time, said } = ended?;
    if !status.success() {
        bail!("{status}: {}", said.trim());
    }
    let (processor, memory) =
        read_costs(&fs::read_to_string(&costs)?).context("time(1) did not say what it took")?;
    Ok(Cost { time: time.as_micros(), processor, memory })
}

fn source(input: &Path) -> Result<Child> {
    Command::new("cat").arg(input).stdout(Stdio::piped()).spawn().context("cannot start cat(1)")
}

/// How a program ended.
pub struct Ended {
    /// As it says itself.
    pub status: ExitStatus,
    /// From before the fork until it is reaped.
    pub time: Duration,
    /// What it wrote to stderr.
    pub said: String,
}

/// Runs a program to its end. The command is taken, not borrowed: it holds the
/// other ends of its child's pipes.
pub fn run(mut command: Command, limit: Duration) -> Result<Ended> {
    let stderr = image::target().join("bench-stderr");
    command.stderr(File::create(&stderr)?).process_group(0);
    let begin = Instant::now();
    let mut child = command.spawn().context("it cannot be started")?;
    drop(command);
    let status = wait(&mut child, limit);
    let time = begin.elapsed();
    let said = String::from_utf8_lossy(&fs::read(&stderr)?).into_owned();
    Ok(Ended { status: status.with_context(|| said.trim().to_owned())?, time, said })
}

/// Waits for a child that leads a process group, and kills that if it takes
/// longer.
pub fn wait(child: &mut Child, limit: Duration) -> Result<ExitStatus> {
    let pid = Pid::from_child(child);
    let pidfd = pidfd_open(pid, PidfdFlags::empty())?;
    let limit_left = Timespec::try_from(limit)?;
    let mut ends = [PollFd::new(&pidfd, PollFlags::IN)];
    if retry_on_intr(|| poll(&mut ends, Some(&limit_left)))? == 0 {
        kill_process_group(pid, Signal::KILL)?;
        child.wait()?;
        bail!("it took longer than {} s", limit.as_secs());
    }
    Ok(child.wait()?)
}

/// Seconds with two decimals twice, and KiB.
fn read_costs(text: &str) -> Option<(u64, u64)> {
    let mut words = text.lines().last()?.split(' ');
    let mut centiseconds = || words.next()?.replace('.', "").parse::<u64>().ok();
    let processor = centiseconds()? + centiseconds()?;
    Some((processor * 10, words.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use std::sync::{Mutex, PoisonError};

    use super::*;

    const LIMIT: Duration = Duration::from_secs(20);

    /// Benches run one at a time: what their programs say goes to the same file.
    static TURN: Mutex<()> = Mutex::new(());

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn a_program_that_leaves_its_input_ends_the_run() {
        let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let folder = tempfile();
        fs::write(&folder, vec![0; 4 << 20]).unwrap();
        // The pipe is full long before the end.
        assert!(timed(&shell("exit 0"), Some(&folder), LIMIT).is_ok());
        let error = timed(&shell("echo no >&2; exit 3"), Some(&folder), LIMIT).err().unwrap();
        let error = format!("{error:#}");
        assert!(error.contains("no") && error.contains("3"), "{error}");
        fs::remove_file(folder).unwrap();
    }

    #[test]
    fn a_program_that_hangs_is_killed_with_its_children() {
        let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let begin = Instant::now();
        let error = run(shell("sleep 1000 & sleep 1000"), Duration::from_millis(100)).err();
        assert!(format!("{:#}", error.unwrap()).contains("took longer"));
        assert!(begin.elapsed() < LIMIT);
    }

    fn tempfile() -> std::path::PathBuf {
        std::env::temp_dir().join(format!("kpexec-bench-{}", std::process::id()))
    }

    #[test]
    fn costs_are_read_as_time_1_writes_them() {
        assert_eq!(read_costs("0.25 1.50 20480\n"), Some((1750, 20480)));
        assert_eq!(
            read_costs("Command exited with non-zero status 1\n0.00 0.01 9\n"),
            Some((10, 9))
        );
        assert_eq!(read_costs(""), None);
    }
}
