//! A failure, and what is said of it.

use std::fmt::Write as _;
use std::process::Command;

use anyhow::{Result, ensure};
use tests::command::{HELPER_TIMEOUT, Output, run};
use tests::{BOTH_NODES, Cluster, NODE_NAMES, USER_NAMESPACED};

/// A failure, and what an operator is told of it.
pub struct Row {
    /// What went wrong.
    pub failure: &'static str,
    /// What is typed into bash. A line with `$pod`, `$userns` or `$node` is run for
    /// each node.
    pub line: &'static str,
    /// The exit code.
    pub code: i32,
    /// What the one line of the error holds: parts in this order, ` … ` between them.
    pub error: &'static str,
    /// What its hint holds, likewise; empty where there is none.
    pub hint: &'static str,
}

/// A failure of kpexec's own.
pub const fn row(
    failure: &'static str,
    line: &'static str,
    error: &'static str,
    hint: &'static str,
) -> Row {
    Row { failure, line, code: 125, error, hint }
}

/// bash's variables, which rows may name.
pub type Variables<'a> = Vec<(&'static str, &'a str)>;

/// What no error may show.
pub const SECRET: &str = "s3cret";

/// Runs all rows, and tells of each that is not as it says.
pub fn check(rows: &[Row], variables: &Variables) -> Result<()> {
    let mut wrong = String::new();
    for row in rows {
        for variables in row.places(variables) {
            let output = run(row.command(&variables), b"")?;
            if let Err(error) = row.judge(&output, &variables) {
                writeln!(wrong, "\n{} ({}): {error:#}\n{}", row.failure, row.line, output.stderr)?;
            }
        }
    }
    ensure!(wrong.is_empty(), "{wrong}");
    Ok(())
}

impl Row {
    /// The variables of each run.
    pub fn places<'a>(&self, variables: &Variables<'a>) -> Vec<Variables<'a>> {
        let on = |number: usize| {
            let place = [
                ("pod", BOTH_NODES[number]),
                ("userns", USER_NAMESPACED[number]),
                ("node", NODE_NAMES[number]),
            ];
            [&place[..], variables].concat()
        };
        let both = ["$pod", "$userns", "$node"].iter().any(|name| self.line.contains(name));
        (0..if both { 2 } else { 1 }).map(on).collect()
    }

    /// bash with the line, in which kpexec is found.
    pub fn command(&self, variables: &Variables) -> Command {
        let cluster = Cluster::get();
        let folder = cluster.kpexec.parent().unwrap_or(&cluster.kpexec);
        let path = format!("{}:/usr/bin:/bin:/usr/sbin:/sbin", folder.display());
        let mut command = Command::new("env");
        command.args(["--default-signal", "bash", "-c", self.line]);
        command.env("PATH", path).env("KUBECONFIG", &cluster.kubeconfig);
        command.env("KPEXEC_HELPER_IMAGE", &cluster.helper_image).env("KPEXEC_CONFIG", "");
        command.env(HELPER_TIMEOUT.0, HELPER_TIMEOUT.1);
        command.envs(variables.iter().copied());
        command
    }

    /// Whether that is what the row says: one line for what and why, one for what to
    /// do, and nothing that a terminal would act on.
    pub fn judge(&self, output: &Output, variables: &Variables) -> Result<()> {
        ensure!(output.code() == self.code, "exit code {}", output.code());
        ensure!(output.stdout.is_empty(), "stdout: {}", output.text());
        let said = &output.stderr;
        ensure!(!said.contains(SECRET), "it shows what is secret");
        ensure!(!said.contains(|c: char| c.is_control() && c != '\n'), "control characters");
        let lines: Vec<&str> = said.lines().collect();
        let error = lines.first().and_then(|line| line.strip_prefix("kpexec: "));
        let hint = lines.get(1).map(|line| line.strip_prefix("hint: ").unwrap_or_default());
        ensure!(lines.len() <= 2 && error.is_some(), "not a line and its hint");
        ensure!(hint.is_none() == self.hint.is_empty(), "a hint, or none");
        for (text, wanted) in [(error, self.error), (hint, self.hint)] {
            let wanted = filled_in(wanted, variables);
            ensure!(holds(text.unwrap_or_default(), &wanted), "not {wanted:?}");
        }
        Ok(())
    }
}

fn filled_in(text: &str, variables: &Variables) -> String {
    variables
        .iter()
        .fold(text.to_owned(), |text, (name, value)| text.replace(&format!("${name}"), value))
}

fn holds(mut text: &str, parts: &str) -> bool {
    parts.split(" … ").all(|part| match text.split_once(part) {
        Some((_, rest)) => {
            text = rest;
            true
        }
        None => false,
    })
}

#[test]
fn what_is_said_holds_the_parts_in_their_order() {
    assert!(holds("a pod is not there", "a pod … there"));
    assert!(!holds("a pod is not there", "there … a pod"));
    assert!(!holds("a pod", "pods"));
}
