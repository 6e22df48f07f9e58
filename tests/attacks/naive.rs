//! The naive counterpart: nsenter(1), which protects from none of this and is
//! not meant to.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::fake_container::FakeContainer;
use crate::programs::install;

/// A copy of nsenter(1), because some attacks overwrite it.
pub struct Naive {
    folder: TempDir,
    wrapper: Vec<String>,
}

impl Naive {
    pub fn new() -> Result<Self> {
        Self::through(&[])
    }

    /// Started by way of `wrapper`: a program and arguments that execute what
    /// follows them.
    pub fn through(wrapper: &[String]) -> Result<Self> {
        let folder = TempDir::new()?;
        install(Path::new("/usr/bin/nsenter"), &folder.path().join("nsenter"))?;
        Ok(Self { folder, wrapper: wrapper.to_vec() })
    }

    /// The copy.
    pub fn path(&self) -> PathBuf {
        self.folder.path().join("nsenter")
    }

    /// A command that enters `container` as `options` say.
    pub fn command(&self, container: &FakeContainer, options: &[&str], argv: &[&str]) -> Command {
        let mut words = self.wrapper.iter().map(String::as_str);
        // Bounded, because a test must not hang.
        let timeout = ["timeout", "--foreground", "-k", "1", "60"];
        let mut command = Command::new(words.next().unwrap_or(timeout[0]));
        command.args(words);
        command.args(if self.wrapper.is_empty() { &timeout[1..] } else { &timeout[..] });
        command.arg(self.path()).args(["-t", &container.pid.to_string()]);
        command.args(options).args(argv).stdin(Stdio::null());
        command
    }

    /// Runs a command in `container`, entered as `options` say.
    pub fn run(
        &self,
        container: &FakeContainer,
        options: &[&str],
        argv: &[&str],
    ) -> Result<Output> {
        self.command(container, options, argv).output().context("run nsenter")
    }
}

/// Runs a command in all namespaces of `container`; gives what it wrote.
pub fn naive(container: &FakeContainer, argv: &[&str]) -> Result<String> {
    let output = Naive::new()?.run(container, &["-a"], argv)?;
    // Shown where a test fails.
    print!("{}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
}
