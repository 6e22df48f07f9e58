//! Each HTTP call to the API server: how long it may take, and what is shown of it.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::UPGRADE;
use http::{Request, Response};
use http_body::Body;
use http_body_util::{BodyExt, Either, Full};
use thiserror::Error;
use tokio::time::timeout;
use tower::{BoxError, Service, ServiceExt};

use crate::api_error::innermost;

/// Of these lines, for the filter of what is shown.
pub const CALLS: &str = module_path!();

/// How long a call may take; none: any time.
pub type Limit = Option<Duration>;

/// No whole answer came in time.
#[derive(Debug, Error)]
#[error("no answer within {0:?}, the --request-timeout")]
pub struct TooLate(Duration);

/// A client that looks at what goes through it.
#[derive(Clone)]
pub struct Calls<S> {
    inner: S,
    limit: Limit,
}

impl<S> Calls<S> {
    /// Over another one.
    pub fn new(inner: S, limit: Limit) -> Self {
        Self { inner, limit: limit.filter(|limit| !limit.is_zero()) }
    }
}

type Answer<B> = Response<Either<B, Full<Bytes>>>;

impl<S, Q, B> Service<Request<Q>> for Calls<S>
where
    S: Service<Request<Q>, Response = Response<B>> + Clone + Send + 'static,
    S::Error: Into<BoxError> + Send,
    S::Future: Send,
    Q: Send + 'static,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Answer<B>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Answer<B>, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, request: Request<Q>) -> Self::Future {
        let clone = self.inner.clone();
        // The one that was asked whether it is ready.
        let inner = std::mem::replace(&mut self.inner, clone);
        let kind = Kind::of(&request);
        let limit = self.limit.filter(|_| kind != Kind::Stream);
        let (method, url) = (request.method().clone(), request.uri().clone());
        let begun = Instant::now();
        Box::pin(async move {
            let answered = async {
                let response = inner.oneshot(request).await.map_err(Into::into)?;
                if limit.is_none() || kind == Kind::Watch {
                    return Ok(response.map(Either::Left));
                }
                let (parts, body) = response.into_parts();
                let whole = body.collect().await.map_err(Into::into)?.to_bytes();
                Ok(Response::from_parts(parts, Either::Right(Full::new(whole))))
            };
            let result: Result<_, BoxError> = match limit {
                Some(limit) => {
                    timeout(limit, answered).await.unwrap_or_else(|_| Err(TooLate(limit).into()))
                }
                None => answered.await,
            };
            let outcome = match &result {
                Ok(response) => response.status().to_string(),
                Err(error) => format!("failed: {:?}", innermost(&**error)),
            };
            let took = begun.elapsed().as_millis();
            tracing::trace!("{method} {} {outcome} in {took} ms", shown(&url));
            result
        })
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Answered as a whole.
    Plain,
    /// Goes on after it was answered.
    Watch,
    /// Of a session, which has its own rules.
    Stream,
}

impl Kind {
    fn of<Q>(request: &Request<Q>) -> Self {
        let query = request.uri().query().unwrap_or_default();
        if request.headers().contains_key(UPGRADE) {
            Self::Stream
        } else if query.split('&').any(|part| part == "watch=true") {
            Self::Watch
        } else {
            Self::Plain
        }
    }
}

/// Without a user and a password.
fn shown(url: &http::Uri) -> String {
    let host = url.authority().map(|authority| authority.as_str().rsplit('@').next());
    let path = url.path_and_query().map(http::uri::PathAndQuery::as_str).unwrap_or_default();
    let scheme = url.scheme_str().unwrap_or_default();
    format!("{scheme}://{}{path}", host.flatten().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use tower::service_fn;

    use super::*;

    /// A server that answers at once, and is silent in the middle of the body.
    async fn call(request: Request<()>, limit: Limit) -> Result<http::StatusCode, String> {
        let silent = service_fn(async |_: Request<()>| {
            let body = http_body_util::StreamBody::new(futures::stream::pending::<
                Result<http_body::Frame<Bytes>, std::io::Error>,
            >());
            Ok::<_, BoxError>(Response::new(body))
        });
        let answer = Calls::new(silent, limit).oneshot(request).await;
        answer.map(|response| response.status()).map_err(|error| error.to_string())
    }

    fn get(uri: &str) -> Request<()> {
        Request::get(uri).body(()).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_has_to_be_there_in_time_and_a_stream_to_begin() {
        let limit = Some(Duration::from_secs(5));
        let plain = "https://h/api/v1/pods?limit=1";
        let late = call(get(plain), limit).await.unwrap_err();
        assert_eq!(late, "no answer within 5s, the --request-timeout");
        for free in [None, Some(Duration::ZERO)] {
            assert_eq!(call(get(plain), free).await, Ok(http::StatusCode::OK));
        }
        let watch = "https://h/api/v1/pods?limit=1&watch=true";
        assert_eq!(call(get(watch), limit).await, Ok(http::StatusCode::OK));
        let mut exec = get("https://h/api/v1/namespaces/n/pods/p/exec");
        exec.headers_mut().insert(UPGRADE, http::HeaderValue::from_static("websocket"));
        assert_eq!(call(exec, limit).await, Ok(http::StatusCode::OK));
    }

    #[test]
    fn an_address_is_shown_without_its_password() {
        let url = "https://bob:s3cret@h:1/api?watch=true".parse().unwrap();
        assert_eq!(shown(&url), "https://h:1/api?watch=true");
    }
}
