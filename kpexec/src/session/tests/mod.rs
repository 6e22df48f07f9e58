//! Sessions over a real WebSocket with a real gRPC server inside.

mod machine;
mod random;
mod server;
mod shared;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kpexec_protocol::client_message::Kind;
use kpexec_protocol::{Start, WindowSize};
use tokio::sync::mpsc;
use tokio::time::timeout;

use self::server::{Answer, Server};
use super::{Control, Ended, Load, Local, Output, Session, SessionError, reach, relay};
use crate::changes::ChangesFile;
use crate::cluster::Cluster;
use crate::transport::{Dialer, End, HelperLog, TransportError};

const V4: &str = "v4.channel.k8s.io";
const V5: &str = "v5.channel.k8s.io";
const MIB: usize = 1024 * 1024;

/// What takes longer than this would never end: 64 MiB take seconds on an idle machine.
const LIMIT: Duration = Duration::from_secs(300);

fn dialer(server: &Server) -> Arc<Dialer> {
    // Fails if another test was faster, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let config = kube::Config::new(server.url.parse().unwrap());
    let cluster = Cluster::from_config(config).unwrap();
    let dialer = Dialer::new(&cluster, "kpexec", "kpexec-1", Duration::from_secs(30));
    dialer.set_made(true);
    dialer
}

async fn session_with(server: &Server, command: &str) -> Result<Session, SessionError> {
    session_by(&dialer(server), command).await
}

async fn session_by(dialer: &Dialer, command: &str) -> Result<Session, SessionError> {
    let start = Start { argv: vec![command.to_owned().into()], ..Start::default() };
    let start = Kind::Start(start);
    let connected =
        async { reach(dialer, Load::One, |_: HelperLog| {}).await?.begin(&start).await };
    timeout(LIMIT, connected).await.expect("connects or fails in time")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exec_that_was_asked_for_ahead_is_the_sessions() {
    let starting = Answer::Refuse(500, "unable to upgrade connection: container not found");
    for answers in [&[Answer::Serve][..], &[starting, Answer::Serve]] {
        let server = server::start(V5, answers).await;
        let dialer = dialer(&server);
        dialer.dial_ahead();
        session_by(&dialer, "cat").await.unwrap();
        assert_eq!(server.requests.lock().unwrap().len(), answers.len(), "{answers:?}");
    }
}

/// What came of a command.
#[derive(Debug)]
struct Outcome {
    result: Result<Ended, SessionError>,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

/// Runs a command with this stdin and these controls to its end.
async fn run(
    server: &Server,
    command: &str,
    stdin: Option<mpsc::Receiver<Bytes>>,
    control: &[Control],
) -> Outcome {
    let mut session = session_with(server, command).await.unwrap();
    let (controls, controlled) = mpsc::channel(16);
    for control in control {
        controls.send(control.clone()).await.unwrap();
    }
    let (output, mut written) = mpsc::channel(4);
    let collect = tokio::spawn(async move {
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        while let Some(piece) = written.recv().await {
            match piece {
                Output::Stdout(bytes) => stdout.extend_from_slice(&bytes),
                Output::Stderr(bytes) => stderr.extend_from_slice(&bytes),
            }
        }
        (stdout, stderr)
    });
    let local = Local { stdin, control: controlled, output, written: None };
    let relayed = timeout(LIMIT, relay(&mut session, local));
    let result = relayed.await.expect("a deadlock");
    let (stdout, stderr) = collect.await.unwrap();
    Outcome { result, stdout, stderr }
}

/// Bytes without a short period, so that a lost or doubled chunk is seen.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 1u32;
    let next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state as u8
    };
    std::iter::repeat_with(next).take(length).collect()
}

fn as_stdin(bytes: &[u8]) -> mpsc::Receiver<Bytes> {
    let (sender, receiver) = mpsc::channel(4);
    let bytes = Bytes::copy_from_slice(bytes);
    tokio::spawn(async move {
        for at in (0..bytes.len()).step_by(64 * 1024) {
            let end = bytes.len().min(at + 64 * 1024);
            if sender.send(bytes.slice(at..end)).await.is_err() {
                return;
            }
        }
    });
    receiver
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_come_back_unchanged_and_the_end_of_stdin_arrives() {
    for protocol in [V5, V4] {
        let server = server::start(protocol, &[Answer::Serve]).await;
        let sent = noise(64 * MIB + 12345);
        let outcome = run(&server, "cat", Some(as_stdin(&sent)), &[]).await;
        assert!(
            matches!(outcome.result, Ok(Ended::Command(0))),
            "{protocol}: {:?}",
            outcome.result
        );
        assert!(outcome.stdout == sent, "{protocol}: {} bytes came back", outcome.stdout.len());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_writes_before_it_reads_does_not_stop_everything() {
    for protocol in [V5, V4] {
        let server = server::start(protocol, &[Answer::Serve]).await;
        let outcome = run(&server, "burst", Some(as_stdin(&noise(64 * MIB))), &[]).await;
        assert!(
            matches!(outcome.result, Ok(Ended::Command(0))),
            "{protocol}: {:?}",
            outcome.result
        );
        assert_eq!(outcome.stdout.len(), 64 * MIB, "{protocol}");
        assert_eq!(outcome.stderr, (64 * MIB).to_string().as_bytes(), "{protocol}");
    }
}

#[tokio::test]
async fn a_signal_overtakes_stdin_that_is_not_taken() {
    let server = server::start(V5, &[Answer::Serve]).await;
    let mut session = session_with(&server, "deaf").await.unwrap();
    let (controls, control) = mpsc::channel(1);
    let (output, mut written) = mpsc::channel(4);
    let stdin = Some(as_stdin(&noise(8 * MIB)));
    let interrupt = async {
        // Once all of stdin that may be sent is on its way.
        tokio::time::sleep(Duration::from_millis(300)).await;
        controls.send(Control::Signal(2)).await.unwrap();
        written.recv().await
    };
    let relayed = relay(&mut session, Local { stdin, control, output, written: None });
    let both = async { tokio::join!(relayed, interrupt) };
    let (result, said) = timeout(LIMIT, both).await.expect("a deadlock");
    assert!(matches!(result, Ok(Ended::Command(0))), "{result:?}");
    let Some(Output::Stdout(received)) = said else { panic!("{said:?}") };
    let received: usize = std::str::from_utf8(&received).unwrap().parse().unwrap();
    assert!((1..=2 * MIB).contains(&received), "{received} bytes went before the signal");
}

#[tokio::test]
async fn the_commands_end_is_the_sessions() {
    for (command, code) in [("seven", 7), ("killed", 137)] {
        let server = server::start(V5, &[Answer::Serve]).await;
        let outcome = run(&server, command, None, &[]).await;
        assert!(
            matches!(outcome.result, Ok(Ended::Command(got)) if got == code),
            "{:?}",
            outcome.result
        );
    }
}

#[tokio::test]
async fn what_the_helper_says_at_the_start_is_kept() {
    let server = server::start(V5, &[Answer::Serve]).await;
    let session = session_with(&server, "seven").await.unwrap();
    assert_eq!(session.started.identity, "uid 0 of the fake");
    assert_eq!(session.started.notices, ["a notice"]);
}

#[tokio::test]
async fn changes_are_saved_when_all_of_them_have_come() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("changes.tar");
    for (command, code) in [("half-change", None), ("seven", None), ("change", Some(3))] {
        let server = server::start(V5, &[Answer::Serve]).await;
        let mut session = session_with(&server, command).await.unwrap();
        session.changes = Some(ChangesFile::create(&path).unwrap());
        let (output, _written) = mpsc::channel(4);
        let (_controls, control) = mpsc::channel(1);
        let relayed = relay(&mut session, Local { stdin: None, control, output, written: None });
        let result = timeout(LIMIT, relayed).await.unwrap();
        let code = code.map(Ended::Command);
        assert_eq!(result.as_ref().ok().copied(), code, "{command}: {result:?}");
        if let Err(error) = result {
            assert_eq!(error.exit_code(), 125, "{command}");
        }
        drop(session.changes.take());
        let there = std::fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(there, usize::from(code.is_some()), "{command}");
        assert_eq!(session.notices.len(), usize::from(code.is_some()), "{command}");
    }
    assert_eq!(std::fs::read(&path).unwrap(), b"first second");
}

#[tokio::test]
async fn how_the_command_ended_is_told_where_its_changes_are_lost() {
    let server = server::start(V5, &[Answer::Serve]).await;
    let mut session = session_with(&server, "change").await.unwrap();
    session.changes = Some(ChangesFile::full());
    let (output, _written) = mpsc::channel(4);
    let (_controls, control) = mpsc::channel(1);
    let relayed = relay(&mut session, Local { stdin: None, control, output, written: None });
    let error = timeout(LIMIT, relayed).await.unwrap().unwrap_err();
    let told = "the command ended with exit code 3, but its changes are lost";
    assert_eq!((error.to_string().as_str(), error.exit_code()), (told, 125));
    assert_eq!(session.notices, ["a last notice"]);
}

#[tokio::test]
async fn sizes_and_signals_reach_the_command() {
    let server = server::start(V4, &[Answer::Serve]).await;
    let size = WindowSize { rows: 24, columns: 80 };
    let control = [Control::Resize(size), Control::Signal(15)];
    let outcome = run(&server, "echo-control", None, &control).await;
    assert_eq!(outcome.stdout, b"80x24 signal 15");
}

#[tokio::test]
async fn the_helper_is_asked_again_until_it_is_there() {
    let not_running = r#"{"status":"Failure","message":"container is in CONTAINER_CREATED state"}"#;
    let answers = [
        Answer::Refuse(404, "pods \"kpexec-1\" not found"),
        Answer::Refuse(500, "container not found (\"helper\")"),
        Answer::EndWith(not_running),
        Answer::Serve,
    ];
    let server = server::start(V5, &answers).await;
    let outcome = run(&server, "seven", None, &[]).await;
    assert!(matches!(outcome.result, Ok(Ended::Command(7))), "{:?}", outcome.result);
    let expected = "/api/v1/namespaces/kpexec/pods/kpexec-1/exec?&stdin=true&stdout=true\
                    &stderr=true&container=helper&command=%2Fnode-entry&command=connect&command=30";
    let parts = |url: &str| {
        let mut parts: Vec<String> = url.split(['?', '&']).map(str::to_owned).collect();
        parts.retain(|part| !part.is_empty());
        parts.sort();
        parts
    };
    let requests = server.requests.lock().unwrap();
    assert_eq!(requests.len(), 4);
    for request in requests.iter() {
        assert_eq!(parts(request), parts(expected));
    }
}

#[tokio::test]
async fn a_lost_stream_is_never_a_success() {
    let server = server::start(V5, &[Answer::Serve]).await;
    let outcome = run(&server, "vanish", None, &[]).await;
    let error = outcome.result.unwrap_err();
    assert!(matches!(error, SessionError::Lost(End::Lost(_))), "{error:?}");
    assert_eq!(error.exit_code(), 125);
    // What came before the loss is kept.
    assert_eq!(outcome.stdout, b"half a");
}

#[tokio::test]
async fn an_exit_that_says_nothing_is_never_a_success() {
    let server = server::start(V5, &[Answer::Serve]).await;
    let outcome = run(&server, "nothing", None, &[]).await;
    assert!(matches!(outcome.result, Err(SessionError::Protocol(_))), "{:?}", outcome.result);
}

#[tokio::test]
async fn a_helper_that_ends_at_once_is_not_started_again() {
    let died = r#"{"status":"Failure","message":"x","reason":"NonZeroExitCode",
                   "details":{"causes":[{"reason":"ExitCode","message":"3"}]}}"#;
    for status in [r#"{"status":"Success"}"#, died] {
        let server = server::start(V5, &[Answer::EndWith(status)]).await;
        let error = session_with(&server, "cat").await.err().unwrap();
        let transport = matches!(error, SessionError::Transport(TransportError::Died { .. }));
        assert!(transport, "{error:?}");
        assert_eq!(server.requests.lock().unwrap().len(), 1);
    }
}

#[tokio::test]
async fn a_refusal_for_want_of_rights_is_final() {
    let words = "pods \"kpexec-1\" is forbidden: User \"bob\" cannot create resource \"pods/exec\"";
    let server = server::start(V5, &[Answer::Refuse(403, words)]).await;
    let error = session_with(&server, "cat").await.err().unwrap();
    assert_eq!(error.exit_code(), 125);
    assert!(error.hint().unwrap().contains("rbac.yaml"));
    let SessionError::Transport(TransportError::Exec { source, .. }) = error else {
        panic!("{error:?}");
    };
    assert_eq!(source.to_string(), words);
}

#[tokio::test]
async fn a_command_that_is_not_found_is_127() {
    let server = server::start(V5, &[Answer::Serve]).await;
    let error = session_with(&server, "missing").await.err().unwrap();
    assert_eq!((error.to_string().as_str(), error.exit_code()), ("missing: not found", 127));
}

#[tokio::test]
async fn output_that_nobody_takes_ends_the_relay() {
    let server = server::start(V5, &[Answer::Serve]).await;
    let mut session = session_with(&server, "burst").await.unwrap();
    let (output, written) = mpsc::channel(4);
    drop(written);
    let (_controls, control) = mpsc::channel(1);
    let relayed = relay(&mut session, Local { stdin: None, control, output, written: None });
    let result = timeout(LIMIT, relayed).await.unwrap();
    assert!(matches!(result, Ok(Ended::Unwanted)), "{result:?}");
}
