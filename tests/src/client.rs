//! A user's machine: what kpexec remembers of sessions there, and the helpers it
//! uses, are a test's own and go with it.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::Namespace;
use crate::command::{Output, kpexec, run};

/// How long a session may take to be as it is to be.
const LIMIT: Duration = Duration::from_secs(90);

/// The machine.
pub struct Client {
    /// The namespace of its helpers.
    pub helpers: Namespace,
    state: tempfile::TempDir,
}

impl Client {
    /// One that remembers nothing; its namespace is named for `purpose`.
    ///
    /// # Errors
    /// When the API server refuses the namespace.
    pub fn new(purpose: &str) -> Result<Self> {
        Ok(Self { helpers: Namespace::for_helpers(purpose)?, state: tempfile::tempdir()? })
    }

    /// Makes a command one of this machine's.
    pub fn configure(&self, command: &mut Command) {
        command.env("XDG_STATE_HOME", self.state.path());
    }

    /// Where it notes of each session how far it is.
    pub fn sessions_folder(&self) -> PathBuf {
        self.state.path().join("kpexec/sessions")
    }

    /// `kpexec WORDS`, with the namespace where it belongs.
    pub fn kpexec(&self, words: &[&str]) -> Command {
        let at = words.iter().position(|word| *word == "--").unwrap_or(words.len());
        let (before, after) = words.split_at(at);
        let helpers = ["--helper-namespace", self.helpers.name()];
        let mut command = kpexec(&[before, &helpers, after].concat());
        self.configure(&mut command);
        command
    }

    /// Starts it, with nothing on stdin.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(&self, words: &[&str]) -> Result<Child> {
        let mut command = self.kpexec(words);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().context("run kpexec")
    }

    /// `kpexec attach SESSION`, to its end.
    ///
    /// # Errors
    /// When it hangs.
    pub fn attach(&self, session: &str, stdin: &[u8]) -> Result<Output> {
        run(self.kpexec(&["attach", session]), stdin)
    }

    /// The rows of `kpexec sessions`, each by its words.
    ///
    /// # Errors
    /// When they cannot be had.
    pub fn sessions(&self) -> Result<Vec<Vec<String>>> {
        let deadline = Instant::now() + LIMIT;
        loop {
            let output = run(self.kpexec(&["sessions"]), b"")?;
            if output.code() == 0 {
                return Ok(rows(&output));
            }
            // A helper has five seconds, which a busy machine may take.
            let late = output.stderr.contains("does not answer");
            ensure!(late && Instant::now() < deadline, "{output:?}");
        }
    }

    /// The name of the only session, once it is as `state` says.
    ///
    /// # Errors
    /// When it does not come to that.
    pub fn session(&self, state: &str) -> Result<String> {
        self.found(state, |rows| match rows {
            [row] => Some(row),
            _ => None,
        })
    }

    /// The same of the session in `pod`, of several.
    ///
    /// # Errors
    /// When it does not come to that.
    pub fn session_in(&self, pod: &str, state: &str) -> Result<String> {
        let place = format!("default/{pod}");
        self.found(state, |rows| rows.iter().find(|row| row.get(1) == Some(&place)))
    }

    fn found(
        &self,
        state: &str,
        choose: impl Fn(&[Vec<String>]) -> Option<&Vec<String>>,
    ) -> Result<String> {
        let deadline = Instant::now() + LIMIT;
        loop {
            // A helper that was killed just now may be listed, and not answer.
            let rows = rows(&run(self.kpexec(&["sessions"]), b"")?);
            if let Some(row) = choose(&rows)
                && row.get(3).is_some_and(|now| now == state)
            {
                return Ok(row[0].clone());
            }
            ensure!(Instant::now() < deadline, "no {state} session, but {rows:?}");
        }
    }
}

fn rows(listed: &Output) -> Vec<Vec<String>> {
    let row = |row: &str| row.split_whitespace().map(String::from).collect();
    listed.text().lines().skip(1).map(row).collect()
}
