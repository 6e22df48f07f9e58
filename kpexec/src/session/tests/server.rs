//! An API server with one pod in it: WebSocket outside, the helper inside.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use futures::{SinkExt, StreamExt, stream};
use kpexec_protocol::helper_server::{Helper, HelperServer};
use kpexec_protocol::{
    ClientMessage, Exit, Failure, FindAnswer, FindRequest, Reason, ServerMessage, Started,
    client_message, exit, server_message::Kind,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tonic::{Status, Streaming};

use super::random;

/// Long enough for what was said to reach the client on a busy machine.
const ON_ITS_WAY: Duration = Duration::from_secs(1);

/// What the server does with one connection.
#[derive(Clone, Copy, Debug)]
pub enum Answer {
    /// Refuses the upgrade.
    Refuse(u16, &'static str),
    /// Upgrades, and then says this on channel 3.
    EndWith(&'static str),
    /// Upgrades, and connects the helper.
    Serve,
}

/// A running server.
pub struct Server {
    pub url: String,
    /// Everything the clients asked for, as `path?query`.
    pub requests: Arc<Mutex<Vec<String>>>,
}

/// Starts a server that gives these answers in turn, speaking this version.
pub async fn start(protocol: &'static str, answers: &[Answer]) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let requests = Arc::new(Mutex::new(Vec::new()));
    let mut answers: VecDeque<Answer> = answers.iter().copied().collect();
    let seen = requests.clone();
    tokio::spawn(async move {
        while let Some(answer) = answers.pop_front() {
            let (socket, _) = listener.accept().await.unwrap();
            tokio::spawn(connection(socket, protocol, answer, seen.clone()));
        }
    });
    Server { url, requests }
}

async fn connection(
    socket: TcpStream,
    protocol: &'static str,
    answer: Answer,
    requests: Arc<Mutex<Vec<String>>>,
) {
    #[allow(clippy::result_large_err, reason = "the signature is tungstenite's")]
    let upgrade = |request: &Request, mut response: Response| {
        requests.lock().unwrap().push(request.uri().to_string());
        let offered = request.headers()["sec-websocket-protocol"].to_str().unwrap();
        assert_eq!(offered, "v5.channel.k8s.io, v4.channel.k8s.io");
        if let Answer::Refuse(code, message) = answer {
            return Err(refusal(code, message));
        }
        response.headers_mut().insert("sec-websocket-protocol", protocol.parse().unwrap());
        Ok(response)
    };
    let Ok(mut socket) = tokio_tungstenite::accept_hdr_async(socket, upgrade).await else { return };
    // What a real server does on connecting: an empty message on channel 1.
    socket.send(Message::Binary(Bytes::from_static(&[1]))).await.unwrap();
    if let Answer::EndWith(status) = answer {
        let status = [b"\x03", status.as_bytes()].concat();
        let _ = socket.send(Message::Binary(status.into())).await;
        let _ = socket.close(None).await;
        return;
    }
    // Room for little, like the pipes of a real exec.
    let (ours, theirs) = tokio::io::duplex(64 * 1024);
    let vanish = Arc::new(Notify::new());
    tokio::spawn(serve(theirs, vanish.clone()));
    tokio::select! {
        () = bridge(socket, ours) => {}
        () = vanish.notified() => {}
    }
}

fn refusal(code: u16, message: &str) -> ErrorResponse {
    let status = serde_json::json!({"kind": "Status", "apiVersion": "v1", "status": "Failure",
                                    "code": code, "message": message})
    .to_string();
    let response = http::Response::builder().status(code);
    let response = response.header("content-length", status.len());
    response.header("content-type", "application/json").body(Some(status)).unwrap()
}

/// Both directions at once, as the kubelet does.
async fn bridge(socket: tokio_tungstenite::WebSocketStream<TcpStream>, pipe: DuplexStream) {
    let (mut sink, mut stream) = socket.split();
    let (mut from_helper, mut to_helper) = tokio::io::split(pipe);
    let down = async {
        let mut buffer = vec![0; 32 * 1024];
        while let Ok(length @ 1..) = from_helper.read(&mut buffer).await {
            let mut message = BytesMut::with_capacity(1 + length);
            message.put_u8(1);
            message.put_slice(&buffer[..length]);
            if sink.send(Message::Binary(message.freeze())).await.is_err() {
                return;
            }
        }
    };
    let up = async {
        while let Some(Ok(message)) = stream.next().await {
            let Message::Binary(message) = message else { continue };
            match message[0] {
                0 => {
                    assert!(message.len() <= 1 + 32 * 1024, "frames must stay small");
                    if to_helper.write_all(&message[1..]).await.is_err() {
                        return;
                    }
                }
                255 => to_helper.shutdown().await.unwrap(),
                other => panic!("unexpected channel {other}"),
            }
        }
    };
    tokio::join!(down, up);
}

async fn serve(pipe: DuplexStream, vanish: Arc<Notify>) {
    let incoming = stream::iter([Ok::<_, std::io::Error>(pipe)]).chain(stream::pending());
    tonic::transport::Server::builder()
        .add_service(HelperServer::new(FakeHelper { vanish }))
        .serve_with_incoming(incoming)
        .await
        .unwrap();
}

struct FakeHelper {
    vanish: Arc<Notify>,
}

pub type Replies = mpsc::Sender<Result<ServerMessage, Status>>;

#[tonic::async_trait]
impl Helper for FakeHelper {
    type SessionStream = ReceiverStream<Result<ServerMessage, Status>>;

    async fn session(
        &self,
        request: tonic::Request<Streaming<ClientMessage>>,
    ) -> Result<tonic::Response<Self::SessionStream>, Status> {
        let (replies, receiver) = mpsc::channel(2);
        let vanish = self.vanish.clone();
        let mut messages = request.into_inner();
        tokio::spawn(async move {
            let first = messages.message().await.unwrap().unwrap().kind.unwrap();
            let client_message::Kind::Start(start) = first else { panic!("no Start: {first:?}") };
            run(&start.argv[0], messages, &replies, &vanish).await;
        });
        Ok(tonic::Response::new(ReceiverStream::new(receiver)))
    }

    async fn find(
        &self,
        _: tonic::Request<FindRequest>,
    ) -> Result<tonic::Response<FindAnswer>, Status> {
        Err(Status::unimplemented("in a pod nobody asks"))
    }
}

pub async fn say(replies: &Replies, kind: Kind) {
    // The client may have gone; the test judges what it saw.
    let _ = replies.send(Ok(ServerMessage { kind: Some(kind) })).await;
}

/// The commands of the fake: each behaves like one a session must survive.
async fn run(
    command: &[u8],
    mut messages: Streaming<ClientMessage>,
    replies: &Replies,
    vanish: &Notify,
) {
    if command == b"missing" {
        let failure = Failure {
            reason: Reason::NotFound.into(),
            message: "missing: not found".into(),
            hint: String::new(),
        };
        return say(replies, Kind::Failure(failure)).await;
    }
    let identity = "uid 0 of the fake".into();
    let notices = vec!["a notice".into()];
    say(replies, Kind::Started(Started { identity, notices, ..Started::default() })).await;
    if let Some(seed) = random::seed_of(command) {
        return random::play(seed, messages, replies, vanish).await;
    }
    let mut status = exit::Status::Code(0);
    match command {
        b"cat" => {
            let mut taken = 0;
            while let Some(bytes) = stdin(&mut messages, replies, &mut taken).await {
                say(replies, Kind::Stdout(bytes)).await;
            }
        }
        b"burst" => burst(&mut messages, replies).await,
        b"deaf" => deaf(&mut messages, replies).await,
        b"killed" => status = exit::Status::Signal(9),
        b"change" | b"half-change" => {
            for piece in [&b"first "[..], b"second"] {
                say(replies, Kind::Changes(Bytes::from_static(piece))).await;
            }
            if command == b"half-change" {
                tokio::time::sleep(ON_ITS_WAY).await;
                vanish.notify_one();
                return std::future::pending().await;
            }
            let notices = vec!["a last notice".into()];
            let status = Some(exit::Status::Code(3));
            return say(replies, Kind::Exit(Exit { status, notices })).await;
        }
        b"seven" => status = exit::Status::Code(7),
        b"nothing" => return say(replies, Kind::Exit(Exit::default())).await,
        b"echo-control" => echo_control(&mut messages, replies).await,
        b"vanish" => {
            say(replies, Kind::Stdout("half a".into())).await;
            tokio::time::sleep(ON_ITS_WAY).await;
            vanish.notify_one();
            return std::future::pending().await;
        }
        other => panic!("no such command: {other:?}"),
    }
    say(replies, Kind::Exit(Exit { status: Some(status), ..Exit::default() })).await;
}

/// Writes much before it reads anything.
async fn burst(messages: &mut Streaming<ClientMessage>, replies: &Replies) {
    for _ in 0..1024 {
        say(replies, Kind::Stdout(Bytes::from(vec![b'x'; 64 * 1024]))).await;
    }
    let mut total = 0;
    while stdin(messages, replies, &mut total).await.is_some() {}
    say(replies, Kind::Stderr(total.to_string().into())).await;
}

/// Takes no stdin; ends with a signal, and says what came before it.
async fn deaf(messages: &mut Streaming<ClientMessage>, replies: &Replies) {
    let mut received = 0;
    loop {
        match messages.message().await.unwrap().unwrap().kind.unwrap() {
            client_message::Kind::Stdin(bytes) => received += bytes.len(),
            client_message::Kind::Signal(_) => break,
            other => panic!("unexpected {other:?}"),
        }
    }
    say(replies, Kind::Stdout(received.to_string().into())).await;
}

/// Says what sizes and signals come, to the first signal.
async fn echo_control(messages: &mut Streaming<ClientMessage>, replies: &Replies) {
    loop {
        let kind = messages.message().await.unwrap().unwrap().kind.unwrap();
        let text = match kind {
            client_message::Kind::Resize(size) => format!("{}x{} ", size.columns, size.rows),
            client_message::Kind::Signal(number) => format!("signal {number}"),
            other => panic!("unexpected {other:?}"),
        };
        say(replies, Kind::Stdout(text.clone().into())).await;
        if text.starts_with("signal") {
            break;
        }
    }
}

/// The next piece of stdin, taken as soon as it comes.
async fn stdin(
    messages: &mut Streaming<ClientMessage>,
    replies: &Replies,
    taken: &mut u64,
) -> Option<Bytes> {
    match messages.message().await.unwrap()?.kind.unwrap() {
        client_message::Kind::Stdin(bytes) => {
            *taken += bytes.len() as u64;
            say(replies, Kind::StdinTaken(*taken)).await;
            Some(bytes)
        }
        client_message::Kind::Eof(_) => None,
        other => panic!("unexpected {other:?}"),
    }
}
