//! Running the programs a build is made with.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// Runs a program to its end and gives its standard output; what it said on
/// standard error is in the error if it fails.
pub fn output(command: &mut Command) -> Result<String> {
    // What programs say must not depend on the machine's language.
    command.env("LC_ALL", "C").stdin(Stdio::null());
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().with_context(|| format!("{name} cannot be started"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{name} failed ({}): {}", output.status, said.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
