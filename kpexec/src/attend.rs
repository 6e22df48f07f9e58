//! A session, connected with the terminal or the pipes here.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kpexec_protocol::WindowSize;
use rustix::process::Signal;
use tokio::sync::mpsc::{self, UnboundedReceiver};

use crate::cli::Cli;
use crate::local_io::{Written, spawn_output, spawn_stdin};
use crate::report;
use crate::run::{RunError, local};
use crate::session::{self, Control, Ended, Local, Progress, Session, SessionError};
use crate::signals::{Signals, follow_size};
use crate::terminal::{self, Action, Detach, Escapes, RawMode};

/// What a shell reports for a program that wrote to a closed pipe: 128 + SIGPIPE.
const BROKEN_PIPE: u8 = 141;

/// This end.
pub struct Here {
    /// Whether the command has a terminal.
    pub tty: bool,
    /// Whether it gets our stdin.
    pub stdin: bool,
    /// Whether what it shows is not filtered.
    pub raw_terminal: bool,
    /// What begins an escape sequence.
    pub escape_character: Option<u8>,
    /// The keys that leave the session, if it can be left.
    pub detach_keys: Option<Vec<u8>>,
    /// The session's name, if it can be come back to.
    pub name: Option<String>,
    /// The flags that lead to its helper.
    pub cluster: String,
}

impl Here {
    /// As the flags of a session say; `name` is that of one that can be come back
    /// to.
    pub fn new(cli: &Cli, tty: bool, name: Option<String>) -> Self {
        Self {
            tty,
            stdin: cli.stdin,
            raw_terminal: cli.raw_terminal,
            escape_character: cli.escape_char.0,
            detach_keys: name.as_ref().map(|_| cli.detach.detach_keys.0.clone()),
            name,
            cluster: cli.cluster.typed(),
        }
    }

    /// Of a session that was lost, and waits.
    pub fn say_how_to_return(&self, linger: Option<Duration>, result: &Result<u8, RunError>) {
        let lost = matches!(result, Err(RunError::Session(SessionError::Lost(_))));
        if let (true, Some(linger), Some(name)) = (lost, linger, &self.name) {
            let seconds = linger.as_secs();
            let way = &self.cluster;
            report::notice(&format!(
                "the session is kept for {seconds} s: kpexec attach {way}{name}"
            ));
        }
    }

    /// What comes from stdin, and what of it is for us.
    fn keyboard(&self) -> (Option<mpsc::Receiver<Bytes>>, Option<UnboundedReceiver<Action>>) {
        let stdin = self.stdin.then(spawn_stdin);
        match stdin {
            Some(keys) if self.tty && terminal::stdin_is_terminal() => {
                let detach = Detach::new(self.detach_keys.clone().unwrap_or_default());
                let (keys, actions) =
                    terminal::split(keys, Escapes::new(self.escape_character), detach);
                (Some(keys), Some(actions))
            }
            stdin => (stdin, None),
        }
    }

    /// Does what the keyboard wants of us; ends when that is to leave.
    async fn until_left(
        &self,
        actions: Option<UnboundedReceiver<Action>>,
        raw: Option<&RawMode>,
        control: &mpsc::Sender<Control>,
    ) {
        if let Some(mut actions) = actions {
            while let Some(action) = actions.recv().await {
                match action {
                    Action::End => return,
                    Action::Help => {
                        let lines = self.escape_character.map(terminal::help);
                        lines.iter().flatten().for_each(|line| report::in_raw_mode(line));
                    }
                    // A terminal that is gone ends the session in another way.
                    Action::Suspend => {
                        drop(raw.map(RawMode::suspend));
                        draw_anew(control).await;
                    }
                    Action::Detach if self.name.is_none() => {
                        report::in_raw_mode("this session cannot be left running");
                    }
                    // A full queue is a session that hangs: ~. ends it.
                    Action::Detach => drop(control.try_send(Control::Detach)),
                }
            }
        }
        std::future::pending().await
    }

    /// Connects the session with the terminal or the pipes here, to its end.
    pub async fn attend(
        &self,
        mut session: Session,
        signals: &mut Signals,
    ) -> Result<u8, RunError> {
        let (control, controlled) = mpsc::channel(16);
        let progress = self.name.as_deref().and_then(Progress::open).map(Arc::new);
        let resumed = session.started.resumed.as_ref();
        let (first, again) = (resumed.map_or(0, |resumed| resumed.output), resumed.is_some());
        // What another session of the same name has left there is no longer true.
        progress.iter().for_each(|progress| progress.set(first));
        let (output, written) = spawn_output(first, progress.clone());
        let Written { bytes, end: written } = written;
        // Before raw mode, in which a line feed would not return to column one,
        // all has been announced.
        let raw = self.tty.then(|| RawMode::enter(self.raw_terminal)).transpose();
        let raw = raw.map_err(|source| local("switch the terminal to raw mode", source))?;
        if self.tty {
            tokio::spawn(follow_size(control.clone()));
        }
        if self.tty && again {
            let control = control.clone();
            tokio::spawn(async move { draw_anew(&control).await });
        }
        let (stdin, actions) = self.keyboard();
        let written_bytes = self.name.is_some().then_some(bytes);
        let local = Local { stdin, control: controlled, output, written: written_bytes };
        let relayed = tokio::select! {
            ended = session::relay(&mut session, local) => Ok(ended),
            // With a terminal keys come as bytes, so a signal is always for us.
            signal = signals.meant_for_us((!self.tty).then_some(&control)) => {
                Err(RunError::Interrupted(signal))
            }
            () = self.until_left(actions, raw.as_ref(), &control) => Err(RunError::Left),
        };
        let relayed = match relayed {
            Ok(ended) => ended,
            Err(error) => {
                // A terminal that hangs up is a client that is lost.
                let lost = matches!(error, RunError::Interrupted(Signal::HUP));
                if self.name.is_some() && !lost {
                    session.end().await;
                }
                return Err(error);
            }
        };
        // What was received last must be written before the exit code is given.
        let written = tokio::select! {
            written = written => {
                written.unwrap_or_else(|_| Err(io::Error::other("what writes it has ended")))
            }
            signal = signals.next() => {
                if self.name.is_some() && signal != Signal::HUP {
                    session.end().await;
                }
                return Err(RunError::Interrupted(signal));
            }
        };
        drop(raw);
        // Even with -q: they say what is lost.
        session.notices.iter().for_each(|text| report::notice(text));
        let ended = matches!(relayed, Ok(Ended::Command(_)));
        if self.name.is_some() && (ended || matches!(relayed, Err(SessionError::Refused(_)))) {
            session.end().await;
        }
        // One that was taken over by another client goes on.
        if let Some(progress) = progress.filter(|_| ended) {
            progress.remove();
        }
        match (relayed?, written) {
            (_, Err(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(BROKEN_PIPE),
            (_, Err(error)) => Err(SessionError::Output(error).into()),
            (Ended::Command(code), Ok(())) => Ok(code),
            (Ended::Detached, Ok(())) => {
                let name = self.name.as_deref().unwrap_or_default();
                let way = &self.cluster;
                report::notice(&format!("left running: kpexec attach {way}{name} goes on with it"));
                Ok(0)
            }
            (Ended::Unwanted, Ok(())) => Err(SessionError::Protocol("output was cut short").into()),
        }
    }
}

/// Makes the command draw its screen anew: a size that is no change is not told to
/// it (TIOCSWINSZ). The window may have another one by now, too: a process that is
/// stopped hears of none.
async fn draw_anew(control: &mpsc::Sender<Control>) {
    let size = terminal::size();
    let other = WindowSize { rows: size.rows + 1, ..size };
    for size in [other, size] {
        // A session that is over draws nothing.
        let _over = control.send(Control::Resize(size)).await;
    }
}
