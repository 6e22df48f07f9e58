//! A session that the background process passes on: what comes to its client, and
//! what becomes of it without one.

use std::time::Duration;

use kpexec_protocol::share_answer::Kind as Answer;
use kpexec_protocol::{ClientMessage, Eof, ShareAnswer, ShareRequest, client_message, exit};
use kpexec_protocol::{server_message::Kind, share_request};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::{Answer as Connection, V5, server, session_with};
use crate::session::pass_on;
use crate::transport::End;

/// Longer than anything here takes.
const SOON: Duration = Duration::from_secs(20);

/// A client of the background process.
struct Client {
    requests: mpsc::Sender<Result<ShareRequest, Status>>,
    answers: mpsc::Receiver<Result<ShareAnswer, Status>>,
    /// What passes its session on; gives how that was lost, if it was.
    passing: JoinHandle<Option<End>>,
}

impl Client {
    async fn of(command: &str) -> Self {
        let server = server::start(V5, &[Connection::Serve]).await;
        let session = session_with(&server, command).await.unwrap();
        let (requests, asked) = mpsc::channel(1);
        let (answering, answers) = mpsc::channel(1);
        let passing = tokio::spawn(async move {
            let log = || "the log".to_owned();
            pass_on(session, ReceiverStream::new(asked), &answering, log).await
        });
        Self { requests, answers, passing }
    }

    async fn say(&self, kind: client_message::Kind) {
        let message = share_request::Kind::Message(ClientMessage { kind: Some(kind) });
        self.requests.send(Ok(ShareRequest { kind: Some(message) })).await.unwrap();
    }

    async fn hear(&mut self) -> Option<Answer> {
        let answer = timeout(SOON, self.answers.recv()).await.expect("nothing comes");
        answer.map(|answer| answer.unwrap().kind.unwrap())
    }

    async fn stdout(&mut self) -> String {
        loop {
            match self.hear().await {
                Some(Answer::Message(message)) => match message.kind.unwrap() {
                    Kind::Stdout(bytes) => return String::from_utf8(bytes.to_vec()).unwrap(),
                    Kind::StdinTaken(_) => {}
                    other => panic!("unexpected {other:?}"),
                },
                other => panic!("unexpected {other:?}"),
            }
        }
    }

    async fn passed(self) -> Option<End> {
        timeout(SOON, self.passing).await.expect("it goes on").unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn both_directions_are_passed_on_and_the_log_before_the_last_word() {
    let mut client = Client::of("cat").await;
    for word in ["one", "two"] {
        client.say(client_message::Kind::Stdin(word.into())).await;
        assert_eq!(client.stdout().await, word);
    }
    client.say(client_message::Kind::Eof(Eof {})).await;
    assert_eq!(client.hear().await, Some(Answer::Log("the log".into())));
    let Some(Answer::Message(last)) = client.hear().await else { panic!("no last word") };
    let Some(Kind::Exit(exit)) = last.kind else { panic!("{last:?}") };
    assert_eq!(exit.status, Some(exit::Status::Code(0)));
    assert_eq!(client.hear().await, None);
    assert!(client.passed().await.is_none(), "what has ended is not lost");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_is_lost_is_told_from_one_that_ended() {
    let mut client = Client::of("vanish").await;
    assert_eq!(client.stdout().await, "half a");
    assert_eq!(client.hear().await, None, "a lost session has a last word");
    assert!(client.passed().await.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_takes_its_session_with_it() {
    // It says nothing more: either end is noticed by itself.
    let Client { requests, answers, passing } = Client::of("cat").await;
    drop(requests);
    assert!(timeout(SOON, passing).await.expect("it goes on").unwrap().is_none());
    drop(answers);

    let Client { requests, answers, passing } = Client::of("cat").await;
    drop(answers);
    assert!(timeout(SOON, passing).await.expect("it goes on").unwrap().is_none());
    drop(requests);
}

#[tokio::test(flavor = "multi_thread")]
async fn much_output_comes_whole_and_ends() {
    let mut client = Client::of("burst").await;
    let mut left = 64 << 20;
    while left > 0 {
        left -= client.stdout().await.len();
    }
    client.say(client_message::Kind::Eof(Eof {})).await;
    let mut last = None;
    while let Some(answer) = client.hear().await {
        last = Some(answer);
    }
    let Some(Answer::Message(last)) = last else { panic!("no last word") };
    assert!(matches!(last.kind, Some(Kind::Exit(_))), "{last:?}");
    assert!(client.passed().await.is_none());
}
