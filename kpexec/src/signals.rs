//! Signals sent to kpexec: for the command while it runs, for us otherwise.

use std::io;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tokio::signal::unix::{Signal as Stream, SignalKind, signal};
use tokio::sync::mpsc;

use crate::session::Control;

/// The same signal twice within this time is meant for kpexec.
const TWICE: Duration = Duration::from_secs(2);

/// The signals a user or a supervisor ends programs with.
pub struct Signals {
    interrupt: Stream,
    terminate: Stream,
    hangup: Stream,
    quit: Stream,
}

impl Signals {
    /// From here on these signals no longer end the process by themselves.
    pub fn listen() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
            quit: signal(SignalKind::quit())?,
        })
    }

    /// Waits for the next signal.
    pub async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.interrupt.recv() => Signal::INT,
            _ = self.terminate.recv() => Signal::TERM,
            _ = self.hangup.recv() => Signal::HUP,
            _ = self.quit.recv() => Signal::QUIT,
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

/// Remembers the last signal, to tell a second attempt from a first.
#[derive(Default)]
struct Insistence(Option<(Signal, Instant)>);

impl Insistence {
    fn insists(&mut self, signal: Signal, now: Instant) -> bool {
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
    fn the_same_signal_twice_at_once_is_for_us() {
        let start = Instant::now();
        let mut insistence = Insistence::default();
        assert!(!insistence.insists(Signal::INT, start));
        assert!(insistence.insists(Signal::INT, start + TWICE));
        // Slow repeats and different signals are the command's.
        let mut insistence = Insistence::default();
        assert!(!insistence.insists(Signal::INT, start));
        assert!(!insistence.insists(Signal::TERM, start + TWICE / 2));
        assert!(!insistence.insists(Signal::TERM, start + TWICE * 2));
    }
}
