//! What clap refuses, in one line of ours and with what would be right.

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, CommandFactory as _};

use super::invocation::WORDS;
use super::program::as_typed;
use super::{Cli, CliError, habits};
use crate::nearest::nearest;

/// An error of our own.
pub(super) fn usage(what: &str, hint: &str) -> CliError {
    CliError::Usage { what: what.to_owned(), hint: Some(as_typed(hint)) }
}

/// What clap refuses in a line of the command `command`. It prints a paragraph and
/// exits with 2; we want one line and 125.
pub(super) fn from_clap(error: &clap::Error, command: &str) -> CliError {
    let text = error.render().to_string();
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => return CliError::Information(text),
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            return CliError::Information(Cli::command().render_help().to_string());
        }
        _ => {}
    }
    let what = what(error);
    let is_word = error.kind() == ErrorKind::UnknownArgument && !what.contains("argument '-");
    let hint = if is_word && command == "kpexec" {
        "the command stands after --: kpexec POD -- CMD [ARG]...".to_owned()
    } else if let Some(hint) = habit(error) {
        hint
    } else {
        let meant = suggestion(error).map(|meant| format!("did you mean {meant}?"));
        meant.unwrap_or_else(|| format!("{command} --help lists the flags"))
    };
    CliError::Usage { what, hint: Some(as_typed(&hint)) }
}

/// The first paragraph.
fn what(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let what = text.split("\n\n").next().map(one_line).unwrap_or_default();
    what.strip_prefix("error: ").unwrap_or(&what).to_owned()
}

/// What a flag of another tool is here, and how a flag that is on or off is off.
fn habit(error: &clap::Error) -> Option<String> {
    let ContextValue::String(given) = error.get(ContextKind::InvalidArg)? else { return None };
    match error.kind() {
        ErrorKind::UnknownArgument => {
            let flag = given.split(['=', ' ']).next().unwrap_or_default();
            habits::instead_of(flag).map(str::to_owned)
        }
        ErrorKind::ArgumentConflict => {
            let text = error.render().to_string();
            let says = |flag: &str| text.contains(&format!("'{flag}"));
            let named = says("--local") && (says("--container") || says("--namespace"));
            named
                .then(|| "with --local the argument has it all: POD/NAMESPACE/CONTAINER".to_owned())
        }
        ErrorKind::TooManyValues => {
            let flag = given.split([' ', '.']).next().unwrap_or_default();
            Some(format!("{flag} takes no value; leave it out where it is not wanted"))
        }
        _ => None,
    }
}

/// What is known to be meant by more than the word that clap stumbles over.
pub(super) fn by_habit(args: &[OsString], error: &clap::Error) -> Option<CliError> {
    verb_of_another(args, error)
        .or_else(|| word_of_ours(args, error))
        .or_else(|| level(args, error))
}

/// `-v 6` and `-v6`, as klog takes them; without `=` the level would be the pod.
fn level(args: &[OsString], error: &clap::Error) -> Option<CliError> {
    let is_number = |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_digit());
    let ContextValue::String(unexpected) = error.get(ContextKind::InvalidArg)? else { return None };
    let words = args.iter().skip(1).map_while(|word| word.to_str());
    let words: Vec<&str> = words.take_while(|word| *word != "--").collect();
    let short = |word: &'_ str| word.strip_prefix('-').is_some_and(|rest| !rest.starts_with('-'));
    let number = match error.kind() {
        ErrorKind::UnknownArgument if !unexpected.starts_with('-') => {
            let pair = words.windows(2).find(|pair| {
                let is_flag = ["--v", "--verbose"].contains(&pair[0])
                    || (short(pair[0]) && pair[0].ends_with('v'));
                is_flag && is_number(pair[1])
            })?;
            pair[1]
        }
        ErrorKind::UnknownArgument | ErrorKind::NoEquals => {
            let joined =
                words.iter().filter(|word| short(word)).filter_map(|word| word.split_once('v'));
            joined.map(|(_, number)| number).find(|number| is_number(number))?
        }
        _ => return None,
    };
    let hint = format!("the level is written -v={number}");
    Some(usage(&what(error), &hint))
}

/// `kpexec exec POD`, where exec would be the pod.
fn verb_of_another(args: &[OsString], error: &clap::Error) -> Option<CliError> {
    let unexpected = word_too_many(error)?;
    let words = args.iter().filter_map(|word| word.to_str());
    let before: Vec<&str> = words.take_while(|word| *word != unexpected && *word != "--").collect();
    let named = before.windows(2).filter(|pair| !takes_a_value(pair[0])).map(|pair| pair[1]);
    let (verb, hint) =
        named.filter_map(|word| Some((word, habits::instead_of_verb(word)?))).next()?;
    Some(usage(&format!("{verb} is not a word of kpexec's"), hint))
}

/// Whether `word` is a flag, or ends with one, whose value is the next word.
fn takes_a_value(word: &str) -> bool {
    let command = Cli::command();
    let takes = |known: &dyn Fn(&Arg) -> bool| {
        let mut flags = command.get_arguments().filter(|flag| known(flag));
        flags.any(|flag| flag.get_action().takes_values() && !flag.is_require_equals_set())
    };
    if let Some(long) = word.strip_prefix("--") {
        return takes(&|flag| flag.get_long() == Some(long));
    }
    let letters = word.strip_prefix('-').unwrap_or_default();
    // The first that takes a value takes the rest of the word, if there is any.
    let first = letters.find(|letter| takes(&|flag| flag.get_short() == Some(letter)));
    first.is_some_and(|first| first + 1 == letters.len())
}

/// The word that is one too many: no flag.
fn word_too_many(error: &clap::Error) -> Option<&str> {
    match error.get(ContextKind::InvalidArg)? {
        ContextValue::String(word)
            if error.kind() == ErrorKind::UnknownArgument && !word.starts_with('-') =>
        {
            Some(word)
        }
        _ => None,
    }
}

/// `kpexec atach SESSION`, where atach would be the pod.
fn word_of_ours(args: &[OsString], error: &clap::Error) -> Option<CliError> {
    let unexpected = word_too_many(error)?;
    let first = args.get(1)?.to_str().filter(|word| *word != unexpected)?;
    let meant = nearest(first, WORDS)?;
    Some(usage(
        &what(error),
        &format!("did you mean kpexec {meant}? A pod's command stands after --"),
    ))
}

/// The flag or value that clap takes for the one meant. Of a short flag it takes
/// any for similar: `--namespace` for `--as`.
fn suggestion(error: &clap::Error) -> Option<&str> {
    match (error.get(ContextKind::InvalidArg)?, error.get(ContextKind::SuggestedArg)) {
        (ContextValue::String(given), Some(ContextValue::String(meant))) => {
            (given.len() > "--1234".len()).then_some(meant.as_str())
        }
        _ => match error.get(ContextKind::SuggestedValue)? {
            ContextValue::String(meant) => Some(meant.as_str()),
            _ => None,
        },
    }
}

fn one_line(paragraph: &str) -> String {
    paragraph.split_whitespace().collect::<Vec<_>>().join(" ")
}
