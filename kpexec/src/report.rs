//! What people read on stderr: one line, a hint, and with `-v` the chain.

use std::error::Error;
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};

use kpexec_protocol::Started;

/// Prints `kpexec: <what>: <cause>` and, if there is one, the hint.
pub fn error(error: &dyn Error, hint: Option<&str>, verbose: bool) {
    line(&text(error, hint, verbose));
}

/// Prints one line of ours.
pub fn notice(text: &str) {
    line(&escape(text));
}

/// Prints one line of ours while the terminal is in raw mode, at its left edge.
pub fn in_raw_mode(text: &str) {
    eprint!("\r{}\r\n", escape(text));
}

/// Prints what the helper said of a session that began.
pub fn started(started: &Started, quiet: bool, verbose: bool) {
    for text in started_lines(started, quiet, verbose) {
        line(&text);
    }
}

fn started_lines(started: &Started, quiet: bool, verbose: bool) -> Vec<String> {
    let identity = verbose.then(|| format!("session: {}", escape(&started.identity)));
    let notices = started.notices.iter().filter(|_| !quiet).map(|notice| escape(notice));
    identity.into_iter().chain(notices).collect()
}

/// Prints what the helper logged, line by line.
pub fn helper_log(log: &str) {
    log_lines(log).for_each(|text| line(&text));
}

fn log_lines(log: &str) -> impl Iterator<Item = String> {
    let lines = log.lines().filter(|text| !text.trim().is_empty());
    lines.map(|text| format!("helper: {}", escape(text)))
}

/// Whether the terminal shows a line that makes way for all others.
static PASSING: AtomicBool = AtomicBool::new(false);

/// Erases what is right of the cursor: EL of ECMA-48.
const ERASE: &str = "\x1b[K";

/// Draws a line that makes way for all others, over the one before; an empty one
/// is none. The text is escaped, and no wider than the terminal.
pub fn passing(text: &str) {
    PASSING.store(!text.is_empty(), Ordering::Relaxed);
    // A terminal that is gone shows nothing.
    let _gone = write!(std::io::stderr(), "\r{text}{ERASE}");
}

fn line(text: &str) {
    line_to(&mut std::io::stderr(), &PASSING, text);
}

fn line_to(out: &mut impl Write, passing: &AtomicBool, text: &str) {
    let ahead =
        if passing.swap(false, Ordering::Relaxed) { format!("\r{ERASE}") } else { String::new() };
    // A failed write to stderr leaves nowhere to complain.
    let _ = writeln!(out, "{ahead}{text}");
}

/// What a parser of YAML says in its first line. Those below draw the line in
/// question, which may be a secret's.
pub fn first_line(error: &str) -> String {
    let line = error.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    line.trim_start_matches("error: ").to_owned()
}

/// The lines of [`error`], for another process to print.
pub fn text(error: &dyn Error, hint: Option<&str>, verbose: bool) -> String {
    let causes: Vec<String> = std::iter::successors(error.source(), |&cause| cause.source())
        .map(ToString::to_string)
        .collect();
    let mut text = format!("kpexec: {}", escape(&error.to_string()));
    if let Some(cause) = causes.first() {
        text.push_str(&format!(": {}", escape(cause)));
    }
    if let Some(hint) = hint {
        // Its further lines are a list, which nothing of ours begins like.
        let lines: Vec<String> = hint.trim_end().lines().map(escape).collect();
        text.push_str(&format!("\nhint: {}", lines.join("\n  ")));
    }
    if verbose {
        for cause in causes.iter().skip(1) {
            text.push_str(&format!("\ncaused by: {}", escape(cause)));
        }
    }
    text
}

/// Makes text that others wrote safe for a terminal (CVE-2021-25743 and kin):
/// control characters could move the cursor, retitle the window or answer for
/// the user, and bidirectional controls could reorder what one reads.
/// Line ends of remote programs' last words go.
pub fn escape(text: &str) -> String {
    let text = text.trim_end();
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match u32::from(character) {
            code @ (0..=0x1f | 0x7f) => {
                escaped.push_str(&format!("\\x{code:02x}"));
            }
            code @ (0x80..=0x9f | 0x61c | 0x200e..=0x200f | 0x2028..=0x202e | 0x2066..=0x2069) => {
                escaped.push_str(&format!("\\u{{{code:x}}}"));
            }
            _ => escaped.push(character),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use thiserror::Error;

    use super::*;

    #[derive(Debug, Error)]
    #[error("cannot open the door")]
    struct Outer(#[source] Middle);
    #[derive(Debug, Error)]
    #[error("the key broke")]
    struct Middle(#[source] std::io::Error);

    fn outer() -> Outer {
        Outer(Middle(std::io::Error::other("cheap\u{1b}[2J metal")))
    }

    #[test]
    fn one_line_of_what_and_cause() {
        assert_eq!(text(&outer(), None, false), "kpexec: cannot open the door: the key broke");
        assert_eq!(
            text(&outer(), Some("knock"), false),
            "kpexec: cannot open the door: the key broke\nhint: knock"
        );
    }

    #[test]
    fn a_hint_may_have_a_list() {
        let text = text(&outer(), Some("one of\na  Running\nkpexec: b\r"), false);
        assert!(text.ends_with("\nhint: one of\n  a  Running\n  kpexec: b"), "{text}");
    }

    #[test]
    fn a_passing_line_makes_way() {
        let (mut out, passing) = (Vec::new(), AtomicBool::new(true));
        line_to(&mut out, &passing, "one");
        line_to(&mut out, &passing, "two");
        assert_eq!(String::from_utf8(out).unwrap(), "\r\x1b[Kone\ntwo\n");
    }

    #[test]
    fn verbose_adds_the_chain() {
        let text = text(&outer(), Some("knock"), true);
        assert!(text.ends_with("hint: knock\ncaused by: cheap\\x1b[2J metal"), "{text}");
    }

    #[test]
    fn a_session_is_described_on_demand_and_its_notices_unless_unwanted() {
        let started = Started {
            identity: "uid 0\r".into(),
            notices: vec!["seen\u{1b}[2J".into(), "two".into()],
            ..Started::default()
        };
        assert_eq!(started_lines(&started, false, false), ["seen\\x1b[2J", "two"]);
        assert_eq!(started_lines(&started, true, false), [""; 0]);
        let verbose = ["session: uid 0", "seen\\x1b[2J", "two"];
        assert_eq!(started_lines(&started, false, true), verbose);
    }

    #[test]
    fn nothing_remote_reaches_the_terminal_raw() {
        assert_eq!(escape("a\x1b]0;x\x07\r\nb\x7f"), "a\\x1b]0;x\\x07\\x0d\\x0ab\\x7f");
        // C1 controls work like ESC sequences in some terminals.
        assert_eq!(escape("\u{9b}31m"), "\\u{9b}31m");
        assert_eq!(escape("safe\u{202e}txt"), "safe\\u{202e}txt");
        assert_eq!(escape("runc failed\n"), "runc failed");
        assert_eq!(escape("Grüße, 世界 🐟"), "Grüße, 世界 🐟");
    }

    #[derive(Debug, Error)]
    #[error("container {0} is not valid")]
    struct Named(String, #[source] std::io::Error);

    #[test]
    fn no_part_of_a_message_is_raw() {
        let hostile = |what: &str| {
            format!(
                "{what}\u{1b}]0;x\u{7}\r\u{8}\n\u{9b}2J\u{85}\u{202e}\u{2066}\u{2069}\u{200f}\u{7f}."
            )
        };
        let error = Named(hostile("name"), std::io::Error::other(hostile("error")));
        let (identity, notices) = (hostile("identity"), vec![hostile("notice")]);
        let started = Started { identity, notices, ..Started::default() };
        let mut said = started_lines(&started, false, true);
        said.push(text(&error, Some(&hostile("label")), true));
        said.extend(log_lines(&hostile("log")));
        let said = said.join("\n");
        for what in ["name", "error", "identity", "notice", "label", "log"] {
            assert!(said.contains(&format!("{what}\\x1b]0;x\\x07\\x0d\\x08")), "{what}: {said}");
        }
        let is_bidi = |c| matches!(c, '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        let raw = |c: &char| (c.is_control() && *c != '\n') || is_bidi(*c);
        assert_eq!(said.chars().find(raw), None, "{said:?}");
    }
}
