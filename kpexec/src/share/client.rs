//! A command by way of the background process, from its flags to its exit code.
//! Reads no kubeconfig, and makes no connection but the one to that process.

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::time::Duration;

use futures::StreamExt;
use hyper_util::rt::TokioIo;
use kpexec_protocol::share_answer::Kind as Answer;
use kpexec_protocol::share_client::ShareClient;
use kpexec_protocol::{
    Ask, CHUNK, ClientMessage, Entered, ShareAnswer, ShareRequest, server_message, share_request,
};
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::{Channel, Endpoint};
use tower::service_fn;

use super::{FRAME, ShareError, Told, WINDOW, start};
use crate::attend::Here;
use crate::banner::announce;
use crate::cli::{Cli, ClusterFlags};
use crate::helper_pod::Phases;
use crate::report;
use crate::run::{Prepared, RunError, show_log};
use crate::session::{Background, Session, SessionError, SharedFault};
use crate::status_line;
use crate::target::Target;
use crate::terminal;
use crate::transport::HelperLog;

/// Messages on their way; a stdin chunk each at most.
const QUEUE: usize = 4;
/// A process may end just when it is connected to: then there is a new one.
const ATTEMPTS: u32 = 3;

/// Runs the command; gives its exit code.
pub async fn run(cli: Cli, idle: Duration) -> Result<u8, RunError> {
    let prepared = Prepared::new(&cli)?;
    let (tty, log) = (prepared.terminal.is_some(), HelperLog::default());
    let result = attend(&cli, prepared, idle, log.clone()).await;
    show_log(&log, cli.verbosity.is_on(), &result);
    if tty {
        terminal::discard_input();
    }
    result
}

async fn attend(
    cli: &Cli,
    prepared: Prepared,
    idle: Duration,
    log: HelperLog,
) -> Result<u8, RunError> {
    let Prepared { image, changes, terminal, mut signals, .. } = prepared;
    let tty = terminal.is_some();
    let ask = Ask {
        argv: arguments(cli).map(|arg| arg.into_vec().into()).collect(),
        helper_image: image,
        settings: cli.settings.pairs().collect(),
        terminal,
        idle_seconds: idle.as_secs(),
    };
    let fault = SharedFault::default();
    let phases = Phases::default();
    let opened = tokio::select! {
        opened = open(&cli.cluster, idle, ask, Heard { log, fault: fault.clone(), phases: &phases }) => opened,
        never = status_line::show(cli, &phases) => match never {},
        signal = signals.next() => Err(RunError::Interrupted(signal)),
    };
    let (mut session, Entry { target, kept }) = opened?;
    session.changes = changes;
    announce(&target, &session.started, cli, tty, kept.is_some());
    let here = Here::new(cli, tty, kept);
    let result = here.attend(session, &mut signals).await;
    match (result, fault.get()) {
        (Err(RunError::Session(SessionError::Lost(end))), None) => {
            // Only the background process has ended.
            Err(here.left_behind(cli.keep.linger, end))
        }
        (result @ Err(RunError::Session(SessionError::Lost(_))), Some(fault)) => {
            here.say_how_to_return(cli.keep.linger, &result);
            Err(Told::from(fault.clone()).into())
        }
        (result, _) => result,
    }
}

/// The command line, with what its file says: the other end has neither the file nor
/// our stdin.
fn arguments(cli: &Cli) -> impl Iterator<Item = OsString> {
    let mut given = std::env::args_os();
    let filed = cli.object.filed.as_ref().map(|filed| format!("--filed={filed}").into());
    given.next().into_iter().chain(filed).chain(given)
}

/// What was entered.
struct Entry {
    target: Target,
    /// The session's name, if it can be come back to.
    kept: Option<String>,
}

/// Where what the background process tells beside the session goes.
struct Heard<'a> {
    log: HelperLog,
    fault: SharedFault,
    phases: &'a Phases,
}

/// Asks for the session, and waits until it has begun.
async fn open(
    cluster: &ClusterFlags,
    idle: Duration,
    ask: Ask,
    heard: Heard<'_>,
) -> Result<(Session, Entry), RunError> {
    let Heard { log, fault, phases } = heard;
    let (to_helper, answers) = call(cluster, idle, ask).await?;
    let mut background = Background::new(answers, log, fault);
    let mut entry = None;
    loop {
        let answer = background.answer().await.inspect_err(|status| {
            tracing::debug!(?status, "the stream ended");
        });
        match answer.ok().flatten().ok_or(ShareError::Ended)? {
            Answer::Notice(text) => report::notice(&text),
            Answer::Entered(entered) => entry = entry_of(entered),
            Answer::Fault(fault) => return Err(Told::from(fault).into()),
            Answer::Message(message) => match (message.kind, entry) {
                (Some(server_message::Kind::Started(started)), Some(entry)) => {
                    return Ok((background.session(started, to_helper), entry));
                }
                _ => return Err(SessionError::Protocol("its first message was not Started").into()),
            },
            Answer::Starting(starting) => phases.pass_on(starting),
            Answer::Log(_) => {}
        }
    }
}

/// As far as it is told to people.
fn entry_of(entered: Entered) -> Option<Entry> {
    let Entered { target, node, kept } = entered;
    let target = Target::from_protocol(target?, node);
    Some(Entry { target, kept })
}

/// Makes the call, and asks once it is answered: repeating it before is safe.
async fn call(
    cluster: &ClusterFlags,
    idle: Duration,
    ask: Ask,
) -> Result<(mpsc::Sender<ClientMessage>, Streaming<ShareAnswer>), ShareError> {
    let mut attempt = 1;
    loop {
        let stream = start::connect(cluster, idle).await?;
        let (go, gone) = oneshot::channel::<Ask>();
        let (to_helper, messages) = mpsc::channel(QUEUE);
        let ask_first = futures::stream::once(gone).filter_map(async |ask| {
            ask.ok().map(|ask| ShareRequest { kind: Some(share_request::Kind::Ask(ask)) })
        });
        let messages = ReceiverStream::new(messages)
            .map(|message| ShareRequest { kind: Some(share_request::Kind::Message(message)) });
        let called = async {
            let mut client = over(stream).await?.max_decoding_message_size(2 * CHUNK);
            client.share(ask_first.chain(messages)).await
        };
        match called.await {
            Ok(response) => {
                // Who takes it is in the stream that was sent with the call.
                let _ = go.send(ask);
                return Ok((to_helper, response.into_inner()));
            }
            Err(status) if attempt < ATTEMPTS => {
                tracing::debug!(?status, "the background process does not answer");
                attempt += 1;
            }
            Err(status) => return Err(ShareError::Silent(io::Error::other(status))),
        }
    }
}

/// Speaks HTTP/2 over the socket.
pub async fn over(stream: UnixStream) -> Result<ShareClient<Channel>, tonic::Status> {
    let mut stream = Some(TokioIo::new(stream));
    let connector = service_fn(move |_: http::Uri| {
        std::future::ready(stream.take().ok_or(io::Error::from(io::ErrorKind::NotConnected)))
    });
    let channel = Endpoint::from_static("http://background")
        .max_frame_size(FRAME)
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .connect_with_connector(connector)
        .await
        .map_err(|error| tonic::Status::from_error(error.into()))?;
    Ok(ShareClient::new(channel))
}
