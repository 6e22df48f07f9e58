//! Carries bytes, sizes and signals between the client and the command, until
//! one of the two has ended.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use kpexec_protocol::exit::Status as ExitStatus;
use kpexec_protocol::server_message::Kind;
use kpexec_protocol::{CHUNK, Exit, Failure, Reason, client_message};
use rustix::fd::OwnedFd;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::unix::pipe::Receiver;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::begin::Running;
use super::command::Command;
use super::streams::Streams;
use super::view::View;
use super::{Answers, Context, Requests, descendants, say};
use crate::failure::chain;
use crate::pty;
use crate::sys::start::EXIT_STATUS_SIZE;

/// What the command left behind when it ended by itself is not wanted: it gets
/// a moment to see that its terminal is gone.
const LEFT_BEHIND: [(Signal, Duration); 1] = [(Signal::HUP, Duration::from_millis(200))];

/// What a command gets whose client has gone, as from a terminal hung up.
fn hang_up(grace: Duration) -> [(Signal, Duration); 2] {
    [(Signal::HUP, grace), (Signal::TERM, grace)]
}

/// How long the shim's end may lag behind the command's, where both are one
/// event: the container stopped.
const SAME_EVENT: Duration = Duration::from_millis(20);

/// How long output may be silent after the command's end, where something still
/// holds its stream open.
const SILENCE: Duration = Duration::from_secs(1);

/// How long the target's first process may take to end once all others of its
/// PID namespace have: pid_namespaces(7).
const TARGET_END: Duration = Duration::from_secs(1);

/// Runs the session to its end and says what the client is to be told last.
pub(super) async fn relay(
    context: &Context,
    running: Running,
    requests: Requests,
    answers: &Answers,
) -> Kind {
    let Running { shim, streams, mut exit_status, target, view, started } = running;
    if !say(answers, Kind::Started(started)).await {
        shim.end(&context.procfs, &hang_up(context.grace)).await;
        return gone();
    }
    let (signals, wanted_signals) = mpsc::channel(8);
    let Pumps { output, ended: drained, stdin, terminal } = Pumps::start(streams, answers);
    let input = tokio::spawn(receive(requests, stdin, terminal, signals));
    let command = Command::find(&context.procfs, shim.pid);
    let ended = tokio::select! {
        status = wait_status(&mut exit_status) => Some(status.map_or(Told::Nothing, Told::Status)),
        () = command.ended_untold() => Some(Told::TooLate),
        () = answers.closed() => None,
        () = forward_signals(context, shim.pid, wanted_signals) => None,
    };
    let Some(told) = ended else {
        shim.end(&context.procfs, &hang_up(context.grace)).await;
        input.abort();
        return gone();
    };
    let forged = matches!(told, Told::Status(_)) && command.runs();
    let with_target = told.may_come_from_the_targets_end() && shim.ends_within(SAME_EVENT).await;
    let all_gone = shim.end(&context.procfs, &LEFT_BEHIND).await;
    input.abort();
    // How fast the client takes the rest is its own choice.
    drained.send_replace(true);
    for pump in output {
        let _client_gone = pump.await;
    }
    match told {
        Told::TooLate => in_doubt("was withheld"),
        Told::Status(status) if !is_possible(status) => {
            in_doubt("was forged: no process ends like that")
        }
        Told::Status(_) if forged => in_doubt("was forged: the command still ran"),
        Told::Status(status) if !with_target => match last_word(exit(status), all_gone) {
            Kind::Exit(exit) => conclude(exit, view, answers).await,
            failure => failure,
        },
        _ => killed_from_outside(target.ends_within(TARGET_END).await),
    }
}

/// What is known of the command's end.
#[derive(Clone, Copy)]
enum Told {
    /// This wait status: wait(2).
    Status(i32),
    /// The shim ended without telling.
    Nothing,
    /// The shim lives, and has not told of a command that has ended.
    TooLate,
}

impl Told {
    fn may_come_from_the_targets_end(self) -> bool {
        match self {
            Self::Status(status) => {
                libc::WIFSIGNALED(status) && libc::WTERMSIG(status) == libc::SIGKILL
            }
            Self::Nothing => true,
            Self::TooLate => false,
        }
    }
}

/// Nobody is left to hear it.
fn gone() -> Kind {
    failure("the client has gone", "")
}

fn killed_from_outside(target_ended: bool) -> Kind {
    if target_ended {
        failure("the container stopped while the command ran", "kubectl describe pod tells why")
    } else {
        failure("the session was killed from outside", "out of memory, or the container stopped")
    }
}

/// Whatever was told or not told of the command's end is not to be believed.
fn in_doubt(why: &str) -> Kind {
    let hint = "processes of the container can stop the session's, or trace them";
    failure(&format!("the command's exit status {why}"), hint)
}

/// Says what else there is to say before the command's end.
async fn conclude(exit: Exit, view: View, answers: &Answers) -> Kind {
    match view.conclude(answers).await {
        Ok(notices) => Kind::Exit(Exit { notices, ..exit }),
        Err(error) => failure(&format!("{}; the command ended {}", chain(&error), how(&exit)), ""),
    }
}

/// The command's own end is the session's, unless something of it lives on.
fn last_word(exit: Exit, all_gone: bool) -> Kind {
    if all_gone {
        return Kind::Exit(exit);
    }
    let how = how(&exit);
    let message = format!("the command ended {how}, but what it started cannot be killed");
    failure(&message, "a process may hang in a file system of the container; ps shows it as D")
}

fn how(exit: &Exit) -> String {
    match exit.status {
        Some(ExitStatus::Signal(number)) => format!("by signal {number}"),
        Some(ExitStatus::Code(code)) => format!("with exit code {code}"),
        None => "somehow".to_owned(),
    }
}

fn failure(message: &str, hint: &str) -> Kind {
    let reason = Reason::Helper.into();
    Kind::Failure(Failure { reason, message: message.to_owned(), hint: hint.to_owned() })
}

/// Whether wait(2) has such a status for a process that has ended.
fn is_possible(status: i32) -> bool {
    let exited = status & !0xff00 == 0;
    let signaled = status & !0xff == 0 && (1..=64).contains(&libc::WTERMSIG(status));
    exited || signaled
}

/// Reads a wait status: wait(2).
fn exit(status: i32) -> Exit {
    let status = if libc::WIFSIGNALED(status) {
        ExitStatus::Signal(libc::WTERMSIG(status).cast_unsigned())
    } else {
        ExitStatus::Code(libc::WEXITSTATUS(status).cast_unsigned())
    };
    Exit { status: Some(status), ..Exit::default() }
}

/// Waits for the command's end; `None` if the shim ended without telling.
async fn wait_status(exit_status: &mut Receiver) -> Option<i32> {
    let mut status = [0; EXIT_STATUS_SIZE];
    exit_status.read_exact(&mut status).await.ok()?;
    Some(i32::from_ne_bytes(status))
}

/// The tasks that carry bytes, and the ways to them.
struct Pumps {
    /// Of the command's output.
    output: Vec<JoinHandle<()>>,
    /// Set once no more output is to be expected.
    ended: watch::Sender<bool>,
    /// Where stdin goes.
    stdin: Option<mpsc::UnboundedSender<Bytes>>,
    /// Whose size the client sets.
    terminal: Option<OwnedFd>,
}

impl Pumps {
    fn start(streams: Streams, answers: &Answers) -> Self {
        let (ended, _) = watch::channel(false);
        match streams {
            Streams::Pipes { stdin, stdout, stderr } => {
                let stdout = read(stdout, answers.clone(), Kind::Stdout, ended.subscribe());
                let stderr = read(stderr, answers.clone(), Kind::Stderr, ended.subscribe());
                let output = vec![tokio::spawn(stdout), tokio::spawn(stderr)];
                let stdin = stdin.map(|stdin| write(stdin, answers.clone()));
                Self { output, ended, stdin, terminal: None }
            }
            Streams::Terminal { input, output, size } => {
                let output = read(output, answers.clone(), Kind::Stdout, ended.subscribe());
                let output = vec![tokio::spawn(output)];
                let stdin = Some(write(input, answers.clone()));
                Self { output, ended, stdin, terminal: Some(size) }
            }
        }
    }
}

/// Carries output to the client until it ends: by end of file, or by silence
/// once the command has ended. A descriptor that the command gave away, or that
/// the target took, must not keep the session.
async fn read(
    mut from: impl AsyncRead + Unpin,
    answers: Answers,
    kind: fn(Bytes) -> Kind,
    mut ended: watch::Receiver<bool>,
) {
    let mut buffer = BytesMut::new();
    loop {
        buffer.reserve(CHUNK);
        let count = tokio::select! {
            biased;
            count = from.read_buf(&mut buffer) => count,
            () = silence(&mut ended) => return,
        };
        if !matches!(count, Ok(1..)) || !say(&answers, kind(buffer.split().freeze())).await {
            return;
        }
    }
}

/// Waits for the command's end, then as long as output may take to be read.
async fn silence(ended: &mut watch::Receiver<bool>) {
    // An error is the sender's end, and with it the session's.
    drop(ended.wait_for(|ended| *ended).await);
    tokio::time::sleep(SILENCE).await;
}

/// Starts the task that writes stdin; dropping the sender is its end of file.
/// The queue has no bound of its own: the client keeps to [`STDIN_WINDOW`].
///
/// [`STDIN_WINDOW`]: kpexec_protocol::STDIN_WINDOW
fn write(
    mut to: impl AsyncWrite + Unpin + Send + 'static,
    answers: Answers,
) -> mpsc::UnboundedSender<Bytes> {
    let (sender, mut receiver) = mpsc::unbounded_channel::<Bytes>();
    tokio::spawn(async move {
        let mut taken = 0;
        while let Some(bytes) = receiver.recv().await {
            // A command that has closed its stdin takes no more, and the client
            // sends none: as a pipe's writer would be told by SIGPIPE.
            if to.write_all(&bytes).await.is_err() {
                return;
            }
            taken += bytes.len() as u64;
            if !say(&answers, Kind::StdinTaken(taken)).await {
                return;
            }
        }
    });
    sender
}

/// Sorts what the client sends, until it sends no more.
async fn receive(
    mut requests: Requests,
    mut stdin: Option<mpsc::UnboundedSender<Bytes>>,
    terminal: Option<OwnedFd>,
    signals: mpsc::Sender<i32>,
) {
    use client_message::Kind as Request;
    while let Ok(Some(message)) = requests.message().await {
        match message.kind {
            Some(Request::Stdin(bytes)) => {
                if let Some(sender) = &stdin
                    && sender.send(bytes).is_err()
                {
                    stdin = None;
                }
            }
            Some(Request::Eof(_)) => stdin = None,
            Some(Request::Resize(size)) => {
                if let Some(terminal) = &terminal {
                    // A terminal whose processes have ended takes no size.
                    let _ended = pty::resize(terminal, size);
                }
            }
            Some(Request::Signal(number)) => {
                if signals.send(number).await.is_err() {
                    return;
                }
            }
            // A second request, or a message of a newer client.
            Some(Request::Start(_)) | None => {}
        }
    }
    // No end of ours: the client that is gone is noticed by its answers.
    std::future::pending::<()>().await;
}

/// Gives the command's process group the signals the client sends.
async fn forward_signals(context: &Context, shim: i32, mut wanted: mpsc::Receiver<i32>) {
    while let Some(number) = wanted.recv().await {
        let Some(signal) = Signal::from_named_raw(number) else { continue };
        let leader = descendants::command(&context.procfs, shim).ok().flatten();
        if let Some(group) = leader.and_then(Pid::from_raw) {
            // It may have ended meanwhile.
            let _ended = kill_process_group(group, signal);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_that_lives_on_is_no_success() {
        assert!(matches!(last_word(exit(0), true), Kind::Exit(_)));
        let Kind::Failure(failure) = last_word(exit(3 << 8), false) else { panic!("a success") };
        assert_eq!(failure.reason(), Reason::Helper);
        assert!(failure.message.contains("exit code 3"), "{}", failure.message);
    }

    #[test]
    fn noise_is_no_wait_status() {
        for possible in [0, 3 << 8, 255 << 8, libc::SIGKILL, libc::SIGSEGV | 0x80, 64] {
            assert!(is_possible(possible), "{possible:#x}");
        }
        for noise in [0x57, 0x7f, 0x137f, 0xffff, 0x1_0000, 0x109, -1, i32::MIN] {
            assert!(!is_possible(noise), "{noise:#x}");
        }
    }

    #[test]
    fn wait_statuses_are_read_as_wait_2_has_them() {
        assert_eq!(exit(0).status, Some(ExitStatus::Code(0)));
        assert_eq!(exit(3 << 8).status, Some(ExitStatus::Code(3)));
        assert_eq!(exit(libc::SIGKILL).status, Some(ExitStatus::Signal(9)));
        // With a core dump.
        assert_eq!(exit(libc::SIGSEGV | 0x80).status, Some(ExitStatus::Signal(11)));
    }
}
