//! The HTTP client below everything, as kube makes it but for what it gets wrong.

use std::sync::Arc;

use http::{HeaderValue, Uri};
use hyper::rt::{Read, Write};
use hyper_timeout::TimeoutConnector;
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::proxy::{SocksV5, Tunnel};
use hyper_util::client::legacy::connect::{Connection, HttpConnector};
use hyper_util::rt::TokioExecutor;
use k8s_openapi::ByteString;
use kube::client::{Body, ClientBuilder, ConfigExt};
use kube::{Client, Config};
use serde_json::Value;
use thiserror::Error;
use tower::filter::AsyncFilterLayer;
use tower::retry::RetryLayer;
use tower::{BoxError, Service, ServiceBuilder, ServiceExt};

use super::again::Again;
use super::calls::{Calls, Limit};
use super::login::Login;
use super::proxy::shown;
use crate::api_error::innermost;

/// A proxy that did not let us through.
#[derive(Debug, Error)]
#[error("proxy {proxy}: {why}")]
pub struct NoWay {
    proxy: String,
    why: String,
}

/// Makes a client whose connections send at once what there is to send. kube's
/// leave Nagle's algorithm on (RFC 1122, 4.2.3.4): a small message waits for the
/// answer to the one before, which its receiver delays by 40 ms, so that stdin
/// came to 25 MB/s.
pub fn client(config: Config, login: Option<Login>, limit: Limit) -> kube::Result<Client> {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    let Some(proxy) = config.proxy_url.clone() else { return over(tcp, config, login, limit) };
    let user = user_of(&proxy);
    match proxy.scheme_str() {
        Some("socks5") => {
            let socks = SocksV5::new(proxy.clone(), tcp);
            let socks = match user {
                Some((name, password)) => socks.with_auth(name, password),
                None => socks,
            };
            over(socks.map_err(move |error| no_way(&proxy, &error)), config, login, limit)
        }
        Some("https") => {
            let tls = config.rustls_https_connector_with_connector(tcp)?;
            let tunnel = authorized(Tunnel::new(proxy.clone(), tls), user);
            over(tunnel.map_err(move |error| no_way(&proxy, &error)), config, login, limit)
        }
        _ => {
            let tunnel = authorized(Tunnel::new(proxy.clone(), tcp), user);
            over(tunnel.map_err(move |error| no_way(&proxy, &error)), config, login, limit)
        }
    }
}

/// Over whatever carries the bytes to the server.
fn over<C>(carrier: C, config: Config, login: Option<Login>, limit: Limit) -> kube::Result<Client>
where
    C: Service<Uri> + Clone + Send + Sync + 'static,
    C::Response: Connection + Read + Write + Send + Unpin + 'static,
    C::Future: Send + 'static,
    C::Error: Into<BoxError>,
{
    let mut https = TimeoutConnector::new(config.rustls_https_connector_with_connector(carrier)?);
    https.set_connect_timeout(config.connect_timeout);
    https.set_read_timeout(config.read_timeout);
    https.set_write_timeout(config.write_timeout);
    https.set_reset_reader_on_write(config.reset_reader_on_write);
    let http: legacy::Client<_, Body> = legacy::Client::builder(TokioExecutor::new()).build(https);
    let login = login.map(Arc::new).map(|login| {
        AsyncFilterLayer::new(move |request: http::Request<Body>| {
            let login = login.clone();
            async move { login.authorize(request).await.map_err(BoxError::from) }
        })
    });
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(login)
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .layer(RetryLayer::new(Again::new()))
        .service(Calls::new(http, limit));
    Ok(ClientBuilder::new(service, config.default_namespace).build())
}

/// User and password of a proxy's address, decoded.
fn user_of(proxy: &Uri) -> Option<(String, String)> {
    let (user, _) = proxy.authority()?.as_str().rsplit_once('@')?;
    let (name, password) = user.split_once(':').unwrap_or((user, ""));
    Some((decoded(name), decoded(password)))
}

/// RFC 3986, 2.1.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, behind)) = rest.split_first() {
        let hex = behind.get(..2).filter(|two| two.iter().all(u8::is_ascii_hexdigit));
        let hex = hex.and_then(|two| u8::from_str_radix(std::str::from_utf8(two).ok()?, 16).ok());
        match (first, hex) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = &behind[2..];
            }
            _ => {
                bytes.push(first);
                rest = behind;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn authorized<C>(tunnel: Tunnel<C>, user: Option<(String, String)>) -> Tunnel<C> {
    let Some((name, password)) = user else { return tunnel };
    let pair = ByteString(format!("{name}:{password}").into_bytes());
    let Ok(Value::String(pair)) = serde_json::to_value(pair) else { return tunnel };
    match HeaderValue::try_from(format!("Basic {pair}")) {
        Ok(header) => tunnel.with_auth(header),
        Err(_) => tunnel,
    }
}

/// hyper-util names its errors by text alone.
fn no_way(proxy: &Uri, error: &(dyn std::error::Error + 'static)) -> NoWay {
    let why = match error.to_string() {
        text if text.ends_with("proxy authorization required") => {
            "it wants a user name and a password (HTTP 407)".to_owned()
        }
        text if text.ends_with("tunnel error: unsuccessful") => {
            "it refuses to connect us with the API server".to_owned()
        }
        // It keeps to itself why not.
        text if text.starts_with("SOCKS error: failed to create") => {
            "it cannot be connected to".to_owned()
        }
        _ => innermost(error),
    };
    NoWay { proxy: shown(proxy), why }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxys_user_is_decoded() {
        let user = |proxy: &str| user_of(&proxy.parse().unwrap());
        let pair = |name: &str, password: &str| Some((name.to_owned(), password.to_owned()));
        assert_eq!(user("http://proxy:3128"), None);
        assert_eq!(user("http://bob@proxy:3128"), pair("bob", ""));
        assert_eq!(user("http://bob:a%40b%3Ac%2@proxy"), pair("bob", "a@b:c%2"));
    }
}
