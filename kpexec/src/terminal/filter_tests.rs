//! What passes the filter, what does not, and what is undone at the end; with
//! another project's parser to say what a terminal would have understood.

use anstyle_parse::{Params, Parser, Perform, Utf8Parser};

use super::filter::Filter;

fn pass(bytes: &[u8]) -> Vec<u8> {
    Filter::new(false).pass(bytes)
}

fn undone(bytes: &str) -> String {
    let mut filter = Filter::new(false);
    filter.pass(bytes.as_bytes());
    String::from_utf8(filter.undo()).unwrap()
}

#[test]
fn what_programs_send_is_untouched() {
    for text in [
        "plain\r\n\ttext\x07\x08",
        "Grüße, 世界 🐟 ✓✔❛❝ \u{a0}ÿ",
        // vim, less and htop on xterm: start, colours, questions, the end.
        "\x1b[?1049h\x1b[22;0;0t\x1b[>4;2m\x1b[?1h\x1b=\x1b[?2004h\x1b[?1004h\x1b[1;24r\x1b[27m\x1b[m\
         \x1b[H\x1b[2J\x1b[?12h\x1b[?12l\x1b[>c\x1b[6n\x1b[?2026$p\x1b(0lqk\x1b(B\x1b[38;2;1;2;3m\
         \x1b[4:3m\x1b[2 q\x1b[?1006;1000h\x1b[?1006;1000l\x1b[23;0;0t\x1b[?1049l\x1b[?25h\x1b>",
        "\x1b7\x1b8\x1bM\x1bc\x1b[!p\x1b#8\x1b[3g\x1bH\x1b[c\x1b[0c\x1b[18t\x1b[8;24;80t",
        "\x1b]8;id=1;https://example.com/?q\x1b\\link\x1b]8;;\x07\x1b]133;A\x1b\\\x1b]11;#000000\x07",
        "next line\u{85}",
    ] {
        assert_eq!(String::from_utf8_lossy(&pass(text.as_bytes())), text);
    }
    assert_eq!(pass(b"latin-1: caf\xe9 \xc2\x85\x85"), b"latin-1: caf\xe9 \xc2\x85\x85");
    // The 8-bit forms become what they mean.
    assert_eq!(pass(b"\x9b1m\xc2\x9bm\x9d0;t\x9c"), b"\x1b[1m\x1b[m\x1b[22;0t\x1b]0;t\x1b\\");
}

#[test]
fn what_attacks_is_dropped_however_it_is_written() {
    for attack in [
        &b"\x1b]52;c;Zm9v\x07"[..],
        b"\x1b]52;c;?\x1b\\",
        b"\x9d52;c;?\x9c",
        b"\xc2\x9d52;c;?\xc2\x9c",
        b"\x1b]50;?\x07",
        b"\x1b]4;1;?\x07\x1b]10;?\x1b\\",
        b"\x1b]9;9;C:\\\x07\x1b]1337;File=:\x07",
        b"\x1bP$qm\x1b\\",
        b"\x90+q544e\x9c",
        b"\xc2\x90q#0;2;0;0;0\x07~~\xc2\x9c",
        b"\x1bPtmux;\x1b\x1b]52;c;Zm9v\x07\x1b\\",
        b"\x1b_Gi=1,a=q;AAAA\x1b\\\x1b^x\x1b\\\x1bXy\x1b\\\x1bktitle\x1b\\",
        b"\x9fapc\x9c\x9epm\x9c\x98sos\x9c",
        b"\x1b[21t\x1b[20t\x1b[0021;t\x1b[5i\x1b[?2l\x1b%@\x1b G\x05",
        b"\x1b]R\x1b]P0ff0000",
        // Obscured: another sequence within, an abort, an overlong `9B`.
        b"\x1b]0;\x1b]52;c;Zm9v\x07",
        b"\x1b[2\x1b[21t",
        b"\x1b\x1b[21t",
    ] {
        let passed = [&pass(&[attack, b"text"].concat())[..], b""].concat();
        assert_eq!(passed, b"text", "{:?}", String::from_utf8_lossy(attack));
    }
    // Controls within a sequence are obeyed, the rest is not seen.
    assert_eq!(pass(b"\x1b[2\n1t"), b"\n");
    assert_eq!(pass(b"\xe0\x82\x9b21tx"), b"\xe0\x82x");
    // To a terminal that does not know 8-bit controls this would be one OSC.
    assert_eq!(pass(b"\x1b]4;1;red\x9c;2;?\x07"), b"\x1b]4;1;red\x1b\\;2;?\x07");
}

#[test]
fn the_unfinished_and_the_endless_are_held_within_bounds() {
    assert_eq!(pass(b"a\x1b]52;c;Zm9v"), b"a");
    assert_eq!(pass(b"a\x1b[3"), b"a");
    let long = |length: usize| format!("\x1b]2;{}\x07end", "x".repeat(length)).into_bytes();
    assert!(pass(&long(4000)).len() > 4000);
    assert_eq!(pass(&long(5000)), b"end");
    assert_eq!(pass(&[b"\x1b[", &b"1;"[..].repeat(5000)[..], b"mend"].concat()), b"end");
    // A string that never ends ends where it would in a terminal.
    assert_eq!(pass(b"\x1bPnever\x1b[1mend"), b"\x1b[1mend");
    assert_eq!(pass(b"\x1b]52;never\x18end"), b"\x18end");
}

#[test]
fn unfiltered_is_untouched_and_still_undone() {
    let mut filter = Filter::new(true);
    let bytes = b"\x1b]52;c;Zm9v\x07\x1b]0;title\x07\x1b[?25l";
    assert_eq!(filter.pass(bytes), bytes);
    assert_eq!(filter.undo(), b"\x1b[?25h");
}

#[test]
fn only_what_is_left_on_is_undone() {
    for text in [
        "text\x1b[6n",
        "\x1b[?1049h\x1b[?1049l\x1b[?25l\x1b[?25h\x1b[?1000;1006h\x1b[?1006;1000l\x1b[?2004h\x1b[?2004l",
        "\x1b[?47h\x1b[?1049l\x1b[31m\x1b[0m\x1b[1;5r\x1b[r\x1b(0\x1b(B\x0e\x0f\x1b=\x1b>",
        "\x1b[>1u\x1b[<u\x1b[>4;2m\x1b[>4m\x1b[3 q\x1b[ q\x1b]8;;http://x\x07\x1b]8;;\x07",
        "\x1b[?1049h\x1b[?1003h\x1b[31m\x1b]4;1;red\x07\x1bc",
        "\x1b[22;0;0t\x1b]0;x\x07\x1b[23;0;0t\x1b]11;red\x07\x1b]111\x07",
    ] {
        assert_eq!(undone(text), "", "{text:?}");
    }
    for (text, undo) in [
        ("\x1b[?1049h\x1b[31m\x1b[?25l", "\x1b[?1049l\x1b[?25h\x1b[m"),
        ("\x1b[?1000;1006h\x1b[?1000l", "\x1b[?1006l"),
        ("\x1b[?1003s\x1b[?1003r\x1b[?7l\x1b[4h\x1b[12l", "\x1b[4l\x1b[12h\x1b[?7h\x1b[?1003l"),
        ("\x1b[?47h\x1b[?1047h", "\x1b[?1047l"),
        ("\x1b[>1u\x1b[?1049h", "\x1b[<1u\x1b[?1049l\x1b[<1u"),
        ("\x1b[?6h\x1b[2;5r\x1b(0", "\x1b[?6l\x1b[999;1H\x1b(B\x1b7\x1b[r\x1b8"),
        ("\x1b]10;red;blue\x07\x1b]4;1;red\x07", "\x1b]104\x1b\\\x1b]110\x1b\\\x1b]111\x1b\\"),
    ] {
        assert_eq!(undone(text), undo, "{text:?}");
    }
}

#[test]
fn what_is_undone_for_a_while_comes_back() {
    for (text, redo) in [
        ("text\x1b[?1049h\x1b[?1049l\x1b[31m\x1b[0m\x1b[?25l\x1b[?25h", ""),
        // As of vim: application keys, alternate screen, pasting, mouse.
        (
            "\x1b[?1049h\x1b[?1h\x1b=\x1b[?2004h\x1b[?1006;1002h\x1b[?25l\x1b[1;31m",
            "\x1b[?1049h\x1b[?1h\x1b[?25l\x1b[?1002h\x1b[?1006h\x1b[?2004h\x1b=\x1b[1;31m",
        ),
        ("\x1b[2;5r\x1b(0\x0e\x1b[5 q", "\x0e\x1b(0\x1b7\x1b[2;5r\x1b8\x1b[5 q"),
        ("\x1b[>1u\x1b[>5u\x1b[>4;2m", "\x1b[>5u\x1b[>5u\x1b[>4;2m"),
        ("\x1b]11;red\x07\x1b]8;;http://x\x07", "\x1b]11;red\x1b\\\x1b]8;;http://x\x1b\\"),
        ("\x1b[4h\x1b[12l\x1b[?7l", "\x1b[4h\x1b[12l\x1b[?7l"),
    ] {
        let mut filter = Filter::default();
        filter.pass(text.as_bytes());
        let again = String::from_utf8(filter.redo()).unwrap();
        assert_eq!(again, redo, "{text:?}");
        // Doing it again leaves the same to be undone.
        let mut second = Filter::default();
        assert_eq!(second.pass(again.as_bytes()), again.as_bytes(), "{text:?} is held back");
        assert_eq!(second.undo_for_now(), filter.undo_for_now(), "{text:?}");
    }
}

#[test]
fn the_users_title_is_saved_before_the_first_and_cannot_be_lost() {
    assert_eq!(pass(b"\x1b]0;a\x07\x1b]2;b\x07"), b"\x1b[22;0t\x1b]0;a\x07\x1b]2;b\x07");
    assert_eq!(undone("\x1b]0;a\x07"), "\x1b[23;0t");
    // It is the session's business how often it saves, within bounds.
    assert_eq!(undone("\x1b[22;0;0t\x1b]0;a\x07\x1b[22t"), "\x1b[23;0t\x1b[23;0t");
    assert_eq!(undone(&"\x1b[22t".repeat(100)), "\x1b[23;0t".repeat(8));
    assert_eq!(pass(b"\x1b[23;0t\x1b[22;0;1t\x1b[22;1t\x1b[23;2t"), b"");
    // vim's, of the window's title alone.
    assert_eq!(
        pass(b"\x1b[22;2t\x1b]2;b\x07\x1b[23;2t"),
        b"\x1b[22;0t\x1b[22;2t\x1b]2;b\x07\x1b[23;2t"
    );
    // Restored by the session, and then changed once more: saved once more.
    let again = b"\x1b]0;a\x07\x1b[23t\x1b]0;b\x07";
    assert_eq!(pass(again), b"\x1b[22;0t\x1b]0;a\x07\x1b[23t\x1b[22;0t\x1b]0;b\x07");
}

/// What a terminal would have done that it must not.
#[derive(Default)]
struct Forbidden(Vec<String>);

impl Perform for Forbidden {
    fn hook(&mut self, _: &Params, _: &[u8], _: bool, action: u8) {
        self.0.push(format!("DCS {action}"));
    }

    fn osc_dispatch(&mut self, params: &[&[u8]], _: bool) {
        let code = String::from_utf8_lossy(params.first().unwrap_or(&&b""[..]));
        let code = code.trim_start_matches('0');
        let question = params.iter().skip(1).any(|field| field.starts_with(b"?"));
        let known = ["", "1", "2", "8", "9", "104", "133"].contains(&code);
        let colour = code == "4" || (code.len() == 2 && code.starts_with('1'));
        if !(known || (colour && !question)) {
            self.0.push(format!("OSC {code}"));
        }
    }

    fn csi_dispatch(&mut self, params: &Params, marks: &[u8], _: bool, action: u8) {
        let first = params.iter().next().and_then(|param| param.first()).copied();
        let plain = marks.iter().all(|mark| matches!(mark, b'<'..=b'?'));
        let tells = action == b'i' || (action == b't' && matches!(first, Some(20 | 21)));
        if plain && tells {
            self.0.push(format!("CSI {first:?} {action}"));
        }
    }

    fn esc_dispatch(&mut self, intermediates: &[u8], _: bool, byte: u8) {
        if intermediates == b"%" || intermediates == b" " {
            self.0.push(format!("ESC {intermediates:?} {byte}"));
        }
    }
}

fn forbidden(bytes: &[u8]) -> Vec<String> {
    let mut parser = Parser::<Utf8Parser>::new();
    let mut found = Forbidden::default();
    bytes.iter().for_each(|byte| parser.advance(&mut found, *byte));
    found.0
}

/// xorshift: the same every time.
struct Random(u32);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        self.0 as usize % limit
    }

    /// Bytes of which many make sequences, whole, broken and nested.
    fn bytes(&mut self) -> Vec<u8> {
        const PIECES: &[&[u8]] = &[
            b"\x1b",
            b"[",
            b"]",
            b"P",
            b"\\",
            b"\x1b[",
            b"\x1b]",
            b"\x1bP",
            b"\x1b\\",
            b"\x07",
            b"\x9b",
            b"\x9d",
            b"\x90",
            b"\x9c",
            b"\xc2",
            b"\xc2\x9b",
            b"\xc2\x9d",
            b"\xe2\x9c\x93",
            b"\xf0\x9f",
            b"\xe0",
            b"0",
            b"2",
            b"52",
            b"21",
            b"1049",
            b"?",
            b">",
            b";",
            b"h",
            b"t",
            b"m",
            b"i",
            b"\n",
            b"\x18",
            b"%",
            b" ",
            b"G",
            b"_",
            b"^",
            b"X",
            b"k",
            b"text",
            b"c;",
            b"8",
            b"4;1;",
            b"10;?",
        ];
        let mut bytes = Vec::new();
        for _ in 0..self.below(60) {
            match self.below(12) {
                0 => bytes.push(self.below(256) as u8),
                _ => bytes.extend_from_slice(PIECES[self.below(PIECES.len())]),
            }
        }
        bytes
    }
}

#[test]
fn random_bytes_cut_anywhere_never_attack() {
    let mut random = Random(20_260_801);
    let mut attacks = 0;
    for _ in 0..100_000 {
        let bytes = random.bytes();
        let mut filter = Filter::new(false);
        let whole = filter.pass(&bytes);
        let mut cut = Filter::new(false);
        let (first, rest) = bytes.split_at(random.below(bytes.len() + 1));
        let (second, third) = rest.split_at(random.below(rest.len() + 1));
        let pieces = [first, second, third].map(|piece| cut.pass(piece)).concat();
        assert!(pieces == whole, "{:?}", bytes.escape_ascii().to_string());
        assert_eq!(cut.undo(), filter.undo());

        attacks += forbidden(&bytes).len();
        let shown = || bytes.escape_ascii().to_string();
        assert_eq!(forbidden(&whole), [""; 0], "{}", shown());
        // What one filter passes another would: nothing is put together anew.
        // (The dot ends a character that is cut off.)
        let again = [&whole[..], b"."].concat();
        let twice = pass(&again);
        assert!(twice == again, "{}: {} {}", shown(), again.escape_ascii(), twice.escape_ascii());
        for start in [&b"\x1bP"[..], b"\x1bX", b"\x1b^", b"\x1b_", b"\x1bk", b"\x1b%"] {
            assert!(!whole.windows(2).any(|two| two == start), "{}", shown());
        }
        for chunk in whole.utf8_chunks() {
            let begin = |code| matches!(code, 0x90 | 0x98 | 0x9b | 0x9d..=0x9f);
            assert!(!chunk.valid().chars().any(|c| begin(u32::from(c))), "{}", shown());
            let alone = chunk.invalid().len() == 1 && begin(chunk.invalid()[0].into());
            assert!(!alone, "{}", shown());
        }
    }
    assert!(attacks > 10_000, "the bytes attack too seldom: {attacks}");
}

#[test]
fn random_text_is_identical() {
    let mut random = Random(47);
    for _ in 0..20_000 {
        let text: String = (0..random.below(40))
            .filter_map(|_| char::from_u32(random.below(0x11_0000) as u32))
            .filter(|character| !character.is_control() || "\n\t\r".contains(*character))
            .collect();
        assert_eq!(pass(text.as_bytes()), text.as_bytes());
    }
}
