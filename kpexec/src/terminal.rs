//! The user's terminal: raw while a session has it, itself again on every way
//! out: when the guard is dropped, on a panic, and on signals.

use std::io;
use std::sync::{Mutex, PoisonError};

use kpexec_protocol::WindowSize;
use rustix::termios::{OptionalActions, Termios, isatty, tcgetattr, tcgetwinsize, tcsetattr};

/// The state to go back to. Global, because the panic hook has nothing else.
static SAVED: Mutex<Option<Termios>> = Mutex::new(None);

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

/// Raw mode, for as long as this lives.
pub struct RawMode(());

impl RawMode {
    /// Switches the terminal on stdin to raw mode: every key is the command's.
    pub fn enter() -> io::Result<Self> {
        let stdin = rustix::stdio::stdin();
        let before = tcgetattr(stdin)?;
        let mut raw = before.clone();
        raw.make_raw();
        *SAVED.lock().unwrap_or_else(PoisonError::into_inner) = Some(before);
        let guard = Self(());
        tcsetattr(stdin, OptionalActions::Drain, &raw)?;
        Ok(guard)
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        restore();
    }
}

/// Restores the terminal before the panic's message is printed, and whatever
/// becomes of the thread.
pub fn restore_on_panic() {
    let default = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        restore();
        default(info);
    }));
}

fn restore() {
    let saved = SAVED.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(before) = saved {
        // Now, not after draining: output may be stopped for ever (^S). A
        // terminal that is gone needs no restoring.
        let _ = tcsetattr(rustix::stdio::stdin(), OptionalActions::Now, &before);
    }
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

    /// Set for the copy of this test binary that runs in the terminal.
    const INSIDE: &str = "KPEXEC_TEST_INSIDE_A_TERMINAL";

    #[test]
    fn a_panic_restores_the_terminal() {
        if std::env::var_os(INSIDE).is_some() {
            restore_on_panic();
            let raw = RawMode::enter().unwrap();
            assert!(!is_cooked(rustix::stdio::stdin()), "raw mode does nothing");
            // As a bug would: not caught by anybody, the guard never dropped.
            std::mem::forget(raw);
            panic!("on purpose");
        }
        let flags = rustix::pty::OpenptFlags::RDWR | rustix::pty::OpenptFlags::NOCTTY;
        let master = rustix::pty::openpt(flags).unwrap();
        rustix::pty::unlockpt(&master).unwrap();
        let slave = rustix::pty::ioctl_tiocgptpeer(&master, flags).unwrap();
        assert!(is_cooked(&slave));
        let copy = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "terminal::tests::a_panic_restores_the_terminal"])
            .env(INSIDE, "1")
            .stdin(slave.try_clone().unwrap())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&copy.stdout).into_owned();
        assert!(said.contains("on purpose"), "it did not get as far as the panic: {said}");
        assert!(is_cooked(&slave), "still raw after the panic");
    }

    fn is_cooked(terminal: impl rustix::fd::AsFd) -> bool {
        let modes = tcgetattr(terminal).unwrap().local_modes;
        modes.contains(rustix::termios::LocalModes::ICANON | rustix::termios::LocalModes::ECHO)
    }
}
