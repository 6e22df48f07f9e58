//! A session by way of the background process of `--share`: how it looks at the
//! client's end, and how it is passed on at the other.

use std::sync::{Arc, OnceLock};

use futures::{Stream, StreamExt};
use kpexec_protocol::share_answer::Kind as Answer;
use kpexec_protocol::{
    ClientMessage, Fault, ServerMessage, ShareAnswer, ShareRequest, Started, server_message,
    share_request,
};
use tokio::sync::mpsc;
use tonic::{Status, Streaming};

use super::Session;
use super::connect::Connection;
use crate::transport::{End, HelperLog};

/// Where answers of the background process go.
pub type Answers = mpsc::Sender<Result<ShareAnswer, Status>>;

/// What the helper's end is reached by.
pub(super) enum Way {
    /// A connection to the helper.
    Direct(Connection),
    /// The background process.
    Shared,
}

/// What the helper says.
pub(super) enum FromHelper {
    /// From itself.
    Direct(Streaming<ServerMessage>),
    /// Passed on by the background process.
    Shared(Background),
}

impl FromHelper {
    /// The next message; none at the end.
    pub async fn message(&mut self) -> Result<Option<ServerMessage>, Status> {
        match self {
            Self::Direct(messages) => messages.message().await,
            Self::Shared(background) => background.message().await,
        }
    }
}

/// What the background process says of a session that was lost.
pub type SharedFault = Arc<OnceLock<Fault>>;

/// What the background process says.
pub struct Background {
    answers: Streaming<ShareAnswer>,
    log: HelperLog,
    fault: SharedFault,
}

impl Background {
    /// Keeps what the helper logged in `log`, and why the session was lost in
    /// `fault`.
    pub fn new(answers: Streaming<ShareAnswer>, log: HelperLog, fault: SharedFault) -> Self {
        Self { answers, log, fault }
    }

    /// The next answer but for the log.
    pub async fn answer(&mut self) -> Result<Option<Answer>, Status> {
        loop {
            match self.answers.message().await?.map(|answer| answer.kind) {
                Some(Some(Answer::Log(text))) => self.log.push(text.as_bytes()),
                // Nothing that we know.
                Some(None) => {}
                Some(answer) => return Ok(answer),
                None => return Ok(None),
            }
        }
    }

    async fn message(&mut self) -> Result<Option<ServerMessage>, Status> {
        loop {
            match self.answer().await? {
                Some(Answer::Message(message)) => return Ok(Some(message)),
                Some(Answer::Fault(fault)) => {
                    // There is one at most.
                    let _kept = self.fault.set(fault);
                    return Ok(None);
                }
                Some(_) => {}
                None => return Ok(None),
            }
        }
    }

    /// A session that has begun.
    pub fn session(self, started: Started, to_helper: mpsc::Sender<ClientMessage>) -> Session {
        let (from_helper, way) = (FromHelper::Shared(self), Way::Shared);
        Session { to_helper, from_helper, way, started, changes: None, notices: Vec::new() }
    }
}

/// Passes a session's messages on in both directions, to its end or until the
/// client has gone, which ends the session. Holds one message each way at most:
/// who does not take what comes holds up who sends it. Gives how the session ended,
/// if it was lost.
pub async fn pass_on(
    session: Session,
    mut requests: impl Stream<Item = Result<ShareRequest, Status>> + Unpin,
    answers: &Answers,
    log: impl Fn() -> String,
) -> Option<End> {
    let Session { to_helper, mut from_helper, way, .. } = session;
    let to_helper_last = to_helper.clone();
    let from_client = async {
        while let Some(Ok(request)) = requests.next().await {
            if let Some(share_request::Kind::Message(message)) = request.kind
                && to_helper.send(message).await.is_err()
            {
                // The other direction sees the end, and says how it was.
                return std::future::pending().await;
            }
        }
    };
    let to_client = async {
        loop {
            let Ok(Some(message)) = from_helper.message().await else {
                return match &way {
                    Way::Direct(connection) => Some(connection.end().await),
                    Way::Shared => None,
                };
            };
            let (last, left) = (is_last(&message), is_left(&message));
            if last {
                say(answers, Answer::Log(log())).await;
            }
            if !say(answers, Answer::Message(message)).await {
                return None;
            }
            if last && !left {
                // The helper keeps its last word until it was heard.
                super::connect::end(&to_helper_last, &mut from_helper).await;
            }
            if last {
                return None;
            }
        }
    };
    tokio::select! {
        () = from_client => None,
        lost = to_client => lost,
        // Noticed also while the command says nothing.
        () = answers.closed() => None,
    }
}

/// Whether the session goes on without its client.
fn is_left(message: &ServerMessage) -> bool {
    matches!(message.kind, Some(server_message::Kind::Detached(_)))
}

fn is_last(message: &ServerMessage) -> bool {
    let ends = |kind: &server_message::Kind| {
        matches!(kind, server_message::Kind::Exit(_) | server_message::Kind::Failure(_))
    };
    is_left(message) || message.kind.as_ref().is_some_and(ends)
}

/// Tells the client; says whether it is still there.
pub async fn say(answers: &Answers, kind: Answer) -> bool {
    answers.send(Ok(ShareAnswer { kind: Some(kind) })).await.is_ok()
}
