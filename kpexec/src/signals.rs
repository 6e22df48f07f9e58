//! Signals sent to kpexec: for the command while it runs, for us otherwise.

use std::io;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tokio::signal::unix::{Signal as Stream, SignalKind, signal};
use tokio::sync::mpsc;

use crate::session::Control;

/// The same signal twice within this time is meant for kpexec.
const TWICE: Duration = Duration::from_secs(2);

/// The signals a user or a supervisor ends programs with, or tells them something
/// by. One that we were told to ignore, as nohup(1) does, stays ignored.
pub struct Signals {
    interrupt: Option<Stream>,
    terminate: Option<Stream>,
    hangup: Option<Stream>,
    quit: Option<Stream>,
    user1: Option<Stream>,
    user2: Option<Stream>,
}

impl Signals {
    /// From here on these signals no longer end the process by themselves.
    pub fn listen() -> io::Result<Self> {
        // Where it cannot be read nothing is taken for ignored.
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let ignored = ignored(&status);
        let stream = |number: Signal, kind| {
            let bit = 1 << (number.as_raw() - 1);
            (ignored & bit == 0).then(|| signal(kind)).transpose()
        };
        Ok(Self {
            interrupt: stream(Signal::INT, SignalKind::interrupt())?,
            terminate: stream(Signal::TERM, SignalKind::terminate())?,
            hangup: stream(Signal::HUP, SignalKind::hangup())?,
            quit: stream(Signal::QUIT, SignalKind::quit())?,
            user1: stream(Signal::USR1, SignalKind::user_defined1())?,
            user2: stream(Signal::USR2, SignalKind::user_defined2())?,
        })
    }

    /// Waits for the next signal.
    pub async fn next(&mut self) -> Signal {
        tokio::select! {
            () = received(&mut self.interrupt) => Signal::INT,
            () = received(&mut self.terminate) => Signal::TERM,
            () = received(&mut self.hangup) => Signal::HUP,
            () = received(&mut self.quit) => Signal::QUIT,
            () = received(&mut self.user1) => Signal::USR1,
            () = received(&mut self.user2) => Signal::USR2,
        }
    }

    /// Forwards signals to the command, if there is a way to it; ends with one
    /// that is meant for us.
    pub async fn meant_for_us(&mut self, command: Option<&mpsc::Sender<Control>>) -> Signal {
        let mut insistence = Insistence::default();
        loop {
            let signal = self.next().await;
            let Some(command) = command else { return signal };
            if insistence.insists(signal, Instant::now()) {
                return signal;
            }
            // A full queue means that the helper takes nothing; then only the
            // second signal helps.
            let _ = command.try_send(Control::Signal(signal.as_raw()));
        }
    }
}

async fn received(stream: &mut Option<Stream>) {
    match stream {
        Some(stream) => drop(stream.recv().await),
        None => std::future::pending().await,
    }
}

/// The mask of ignored signals, bit n-1 for number n: proc_pid_status(5).
fn ignored(status: &str) -> u64 {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

/// Remembers the last signal, to tell a second attempt from a first.
#[derive(Default)]
struct Insistence(Option<(Signal, Instant)>);

impl Insistence {
    fn insists(&mut self, signal: Signal, now: Instant) -> bool {
        // Sent as often as there is something to tell.
        if matches!(signal, Signal::USR1 | Signal::USR2) {
            return false;
        }
        let before = self.0.replace((signal, now));
        matches!(before, Some((last, at)) if last == signal && now - at <= TWICE)
    }
}

/// Reports the terminal's size and every new one, as long as anybody listens.
pub async fn follow_size(control: mpsc::Sender<Control>) -> io::Result<()> {
    let mut changes = signal(SignalKind::window_change())?;
    // Once at the start: it may have changed since the session asked for it.
    while control.send(Control::Resize(crate::terminal::size())).await.is_ok() {
        if changes.recv().await.is_none() {
            break;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nohup_ignores_is_read() {
        // HUP is 1, PIPE is 13.
        assert_eq!(ignored("Name:\tkpexec\nSigIgn:\t0000000000001001\n"), 1 | 1 << 12);
        assert_eq!(ignored(""), 0);
    }

    #[test]
    fn the_same_signal_twice_at_once_is_for_us() {
        let start = Instant::now();
        let mut insistence = Insistence::default();
        assert!(!insistence.insists(Signal::INT, start));
        assert!(insistence.insists(Signal::INT, start + TWICE));
        // These are never meant to end anything.
        assert!(!insistence.insists(Signal::USR1, start));
        assert!(!insistence.insists(Signal::USR1, start));
        // Slow repeats and different signals are the command's.
        let mut insistence = Insistence::default();
        assert!(!insistence.insists(Signal::INT, start));
        assert!(!insistence.insists(Signal::TERM, start + TWICE / 2));
        assert!(!insistence.insists(Signal::TERM, start + TWICE * 2));
    }
}
