//! The user's terminal: whether the command gets one, what may reach it, and how
//! it is left.

mod changes;
mod detach;
mod escape;
mod filter;
#[cfg(test)]
mod filter_tests;
mod keyboard;
mod raw_mode;
mod sequence;

use std::os::fd::BorrowedFd;

use kpexec_protocol::WindowSize;
use rustix::stdio::{stderr, stdin, stdout};
use rustix::termios::{isatty, tcgetwinsize};

pub use detach::Detach;
pub use escape::{Action, Escapes, help};
pub use keyboard::split;
pub use raw_mode::{RawMode, discard_input, redo, restore_on_panic, show};

/// Whether the command gets a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// Yes.
    Terminal,
    /// No, as asked for.
    Pipes,
    /// No, although it was asked for: this is none.
    PipesInstead(End),
}

/// An end of this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// stdin.
    Input,
    /// stdout.
    Output,
}

impl End {
    /// kubectl's words, which knows the first of the two only.
    pub fn is_no_terminal(self) -> &'static str {
        match self {
            Self::Input => {
                "Unable to use a TTY - input is not a terminal or the right kind of file"
            }
            Self::Output => {
                "Unable to use a TTY - output is not a terminal or the right kind of file"
            }
        }
    }
}

/// Which of our ends are terminals.
#[derive(Debug, Clone, Copy)]
pub struct Terminals {
    /// stdin.
    pub stdin: bool,
    /// stdout.
    pub stdout: bool,
}

impl Terminals {
    /// As they are.
    pub fn look() -> Self {
        Self { stdin: stdin_is_terminal(), stdout: isatty(stdout()) }
    }
}

/// `-t` without `-i` is no terminal, as with kubectl. `tty` counts: twice is a
/// terminal whatever there is here, as with ssh(1). Once is one only if output
/// goes to a terminal, too: what a command writes to a terminal is no use in a
/// file, with its line ends and colours.
pub fn choose(tty: usize, stdin: bool, terminals: Terminals) -> Choice {
    match (tty, stdin, terminals) {
        (0, _, _) | (_, false, _) => Choice::Pipes,
        (1, true, Terminals { stdin: false, .. }) => Choice::PipesInstead(End::Input),
        (1, true, Terminals { stdout: false, .. }) => Choice::PipesInstead(End::Output),
        _ => Choice::Terminal,
    }
}

/// Whether stdin is a terminal.
pub fn stdin_is_terminal() -> bool {
    isatty(stdin())
}

/// The terminal's size now; a size of 0 by 0 is what the kernel says if nobody
/// has ever set one.
pub fn size() -> WindowSize {
    // stdin is none where a terminal was insisted on.
    let of = |fd: BorrowedFd<'static>| tcgetwinsize(fd).ok();
    let size = [stdin(), stdout(), stderr()].into_iter().find_map(of);
    size.map(|size| WindowSize { rows: size.ws_row.into(), columns: size.ws_col.into() })
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_needs_both_flags_and_two_terminals_or_insistence() {
        use Choice::{Pipes, PipesInstead, Terminal};
        let (input, output) = (PipesInstead(End::Input), PipesInstead(End::Output));
        // By what of stdin and stdout is a terminal: both, stdin, stdout, none.
        for (tty, flag_i, expected) in [
            (0, false, [Pipes; 4]),
            (0, true, [Pipes; 4]),
            (1, false, [Pipes; 4]),
            (1, true, [Terminal, output, input, input]),
            (2, false, [Pipes; 4]),
            (2, true, [Terminal; 4]),
            (3, true, [Terminal; 4]),
        ] {
            let ends = [(true, true), (true, false), (false, true), (false, false)];
            for ((stdin, stdout), expected) in ends.into_iter().zip(expected) {
                let chosen = choose(tty, flag_i, Terminals { stdin, stdout });
                assert_eq!(chosen, expected, "-t {tty} times, -i {flag_i}, {stdin} {stdout}");
            }
        }
    }

    #[test]
    fn the_warning_is_kubectls() {
        let words = "Unable to use a TTY - input is not a terminal or the right kind of file";
        assert_eq!(End::Input.is_no_terminal(), words);
        assert_eq!(End::Output.is_no_terminal(), words.replace("input", "output"));
    }
}
