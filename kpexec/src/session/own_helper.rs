//! A session with a helper of our own: it is there, or it is not.

use std::time::Duration;

use kpexec_protocol::client_message::Kind;
use kpexec_protocol::{FindRequest, Found, find_answer};
use tokio::io::{AsyncRead, AsyncWrite};
use tonic::{Code, Status};

use super::SessionError;
use super::connect::{Connection, END_PATIENCE, Session};
use crate::transport::{End, Link, TransportError};

/// A helper at the other end of a stream.
pub struct OwnHelper(Connection);

impl OwnHelper {
    /// Begins to speak with it.
    pub async fn over<S>(stream: S, link: Link, keepalive: Duration) -> Result<Self, SessionError>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        match Connection::over(stream, link, keepalive).await {
            Ok(connection) => Ok(Self(connection)),
            Err((status, mut link)) => Err(died(&link.end(END_PATIENCE).await, &status)),
        }
    }

    /// Asks which container is meant.
    pub async fn find(&self, name: &str) -> Result<Found, SessionError> {
        let request = FindRequest { name: name.to_owned() };
        match self.0.client().find(request).await {
            Ok(answer) => match answer.into_inner().kind {
                Some(find_answer::Kind::Found(found)) => Ok(found),
                Some(find_answer::Kind::Failure(failure)) => Err(SessionError::Refused(failure)),
                None => Err(SessionError::Protocol("it neither found a container nor failed")),
            },
            Err(status) if status.code() == Code::Unimplemented => {
                Err(SessionError::Protocol("it does not look for containers"))
            }
            Err(status) => Err(died(&self.0.end().await, &status)),
        }
    }

    /// Starts the command.
    pub async fn start(self, first: &Kind) -> Result<Session, SessionError> {
        match self.0.call().await {
            Ok(call) => call.begin(first).await,
            Err(status) => Err(died(&self.0.end().await, &status)),
        }
    }
}

fn died(end: &End, status: &Status) -> SessionError {
    tracing::debug!(?status, ?end, "no session");
    TransportError::Died { message: end.to_string() }.into()
}
