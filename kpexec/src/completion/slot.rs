//! What the word at the cursor is, by what stands before it: pure.

use clap::{Arg, Command};

/// What the unfinished word can become.
#[derive(Debug, Clone, Copy)]
pub enum Slot<'a> {
    /// A flag.
    Flag,
    /// The value of a flag, or an argument.
    Value(&'a Arg),
    /// What we know nothing about: the command, for one.
    Nothing,
}

/// The word at the cursor.
#[derive(Debug)]
pub struct Cursor<'a> {
    /// What it can become.
    pub slot: Slot<'a>,
    /// What of it is to become that.
    pub typed: String,
    /// What of it stands before that, and is to stay.
    pub before: String,
    /// Whether the word before is a flag that is nothing without this one.
    pub is_awaited: bool,
}

/// Finds out what is to be completed of `current`, which stands behind `words`.
///
/// As cobra has it, `--flag=` does not count as a part of the word.
pub fn at_cursor<'a>(command: &'a Command, words: &[String], current: &str) -> Cursor<'a> {
    let mut positional = 0;
    let mut pending = None;
    for word in words {
        if pending.take().is_some() {
            continue;
        }
        match word.as_str() {
            "--" => return Cursor::new(Slot::Nothing, current),
            flag if is_flag(flag) => pending = awaits_value(command, flag),
            _ => positional += 1,
        }
    }
    if let Some(flag) = pending {
        return Cursor { is_awaited: true, ..Cursor::new(Slot::Value(flag), current) };
    }
    if let Some(flag) = current.strip_prefix("--") {
        return match flag.split_once('=') {
            None => Cursor::new(Slot::Flag, current),
            Some((name, value)) => Cursor::new(value_of(long(command, name)), value),
        };
    }
    if is_flag(current) {
        return glued(command, current).unwrap_or_else(|| Cursor::new(Slot::Flag, current));
    }
    // What comes behind `--` cannot be here.
    let mut arguments = command.get_positionals().filter(|arg| !arg.is_last_set());
    Cursor::new(value_of(arguments.nth(positional)), current)
}

impl<'a> Cursor<'a> {
    fn new(slot: Slot<'a>, typed: &str) -> Self {
        Self { slot, typed: typed.to_owned(), before: String::new(), is_awaited: false }
    }
}

fn is_flag(word: &str) -> bool {
    word.starts_with('-')
}

fn value_of(arg: Option<&Arg>) -> Slot<'_> {
    arg.filter(|arg| takes_value(arg)).map_or(Slot::Nothing, Slot::Value)
}

fn takes_value(arg: &Arg) -> bool {
    arg.is_positional() || arg.get_action().takes_values()
}

fn long<'a>(command: &'a Command, name: &str) -> Option<&'a Arg> {
    command.get_arguments().find(|arg| {
        arg.get_long() == Some(name) || arg.get_all_aliases().unwrap_or_default().contains(&name)
    })
}

fn short(command: &Command, letter: char) -> Option<&Arg> {
    command.get_arguments().find(|arg| arg.get_short() == Some(letter))
}

/// The flag of this word whose value is the next word, if there is one.
fn awaits_value<'a>(command: &'a Command, word: &str) -> Option<&'a Arg> {
    let arg = match word.strip_prefix("--") {
        Some(name) if name.contains('=') => None,
        Some(name) => long(command, name),
        None => {
            let (arg, rest) = short_with_value(command, word)?;
            rest.is_empty().then_some(arg)
        }
    };
    arg.filter(|arg| takes_value(arg) && !arg.is_require_equals_set())
}

/// In `-itcapp`: the flag c, and app. What needs an `=` has no value here.
fn short_with_value<'a, 'b>(command: &'a Command, word: &'b str) -> Option<(&'a Arg, &'b str)> {
    let letters = word.strip_prefix('-')?;
    let flags = letters.char_indices().take_while(|(_, letter)| *letter != '=');
    let found = flags.into_iter().find_map(|(at, letter)| {
        let has_value = |arg: &&Arg| takes_value(arg) && !arg.is_require_equals_set();
        let arg = short(command, letter).filter(has_value)?;
        Some((arg, at + letter.len_utf8()))
    });
    found.map(|(arg, end)| (arg, &letters[end..]))
}

/// A value without a space between it and its flag.
fn glued<'a>(command: &'a Command, word: &str) -> Option<Cursor<'a>> {
    let (arg, value) = short_with_value(command, word)?;
    let before = word[..word.len() - value.len()].to_owned();
    Some(Cursor { before, ..Cursor::new(Slot::Value(arg), value) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli;

    /// What is completed at the end of a line: kind, typed, before.
    fn cursor(line: &str) -> (String, String, String) {
        let mut words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let current = words.pop().unwrap();
        let command = cli::command(None).unwrap();
        let found = at_cursor(&command, &words, &current);
        let slot = match found.slot {
            Slot::Flag => "a flag".to_owned(),
            Slot::Value(arg) => arg.get_id().to_string(),
            Slot::Nothing => "nothing".to_owned(),
        };
        (slot, found.typed, found.before)
    }

    #[test]
    fn a_flag_without_its_value_is_told_from_one_with_it() {
        let command = cli::command(None).unwrap();
        for (word, is_awaited) in [("-n", true), ("--writes", true), ("-i", false), ("-nx", false)]
        {
            let found = at_cursor(&command, &[word.to_owned()], "x");
            assert_eq!(found.is_awaited, is_awaited, "{word}");
        }
    }

    #[test]
    fn what_stands_before_says_what_comes() {
        for (line, slot, typed, before) in [
            ("", "pod", "", ""),
            ("bus", "pod", "bus", ""),
            ("-it bus", "pod", "bus", ""),
            ("-n prod bus", "pod", "bus", ""),
            ("-nprod bus", "pod", "bus", ""),
            ("-i=f bus", "pod", "bus", ""),
            ("--namespace=prod bus", "pod", "bus", ""),
            ("--share bus", "pod", "bus", ""),
            ("web ", "nothing", "", ""),
            ("web -- l", "nothing", "l", ""),
            ("web -- ls -", "nothing", "-", ""),
            ("web --", "a flag", "--", ""),
            ("-", "a flag", "-", ""),
            ("-i", "a flag", "-i", ""),
            ("web --pro", "a flag", "--pro", ""),
            ("-n ", "namespace", "", ""),
            ("-c -", "container", "-", ""),
            ("web -itc si", "container", "si", ""),
            ("web -itcsi", "container", "si", "-itc"),
            ("-c", "container", "", "-c"),
            ("web --profile net", "profile", "net", ""),
            ("web --profile=net", "profile", "net", ""),
            ("web --cap-add KILL,SYS", "cap_add", "KILL,SYS", ""),
            ("web --rm=x", "nothing", "x", ""),
            ("web --quiet=f", "quiet", "f", ""),
            ("web --no-such=x", "nothing", "x", ""),
        ] {
            let expected = (slot.to_owned(), typed.to_owned(), before.to_owned());
            assert_eq!(cursor(line), expected, "{line:?}");
        }
    }
}
