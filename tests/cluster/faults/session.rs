//! A session to which something happens.

use std::io::Read as _;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use tests::command::{kpexec, wait};
use tests::pod::{processes_with, wait_for_processes};

/// From the fault to the last word.
pub const LIMIT: Duration = Duration::from_secs(15);

/// From the fault to the end of the command: the default of `--keepalive`.
const GONE: Duration = Duration::from_secs(30);

/// How long what waits for a kubelet may take.
pub const BY_KUBELET: Duration = Duration::from_secs(90);

/// A session whose command runs.
pub struct Session {
    pub client: Child,
    mark: String,
    pod: &'static str,
}

impl Session {
    /// `mark` is a number that no other test uses.
    pub fn begin(pod: &'static str, mark: u32, flags: &[&str]) -> Result<Self> {
        Self::begin_by(pod, mark, flags, |_| ())
    }

    /// The same, with kpexec started as `configure` says.
    pub fn begin_by(
        pod: &'static str,
        mark: u32,
        flags: &[&str],
        configure: impl FnOnce(&mut Command),
    ) -> Result<Self> {
        let mark = mark.to_string();
        let script = format!("echo before; sleep {mark}");
        let arguments = [flags, &[pod, "--", "sh", "-c", &script]].concat();
        let mut command = kpexec(&arguments);
        configure(&mut command);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut session = Self { client: command.spawn()?, mark, pod };
        wait_for_processes(&session.mark, 1)?;
        let mut said = [0; 7];
        session.client.stdout.as_mut().context("no stdout")?.read_exact(&mut said)?;
        ensure!(&said == b"before\n", "{pod}: {said:?}");
        Ok(session)
    }

    /// Exit code 125 in time after the fault, one line that says `what`, and a hint.
    pub fn ends_by(&mut self, fault: Instant, what: &str) -> Result<()> {
        let pod = self.pod;
        let status = wait(&mut self.client, LIMIT.saturating_sub(fault.elapsed()));
        let status = status.with_context(|| format!("{pod}: {what}"))?;
        let took = fault.elapsed();
        let mut said = String::new();
        self.client.stderr.as_mut().context("no stderr")?.read_to_string(&mut said)?;
        eprintln!(
            "{pod}: {} after {:.1} s: {said}",
            status.code().unwrap_or(-1),
            took.as_secs_f32()
        );
        ensure!(status.code() == Some(125), "{pod}: {status}: {said}");
        let lines: Vec<&str> = said.lines().collect();
        let lost = "kpexec: lost the session, and with it the command's result: ";
        ensure!(lines.len() == 2 && lines[0].starts_with(lost), "{pod}: {said}");
        ensure!(lines[0].contains(what), "{pod}: not {what:?}: {said}");
        ensure!(lines[1].starts_with("hint: "), "{pod}: {said}");
        Ok(())
    }

    /// Nothing of the command runs any more, soon after the fault.
    pub fn leaves_nothing(&self, fault: Instant) -> Result<()> {
        wait_for_processes(&self.mark, 0)?;
        ensure!(fault.elapsed() < GONE, "{}: gone after {:?}", self.pod, fault.elapsed());
        Ok(())
    }

    /// Looks from now on when that is so: the client's last word may come later.
    pub fn watch(&self, fault: Instant) -> Watch {
        let mark = self.mark.clone();
        Watch(thread::spawn(move || {
            while processes_with(&mark)? > 0 {
                ensure!(fault.elapsed() < BY_KUBELET, "{mark} goes on");
                thread::sleep(Duration::from_millis(50));
            }
            Ok(fault.elapsed())
        }))
    }
}

/// Who looks for the end of a command.
pub struct Watch(thread::JoinHandle<Result<Duration>>);

impl Watch {
    /// How long after the fault it was.
    pub fn took(self) -> Result<Duration> {
        self.0.join().map_err(|_| anyhow!("the watch panicked"))?
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // It has ended unless the test failed.
        let _ended = self.client.kill();
        let _reaped = self.client.wait();
    }
}
