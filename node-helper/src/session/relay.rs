//! Carries bytes, sizes and signals between the client and the command, until
//! one of the two has ended.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use kpexec_protocol::exit::Status as ExitStatus;
use kpexec_protocol::server_message::Kind;
use kpexec_protocol::{CHUNK, Exit, Failure, Reason, Started, WindowSize, client_message};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::unix::pipe::Receiver;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::begin::Running;
use super::streams::{Master, Streams};
use super::{Answers, Context, Requests, descendants, say};
use crate::sys::start::EXIT_STATUS_SIZE;

/// Messages of stdin on their way to the command: with [`CHUNK`], 256 KiB.
const STDIN_QUEUE: usize = 4;

/// What the command left behind when it ended by itself is not wanted: it gets
/// a moment to see that its terminal is gone.
const LEFT_BEHIND: [(Signal, Duration); 1] = [(Signal::SIGHUP, Duration::from_millis(200))];

/// What a command gets whose client has gone, as from a terminal hung up.
const HANG_UP: [(Signal, Duration); 2] =
    [(Signal::SIGHUP, Duration::from_secs(2)), (Signal::SIGTERM, Duration::from_secs(2))];

/// How long the shim's end may lag behind the command's, where both are one
/// event: the container stopped.
const SAME_EVENT: Duration = Duration::from_millis(20);

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
    let Running { shim, streams, mut exit_status, target } = running;
    if !say(answers, Kind::Started(Started {})).await {
        shim.end(&context.procfs, &HANG_UP).await;
        return gone();
    }
    let (signals, wanted_signals) = mpsc::channel(8);
    let (pumps, stdin, sizes) = pump(streams, answers);
    let input = tokio::spawn(receive(requests, stdin, sizes, signals));
    let ended = tokio::select! {
        status = wait_status(&mut exit_status) => Some(status),
        () = answers.closed() => None,
        () = forward_signals(context, shim.pid, wanted_signals) => None,
    };
    let Some(status) = ended else {
        shim.end(&context.procfs, &HANG_UP).await;
        input.abort();
        return gone();
    };
    let killed = status
        .is_none_or(|status| libc::WIFSIGNALED(status) && libc::WTERMSIG(status) == libc::SIGKILL);
    let with_target = killed && shim.ends_within(SAME_EVENT).await;
    shim.end(&context.procfs, &LEFT_BEHIND).await;
    input.abort();
    // All writers are dead, so both streams end; how fast is the client's choice.
    for pump in pumps {
        let _client_gone = pump.await;
    }
    match status {
        Some(status) if !with_target => Kind::Exit(exit(status)),
        _ => killed_from_outside(target.ends_within(TARGET_END).await),
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

fn failure(message: &str, hint: &str) -> Kind {
    let reason = Reason::Helper.into();
    Kind::Failure(Failure { reason, message: message.to_owned(), hint: hint.to_owned() })
}

/// Reads a wait status: wait(2).
fn exit(status: i32) -> Exit {
    let status = if libc::WIFSIGNALED(status) {
        ExitStatus::Signal(libc::WTERMSIG(status).cast_unsigned())
    } else {
        ExitStatus::Code(libc::WEXITSTATUS(status).cast_unsigned())
    };
    Exit { status: Some(status) }
}

/// Waits for the command's end; `None` if the shim ended without telling.
async fn wait_status(exit_status: &mut Receiver) -> Option<i32> {
    let mut status = [0; EXIT_STATUS_SIZE];
    exit_status.read_exact(&mut status).await.ok()?;
    Some(i32::from_ne_bytes(status))
}

type Pumps = Vec<JoinHandle<()>>;

/// Starts the tasks that carry bytes. Returns them, where stdin goes, and where
/// sizes go.
fn pump(
    streams: Streams,
    answers: &Answers,
) -> (Pumps, Option<mpsc::Sender<Bytes>>, watch::Sender<WindowSize>) {
    let (sizes, _) = watch::channel(WindowSize::default());
    match streams {
        Streams::Pipes { stdin, stdout, stderr } => {
            let pumps = vec![
                tokio::spawn(read(stdout, answers.clone(), Kind::Stdout)),
                tokio::spawn(read(stderr, answers.clone(), Kind::Stderr)),
            ];
            (pumps, stdin.map(write), sizes)
        }
        Streams::Terminal { input, output } => {
            let pumps =
                vec![tokio::spawn(read_and_size(output, answers.clone(), sizes.subscribe()))];
            (pumps, Some(write(input)), sizes)
        }
    }
}

async fn read(mut from: impl AsyncRead + Unpin, answers: Answers, kind: fn(Bytes) -> Kind) {
    let mut buffer = BytesMut::new();
    loop {
        buffer.reserve(CHUNK);
        match from.read_buf(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        if !say(&answers, kind(buffer.split().freeze())).await {
            return;
        }
    }
}

/// Reads a terminal, and gives it the sizes the client sends.
async fn read_and_size(
    mut master: Master,
    answers: Answers,
    mut sizes: watch::Receiver<WindowSize>,
) {
    let mut buffer = BytesMut::new();
    loop {
        buffer.reserve(CHUNK);
        tokio::select! {
            changed = sizes.changed() => {
                if changed.is_err() {
                    // No more sizes: read on alone.
                    return read(master, answers, Kind::Stdout).await;
                }
                let size = *sizes.borrow_and_update();
                // A terminal whose processes have ended takes no size.
                let _ended = master.resize(size);
            }
            count = master.read_buf(&mut buffer) => match count {
                Ok(0) | Err(_) => return,
                Ok(_) => if !say(&answers, Kind::Stdout(buffer.split().freeze())).await {
                    return;
                },
            },
        }
    }
}

/// Starts the task that writes stdin; dropping the sender is its end of file.
fn write(mut to: impl AsyncWrite + Unpin + Send + 'static) -> mpsc::Sender<Bytes> {
    let (sender, mut receiver) = mpsc::channel::<Bytes>(STDIN_QUEUE);
    tokio::spawn(async move {
        while let Some(bytes) = receiver.recv().await {
            // The command has closed its stdin: what comes is thrown away, as a
            // pipe's writer would be told by SIGPIPE.
            if to.write_all(&bytes).await.is_err() {
                return;
            }
        }
    });
    sender
}

/// Sorts what the client sends, until it sends no more.
async fn receive(
    mut requests: Requests,
    mut stdin: Option<mpsc::Sender<Bytes>>,
    sizes: watch::Sender<WindowSize>,
    signals: mpsc::Sender<i32>,
) {
    use client_message::Kind as Request;
    while let Ok(Some(message)) = requests.message().await {
        match message.kind {
            Some(Request::Stdin(bytes)) => {
                if let Some(sender) = &stdin
                    && sender.send(bytes).await.is_err()
                {
                    stdin = None;
                }
            }
            Some(Request::Eof(_)) => stdin = None,
            Some(Request::Resize(size)) => {
                sizes.send_replace(size);
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
        let Ok(signal) = Signal::try_from(number) else { continue };
        if let Ok(Some(group)) = descendants::command(&context.procfs, shim) {
            // It may have ended meanwhile.
            let _ended = killpg(Pid::from_raw(group), signal);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wait_statuses_are_read_as_wait_2_has_them() {
        assert_eq!(exit(0).status, Some(ExitStatus::Code(0)));
        assert_eq!(exit(3 << 8).status, Some(ExitStatus::Code(3)));
        assert_eq!(exit(libc::SIGKILL).status, Some(ExitStatus::Signal(9)));
        // With a core dump.
        assert_eq!(exit(libc::SIGSEGV | 0x80).status, Some(ExitStatus::Signal(11)));
    }
}
