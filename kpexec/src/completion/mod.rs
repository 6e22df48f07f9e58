//! What may follow on the command line: asked by a shell's script, or by kubectl,
//! for each press of its key.
//!
//! The question and the answer are those of cobra, which kubectl is made with: the
//! words up to the cursor, of which the last is not finished; a line `VALUE` or
//! `VALUE<TAB>WHAT IT IS` for each candidate; a last line `:NUMBER`. So one answer
//! serves `kubectl pexec` and the four shells, whose scripts stay small.

mod ask;
mod candidates;
mod script;
mod slot;

use std::ffi::OsString;
use std::fs::File;
use std::io::Write as _;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use clap::ArgMatches;

use crate::cli;
use crate::report;
use candidates::{Candidate, Question, Source, fitting, settled};
pub use script::{print_script, script};
use slot::Slot;

/// How long anything may take, login plugins of the kubeconfig included: nobody
/// waits longer for a key.
const LIMIT: Duration = Duration::from_secs(2);

/// What the shell is to do besides: cobra's `ShellCompDirective`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Directive {
    /// Offer files where there are no candidates.
    Files = 0,
    /// Nothing.
    NoFiles = 4,
}

/// Prints what `words`, the last of which is not finished, may become. Whatever
/// fails, nothing is said of it: it would stand in the middle of the user's line.
pub fn complete(words: Vec<OsString>) -> u8 {
    if let Ok(nowhere) = File::options().read(true).write(true).open("/dev/null") {
        // A login plugin that asks would ask the user's shell, too.
        let _as_it_was = rustix::stdio::dup2_stdin(&nowhere);
        let _as_it_was = rustix::stdio::dup2_stderr(&nowhere);
    }
    let words = words.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    let (candidates, directive) = answer(words);
    let _nobody_reads = write!(std::io::stdout(), "{}", text(&candidates, directive));
    0
}

fn answer(mut words: Vec<String>) -> (Vec<Candidate>, Directive) {
    let current = words.pop().unwrap_or_default();
    let is_first = words.is_empty();
    let settings = cli::Settings::read().unwrap_or_default();
    let named = words.first().and_then(|word| cli::command(Some(word)));
    let named = named.inspect(|_| drop(words.remove(0))).or_else(|| cli::command(None));
    let Some(mut command) = named.map(|command| settings.apply(command).ignore_errors(true)) else {
        return (Vec::new(), Directive::NoFiles);
    };
    command.build();
    let cursor = slot::at_cursor(&command, &words, &current);
    // To clap a flag that lacks its value is a mistake.
    let whole = &words[..words.len() - usize::from(cursor.is_awaited)];
    let line = std::iter::once("kpexec").chain(whole.iter().map(String::as_str));
    let Ok(typed) = command.clone().try_get_matches_from(line) else {
        return (Vec::new(), Directive::NoFiles);
    };
    let known = match cursor.slot {
        Slot::Nothing => Vec::new(),
        Slot::Flag => fitting(candidates::flags(&command, &typed), "", &cursor.typed),
        Slot::Value(arg) => {
            let local = typed.try_get_one("local").ok().flatten().copied().unwrap_or(false);
            let (settled, last) = settled(arg, local, &cursor.typed);
            let known = match candidates::source(arg, local, settled, last) {
                Source::Files => return (Vec::new(), Directive::Files),
                Source::Known(known) => known,
                Source::Ask(question) => within_the_limit(question, typed, last),
            };
            let words = candidates::words()
                .filter(|_| is_first && arg.is_positional() && settled.is_empty());
            let all = known.into_iter().chain(words).collect();
            fitting(all, &format!("{}{settled}", cursor.before), last)
        }
    };
    (known, Directive::NoFiles)
}

/// In a thread, because a login plugin is waited for without an end; this process
/// has one.
fn within_the_limit(question: Question, typed: ArgMatches, word: &str) -> Vec<Candidate> {
    let (sender, receiver) = mpsc::channel();
    let word = word.to_owned();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
        // A login plugin that is still asking ends with what waits for it.
        let asked = async { tokio::time::timeout(LIMIT, ask::ask(question, &typed, &word)).await };
        // Nobody listens any more if it took too long.
        sender.send(runtime.block_on(asked).ok().flatten()).ok()
    });
    receiver.recv_timeout(2 * LIMIT).ok().flatten().unwrap_or_default()
}

fn text(candidates: &[Candidate], directive: Directive) -> String {
    // A name that a terminal would act on is none that can be typed.
    let plain = candidates.iter().filter(|one| !one.value.contains(char::is_control));
    let lines = plain.map(|one| match one.about.as_str() {
        "" => format!("{}\n", one.value),
        about => format!("{}\t{}\n", one.value, report::escape(about)),
    });
    lines.chain([format!(":{}\n", directive as u8)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(words: &[&str]) -> String {
        let (candidates, directive) = answer(words.iter().map(|&word| word.to_owned()).collect());
        text(&candidates, directive)
    }

    #[test]
    fn an_answer_is_cobras() {
        assert_eq!(lines(&["web", "--profile", "net"]), "netadmin\tGeneral and NET_ADMIN\n:4\n");
        assert_eq!(lines(&["web", "--writes=den"]).split('\t').next(), Some("deny"));
        assert_eq!(lines(&["--kubeconfig", "/et"]), ":0\n");
        assert_eq!(lines(&["web", "--", "l"]), ":4\n");
        assert_eq!(lines(&["web", "--cap-drop", "ALL,CAP_KI"]), "ALL,CAP_KILL\n:4\n");
        assert_eq!(lines(&["completion", "f"]), "fish\tfish, 3.0 or newer\n:4\n");
        assert_eq!(lines(&["help", "se"]), "sessions\n:4\n");
        assert_eq!(
            lines(&["gc", "--verb"]),
            "--verbose\tSay what is done, and why it failed in full\n:4\n"
        );
    }

    #[test]
    fn names_are_those_of_the_kubeconfig_that_was_typed() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let text = "{contexts: [{name: one, context: {cluster: c}}, {name: two}], \
                    clusters: [{name: c, cluster: {server: 'https://h:1'}}, \
                    {name: d, cluster: {server: 'https://bob:s3cret@h'}}, {name: e}], \
                    users: [{name: alice, user: {token: x}}, {name: bob}]}";
        std::fs::write(file.path(), text).unwrap();
        let path = file.path().to_str().unwrap();
        assert_eq!(lines(&["--kubeconfig", path, "--context", ""]), "one\tc\ntwo\n:4\n");
        let line = ["gc", "--kubeconfig", path, "--context=tw"];
        assert_eq!(lines(&line), "two\n:4\n");
        let line = ["--kubeconfig", path, "web", "--cluster", ""];
        assert_eq!(lines(&line), "c\thttps://h:1\nd\ne\n:4\n");
        assert_eq!(lines(&["attach", "--kubeconfig", path, "--user=al"]), "alice\n:4\n");
    }

    #[test]
    fn nobody_who_answers_is_no_error() {
        let pods = lines(&["--kubeconfig", "/nonexistent", "se"]);
        assert_eq!(pods, ":4\n", "words come first only");
    }

    #[test]
    fn what_a_terminal_would_obey_is_not_offered() {
        let candidates = [Candidate::new("a\x1b[2J", ""), Candidate::new("b", "\x07bell\nx")];
        assert_eq!(text(&candidates, Directive::NoFiles), "b\t\\x07bell\\x0ax\n:4\n");
    }
}
