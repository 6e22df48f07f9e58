//! The exit codes of kpexec. The command's own code passes through unchanged.

use kpexec_protocol::Reason;
use rustix::process::Signal;

/// kpexec itself failed, so no statement about the command can be made.
pub const OURS: u8 = 125;
/// The command was found but cannot be executed.
pub const NOT_EXECUTABLE: u8 = 126;
/// The command was not found.
pub const NOT_FOUND: u8 = 127;

/// What a shell reports for a process that a signal ended: 128 + n.
///
/// Numbers that no signal has are a broken peer, not a signal, and never 0.
pub fn of_signal(signal: u32) -> u8 {
    match u8::try_from(signal) {
        Ok(number @ 1..=127) => 128 + number,
        _ => OURS,
    }
}

/// The code after one of our own signals ended kpexec.
pub fn of_own_signal(signal: Signal) -> u8 {
    u32::try_from(signal.as_raw()).map_or(OURS, of_signal)
}

/// The code of a command that exited by itself, as wait(2) gives it.
pub fn of_exit(code: u32) -> u8 {
    u8::try_from(code).unwrap_or(OURS)
}

/// The code for the helper's reason why no command ran.
pub fn of_failure(reason: Reason) -> u8 {
    match reason {
        Reason::NotExecutable => NOT_EXECUTABLE,
        Reason::NotFound => NOT_FOUND,
        Reason::Helper | Reason::Runtime | Reason::Unspecified => OURS,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_codes_pass_through() {
        for code in 0..=255 {
            assert_eq!(u32::from(of_exit(code)), code);
        }
    }

    #[test]
    fn values_outside_wait_2_are_never_a_success() {
        assert_eq!(of_exit(256), 125);
        assert_eq!(of_exit(u32::MAX), 125);
        assert_eq!(of_signal(0), 125);
        assert_eq!(of_signal(128), 125);
        assert_eq!(of_signal(256), 125);
    }

    #[test]
    fn signals_are_128_plus_n() {
        assert_eq!(of_signal(9), 137);
        assert_eq!(of_signal(15), 143);
        assert_eq!(of_own_signal(Signal::INT), 130);
        assert_eq!(of_own_signal(Signal::HUP), 129);
    }

    #[test]
    fn failures_have_the_shells_codes() {
        assert_eq!(of_failure(Reason::NotExecutable), 126);
        assert_eq!(of_failure(Reason::NotFound), 127);
        assert_eq!(of_failure(Reason::Helper), 125);
        assert_eq!(of_failure(Reason::Unspecified), 125);
    }
}
