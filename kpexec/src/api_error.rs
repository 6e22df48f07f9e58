//! What a failed request to the API server means to a person.

use kube::error::{Error as KubeError, Status};
use thiserror::Error;

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
            KubeError::Service(error) => Self::Unreachable { url, detail: innermost(&*error) },
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
    /// but then the message does not say `cannot VERB resource`.
    pub fn is_rbac(&self) -> bool {
        matches!(self, Self::Refused(status)
            if status.code == 403 && status.message.contains(" cannot "))
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Refused(_) if self.is_rbac() => Some(
                "roles kpexec-target and kpexec-operator of manifests/rbac.yaml grant it".into(),
            ),
            Self::Refused(status) if status.code == 401 => {
                Some("the kubeconfig's credentials are not accepted; log in again".into())
            }
            Self::Refused(status) if status.message.contains("violates PodSecurity") => Some(
                "the helper's namespace must allow privileged pods: kubectl apply -f manifests/"
                    .into(),
            ),
            Self::Unreachable { .. } => {
                Some("does kubectl reach the cluster with the same kubeconfig and context?".into())
            }
            _ => None,
        }
    }
}

fn is_login(error: &(dyn std::error::Error + 'static)) -> bool {
    chain(error).any(|cause| {
        matches!(cause.downcast_ref::<KubeError>(), Some(KubeError::Auth(_)))
            || cause.is::<kube::client::AuthError>()
    })
}

fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
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
