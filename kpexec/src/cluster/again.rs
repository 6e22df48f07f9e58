//! Asks again what was cut off before it was answered, where that is safe.

use std::error::Error;
use std::future::{Ready, ready};

use bytes::Bytes;
use http::header::UPGRADE;
use http::{Method, Request};
use tower::BoxError;
use tower::retry::Policy;

/// How often a request is made at most: several connections may have been closed.
const ATTEMPTS: u8 = 3;

/// Asks again by GET, as a connection that is kept may be closed by the other side at
/// the very moment at which it is used: RFC 9112, 9.3.1, and Go's `net/http`, which
/// kubectl is made with. hyper does so only for what it has not begun to send.
#[derive(Debug, Clone, Copy)]
pub struct Again {
    left: u8,
}

impl Again {
    /// For any number of requests.
    pub fn new() -> Self {
        Self { left: ATTEMPTS - 1 }
    }
}

impl<B: From<Bytes>, R> Policy<Request<B>, R, BoxError> for Again {
    type Future = Ready<()>;

    fn retry(
        &mut self,
        _request: &mut Request<B>,
        result: &mut Result<R, BoxError>,
    ) -> Option<Ready<()>> {
        let cut = result.as_ref().is_err_and(|error| is_cut(&**error));
        let more = cut && self.left > 0;
        self.left -= u8::from(more);
        more.then(|| ready(()))
    }

    fn clone_request(&mut self, request: &Request<B>) -> Option<Request<B>> {
        let safe = request.method() == Method::GET && !request.headers().contains_key(UPGRADE);
        safe.then(|| {
            let mut same = Request::new(B::from(Bytes::new()));
            *same.method_mut() = request.method().clone();
            *same.uri_mut() = request.uri().clone();
            *same.headers_mut() = request.headers().clone();
            *same.extensions_mut() = request.extensions().clone();
            same
        })
    }
}

/// Whether the connection ended before the answer began.
fn is_cut(error: &(dyn Error + 'static)) -> bool {
    let mut causes = std::iter::successors(Some(error), |&cause| cause.source());
    causes.any(|cause| {
        cause.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_incomplete_message)
    })
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU8, Ordering};

    use http_body_util::Full;
    use hyper_util::client::legacy::Client;
    use hyper_util::rt::TokioExecutor;
    use tower::retry::Retry;
    use tower::{ServiceExt, service_fn};

    use super::*;

    /// Cuts off so many requests, then answers; gives the answer, and how many came.
    async fn ask(cut: u8, method: Method) -> (Result<u16, String>, u8) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let came = Arc::new(AtomicU8::new(0));
        let counter = came.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let _length = stream.read(&mut [0; 4096]).unwrap();
                if counter.fetch_add(1, Ordering::SeqCst) >= cut {
                    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").unwrap();
                }
            }
        });
        let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
        let inner = service_fn(move |request: Request<Full<Bytes>>| {
            let client = client.clone();
            async move { client.request(request).await.map_err(BoxError::from) }
        });
        let request = Request::builder().method(method).uri(format!("http://{address}/"));
        let request = request.body(Full::default()).unwrap();
        let answer = Retry::new(Again::new(), inner).oneshot(request).await;
        let answer = answer.map(|answer| answer.status().as_u16());
        (answer.map_err(|error| error.to_string()), came.load(Ordering::SeqCst))
    }

    #[tokio::test]
    async fn what_only_reads_is_asked_again_a_few_times() {
        assert_eq!(ask(0, Method::GET).await, (Ok(200), 1));
        assert_eq!(ask(1, Method::GET).await, (Ok(200), 2));
        assert_eq!(ask(2, Method::GET).await, (Ok(200), 3));
        let (answer, came) = ask(3, Method::GET).await;
        assert!(answer.is_err() && came == 3, "{answer:?}, {came}");
    }

    #[tokio::test]
    async fn what_may_have_been_done_is_not() {
        for method in [Method::POST, Method::DELETE] {
            let (answer, came) = ask(1, method).await;
            assert!(answer.is_err() && came == 1, "{answer:?}, {came}");
        }
    }
}
