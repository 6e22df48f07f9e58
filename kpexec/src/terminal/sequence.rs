//! Control sequences as ECMA-48 and xterm's ctlseqs have them, and which of
//! them a container may send to the user's terminal.

/// What follows `CSI`, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Csi<'a> {
    /// One of `<=>?` in front, for private sequences; 0: none.
    pub private: u8,
    parameters: &'a [u8],
    /// Bytes between the parameters and the last.
    pub intermediates: &'a [u8],
    /// Says what it does.
    pub last: u8,
}

impl<'a> Csi<'a> {
    /// `None` for what is not well-formed: terminals differ in what they make
    /// of it, so that no terminal may see it.
    pub fn parse(body: &'a [u8]) -> Option<Self> {
        let (&last, rest) = body.split_last()?;
        let (private, rest) = match rest.split_first() {
            Some((&private @ b'<'..=b'?', rest)) => (private, rest),
            _ => (0, rest),
        };
        let end = rest.iter().position(|byte| !matches!(byte, b'0'..=b';')).unwrap_or(rest.len());
        let (parameters, intermediates) = rest.split_at(end);
        let well_formed = intermediates.iter().all(|byte| matches!(byte, b' '..=b'/'));
        well_formed.then_some(Self { private, parameters, intermediates, last })
    }

    /// The parameters; one that is left out is 0. Of one with subparameters it
    /// is the first.
    pub fn numbers(&self) -> impl Iterator<Item = u16> + 'a {
        self.parameters.split(|byte| *byte == b';').map(number)
    }

    /// The first parameter.
    pub fn first(&self) -> u16 {
        self.numbers().next().unwrap_or(0)
    }

    /// Whether there are no parameters at all.
    pub fn is_plain(&self) -> bool {
        self.parameters.is_empty()
    }

    /// Which it is, regardless of parameters.
    pub fn kind(&self) -> (u8, &'a [u8], u8) {
        (self.private, self.intermediates, self.last)
    }

    /// All of it, as it was sent.
    pub fn text(&self) -> String {
        let private = Some(self.private).filter(|private| *private != 0);
        let body = [self.parameters, self.intermediates].concat();
        let body = private.into_iter().chain(body).chain([self.last]);
        "\x1b[".chars().chain(body.map(char::from)).collect()
    }

    /// Whether it may pass. The title's stack (22, 23) is for the caller.
    pub fn is_harmless(&self) -> bool {
        match self.kind() {
            // Answers with the title, which the container has set: typed text
            // of its choice (CVE-2003-0063 and kin).
            (0, b"", b't') => !matches!(self.first(), 20 | 21),
            // How titles are set and told; no way to undo it in general.
            (_, b"", b't') => false,
            // To the printer, which is a command in xterm and PuTTY.
            (_, b"", b'i') => false,
            // Checksum of a part of the screen: tells what is on it.
            (_, b"*", b'y') => false,
            // VT52 mode and VT100 level: the sequences mean something else then.
            (b'?', b"", b'h' | b'l') => !self.numbers().any(|mode| mode == 2),
            (_, b"\"", b'p') => false,
            _ => true,
        }
    }
}

/// A number as terminals read it: leading digits, and no overflow.
pub fn number(text: &[u8]) -> u16 {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit());
    digits.fold(0u16, |sum, digit| sum.saturating_mul(10).saturating_add(u16::from(digit - b'0')))
}

/// Whether what stands between `ESC` and its end may pass: what has no
/// intermediate byte, character sets and line sizes. Not `ESC %`, after which
/// bytes of UTF-8 could be controls, nor `ESC SP G`, which makes answers 8-bit.
pub fn is_harmless_escape(body: &[u8]) -> bool {
    match body {
        [_] => true,
        [b'#' | b'(' | b')' | b'*' | b'+' | b'-' | b'.' | b'/', last] => {
            last.is_ascii_alphanumeric() || matches!(last, b'<'..=b'>')
        }
        _ => false,
    }
}

/// The number of an operating system command and what it says, if it may pass.
///
/// A list of what may, not of what may not: terminals invent commands that run
/// programs (ConEmu's 9;7, Emacs' 51), write files (46), the clipboard (52,
/// 5522), fonts (50, CVE-2022-45063) or a working directory (7, 9;9,
/// CVE-2022-44702) faster than they could be listed, and one that a terminal
/// does not know does nothing anyway.
pub fn harmless_osc(body: &[u8]) -> Option<(u16, &[u8])> {
    let end = body.iter().position(|byte| *byte == b';').unwrap_or(body.len());
    let (code, rest) = (&body[..end], body[end..].strip_prefix(b";").unwrap_or_default());
    if code.is_empty() || !code.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let code = number(code);
    let harmless = match code {
        // Titles, links, marks of a shell's prompt, colours back to normal.
        0..=2 | 8 | 104 | 110..=119 | 133 => true,
        // Colours are set, but not asked for: the answer is typed.
        4 | 10..=19 => !rest.split(|byte| *byte == b';').any(|field| field.starts_with(b"?")),
        // Progress (4), or a notification; other numbers are ConEmu's.
        9 => !rest.first().is_some_and(u8::is_ascii_digit) || rest.starts_with(b"4;"),
        _ => false,
    };
    harmless.then_some((code, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequences_are_taken_apart() {
        let csi = Csi::parse(b"?1000;;06$p").unwrap();
        assert_eq!(csi.kind(), (b'?', &b"$"[..], b'p'));
        assert_eq!(csi.numbers().collect::<Vec<_>>(), [1000, 0, 6]);
        assert_eq!(Csi::parse(b"99999:2m").unwrap().first(), u16::MAX);
        assert!(Csi::parse(b"m").unwrap().is_plain());
        for malformed in [&b"2?1t"[..], b"2 1t", b"??1h", b""] {
            assert_eq!(Csi::parse(malformed), None, "{malformed:?}");
        }
    }

    #[test]
    fn what_programs_need_is_harmless() {
        for body in ["6n", "c", ">c", "?1049h", "?2004$p", "18t", "1;31m", "!p", "2 q", "?u"] {
            assert!(Csi::parse(body.as_bytes()).unwrap().is_harmless(), "{body}");
        }
        for body in ["0;a title", "2;?", "8;;http://x/?y", "11;#123456", "104", "133;A", "9;4;1;50"]
        {
            assert!(harmless_osc(body.as_bytes()).is_some(), "{body}");
        }
        assert!([&b"7"[..], b"c", b"(0", b"#8"].into_iter().all(is_harmless_escape));
    }

    #[test]
    fn what_answers_runs_or_tells_is_not() {
        for body in ["20t", "21t", "021;1t", "21:5t", ">2t", "5i", "?5i", "1;1;1;1;9;9*y", "?2l"] {
            assert!(!Csi::parse(body.as_bytes()).unwrap().is_harmless(), "{body}");
        }
        for body in [
            "52;c;Zm9v",
            "052;c;?",
            "50;?",
            "9;9;/tmp",
            "9;7;calc",
            "1337;File=:",
            "4;1;?",
            "10;?",
            "4;1;red;2;?",
            "7;file://h/",
            "51;E",
            "46;/x",
            "5522;",
            "",
            "L",
            "l title",
            "x",
        ] {
            assert!(harmless_osc(body.as_bytes()).is_none(), "{body}");
        }
        assert!(
            ![&b"%G"[..], b"%@", b" G", b"!x", b"$(C", b"([", b""]
                .into_iter()
                .any(is_harmless_escape)
        );
    }
}
