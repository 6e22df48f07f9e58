//! A session with a helper of our own: it is there, or it is not.

use kpexec_protocol::helper_client::HelperClient;
use kpexec_protocol::{FindRequest, Found, Start, find_answer};
use tokio::io::{AsyncRead, AsyncWrite};
use tonic::transport::Channel;
use tonic::{Code, Status};

use super::SessionError;
use super::connect::{self, END_PATIENCE, Session};
use crate::transport::{Link, TransportError};

/// A helper at the other end of a stream.
pub struct OwnHelper {
    channel: Channel,
    link: Link,
}

impl OwnHelper {
    /// Begins to speak with it.
    pub async fn over<S>(stream: S, mut link: Link) -> Result<Self, SessionError>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        match connect::over(stream).await {
            Ok(channel) => Ok(Self { channel, link }),
            Err(error) => Err(died(&mut link, Status::from_error(error.into())).await),
        }
    }

    /// Asks which container is meant.
    pub async fn find(&mut self, name: &str) -> Result<Found, SessionError> {
        let request = FindRequest { name: name.to_owned() };
        match HelperClient::new(self.channel.clone()).find(request).await {
            Ok(answer) => match answer.into_inner().kind {
                Some(find_answer::Kind::Found(found)) => Ok(found),
                Some(find_answer::Kind::Failure(failure)) => Err(SessionError::Refused(failure)),
                None => Err(SessionError::Protocol("it neither found a container nor failed")),
            },
            Err(status) if status.code() == Code::Unimplemented => {
                Err(SessionError::Protocol("it does not look for containers"))
            }
            Err(status) => Err(died(&mut self.link, status).await),
        }
    }

    /// Starts the command.
    pub async fn start(mut self, start: &Start) -> Result<Session, SessionError> {
        let status = match connect::call(self.channel, start).await {
            Ok((to_helper, mut from_helper)) => match from_helper.message().await {
                Ok(Some(first)) => {
                    let started = connect::started(first)?;
                    let (link, changes, notices) = (self.link, None, Vec::new());
                    return Ok(Session { to_helper, from_helper, link, started, changes, notices });
                }
                Ok(None) => Status::unavailable("the stream ended"),
                Err(status) => status,
            },
            Err(status) => status,
        };
        tracing::debug!(?status, "no session");
        // It may have started something.
        Err(SessionError::Lost(self.link.end(END_PATIENCE).await))
    }
}

async fn died(link: &mut Link, status: Status) -> SessionError {
    let message = link.end(END_PATIENCE).await.to_string();
    tracing::debug!(?status, message, "no session");
    TransportError::Died { message }.into()
}
