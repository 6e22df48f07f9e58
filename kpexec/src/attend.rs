//! A session, connected with the terminal or the pipes here.

use bytes::Bytes;
use kpexec_protocol::{Started, WindowSize};
use tokio::sync::mpsc::{self, UnboundedReceiver};

use crate::banner;
use crate::cli::Cli;
use crate::local_io::{spawn_output, spawn_stdin};
use crate::report;
use crate::run::{RunError, local};
use crate::session::{self, Control, Local, Session, SessionError};
use crate::signals::{Signals, follow_size};
use crate::target::Target;
use crate::terminal::{self, Action, Escapes, RawMode};

/// What a shell reports for a program that wrote to a closed pipe: 128 + SIGPIPE.
const BROKEN_PIPE: u8 = 141;

/// This end.
pub struct Here<'a> {
    /// What was asked for.
    pub cli: &'a Cli,
    /// The container.
    pub target: &'a Target,
    /// Whether the command has a terminal.
    pub tty: bool,
}

impl Here<'_> {
    fn announce(&self, started: &Started) {
        let Cli { quiet, verbose, .. } = *self.cli;
        if self.tty && self.cli.is_shell() && !quiet {
            let lines = banner::lines(self.target, started, self.cli);
            lines.iter().for_each(|line| report::notice(line));
        }
        report::started(started, quiet, verbose);
    }

    /// What comes from stdin, and what of it is for us.
    fn keyboard(&self) -> (Option<mpsc::Receiver<Bytes>>, Option<UnboundedReceiver<Action>>) {
        let stdin = self.cli.stdin.then(spawn_stdin);
        match stdin {
            Some(keys) if self.tty && terminal::stdin_is_terminal() => {
                let (keys, actions) = terminal::split(keys, Escapes::new(self.escape_character()));
                (Some(keys), Some(actions))
            }
            stdin => (stdin, None),
        }
    }

    fn escape_character(&self) -> Option<u8> {
        self.cli.escape_char.0
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
                        let lines = self.escape_character().map(terminal::help);
                        lines.iter().flatten().for_each(|line| report::in_raw_mode(line));
                    }
                    // A terminal that is gone ends the session in another way.
                    Action::Suspend => {
                        drop(raw.map(RawMode::suspend));
                        draw_anew(control).await;
                    }
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
        // Before raw mode, in which a line feed would not return to column one.
        self.announce(&session.started);
        let (control, controlled) = mpsc::channel(16);
        let (output, written) = spawn_output();
        let raw = self.tty.then(|| RawMode::enter(self.cli.raw_terminal)).transpose();
        let raw = raw.map_err(|source| local("switch the terminal to raw mode", source))?;
        if self.tty {
            tokio::spawn(follow_size(control.clone()));
        }
        let (stdin, actions) = self.keyboard();
        let relayed = tokio::select! {
            code = session::relay(&mut session, Local { stdin, control: controlled, output }) => code,
            // With a terminal keys come as bytes, so a signal is always for us.
            signal = signals.meant_for_us((!self.tty).then_some(&control)) => {
                return Err(RunError::Interrupted(signal));
            }
            () = self.until_left(actions, raw.as_ref(), &control) => return Err(RunError::Left),
        };
        // What was received last must be written before the exit code is given.
        let written = tokio::select! {
            written = written => written.unwrap_or(Ok(())),
            signal = signals.next() => return Err(RunError::Interrupted(signal)),
        };
        drop(raw);
        // Even with -q: they say what is lost.
        session.notices.iter().for_each(|text| report::notice(text));
        match (relayed?, written) {
            (_, Err(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(BROKEN_PIPE),
            (_, Err(error)) => Err(SessionError::Output(error).into()),
            (Some(code), Ok(())) => Ok(code),
            (None, Ok(())) => Err(SessionError::Protocol("output was cut short").into()),
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
