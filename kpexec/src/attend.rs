//! A session, connected with the terminal or the pipes here.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kpexec_protocol::WindowSize;
use rustix::process::Signal;
use tokio::sync::mpsc::{self, UnboundedReceiver};
use tokio::sync::oneshot;

use crate::cli::{Cli, program};
use crate::local_io::{Stdin, Written, spawn_output, spawn_stdin};
use crate::report;
use crate::run::{RunError, local};
use crate::session::{self, Control, Ended, Local, Progress, Session, SessionError};
use crate::signals::{Signals, follow_size};
use crate::terminal::{self, Action, Detach, Escapes, RawMode};
use crate::transport::End;

/// What a shell reports for a program that wrote to a closed pipe: 128 + SIGPIPE.
const BROKEN_PIPE: u8 = 141;

/// How soon a program has looked at the size of its terminal that has changed, also
/// on a busy node.
const LOOK: Duration = Duration::from_millis(250);

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
    /// The session's name, or why nobody can come back to it.
    pub name: Result<String, &'static str>,
    /// The flags that lead to its helper.
    pub cluster: String,
}

/// Why a session ends with its client, if it is not kept.
fn bound(cli: &Cli) -> &'static str {
    if cli.local.local {
        "with --local its helper ends with kpexec"
    } else if cli.rm {
        "with --rm its helper pod is deleted at the end"
    } else if cli.tools.tools_root {
        "with --tools-root its helper pod is deleted at the end"
    } else if cli.view.save_changes.is_some() {
        "--save-changes takes what it changed at its end"
    } else {
        "the API server does not say who you are"
    }
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
            name: name.ok_or_else(|| bound(cli)),
            cluster: cli.cluster.typed(),
        }
    }

    /// Of a session that was lost, and waits.
    pub fn say_how_to_return(&self, linger: Option<Duration>, result: &Result<u8, RunError>) {
        let lost = matches!(result, Err(RunError::Session(SessionError::Lost(_))));
        if let (true, Some(linger), Some(way)) = (lost, linger, self.way_back()) {
            let seconds = linger.as_secs();
            // Which fault it was is found out later.
            report::notice(&format!(
                "unless its helper is gone, the session is kept for {seconds} s: {way}"
            ));
        }
    }

    /// What became of a session whose helper is as it was, if the way to it was lost.
    pub fn left_behind(&self, linger: Option<Duration>, end: End) -> RunError {
        match (linger, self.way_back()) {
            (Some(linger), Some(way)) => {
                let hint = format!("{way} goes on with it within {} s", linger.as_secs());
                RunError::Kept { end, hint }
            }
            _ => SessionError::Lost(end).into(),
        }
    }

    /// The command that leads back, if any does.
    fn way_back(&self) -> Option<String> {
        let (program, way) = (program::typed(), &self.cluster);
        self.name.as_ref().ok().map(|name| format!("{program} attach {way}{name}"))
    }

    /// What of stdin's bytes is for the command, and what for us.
    fn keyboard(
        &self,
        bytes: mpsc::Receiver<Bytes>,
    ) -> (mpsc::Receiver<Bytes>, Option<UnboundedReceiver<Action>>) {
        if !(self.tty && terminal::stdin_is_terminal()) {
            return (bytes, None);
        }
        let detach = Detach::new(self.detach_keys.clone().unwrap_or_default());
        let (keys, actions) = terminal::split(bytes, Escapes::new(self.escape_character), detach);
        (keys, Some(actions))
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
                        let can_be_left = self.name.is_ok();
                        let lines =
                            self.escape_character.map(|key| terminal::help(key, can_be_left));
                        lines.iter().flatten().for_each(|line| report::in_raw_mode(line));
                    }
                    // A terminal that is gone ends the session in another way.
                    Action::Suspend => {
                        drop(raw.map(RawMode::suspend));
                        draw_anew(control).await;
                    }
                    Action::Detach if let Err(why) = self.name => {
                        report::in_raw_mode(&format!("this session cannot be left running: {why}"));
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
        let progress = self.name.as_deref().ok().and_then(Progress::open).map(Arc::new);
        let resumed = session.started.resumed.as_ref();
        let (first, again) = (resumed.map_or(0, |resumed| resumed.output), resumed.is_some());
        // The client before this one has gone by now.
        let screen = progress.as_deref().filter(|_| again).map(|before| before.screen(first));
        progress.iter().for_each(|progress| progress.begin(first, again));
        let (output, written) = spawn_output(first, progress.clone());
        let Written { bytes, end: written } = written;
        // Before raw mode, in which a line feed would not return to column one,
        // all has been announced.
        let raw = self.tty.then(|| self.terminal(&control, again)).transpose()?;
        if let (Some(raw), Some(screen)) = (&raw, screen) {
            raw.resume(&screen);
        }
        let (stdin, unreadable) =
            self.stdin.then(spawn_stdin).map(|Stdin { bytes, failure }| (bytes, failure)).unzip();
        let (stdin, actions) = stdin.map(|bytes| self.keyboard(bytes)).unzip();
        let actions = actions.flatten();
        let written_bytes = self.name.is_ok().then_some(bytes);
        let ends = Local { stdin, control: controlled, output, written: written_bytes };
        let relayed = tokio::select! {
            ended = session::relay(&mut session, ends) => Ok(ended),
            // With a terminal keys come as bytes, so a signal is always for us.
            signal = signals.meant_for_us((!self.tty).then_some(&control)) => {
                Err(RunError::Interrupted(signal))
            }
            () = self.until_left(actions, raw.as_ref(), &control) => Err(RunError::Left),
            error = failure(unreadable) => Err(local("read stdin", error)),
        };
        let relayed = match relayed {
            Ok(ended) => ended,
            Err(why) => return Err(self.leave(&mut session, why).await),
        };
        // What was received last must be written before the exit code is given.
        let written = tokio::select! {
            written = written => {
                written.unwrap_or_else(|_| Err(io::Error::other("what writes it has ended")))
            }
            signal = signals.next() => {
                return Err(self.leave(&mut session, RunError::Interrupted(signal)).await);
            }
        };
        drop(raw);
        // Even with -q: they say what is lost.
        session.notices.iter().for_each(|text| report::notice(text));
        let ended = matches!(relayed, Ok(Ended::Command(_)));
        if self.name.is_ok() && (ended || matches!(relayed, Err(SessionError::Refused(_)))) {
            session.end().await;
        }
        // One that was taken over by another client goes on.
        if let Some(progress) = progress.filter(|_| ended) {
            progress.remove();
        }
        self.exit_code(relayed?, written)
    }

    /// Ends a session that is left; not if a terminal hangs up, which is a client that
    /// is lost.
    async fn leave(&self, session: &mut Session, why: RunError) -> RunError {
        if self.name.is_ok() && !matches!(why, RunError::Interrupted(Signal::HUP)) {
            session.end().await;
        }
        why
    }

    /// Gives the command our terminal: its keys as they are typed, its size as it
    /// changes; and a screen drawn anew if the session was there `again`.
    fn terminal(&self, control: &mpsc::Sender<Control>, again: bool) -> Result<RawMode, RunError> {
        let raw = RawMode::enter(self.raw_terminal)
            .map_err(|source| local("switch the terminal to raw mode", source))?;
        tokio::spawn(follow_size(control.clone()));
        if again {
            let control = control.clone();
            tokio::spawn(async move { draw_anew(&control).await });
        }
        Ok(raw)
    }

    /// Of a session that was relayed to its end, and its output `written` here or not.
    fn exit_code(&self, ended: Ended, written: io::Result<()>) -> Result<u8, RunError> {
        match (ended, written) {
            (_, Err(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(BROKEN_PIPE),
            (_, Err(error)) => Err(SessionError::Output(error).into()),
            (Ended::Command(code), Ok(())) => Ok(code),
            (Ended::Detached, Ok(())) => {
                let way = self.way_back().unwrap_or_default();
                report::notice(&format!("left running: {way} goes on with it"));
                Ok(0)
            }
            (Ended::Unwanted, Ok(())) => Err(SessionError::Protocol("output was cut short").into()),
        }
    }
}

/// Why stdin cannot be read; ends only if that is so.
async fn failure(stdin: Option<oneshot::Receiver<io::Error>>) -> io::Error {
    if let Some(stdin) = stdin
        && let Ok(error) = stdin.await
    {
        return error;
    }
    std::future::pending().await
}

/// Makes the command draw its screen anew: a size that is no change is not told to
/// it (TIOCSWINSZ), and one that has changed back before it looks is none to
/// readline(3) either. The window may have another one by now, too: a process that
/// is stopped hears of none.
async fn draw_anew(control: &mpsc::Sender<Control>) {
    let size = terminal::size();
    let other = WindowSize { rows: size.rows.saturating_sub(1).max(1), ..size };
    // A session that is over draws nothing.
    let _over = control.send(Control::Resize(other)).await;
    tokio::time::sleep(LOOK).await;
    let _over = control.send(Control::Resize(terminal::size())).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_binds_a_session_to_its_client_is_told() {
        for (flags, why) in [
            ("--local", "with --local its helper ends with kpexec"),
            ("--rm", "with --rm its helper pod is deleted at the end"),
            (
                "--tools-image x --tools-root",
                "with --tools-root its helper pod is deleted at the end",
            ),
            ("--save-changes f", "--save-changes takes what it changed at its end"),
            ("", "the API server does not say who you are"),
        ] {
            let args = format!("kpexec -it {flags} web");
            let cli = Cli::parse_args(args.split_whitespace().map(Into::into)).unwrap();
            assert_eq!(bound(&cli), why);
        }
    }

    #[test]
    fn a_session_that_waits_is_not_said_to_be_lost() {
        let told = |flags: &str, name: Option<&str>| {
            let args = format!("kpexec {flags} web -- id");
            let cli = Cli::parse_args(args.split_whitespace().map(Into::into)).unwrap();
            let here = Here::new(&cli, false, name.map(str::to_owned));
            let error = here.left_behind(cli.keep.linger, End::Lost("it broke".into()));
            (error.to_string(), error.hint().unwrap_or_default())
        };
        let lost = "lost the session, and with it the command's result: it broke";
        let kept = "lost the way to the session, which is kept: it broke";
        let hint = "kpexec attach --helper-namespace ops 3f9c-7 goes on with it within 60 s";
        let named = Some("3f9c-7");
        let flags = "--linger 1m --helper-namespace ops";
        assert_eq!(told(flags, named), (kept.to_owned(), hint.to_owned()));
        // With a terminal it can be left, but not lost.
        assert_eq!(told("-it", named), (lost.to_owned(), String::new()));
        assert_eq!(told("", None), (lost.to_owned(), String::new()));
    }
}
