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

use kpexec_protocol::WindowSize;
use rustix::termios::{isatty, tcgetwinsize};

pub use detach::Detach;
pub use escape::{Action, Escapes, help};
pub use keyboard::split;
pub use raw_mode::{RawMode, discard_input, restore_on_panic, show};

/// kubectl's words.
pub const NOT_A_TERMINAL: &str =
    "Unable to use a TTY - input is not a terminal or the right kind of file";

/// Whether the command gets a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// Yes.
    Terminal,
    /// No, as asked for.
    Pipes,
    /// No, although it was asked for: stdin is none.
    PipesInstead,
}

/// kubectl's rules: `-t` without `-i` is no terminal, and only stdin counts, so
/// that output can go to a file.
pub fn choose(tty: bool, stdin: bool, stdin_is_terminal: bool) -> Choice {
    match (tty && stdin, stdin_is_terminal) {
        (false, _) => Choice::Pipes,
        (true, true) => Choice::Terminal,
        (true, false) => Choice::PipesInstead,
    }
}

/// Whether stdin is a terminal.
pub fn stdin_is_terminal() -> bool {
    isatty(rustix::stdio::stdin())
}

/// The terminal's size now; a size of 0 by 0 is what the kernel says if nobody
/// has ever set one.
pub fn size() -> WindowSize {
    let size = tcgetwinsize(rustix::stdio::stdin());
    size.map(|size| WindowSize { rows: size.ws_row.into(), columns: size.ws_col.into() })
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_needs_both_flags_and_a_terminal() {
        assert_eq!(choose(true, true, true), Choice::Terminal);
        assert_eq!(choose(true, true, false), Choice::PipesInstead);
        for stdin_is_terminal in [true, false] {
            assert_eq!(choose(true, false, stdin_is_terminal), Choice::Pipes);
            assert_eq!(choose(false, true, stdin_is_terminal), Choice::Pipes);
            assert_eq!(choose(false, false, stdin_is_terminal), Choice::Pipes);
        }
    }
}
