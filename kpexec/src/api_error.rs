//! What a failed request to the API server means to a person.

use k8s_openapi::jiff::Timestamp;
use kube::error::{Error as KubeError, Status};
use thiserror::Error;

use crate::cluster::{NoWay, PluginError};
use crate::rbac;

/// A request the API server refused, or that never reached it.
#[derive(Debug, Error)]
pub enum ApiError {
    /// The server answered with a Status. Its message names user, verb,
    /// resource and namespace, so nothing needs to be added.
    #[error("{}", .0.message)]
    Refused(Box<Status>),
    /// No answer: DNS, network, TLS.
    #[error("cannot reach the API server {url}: {detail}")]
    Unreachable {
        /// Where the kubeconfig says it is.
        url: String,
        /// The innermost cause; those around it say only "error".
        detail: String,
    },
    /// The proxy on the way does not let us through.
    #[error("cannot reach the API server {url}: {detail}")]
    Proxy {
        /// Where the kubeconfig says it is.
        url: String,
        /// Which proxy, and why.
        detail: String,
    },
    /// The server does not take a client certificate any more.
    #[error("cannot log in to the API server {url}: the client certificate expired on {end}")]
    Expired {
        /// Where the kubeconfig says it is.
        url: String,
        /// When.
        end: Timestamp,
    },
    /// The kubeconfig's credentials could not be obtained or used.
    #[error("cannot log in to the API server {url}: {detail}")]
    Login {
        /// Where the kubeconfig says it is.
        url: String,
        /// What the plugin or the token file said.
        detail: String,
    },
    /// Anything else, such as an answer that is no JSON.
    #[error("unexpected answer from the API server {url}: {source}")]
    Unexpected {
        /// Where the kubeconfig says it is.
        url: String,
        /// What is wrong with it.
        source: Box<KubeError>,
    },
}

impl ApiError {
    /// Sorts kube's errors; `url` is the server they came from.
    pub fn new(error: KubeError, url: &str) -> Self {
        let url = url.to_owned();
        match error {
            KubeError::Api(status) => Self::Refused(status),
            KubeError::Auth(error) => Self::Login { url, detail: innermost(&error) },
            KubeError::Service(error) if is_login(&*error) => {
                Self::Login { url, detail: innermost(&*error) }
            }
            KubeError::Service(error) => match chain(&*error).find_map(no_way) {
                Some(detail) => Self::Proxy { url, detail },
                None => Self::Unreachable { url, detail: innermost(&*error) },
            },
            KubeError::HyperError(error) => Self::Unreachable { url, detail: innermost(&error) },
            KubeError::ReadEvents(error) => Self::Unreachable { url, detail: innermost(&error) },
            other => Self::Unexpected { url, source: Box::new(other) },
        }
    }

    /// The HTTP code of a refusal.
    pub fn code(&self) -> Option<u16> {
        match self {
            Self::Refused(status) => Some(status.code),
            _ => None,
        }
    }

    /// Whether the user lacks the right to do this. Admission answers 403 too,
    /// but then the message does not say `cannot VERB resource "`.
    pub fn is_rbac(&self) -> bool {
        matches!(self, Self::Refused(status)
            if status.code == 403 && names_a_right(&status.message))
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Refused(status) if self.is_rbac() => Some(rbac::hint(&status.message)),
            Self::Refused(status) if status.code == 401 => Some(
                "the credentials, of the kubeconfig or of flags, are not accepted; log in again"
                    .into(),
            ),
            Self::Refused(status) if status.message.contains("violates PodSecurity") => Some(
                "the helper's namespace must allow privileged pods: kubectl apply -f manifests/"
                    .into(),
            ),
            Self::Expired { .. } => Some("get a new one where the kubeconfig comes from".into()),
            Self::Proxy { .. } => Some(
                "it is of HTTPS_PROXY, or of proxy-url in the kubeconfig; NO_PROXY names who is \
                 reached without it"
                    .into(),
            ),
            Self::Unreachable { .. } => {
                Some("does kubectl reach the cluster with the same kubeconfig and context?".into())
            }
            _ => None,
        }
    }
}

fn names_a_right(message: &str) -> bool {
    message
        .split(" cannot ")
        .skip(1)
        .any(|rest| rest.split_once(" resource \"").is_some_and(|(verb, _)| !verb.contains(' ')))
}

/// std::io::Error is not the source of what it was made of.
fn no_way(cause: &(dyn std::error::Error + 'static)) -> Option<String> {
    let inner = cause.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
    match inner {
        Some(inner) if inner.is::<NoWay>() => Some(inner.to_string()),
        _ => cause.is::<NoWay>().then(|| cause.to_string()),
    }
}

fn is_login(error: &(dyn std::error::Error + 'static)) -> bool {
    chain(error).any(|cause| {
        matches!(cause.downcast_ref::<KubeError>(), Some(KubeError::Auth(_)))
            || cause.is::<PluginError>()
            || cause.is::<kube::client::AuthError>()
    })
}

/// What was at the bottom of it.
pub fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    chain(error).last().map(ToString::to_string).unwrap_or_default()
}

fn chain<'a>(
    error: &'a (dyn std::error::Error + 'static),
) -> impl Iterator<Item = &'a (dyn std::error::Error + 'static)> {
    std::iter::successors(Some(error), |&cause| cause.source())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(code: u16, message: &str) -> ApiError {
        let status = Status { code, message: message.into(), ..Status::default() };
        ApiError::new(KubeError::Api(status.boxed()), "https://10.0.0.1:6443")
    }

    #[test]
    fn a_refusal_keeps_the_servers_words() {
        let text = r#"pods is forbidden: User "bob" cannot create resource "pods" in API group "" in the namespace "kpexec""#;
        let error = refused(403, text);
        assert_eq!(error.to_string(), text);
        assert!(error.is_rbac());
        assert!(error.hint().unwrap().contains("rbac.yaml"));
    }

    #[test]
    fn admission_is_not_mistaken_for_rbac() {
        let quota = refused(403, r#"pods "x" is forbidden: exceeded quota: small"#);
        assert!(!quota.is_rbac());
        assert_eq!(quota.hint(), None);
        let webhook =
            r#"admission webhook "w" denied: containers cannot run privileged resource "x""#;
        for message in [webhook, "admission webhook denied: containers cannot run privileged"] {
            let error = refused(403, message);
            assert_eq!((error.is_rbac(), error.hint()), (false, None), "{message}");
        }
        let policy = refused(403, r#"pods "x" is forbidden: violates PodSecurity "restricted""#);
        assert!(policy.hint().unwrap().contains("kubectl apply -f manifests/"));
    }

    #[test]
    fn the_innermost_cause_is_told_with_the_address() {
        let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        let wrapped = std::io::Error::other(refused);
        let error = ApiError::new(KubeError::Service(Box::new(wrapped)), "https://10.0.0.1:6443");
        assert_eq!(
            error.to_string(),
            "cannot reach the API server https://10.0.0.1:6443: connection refused"
        );
    }
}
