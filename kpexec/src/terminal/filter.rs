//! What a session writes, on its way to the user's terminal: nothing passes
//! that makes the terminal type, or write, or run something (CVE-2021-25743,
//! CVE-2022-45063, CVE-2022-45872, CVE-2022-44702).
//!
//! A sequence is held until it is complete and then passes whole or not at all,
//! so that the terminal never sees the beginning of one whose end we judge
//! differently. States are those of a VT500 (P. Williams' diagram).

use super::changes::Changes;
use super::sequence::{Csi, harmless_osc, is_harmless_escape};

/// Longer sequences than any program sends are dropped.
const LONGEST: usize = 4096;
/// Stands for a byte of a character above U+009F.
const TEXT: u8 = 0xff;
const BEL: u8 = 0x07;
const CANCEL: u8 = 0x18;
const SUBSTITUTE: u8 = 0x1a;
const ESC: u8 = 0x1b;
/// The 8-bit forms of `ESC P`, `ESC X`, `ESC [`, `ESC \` and so on.
const DCS: u8 = 0x90;
const SOS: u8 = 0x98;
const CSI: u8 = 0x9b;
const ST: u8 = 0x9c;
const OSC: u8 = 0x9d;
const PM: u8 = 0x9e;
const APC: u8 = 0x9f;

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    #[default]
    Ground,
    Escape,
    Csi,
    Osc,
    /// `ESC` in an OSC: its end, if `\` follows.
    OscEscape,
    /// A string of a kind that never passes.
    Ignored,
}

/// The bytes that may go on with a UTF-8 character, and how many more must.
#[derive(Debug, Default, Clone, Copy)]
struct Character {
    left: u8,
    low: u8,
    high: u8,
    /// 0xC2 is held: `C2 9B` is `CSI` too.
    held: bool,
}

/// One stream's filter, and what passed it.
#[derive(Debug, Default)]
pub struct Filter {
    state: State,
    character: Character,
    /// The sequence so far, without what introduced it.
    held: Vec<u8>,
    /// It can no longer pass, but its end must be found.
    spoilt: bool,
    changes: Changes,
    /// Everything passes; changes are noted all the same.
    raw: bool,
}

impl Filter {
    /// A filter, or with `raw` none.
    pub fn new(raw: bool) -> Self {
        Self { raw, ..Self::default() }
    }

    /// Filters the next piece; pieces may be cut anywhere.
    pub fn pass(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(bytes.len());
        bytes.iter().for_each(|byte| self.decode(*byte, &mut out));
        if self.raw { bytes.to_vec() } else { out }
    }

    /// What undoes all that has passed.
    pub fn undo(&self) -> Vec<u8> {
        let mut undo = self.changes.undo();
        // The filter itself saves the title.
        if !self.raw {
            undo.extend(self.changes.undo_title());
        }
        undo
    }

    /// What undoes it for a while; the title stays.
    pub fn undo_for_now(&self) -> Vec<u8> {
        self.changes.undo()
    }

    /// What brings it back then.
    pub fn redo(&self) -> Vec<u8> {
        self.changes.redo()
    }

    /// Tells controls from bytes of characters, as strictly as RFC 3629: what
    /// is no UTF-8 may be an 8-bit control.
    fn decode(&mut self, byte: u8, out: &mut Vec<u8>) {
        let Character { left, low, high, held } = std::mem::take(&mut self.character);
        if left > 0 && (low..=high).contains(&byte) {
            if held && byte < 0xa0 {
                return self.control_or_text(byte, &[0xc2, byte], out);
            }
            if held {
                self.control_or_text(TEXT, &[0xc2], out);
            }
            self.character = Character { left: left - 1, low: 0x80, high: 0xbf, held: false };
            return self.control_or_text(TEXT, &[byte], out);
        }
        if held {
            self.control_or_text(TEXT, &[0xc2], out);
        }
        let (left, low, high) = match byte {
            0xc2..=0xdf => (1, 0x80, 0xbf),
            0xe0 => (2, 0xa0, 0xbf),
            0xed => (2, 0x80, 0x9f),
            0xe1..=0xef => (2, 0x80, 0xbf),
            0xf0 => (3, 0x90, 0xbf),
            0xf1..=0xf3 => (3, 0x80, 0xbf),
            0xf4 => (3, 0x80, 0x8f),
            0xa0..=0xff => (0, 0, 0),
            _ => return self.control_or_text(byte, &[byte], out),
        };
        self.character = Character { left, low, high, held: byte == 0xc2 };
        if byte != 0xc2 {
            self.control_or_text(TEXT, &[byte], out);
        }
    }

    /// One step: `code` says what `raw` is, a control however it is encoded.
    fn control_or_text(&mut self, code: u8, raw: &[u8], out: &mut Vec<u8>) {
        let bare = self.held.is_empty();
        match (self.state, code) {
            (State::OscEscape, b'\\') => self.end_osc(b"\x1b\\", out),
            (State::Osc, BEL) => self.end_osc(raw, out),
            (State::Osc, ST) => self.end_osc(b"\x1b\\", out),
            (State::Osc, ESC) => self.state = State::OscEscape,
            // Any other sequence ends one before it, which is dropped.
            (State::OscEscape, _) => {
                self.begin(State::Escape);
                self.control_or_text(code, raw, out);
            }
            (_, ESC) => self.begin(State::Escape),
            (_, CSI) => self.begin(State::Csi),
            (_, OSC) => self.begin(State::Osc),
            (_, DCS | SOS | PM | APC) => self.state = State::Ignored,
            (State::Ignored, ST) => self.state = State::Ground,
            (_, CANCEL | SUBSTITUTE) => {
                self.state = State::Ground;
                out.extend_from_slice(raw);
            }
            (State::Ignored, _) => {}
            (State::Osc, b' '..=b'~' | TEXT) => self.hold_osc(raw),
            (State::Osc, _) => self.spoilt = true,
            (State::Ground, _) => self.plain(code, raw, out),
            // Controls within a sequence are obeyed at once.
            (_, ..0x20) => self.plain(code, raw, out),
            (State::Escape, b'[') if bare => self.begin(State::Csi),
            (State::Escape, b']') if bare => self.begin(State::Osc),
            // `ESC k` is a title in screen and tmux.
            (State::Escape, b'P' | b'X' | b'^' | b'_' | b'k') if bare => {
                self.state = State::Ignored;
            }
            // The end of a string that did not pass.
            (State::Escape, b'\\') if bare => self.state = State::Ground,
            (State::Escape, b' '..=b'/') | (State::Csi, b' '..=b'?') => self.hold(raw),
            (State::Escape, b'0'..=b'~') => self.end_escape(code, out),
            (State::Csi, b'@'..=b'~') => self.end_csi(code, out),
            (_, 0x7f) => {}
            (_, _) => {
                self.state = State::Ground;
                self.plain(code, raw, out);
            }
        }
    }

    fn begin(&mut self, state: State) {
        self.held.clear();
        self.spoilt = false;
        self.state = state;
    }

    fn hold(&mut self, raw: &[u8]) {
        if self.held.len() < LONGEST {
            self.held.extend_from_slice(raw);
        } else {
            self.spoilt = true;
        }
    }

    fn hold_osc(&mut self, raw: &[u8]) {
        self.hold(raw);
        // Linux consoles' palette, the one OSC without a terminator: its end must
        // be found, or what follows would be lost.
        // Digits only: not within a character, whose rest could be a control.
        let ended = match &self.held[..] {
            [b'P', colour @ ..] => colour.len() == 7 && colour.iter().all(u8::is_ascii_hexdigit),
            held => held == b"R",
        };
        if ended {
            self.state = State::Ground;
        }
    }

    fn plain(&mut self, code: u8, raw: &[u8], out: &mut Vec<u8>) {
        match code {
            // ENQ: the terminal types its answerback.
            0x05 => return,
            0x0e | 0x0f => self.changes.shift(code == 0x0e),
            _ => {}
        }
        out.extend_from_slice(raw);
    }

    fn end_escape(&mut self, last: u8, out: &mut Vec<u8>) {
        self.state = State::Ground;
        self.hold(&[last]);
        if !self.spoilt && is_harmless_escape(&self.held) {
            self.changes.escape(&self.held);
            self.emit(b"\x1b", b"", out);
        }
    }

    fn end_csi(&mut self, last: u8, out: &mut Vec<u8>) {
        self.state = State::Ground;
        self.hold(&[last]);
        let body = Csi::parse(&self.held);
        let Some(csi) = body.filter(|csi| !self.spoilt && csi.is_harmless()) else { return };
        if csi.kind() == (0, b"", b't') && matches!(csi.first(), 22 | 23) {
            let Some(before) = self.changes.title_stack(&csi) else { return };
            out.extend_from_slice(before);
        } else {
            self.changes.csi(&csi);
        }
        self.emit(b"\x1b[", b"", out);
    }

    fn end_osc(&mut self, terminator: &[u8], out: &mut Vec<u8>) {
        self.state = State::Ground;
        let body = harmless_osc(&self.held);
        let Some((code, rest)) = body.filter(|_| !self.spoilt) else { return };
        out.extend_from_slice(self.changes.osc(code, rest));
        self.emit(b"\x1b]", terminator, out);
    }

    /// With 7-bit controls, which every terminal knows: one that does not know
    /// the 8-bit `ST` would take what follows for a part of the OSC.
    fn emit(&self, introducer: &[u8], terminator: &[u8], out: &mut Vec<u8>) {
        [introducer, &self.held, terminator].iter().for_each(|part| out.extend_from_slice(part));
    }
}
