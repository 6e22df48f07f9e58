//! kpexec beside `kubectl exec`: the same table run by both, and the document made
//! of such runs, docs/against-kubectl.md.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use crate::command::kpexec;
use crate::{Cluster, kubectl};

/// One of the two.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Side {
    /// Ours.
    Kpexec,
    /// Theirs.
    Kubectl,
}

impl Side {
    /// `kpexec ARGUMENTS`, or `kubectl exec ARGUMENTS`.
    pub fn command(self, arguments: &[&str]) -> Command {
        if self == Self::Kpexec {
            return kpexec(arguments);
        }
        let kubeconfig = &Cluster::get().kubeconfig;
        // As for kpexec: no signal is ignored, and the PID is that of kubectl.
        let mut command = Command::new("env");
        command.arg("--default-signal").arg(kubeconfig.with_file_name("bin").join("kubectl"));
        command.arg("exec").args(arguments).env("KUBECONFIG", kubeconfig);
        command
    }
}

/// In a table a bar would begin the next cell, and a line the next row.
pub fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

/// Prints a section of the document; with `KPEXEC_WRITE_DOCS` it takes the place of
/// the one with this heading.
///
/// # Errors
/// When the versions cannot be found out, or the document not be written.
pub fn write_section(heading: &str, test: &str, text: &str) -> Result<()> {
    let section = format!("{heading}\n\n{}\n\n{text}", made_by(test)?);
    println!("## {section}");
    if std::env::var_os("KPEXEC_WRITE_DOCS").is_none() {
        return Ok(());
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/against-kubectl.md");
    let document = std::fs::read_to_string(&path)?;
    let mut parts: Vec<&str> = document.split("\n## ").collect();
    match parts.iter_mut().find(|part| part.lines().next() == Some(heading)) {
        Some(old) => *old = &section,
        None => parts.push(&section),
    }
    let parts: Vec<&str> = parts.iter().map(|part| part.trim_end()).collect();
    std::fs::write(path, parts.join("\n\n## ") + "\n")?;
    Ok(())
}

fn made_by(test: &str) -> Result<String> {
    let versions = kubectl(&["version", "-o", "json"])?;
    let versions: serde_json::Value = serde_json::from_str(&versions)?;
    let version = |part: &str| versions[part]["gitVersion"].as_str().unwrap_or("?").to_owned();
    let date = Command::new("date").args(["-u", "+%Y-%m-%d"]).output()?;
    Ok(format!(
        "Made by `KPEXEC_WRITE_DOCS=1 cargo test -p tests --test {test}` on {}: kubectl {}, API\n\
         server {}, streams over WebSocket v5.",
        String::from_utf8(date.stdout)?.trim(),
        version("clientVersion"),
        version("serverVersion"),
    ))
}
