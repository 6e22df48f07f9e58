//! kpexec, run as a user runs it, with a limit on how long it may take.

use std::io::Write;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::Cluster;

/// Longer than anything a test asks for: what takes longer hangs.
const LIMIT: Duration = Duration::from_secs(180);

/// A variable and its value: on a busy machine a helper may start late.
pub const HELPER_TIMEOUT: (&str, &str) = ("KPEXEC_HELPER_TIMEOUT", "2m");

/// What a command left.
#[derive(Debug)]
pub struct Output {
    /// How it ended.
    pub status: ExitStatus,
    /// All of its stdout.
    pub stdout: Vec<u8>,
    /// All of its stderr, as text.
    pub stderr: String,
}

impl Output {
    /// The exit code; -1 where a signal ended it.
    pub fn code(&self) -> i32 {
        self.status.code().unwrap_or(-1)
    }

    /// stdout as text, without the last line's end.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).trim_end().to_owned()
    }
}

/// A kpexec that is ready to be run: the cluster's kubeconfig and the helper
/// image are in its environment, and it ignores no signal, whatever the tests
/// themselves were started by.
pub fn kpexec(arguments: &[&str]) -> Command {
    kpexec_by(&["--default-signal"], arguments)
}

/// The same, started by env(1) with these options.
pub fn kpexec_by(env: &[&str], arguments: &[&str]) -> Command {
    let cluster = Cluster::get();
    // env(1) becomes kpexec: the PID is the same.
    let mut command = Command::new("env");
    command.args(env).arg(&cluster.kpexec).args(arguments);
    command.env("KUBECONFIG", &cluster.kubeconfig);
    command.env("KPEXEC_HELPER_IMAGE", &cluster.helper_image);
    command.env(HELPER_TIMEOUT.0, HELPER_TIMEOUT.1);
    // Whatever whoever runs the tests has set.
    command.env("KPEXEC_CONFIG", "");
    command
}

/// Runs a command to its end, feeding it `stdin`.
///
/// # Errors
/// When it takes longer than [`LIMIT`]; it is killed then.
pub fn run(command: Command, stdin: &[u8]) -> Result<Output> {
    run_within(LIMIT, command, stdin)
}

/// The same with another limit.
///
/// # Errors
/// When it takes longer; it is killed then.
pub fn run_within(limit: Duration, mut command: Command, stdin: &[u8]) -> Result<Output> {
    let shown = format!("{command:?}");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("run {shown}"))?;
    let mut input = child.stdin.take().context("stdin is a pipe")?;
    let stdin = stdin.to_vec();
    // A command that does not read its stdin is no failure of the test.
    thread::spawn(move || input.write_all(&stdin));
    let pid = child.id();
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || sender.send(child.wait_with_output()));
    match receiver.recv_timeout(limit) {
        Ok(output) => {
            let output = output?;
            let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
            Ok(Output { status: output.status, stdout: output.stdout, stderr })
        }
        Err(_) => {
            signal(pid, rustix::process::Signal::KILL)?;
            anyhow::bail!("{shown} takes longer than {} s", limit.as_secs())
        }
    }
}

/// Runs `kpexec ARGUMENTS` without input.
///
/// # Errors
/// When it hangs.
pub fn run_kpexec(arguments: &[&str]) -> Result<Output> {
    run(kpexec(arguments), b"")
}

/// Runs `kpexec POD -- COMMAND` and gives its stdout; anything but exit code 0
/// is an error.
///
/// # Errors
/// With all the command left.
pub fn output_in(pod: &str, command: &[&str]) -> Result<String> {
    let arguments: Vec<&str> = [pod, "--"].into_iter().chain(command.iter().copied()).collect();
    let output = run_kpexec(&arguments)?;
    anyhow::ensure!(output.code() == 0, "{arguments:?} gave {output:?}");
    Ok(output.text())
}

/// Signals a process that this test started and has not reaped.
///
/// # Errors
/// When there is no such process.
pub fn signal(pid: u32, signal: rustix::process::Signal) -> Result<()> {
    let pid = rustix::process::Pid::from_raw(pid.cast_signed()).context("a PID is not 0")?;
    Ok(rustix::process::kill_process(pid, signal)?)
}

/// Waits for a child, within `limit`.
///
/// # Errors
/// When it takes longer; it goes on running then.
pub fn wait(child: &mut Child, limit: Duration) -> Result<ExitStatus> {
    let deadline = std::time::Instant::now() + limit;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        anyhow::ensure!(std::time::Instant::now() < deadline, "still runs after {limit:?}");
        thread::sleep(Duration::from_millis(20));
    }
}
