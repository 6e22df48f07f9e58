//! Scripts of the packages: their first line must name a program of ours.

use anyhow::{Result, bail};

use crate::HOME;

/// What becomes of a file.
#[derive(Debug, PartialEq, Eq)]
pub enum Script {
    /// It is no script.
    None,
    /// It has a new first line.
    Rewritten(Vec<u8>),
    /// Its interpreter is not in the toolset.
    LeftOut,
}

/// Interpreters that are in the toolset; python in the full one only.
const OURS: &[&str] =
    &["awk", "bash", "bpftrace", "dash", "gawk", "python3", "python3.11", "sh", "zsh"];
/// Those that are not: their scripts are of no use.
const MISSING: &[&str] = &["perl", "tclsh", "wish"];

/// Decides by the file's first bytes. An interpreter that is in neither list
/// is an error: somebody has to decide.
pub fn rewrite(content: &[u8]) -> Result<Script> {
    let Some(rest) = content.strip_prefix(b"#!") else {
        return Ok(Script::None);
    };
    let end = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
    let (line, body) = rest.split_at(end);
    let line = String::from_utf8_lossy(line);
    let line = line.trim();
    let (program, arguments) = line.split_once(' ').unwrap_or((line, ""));
    let (name, arguments) = match program.rsplit('/').next() {
        Some("env") => arguments.split_once(' ').unwrap_or((arguments, "")),
        name => (name.unwrap_or_default(), arguments),
    };
    if MISSING.contains(&name) {
        return Ok(Script::LeftOut);
    }
    if !OURS.contains(&name) {
        bail!("`#!{line}`: {name} is neither in the toolset nor known to be missing");
    }
    let gap = if arguments.is_empty() { "" } else { " " };
    let first = format!("#!{HOME}/bin/{name}{gap}{arguments}");
    Ok(Script::Rewritten([first.as_bytes(), body].concat()))
}

/// What scripts may keep of what [`check`] looks for, with the reason.
const KEPT: &[(&str, &str, &str)] = &[
    (
        "bin/bashreadline.bt",
        "uretprobe:/bin/bash:readline",
        "the target's shell is what it watches",
    ),
    ("bin/which.debianutils", "PATH=\"$PATH:\"", "it starts none of what it finds"),
];

/// Fails if a script sets PATH, or names a program by a path that leads to the
/// target's. Comments do not count.
pub fn check(content: &[u8], path: &str) -> Result<()> {
    let Some(content) = content.strip_prefix(b"#!") else {
        return Ok(());
    };
    let text = String::from_utf8_lossy(content);
    let kept = |line: &str| KEPT.iter().any(|(file, part, _)| *file == path && line.contains(part));
    let lines = text.lines().map(without_comment);
    let found: Vec<&str> = lines.filter(|line| leads_out(line) && !kept(line)).collect();
    if !found.is_empty() {
        bail!("it leads to programs of the target: {}", found.join("; "));
    }
    Ok(())
}

/// A comment begins the line, or follows a space.
fn without_comment(line: &str) -> &str {
    let begins = |(at, _): &(usize, &str)| *at == 0 || line[..*at].ends_with([' ', '\t']);
    line.match_indices('#').find(begins).map_or(line, |(at, _)| &line[..at])
}

const FOREIGN: &[&str] = &["PATH=", "/usr/", "/bin/", "/sbin/", "/etc/init.d/"];

fn leads_out(line: &str) -> bool {
    // The end of a longer word is none of them.
    let inner = |before: char| before.is_alphanumeric() || "._-$}/*".contains(before);
    FOREIGN.iter().any(|part| line.match_indices(part).any(|(at, _)| !line[..at].ends_with(inner)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rewritten(content: &str) -> String {
        match rewrite(content.as_bytes()).unwrap() {
            Script::Rewritten(bytes) => String::from_utf8(bytes).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_first_line_leads_to_our_interpreter() {
        assert_eq!(rewritten("#!/bin/sh\nexit\n"), "#!/.kpexec/bin/sh\nexit\n");
        assert_eq!(rewritten("#! /bin/sh -e\n"), "#!/.kpexec/bin/sh -e\n");
        assert_eq!(rewritten("#!/usr/bin/env bpftrace\nx"), "#!/.kpexec/bin/bpftrace\nx");
        assert_eq!(rewritten("#!/usr/bin/python3.11 -I"), "#!/.kpexec/bin/python3.11 -I");
    }

    #[test]
    fn a_script_that_starts_programs_of_the_target_is_an_error() {
        let said =
            |line: &str| check(format!("#!/.kpexec/bin/sh -e\n{line}\n").as_bytes(), "bin/x");
        for line in [
            "PATH=\"/usr/bin:$PATH\"",
            "export PATH=x",
            "x; /bin/rm -f y",
            "[ -x /etc/init.d/x ]",
            "RSYNC = '/usr/bin/rsync'",
        ] {
            assert!(said(line).is_err(), "{line}");
        }
        for line in ["# /bin/sh", "x # /bin/sh", "MANPATH=x", "\"$prefix/bin/x\"", "/.kpexec/bin/x"]
        {
            said(line).unwrap();
        }
        check(b"#!/.kpexec/bin/sh\nPATH=\"$PATH:\"\n", "bin/which.debianutils").unwrap();
    }

    #[test]
    fn other_files_and_missing_interpreters_are_told_apart() {
        assert_eq!(rewrite(b"\x7fELF").unwrap(), Script::None);
        assert_eq!(rewrite(b"#!/usr/bin/perl -w\n").unwrap(), Script::LeftOut);
        assert!(rewrite(b"#!/usr/bin/ruby\n").unwrap_err().to_string().contains("ruby"));
    }
}
