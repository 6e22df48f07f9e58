//! kpexec with `--share`, and what it keeps.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use tests::command::{Output, kpexec, signal, wait};
use tests::{Namespace, kubectl};

/// How long anything may take to end.
const PATIENCE: Duration = Duration::from_secs(90);

/// A user who shares connections, alone in a folder.
pub struct Sharer {
    folder: tempfile::TempDir,
    namespace: Namespace,
}

impl Sharer {
    /// Nothing is kept yet.
    pub fn new(purpose: &str) -> Result<Self> {
        let namespace = Namespace::for_helpers(&format!("share-{purpose}"))?;
        Ok(Self { folder: tempfile::tempdir()?, namespace })
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn namespace(&self) -> &str {
        self.namespace.name()
    }

    /// `kpexec --share --helper-namespace NS ARGUMENTS`.
    pub fn command(&self, arguments: &[&str]) -> Command {
        self.with("--share", arguments)
    }

    /// The same with another word for `--share`.
    pub fn with(&self, share: &str, arguments: &[&str]) -> Command {
        let flags = [share, "--helper-namespace", self.namespace()];
        let mut command = kpexec(&[&flags, arguments].concat());
        command.env("XDG_RUNTIME_DIR", self.folder());
        command
    }

    /// Without `--share`.
    pub fn direct(&self, arguments: &[&str]) -> Command {
        kpexec(&[&["--helper-namespace", self.namespace()], arguments].concat())
    }

    /// Starts a command, whose first line of output is `ready`.
    pub fn started(&self, arguments: &[&str]) -> Result<Session> {
        Session::start(self.command(arguments))
    }

    /// The background processes.
    pub fn processes(&self) -> Result<Vec<u32>> {
        let variable = format!("XDG_RUNTIME_DIR={}", self.folder().display());
        Ok(processes()?
            .filter(|pid| {
                let of = |file| fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
                let (command, environment) = (of("cmdline"), of("environ"));
                command.split(|byte| *byte == 0).nth(1) == Some(b"--share-background")
                    && environment.split(|byte| *byte == 0).any(|word| word == variable.as_bytes())
            })
            .collect())
    }

    /// The one background process.
    pub fn process(&self) -> Result<u32> {
        let processes = self.processes()?;
        ensure!(processes.len() == 1, "background processes {processes:?}");
        Ok(processes[0])
    }

    /// Waits until these are all.
    pub fn wait_for(&self, expected: &[u32]) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while self.processes()? != expected {
            let late = Instant::now() > deadline;
            ensure!(!late, "{:?}, not {expected:?}", self.processes());
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// Memory of the background process, in KiB.
    pub fn memory(&self) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process()?))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        Ok(line.context("no VmRSS")?.trim().trim_end_matches(" kB").parse()?)
    }

    /// UIDs of the helper pods.
    pub fn helpers(&self) -> Result<Vec<String>> {
        let columns = "-o=custom-columns=:.metadata.uid";
        let text = kubectl(&["get", "pods", "-n", self.namespace(), "--no-headers", columns])?;
        Ok(text.lines().map(|line| line.trim().to_owned()).collect())
    }

    /// How many execs there are in the helpers: each is a process on its node.
    pub fn connections(&self) -> Result<usize> {
        let helpers = self.helpers()?;
        Ok(processes()?
            .filter(|pid| {
                let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
                let cgroup = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
                // As systemd writes it, too.
                let of =
                    |uid: &String| cgroup.contains(uid) || cgroup.contains(&uid.replace('-', "_"));
                command.starts_with(b"/node-entry\0connect") && helpers.iter().any(of)
            })
            .count())
    }
}

impl Drop for Sharer {
    fn drop(&mut self) {
        for pid in self.processes().unwrap_or_default() {
            // It may have ended.
            let _ = signal(pid, Signal::KILL);
        }
    }
}

fn processes() -> Result<impl Iterator<Item = u32>> {
    let entries = fs::read_dir("/proc")?.flatten();
    Ok(entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()))
}

/// A client whose command runs.
pub struct Session(Child);

impl Session {
    /// Its first line of output is `ready`.
    pub fn start(mut command: Command) -> Result<Self> {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut client = command.spawn()?;
        let mut output = BufReader::new(client.stdout.take().context("it is a pipe")?);
        let mut line = String::new();
        output.read_line(&mut line)?;
        if line != "ready\n" {
            let output = client.wait_with_output()?;
            anyhow::bail!("{command:?}: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(Self(client))
    }

    pub fn pid(&self) -> u32 {
        self.0.id()
    }

    /// Waits for its end.
    pub fn end(mut self) -> Result<Output> {
        let status = wait(&mut self.0, PATIENCE)?;
        let mut stderr = String::new();
        self.0.stderr.take().context("it is a pipe")?.read_to_string(&mut stderr)?;
        Ok(Output { status, stdout: Vec::new(), stderr })
    }
}

impl Drop for Session {
    /// A test that failed leaves none.
    fn drop(&mut self) {
        let _ended = self.0.kill().and_then(|()| self.0.wait());
    }
}
