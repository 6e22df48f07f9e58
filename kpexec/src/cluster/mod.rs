//! The cluster, as kubectl would find it: kubeconfig, flags, login plugin, proxy.

mod again;
mod calls;
mod certificate;
mod connector;
mod kubeconfig;
mod load;
mod login;
mod plugin;
mod proxy;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

use k8s_openapi::jiff::Timestamp;
use kube::{Client, Config};
use thiserror::Error;

use crate::api_error::ApiError;
use crate::cli::ClusterFlags;

pub use calls::CALLS;
use calls::Limit;
pub use connector::NoWay;
pub use kubeconfig::{Entries, known_entries, kubeconfig_files};
use load::{Loaded, load};
use login::Login;
pub use plugin::PluginError;
use proxy::ProxyError;

/// A cluster to talk to.
#[derive(Clone)]
pub struct Cluster {
    /// Client with the user's credentials.
    pub client: Client,
    /// Namespace of the context, `default` if it has none.
    pub namespace: String,
    /// Address of the API server, for messages.
    pub url: String,
    /// When the client certificate expires, if there is one.
    pub certificate_end: Option<Timestamp>,
}

/// Why no cluster can be talked to.
#[derive(Debug, Error)]
pub enum ClusterError {
    /// Neither a kubeconfig nor a service account.
    #[error("found no cluster: no kubeconfig, and this is not a pod")]
    NoCluster,
    /// A file that the kubeconfig or a flag names, or the kubeconfig itself.
    #[error("cannot read {}, the {what}", .path.display())]
    File {
        /// What it is for.
        what: &'static str,
        /// Its path.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The kubeconfig makes no sense.
    #[error("{} is no kubeconfig: {why}", .path.display())]
    Broken {
        /// Its path.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A flag or the context names what is not there.
    #[error("{}{what} {name:?} is not in the kubeconfig", of_context(context.as_deref()))]
    Unknown {
        /// A context, a cluster or a user.
        what: &'static str,
        /// Its name.
        name: String,
        /// The context that names it, if no flag does.
        context: Option<String>,
        /// Those there are.
        known: Vec<String>,
    },
    /// There are contexts, but none is chosen.
    #[error("the kubeconfig has no current context")]
    NoContext {
        /// Those there are.
        known: Vec<String>,
    },
    /// The cluster has no address.
    #[error("the kubeconfig names no server for this cluster")]
    NoServer,
    /// It would be shown with each error.
    #[error("the API server's address has a user or password in it")]
    UserInServer,
    /// Either who vouches for the server is known, or whoever answers is taken for it.
    #[error("the kubeconfig's cluster has a certificate authority and insecure-skip-tls-verify")]
    Contradiction,
    /// The address is none.
    #[error("{0:?} is no address of a server")]
    Server(String),
    /// A certificate or a key is none.
    #[error("there is no {what} in {place}")]
    NotPem {
        /// What should be there.
        what: &'static str,
        /// Where.
        place: String,
    },
    /// A client certificate is of use with its key only.
    #[error("the kubeconfig's user has a {has}, but no {lacks}")]
    Half {
        /// What there is.
        has: &'static str,
        /// What there is not.
        lacks: &'static str,
    },
    /// The login plugin.
    #[error(transparent)]
    Plugin(#[from] PluginError),
    /// The proxy.
    #[error(transparent)]
    Proxy(#[from] ProxyError),
    /// Credentials or certificates do not work.
    #[error("cannot make a client for {url}")]
    Client {
        /// Address of the API server.
        url: String,
        /// What does not work.
        source: Box<kube::Error>,
    },
}

fn of_context(name: Option<&str>) -> String {
    name.map(|name| format!("context {name:?} is of no use: ")).unwrap_or_default()
}

impl ClusterError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoCluster => Some("set KUBECONFIG, or give --kubeconfig or --server".into()),
            Self::Unknown { what, known, .. } => Some(choice(what, known)),
            Self::NoContext { known } => Some(choice("context", known)),
            Self::NoServer | Self::Server(_) => {
                Some("for example: --server https://HOST:6443".into())
            }
            Self::File { what: "kubeconfig", .. } | Self::Broken { .. } => {
                Some("KUBECONFIG or --kubeconfig names the file".into())
            }
            Self::UserInServer => Some("--username and --password are for that".into()),
            Self::Contradiction => {
                Some("leave one of them out; kubectl takes no such cluster either".into())
            }
            Self::NotPem { .. } => Some("it begins with -----BEGIN".into()),
            Self::File { .. } | Self::Half { .. } => {
                Some("kubectl config view shows what the kubeconfig says".into())
            }
            Self::Plugin(error) => error.hint(),
            Self::Proxy(error) => Some(error.hint()),
            Self::Client { .. } => {
                Some("does kubectl reach the cluster with the same kubeconfig and context?".into())
            }
        }
    }
}

fn choice(what: &str, known: &[String]) -> String {
    match known {
        [] => format!("it has no {what}s"),
        known => format!("choose one with --{what}: {}", known.join(", ")),
    }
}

impl Cluster {
    /// Reads the configuration and makes a client; sends nothing yet.
    pub async fn new(flags: &ClusterFlags) -> Result<Self, ClusterError> {
        let Loaded { config, login, certificate_end } = load(flags).await?;
        let cluster = Self::made(config, login, flags.connection.request_timeout)?;
        Ok(Self { certificate_end, ..cluster })
    }

    /// Makes a client of a configuration.
    #[cfg(test)]
    pub fn from_config(config: Config) -> Result<Self, ClusterError> {
        Self::made(config, None, None)
    }

    fn made(mut config: Config, login: Option<Login>, limit: Limit) -> Result<Self, ClusterError> {
        // Time in which a command reads none of its stdin is not an error.
        config.write_timeout = None;
        let url = config.cluster_url.to_string().trim_end_matches('/').to_owned();
        let namespace = config.default_namespace.clone();
        let client = connector::client(config, login, limit).map_err(|source| {
            ClusterError::Client { url: url.clone(), source: Box::new(source) }
        })?;
        Ok(Self { client, namespace, url, certificate_end: None })
    }

    /// Puts an error of one of this cluster's requests into words.
    pub fn error(&self, error: kube::Error) -> ApiError {
        match (ApiError::new(error, &self.url), self.certificate_end) {
            (error, Some(end)) if error.code() == Some(401) && end < Timestamp::now() => {
                ApiError::Expired { url: self.url.clone(), end }
            }
            (error, _) => error,
        }
    }
}
