//! Escape sequences at the keyboard, as ssh(1) has them: keys that are for
//! kpexec and not for the command. Pure.

use bytes::{Bytes, BytesMut};

use crate::cli::program;

/// `^Z`, as a terminal in raw mode sends it.
const CTRL_Z: u8 = 0x1a;

const ESC: u8 = 0x1b;

/// What [`Action::Help`] shows in a session that can be left running, or cannot.
pub fn help(character: u8, can_be_left: bool) -> Vec<String> {
    let key = if character.is_ascii_control() {
        format!("^{}", char::from(character ^ 0x40))
    } else {
        char::from(character).to_string()
    };
    let leaves = format!(" {key}d   leaves it running, for {} attach", program::typed());
    let ends = [
        "Escape sequences, at the start of a line:".to_owned(),
        format!(" {key}.   ends the session, also one that hangs"),
    ];
    let others = [
        format!(" {key}^Z  suspends kpexec"),
        format!(" {key}?   this message"),
        format!(" {key}{key}   the escape character itself"),
    ];
    ends.into_iter().chain(can_be_left.then_some(leaves)).chain(others).collect()
}

/// What the keyboard wants of kpexec.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Leave the session.
    End,
    /// Show what there is.
    Help,
    /// Stop this process, as `^Z` would stop another.
    Suspend,
    /// Leave the session to itself.
    Detach,
}

/// What was typed.
#[derive(Debug, PartialEq, Eq)]
pub enum Typed {
    /// For the command.
    Keys(Bytes),
    /// For us.
    Action(Action),
}

/// Where in a line the typing is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// Nothing has been typed since the last end of a line.
    Start,
    /// Only the escape character has, which is held back.
    Escaped,
    /// The same as at the start, within what the terminal says by itself.
    Answer(Answer),
    /// Anything else has.
    Within,
}

/// How far an answer of the terminal has come: ECMA-48, 5.4, CSI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    /// ESC.
    Begun,
    /// ESC `[`, and parameters perhaps.
    Parameters,
}

impl At {
    /// Where a byte for the command leads. A shell may ask where the cursor is, at
    /// each prompt: the answer is none of the user's typing. Cursor keys are.
    fn after(self, byte: u8) -> Self {
        match (self, byte) {
            (_, b'\r' | b'\n') => Self::Start,
            (Self::Start, ESC) => Self::Answer(Answer::Begun),
            (Self::Answer(Answer::Begun), b'[') => Self::Answer(Answer::Parameters),
            (Self::Answer(Answer::Parameters), b'0'..=b'9' | b';' | b'?' | b'>') => self,
            // A cursor position, a kind of terminal, a status: xterm's ctlseqs.
            (Self::Answer(Answer::Parameters), b'R' | b'c' | b'n') => Self::Start,
            _ => Self::Within,
        }
    }
}

/// Reads what is typed.
#[derive(Debug)]
pub struct Escapes {
    /// `None`: all is for the command.
    character: Option<u8>,
    at: At,
}

impl Escapes {
    /// Sequences begin with this character.
    pub fn new(character: Option<u8>) -> Self {
        Self { character, at: At::Start }
    }

    /// Takes in what was typed next.
    pub fn read(&mut self, bytes: &[u8]) -> Vec<Typed> {
        let mut typed = Vec::new();
        let mut keys = BytesMut::with_capacity(bytes.len() + 1);
        for &byte in bytes {
            if self.at == At::Start && Some(byte) == self.character {
                self.at = At::Escaped;
                continue;
            }
            if self.at == At::Escaped {
                self.at = At::Start;
                if let Some(action) = action(byte) {
                    if !keys.is_empty() {
                        typed.push(Typed::Keys(keys.split().freeze()));
                    }
                    typed.push(Typed::Action(action));
                    continue;
                }
                keys.extend(self.character);
                if Some(byte) == self.character {
                    self.at = At::Within;
                    continue;
                }
            }
            keys.extend([byte]);
            self.at = self.at.after(byte);
        }
        if !keys.is_empty() {
            typed.push(Typed::Keys(keys.freeze()));
        }
        typed
    }

    /// What was held back, at the end of all typing.
    pub fn finish(self) -> Option<Bytes> {
        let held = self.character.filter(|_| self.at == At::Escaped)?;
        Some(Bytes::copy_from_slice(&[held]))
    }
}

fn action(byte: u8) -> Option<Action> {
    match byte {
        b'.' => Some(Action::End),
        b'd' => Some(Action::Detach),
        b'?' => Some(Action::Help),
        CTRL_Z => Some(Action::Suspend),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(text: &'static str) -> Typed {
        Typed::Keys(text.into())
    }

    /// The same, whether it comes at once or key by key.
    fn read(text: &str) -> Vec<Typed> {
        let at_once = Escapes::new(Some(b'~')).read(text.as_bytes());
        let mut escapes = Escapes::new(Some(b'~'));
        let mut one_by_one: Vec<Typed> = Vec::new();
        for byte in text.bytes() {
            for typed in escapes.read(&[byte]) {
                match (one_by_one.last_mut(), typed) {
                    (Some(Typed::Keys(before)), Typed::Keys(more)) => {
                        *before = [&before[..], &more].concat().into();
                    }
                    (_, typed) => one_by_one.push(typed),
                }
            }
        }
        assert_eq!(one_by_one, at_once, "{text:?}");
        at_once
    }

    #[test]
    fn only_at_the_start_of_a_line_it_is_for_us() {
        assert_eq!(read("~."), [Typed::Action(Action::End)]);
        assert_eq!(read("ls\r~."), [keys("ls\r"), Typed::Action(Action::End)]);
        assert_eq!(read("ls\n~?x"), [keys("ls\n"), Typed::Action(Action::Help), keys("x")]);
        assert_eq!(read("~\x1a"), [Typed::Action(Action::Suspend)]);
        for text in ["a~.", "cd ~/x\r", " ~.", "~x.\r", "~/.bashrc\r"] {
            let text: &'static str = text;
            assert_eq!(read(text), [keys(text)]);
        }
    }

    #[test]
    fn what_the_terminal_answers_is_not_typed() {
        for answer in ["\x1b[12;40R", "\x1b[?62;22c", "\x1b[>0;276;0c", "\x1b[0n"] {
            let end = Typed::Action(Action::End);
            assert_eq!(read(&format!("{answer}~.")), [Typed::Keys(answer.into()), end]);
        }
        for keys in ["\x1b[A~.", "\x1b~.", "\x1bOP~.", "\x1b[3~~."] {
            assert_eq!(read(keys), [Typed::Keys(keys.into())], "{keys:?}");
        }
    }

    #[test]
    fn one_can_follow_another() {
        let twice = [Typed::Action(Action::Help), Typed::Action(Action::End)];
        assert_eq!(read("~?~."), twice);
    }

    #[test]
    fn typed_twice_it_is_itself_once() {
        assert_eq!(read("~~.\r"), [keys("~.\r")]);
        assert_eq!(read("~\r~."), [keys("~\r"), Typed::Action(Action::End)]);
    }

    #[test]
    fn what_is_held_back_is_not_lost() {
        let mut escapes = Escapes::new(Some(b'~'));
        assert_eq!(escapes.read(b"~"), []);
        assert_eq!(escapes.finish().unwrap(), "~");
        assert_eq!(Escapes::new(Some(b'~')).finish(), None);
    }

    #[test]
    fn help_names_the_key_and_what_it_can_do_here() {
        assert_eq!(help(b'~', true)[1], " ~.   ends the session, also one that hangs");
        assert_eq!(help(b'~', true)[2], " ~d   leaves it running, for kpexec attach");
        assert_eq!(help(0x1d, false)[2], " ^]^Z  suspends kpexec");
        assert_eq!((help(b'~', true).len(), help(b'~', false).len()), (6, 5));
    }

    #[test]
    fn another_character_or_none() {
        let end = [Typed::Action(Action::End)];
        assert_eq!(Escapes::new(Some(0x1d)).read(b"\x1d."), end);
        assert_eq!(Escapes::new(Some(0x1d)).read(b"~."), [keys("~.")]);
        assert_eq!(Escapes::new(None).read(b"~."), [keys("~.")]);
    }
}
