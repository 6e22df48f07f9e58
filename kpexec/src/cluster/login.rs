//! The token of a login plugin, which runs again when that expires: a session may
//! last longer.

use http::header::AUTHORIZATION;
use http::{HeaderValue, Request};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use tokio::sync::Mutex;

use super::plugin::{Credentials, Plugin, PluginError};

/// Clocks differ, and requests take time.
const EARLY: SignedDuration = SignedDuration::from_secs(10);

/// The token there is.
pub struct Login {
    plugin: Plugin,
    current: Mutex<Token>,
}

struct Token {
    header: HeaderValue,
    expires: Option<Timestamp>,
}

impl Login {
    /// With what the plugin gave; none if that was no token.
    pub fn new(plugin: Plugin, credentials: Credentials) -> Result<Option<Self>, PluginError> {
        let token = token(&plugin, credentials)?;
        Ok(token.map(|token| Self { plugin, current: Mutex::new(token) }))
    }

    /// The request with the token.
    pub async fn authorize<B>(&self, mut request: Request<B>) -> Result<Request<B>, PluginError> {
        let mut current = self.current.lock().await;
        if current.expires.is_some_and(|end| Timestamp::now() + EARLY >= end) {
            // By now stdin is the session's.
            let new = self.plugin.run(false).await?;
            if let Some(new) = token(&self.plugin, new)? {
                *current = new;
            }
        }
        request.headers_mut().insert(AUTHORIZATION, current.header.clone());
        Ok(request)
    }
}

fn token(plugin: &Plugin, credentials: Credentials) -> Result<Option<Token>, PluginError> {
    let Credentials { token: Some(token), expires, .. } = credentials else { return Ok(None) };
    let header = HeaderValue::try_from(format!("Bearer {token}"));
    let mut header = header.map_err(|_| plugin.unusable("its token is no text of one line"))?;
    header.set_sensitive(true);
    Ok(Some(Token { header, expires }))
}
