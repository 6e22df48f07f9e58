//! One row of the matrix: real work for a tool, and what must come of it.

use std::fmt::Write as _;

/// Begins the lines that stand between the rows in a transcript.
const MARK: &str = "@@matrix";
/// What no tool may ever say: content of the roots' decoys, and bash's word for
/// a user whom nobody knows.
const NEVER: [&str; 2] = ["kpexec-decoy", "I have no name!"];

/// Work for a tool of the toolset.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// What is done.
    pub name: &'static str,
    /// How: a script for bash, after `prelude.sh`.
    pub script: &'static str,
    root: Expected,
    other: Expected,
    /// Whether `other` is of users only that are not the target's own.
    of_strangers: bool,
}

/// What comes of it: an exit code, and texts that are all in the output.
#[derive(Clone, Copy, Debug)]
struct Expected {
    code: i32,
    says: &'static [&'static str],
}

/// A row that works for every user, with these texts in its output.
pub const fn works(name: &'static str, script: &'static str, says: &'static [&'static str]) -> Row {
    let expected = Expected { code: 0, says };
    Row { name, script, root: expected, other: expected, of_strangers: false }
}

/// A row that is refused to every user, by the tool's own words.
pub const fn refused(
    name: &'static str,
    script: &'static str,
    code: i32,
    says: &'static [&'static str],
) -> Row {
    let expected = Expected { code, says };
    Row { name, script, root: expected, other: expected, of_strangers: false }
}

impl Row {
    /// But a user without privileges gets this.
    pub const fn but_unprivileged(self, code: i32, says: &'static [&'static str]) -> Self {
        Self { other: Expected { code, says }, ..self }
    }

    /// But a user without privileges gets this, unless it is the target's own,
    /// with the same groups: then it may do what root may.
    pub const fn but_strangers(self, code: i32, says: &'static [&'static str]) -> Self {
        Self { other: Expected { code, says }, of_strangers: true, ..self }
    }

    /// The row in a target whose own user the matrix's is.
    pub const fn for_the_targets_user(self) -> Self {
        if self.of_strangers { Self { other: self.root, ..self } } else { self }
    }

    fn expected(&self, uid: u32) -> Expected {
        if uid == 0 { self.root } else { self.other }
    }
}

/// One script that does all rows, each in a bash of its own.
pub fn script(prelude: &str, rows: &[Row]) -> String {
    let mut script = format!("{prelude}\n");
    for (number, row) in rows.iter().enumerate() {
        // A time limit: what hangs is one failed row, not a lost session.
        let _infallible = write!(
            script,
            "printf '\\n{MARK} %s\\n' {number}\n\
             timeout -k 1 60 bash -uc \"$(cat <<'{MARK}-end'\n{}\n{MARK}-end\n)\" \
             </dev/null 2>&1\n\
             printf '\\n{MARK} end %s\\n' \"$?\"\n",
            row.script.trim()
        );
    }
    script
}

/// All that is wrong with a transcript of [`script`].
pub fn faults(rows: &[Row], uid: u32, transcript: &str) -> Vec<String> {
    let judge = |(number, row): (usize, &Row)| {
        let fault = match section(transcript, number) {
            None => "did not come to its end".to_owned(),
            Some((code, said)) => fault(row.expected(uid), code, said)?,
        };
        Some(format!("{}: {fault}", row.name))
    };
    rows.iter().enumerate().filter_map(judge).collect()
}

/// Exit code and output of one row.
fn section(transcript: &str, number: usize) -> Option<(i32, &str)> {
    let begin = format!("\n{MARK} {number}\n");
    let (_, rest) = transcript.split_once(&begin)?;
    let (said, rest) = rest.split_once(&format!("\n{MARK} end "))?;
    Some((rest.lines().next()?.parse().ok()?, said))
}

fn fault(expected: Expected, code: i32, said: &str) -> Option<String> {
    let missing: Vec<_> = expected.says.iter().filter(|text| !said.contains(**text)).collect();
    let forbidden: Vec<_> = NEVER.iter().filter(|text| said.contains(**text)).collect();
    if code == expected.code && missing.is_empty() && forbidden.is_empty() {
        return None;
    }
    let mut fault = format!("exit code {code}, expected {}", expected.code);
    if !missing.is_empty() {
        let _infallible = write!(fault, "; missing {missing:?}");
    }
    if !forbidden.is_empty() {
        let _infallible = write!(fault, "; must not say {forbidden:?}");
    }
    let _infallible = write!(fault, "; it said:\n{}", said.trim());
    Some(fault)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROWS: [Row; 2] =
        [works("a", "echo 1", &["1"]), works("b", "false", &["x"]).but_unprivileged(1, &["no"])];

    fn transcript(first: &str, second: &str) -> String {
        format!("\n{MARK} 0\n{first}\n\n{MARK} 1\n{second}\n")
    }

    fn ended(said: &str, code: i32) -> String {
        format!("{said}\n{MARK} end {code}")
    }

    #[test]
    fn a_row_is_held_against_what_its_user_may_expect() {
        let good = transcript(&ended("1", 0), &ended("x", 0));
        assert!(faults(&ROWS, 0, &good).is_empty());
        let faults = faults(&ROWS, 7, &good);
        assert_eq!(faults, ["b: exit code 0, expected 1; missing [\"no\"]; it said:\nx"]);
    }

    #[test]
    fn strangers_get_less_than_the_targets_user() {
        let row = works("a", "cat", &["text"]).but_strangers(1, &["denied"]);
        let denied = format!("\n{MARK} 0\n{}\n", ended("denied", 1));
        assert!(faults(&[row], 7, &denied).is_empty());
        assert_eq!(faults(&[row.for_the_targets_user()], 7, &denied).len(), 1);
        // Another lack of privileges stays one.
        let row = works("a", "cat", &["text"]).but_unprivileged(1, &["denied"]);
        assert!(faults(&[row.for_the_targets_user()], 7, &denied).is_empty());
    }

    #[test]
    fn what_is_missing_or_forbidden_is_a_fault() {
        let broken = transcript(&ended("1 kpexec-decoy", 0), "x");
        let faults = faults(&ROWS, 0, &broken);
        assert_eq!(faults.len(), 2, "{faults:?}");
        assert!(faults[0].contains("must not say"), "{faults:?}");
        assert!(faults[1].contains("did not come to its end"), "{faults:?}");
    }

    #[test]
    fn every_row_is_in_the_script_between_its_marks() {
        let script = script("prelude", &ROWS);
        assert!(script.starts_with("prelude\n"));
        assert_eq!(script.matches("timeout").count(), 2);
        assert!(script.contains("\necho 1\n") && script.contains("\nfalse\n"));
    }
}
