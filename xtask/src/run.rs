//! Running other programs: one line says what failed and why.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};

use anyhow::{Context, Result, bail};

use crate::cluster::layout;

/// Lines of a failed program's standard error that are worth repeating.
const ERROR_LINES: usize = 8;

/// What cargo tells a program that it runs of the program's own package. Build
/// scripts look at these (that of ring does), so a cargo started with others
/// builds anew.
const OF_PACKAGE: [&str; 2] = ["CARGO_PKG_", "CARGO_MANIFEST_"];

/// Cargo, in this checkout, as it is when a user starts it.
pub fn cargo() -> Command {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(layout::checkout());
    for (name, _) in std::env::vars_os() {
        if OF_PACKAGE.iter().any(|start| name.to_string_lossy().starts_with(start)) {
            cargo.env_remove(name);
        }
    }
    cargo
}

/// Runs a program to its end; its output is shown only if it fails.
pub fn quietly(command: &mut Command) -> Result<()> {
    output(command).map(drop)
}

/// Runs a program to its end and returns its standard output.
pub fn output(command: &mut Command) -> Result<String> {
    let name = line_of(command);
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("{} cannot be started", program_of(command)))?;
    if !output.status.success() {
        let mut said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        if said.is_empty() {
            said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        }
        bail!("`{name}` failed ({}): {}", output.status, last_lines(&said, ERROR_LINES));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs a program that talks to the user itself.
pub fn visibly(command: &mut Command) -> Result<ExitStatus> {
    command.status().with_context(|| format!("{} cannot be started", program_of(command)))
}

/// Like [`visibly`], and a failure of the program is an error.
pub fn visibly_or_fail(command: &mut Command) -> Result<()> {
    let status = visibly(command)?;
    if !status.success() {
        bail!("`{}` failed ({status})", line_of(command));
    }
    Ok(())
}

/// Where a program is found on PATH.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    // Root's PATH on Debian lacks the sbin folders when reached through `su`.
    std::env::split_paths(&path)
        .chain(["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
}

/// A command for a program, also if only an sbin folder holds it.
pub fn tool(program: &str) -> Command {
    Command::new(find(program).unwrap_or_else(|| PathBuf::from(program)))
}

/// The command line as a person would type it.
pub fn line_of(command: &Command) -> String {
    let mut words = vec![program_of(command)];
    words.extend(command.get_args().map(quote));
    words.join(" ")
}

fn program_of(command: &Command) -> String {
    let program = std::path::Path::new(command.get_program());
    program.file_name().unwrap_or(program.as_os_str()).to_string_lossy().into_owned()
}

fn quote(word: &OsStr) -> String {
    let word = word.to_string_lossy();
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=./:,@+%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.into_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// The end of a text.
pub fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_line_is_quoted_as_a_shell_would_need_it() {
        let mut command = Command::new("/usr/sbin/ip");
        command.args(["link", "it's", ""]);
        assert_eq!(line_of(&command), r"ip link 'it'\''s' ''");
    }

    #[test]
    fn a_failure_carries_the_end_of_standard_error() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo no such thing >&2; exit 3"]);
        let error = quietly(&mut command).unwrap_err().to_string();
        assert!(error.contains("no such thing") && error.contains("exit status: 3"), "{error}");
    }

    #[test]
    fn only_the_last_lines_are_kept() {
        assert_eq!(last_lines("a\nb\nc", 2), "b\nc");
        assert_eq!(last_lines("a", 2), "a");
    }
}
