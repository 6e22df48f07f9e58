//! What a session has changed of the user's terminal, and how it is undone:
//! just that, because undoing what was not done is a change too (`CSI ?1049l`
//! moves the cursor of a terminal that shows its normal screen).

use std::collections::{BTreeMap, BTreeSet};

use super::sequence::Csi;

/// Modes that are off in a new terminal, those of `CSI ? h`: keys and screen
/// (1, 5, 6, 9, 45, 66, 69), mouse (1000 to 1016), pasting, frozen output, and
/// what sends reports unasked (1004, 2031, 2048, 9001).
const OFF: &[u16] = &[
    1, 5, 6, 9, 45, 66, 69, 1000, 1001, 1002, 1003, 1004, 1005, 1006, 1015, 1016, 2004, 2026, 2031,
    2048, 9001,
];
/// Modes that are on: lines wrap, keys repeat, the cursor is seen.
const ON: &[u16] = &[7, 8, 25];
/// The alternate screen, under its three numbers.
const ALTERNATE: &[u16] = &[47, 1047, 1049];
/// ECMA-48's own modes: keyboard locked, insert, line feeds as new lines.
const ANSI_OFF: &[u16] = &[2, 4, 20];
/// Keys are not shown by the terminal itself.
const ANSI_ON: &[u16] = &[12];

/// xterm keeps ten titles; the user's must not fall out.
const MOST_TITLES: u8 = 8;
/// Window's and icon's.
const SAVE_TITLES: &[u8] = b"\x1b[22;0t";
/// More levels of key reports than any terminal keeps.
const MOST_LEVELS: u16 = 99;

/// Private or not, and the number.
type Mode = (bool, u16);

/// The changes so far.
#[derive(Debug, Default)]
pub struct Changes {
    /// Modes that are not as they were.
    modes: BTreeSet<Mode>,
    /// What undoes everything else that was changed, and what had changed it last.
    others: BTreeMap<String, String>,
    /// Levels of kitty's key reports on its stack.
    levels: u16,
    /// What put the last of them there.
    level: String,
    /// Titles that were saved, the user's first.
    titles: u8,
}

impl Changes {
    fn change(&mut self, undo: &str, by: &str, changed: bool) {
        if changed {
            self.others.insert(undo.to_owned(), by.to_owned());
        } else {
            self.others.remove(undo);
        }
    }

    fn mode(&mut self, private: bool, number: u16, last: u8) {
        let (off, on) = if private { (OFF, ON) } else { (ANSI_OFF, ANSI_ON) };
        let alternate = private && ALTERNATE.contains(&number);
        let usual = if off.contains(&number) || alternate {
            b'l'
        } else if on.contains(&number) {
            b'h'
        } else {
            return;
        };
        if alternate {
            self.modes.retain(|mode| !ALTERNATE.contains(&mode.1));
        }
        // `r` brings back what was saved at some time: unknown.
        if last == usual {
            self.modes.remove(&(private, number));
        } else {
            self.modes.insert((private, number));
        }
    }

    /// A sequence that passes.
    pub fn csi(&mut self, csi: &Csi<'_>) {
        let (first, text) = (csi.first(), csi.text());
        match csi.kind() {
            (private @ (0 | b'?'), b"", last @ (b'h' | b'l')) => {
                csi.numbers().for_each(|number| self.mode(private != 0, number, last));
            }
            (b'?', b"", b'r') => csi.numbers().for_each(|number| self.mode(true, number, b'r')),
            (0, b"", b'r') => self.region(&text, !csi.is_plain()),
            (0, b"", b'm') => self.change("\x1b[m", &text, csi.numbers().any(|number| number != 0)),
            (0, b" ", b'q') => self.change("\x1b[0 q", &text, first != 0),
            (0, b"'", b'z') => self.change("\x1b[0'z", &text, first != 0),
            // What keys send: xterm's modifyOtherKeys and its like, and kitty's.
            (b'>', b"", b'm') if first < 10 => {
                let value = csi.numbers().nth(1).unwrap_or(0);
                self.change(&format!("\x1b[>{first}m"), &text, value != 0);
            }
            (b'=', b"", b'u') => self.change("\x1b[=0u", &text, first != 0),
            (b'>', b"", b'u') => {
                self.levels = MOST_LEVELS.min(self.levels + 1);
                self.level = text;
            }
            (b'<', b"", b'u') => self.levels = self.levels.saturating_sub(first.max(1)),
            _ => {}
        }
    }

    /// What passes of `ESC` sequences, without the `ESC`.
    pub fn escape(&mut self, body: &[u8]) {
        match body {
            [b'='] => self.change("\x1b>", "\x1b=", true),
            [b'>'] => self.change("\x1b>", "", false),
            [b'(', set] => {
                self.change("\x1b(B", &format!("\x1b({}", char::from(*set)), *set != b'B');
            }
            // Another of the four character sets; HP's memory lock is a region.
            [set @ (b'n' | b'o')] => {
                self.change("\x0f", &format!("\x1b{}", char::from(*set)), true);
            }
            [b'l'] => self.region("\x1bl", true),
            // Everything is as in a new terminal, but for saved titles.
            [b'c'] => *self = Self { titles: self.titles, ..Self::default() },
            _ => {}
        }
    }

    /// `SO` or `SI`: another character set, or the usual.
    pub fn shift(&mut self, out: bool) {
        self.change("\x0f", "\x0e", out);
    }

    /// The scrolling region; setting it moves the cursor.
    fn region(&mut self, by: &str, changed: bool) {
        self.change("\x1b7\x1b[r\x1b8", &format!("\x1b7{by}\x1b8"), changed);
    }

    /// An operating system command that passes. Gives what must go before it.
    pub fn osc(&mut self, code: u16, rest: &[u8]) -> &'static [u8] {
        let text = format!("\x1b]{code};{}\x1b\\", String::from_utf8_lossy(rest));
        match code {
            0..=2 if self.titles == 0 => {
                self.titles = 1;
                return SAVE_TITLES;
            }
            // Without a number it is all 256 colours; of some the others stay.
            4 => self.change("\x1b]104\x1b\\", &text, true),
            104 => self.others.retain(|undo, _| !rest.is_empty() || undo != "\x1b]104\x1b\\"),
            // One command may set several, of this number and the following.
            10..=19 => {
                let count = rest.iter().filter(|byte| **byte == b';').count().min(9);
                for code in (code..=19).take(count + 1) {
                    self.change(&format!("\x1b]{}\x1b\\", code + 100), &text, true);
                }
            }
            110..=119 => self.change(&format!("\x1b]{code}\x1b\\"), "", false),
            8 => {
                let address = rest.iter().position(|byte| *byte == b';').unwrap_or(rest.len());
                self.change("\x1b]8;;\x1b\\", &text, rest.len() > address + 1);
            }
            _ => {}
        }
        b""
    }

    /// Saves (22) and restores (23) of titles. The lowest saved one is the
    /// user's, so that no more may be restored than were saved. Gives what must
    /// go before it if it may pass.
    pub fn title_stack(&mut self, csi: &Csi<'_>) -> Option<&'static [u8]> {
        let mut numbers = csi.numbers().skip(1);
        let which = numbers.next().unwrap_or(0);
        // Not the icon's alone (1), which some terminals do not count; and not
        // at a place of the stack, which is a third number.
        let usual = matches!(which, 0 | 2) && numbers.all(|number| number == 0);
        let (titles, before): (_, &[u8]) = match (csi.first(), self.titles) {
            _ if !usual => return None,
            (22, 0) if which != 0 => (2, SAVE_TITLES),
            (22, titles @ ..MOST_TITLES) => (titles + 1, b""),
            (23, titles @ 1..) => (titles - 1, b""),
            _ => return None,
        };
        self.titles = titles;
        Some(before)
    }

    /// What brings back the user's title.
    pub fn undo_title(&self) -> Vec<u8> {
        b"\x1b[23;0t".repeat(self.titles.into())
    }

    /// What makes the rest of the terminal as it was.
    pub fn undo(&self) -> Vec<u8> {
        // Either screen has levels of its own.
        let levels =
            if self.levels > 0 { format!("\x1b[<{}u", self.levels) } else { String::new() };
        let (screen, modes) = self.sorted_modes();
        let mut undo = levels.clone();
        // First, because it brings back colours saved with the cursor.
        for screen in screen {
            undo += &text_of(screen, false);
            undo += &levels;
        }
        modes.into_iter().for_each(|mode| undo += &text_of(mode, false));
        if self.modes.contains(&(true, 6)) {
            // Leaving origin mode moves the cursor to the top.
            undo += "\x1b[999;1H";
        }
        self.others.keys().for_each(|other| undo += other);
        undo.into_bytes()
    }

    /// What makes it as the session had it, after [`Self::undo`]: not what was on
    /// the alternate screen, and of what several sequences did the last.
    pub fn redo(&self) -> Vec<u8> {
        let (screen, modes) = self.sorted_modes();
        let all = screen.into_iter().chain(modes);
        let mut redo: String = all.map(|mode| text_of(mode, true)).collect();
        redo += &self.level.repeat(self.levels.into());
        self.others.values().for_each(|by| redo += by);
        redo.into_bytes()
    }

    /// The alternate screen, and all others.
    fn sorted_modes(&self) -> (Vec<Mode>, Vec<Mode>) {
        self.modes.iter().partition(|mode| mode.0 && ALTERNATE.contains(&mode.1))
    }
}

/// What makes a mode unusual, or usual again.
fn text_of((private, number): Mode, unusual: bool) -> String {
    let (prefix, on) = if private { ("?", ON) } else { ("", ANSI_ON) };
    let set = on.contains(&number) != unusual;
    format!("\x1b[{prefix}{number}{}", if set { 'h' } else { 'l' })
}
