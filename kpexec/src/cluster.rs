//! The cluster, as kubectl would find it: kubeconfig, context, namespace.

use std::io::ErrorKind;
use std::path::Path;

use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Client, Config};
use thiserror::Error;

use crate::api_error::ApiError;
use crate::connector;

/// A cluster to talk to.
#[derive(Clone)]
pub struct Cluster {
    /// Client with the user's credentials.
    pub client: Client,
    /// Namespace of the context, `default` if it has none.
    pub namespace: String,
    /// Address of the API server, for messages.
    pub url: String,
}

/// Why no cluster can be talked to.
#[derive(Debug, Error)]
pub enum ClusterError {
    /// Neither a kubeconfig nor a service account.
    #[error("found no cluster: no kubeconfig, and this is not a pod")]
    NoCluster(#[source] Box<KubeconfigError>),
    /// The kubeconfig cannot be read or makes no sense.
    #[error("cannot use the kubeconfig")]
    Kubeconfig(#[source] Box<KubeconfigError>),
    /// `--context` names none, or current-context does.
    #[error("context {name:?} is not in the kubeconfig")]
    UnknownContext {
        /// The context asked for.
        name: String,
        /// Those there are.
        known: Vec<String>,
    },
    /// There are contexts, but none is chosen.
    #[error("the kubeconfig has no current context")]
    NoContext {
        /// Those there are.
        known: Vec<String>,
    },
    /// Credentials or certificates do not work.
    #[error("cannot make a client for {url}")]
    Client {
        /// Address of the API server.
        url: String,
        /// What does not work.
        source: Box<kube::Error>,
    },
}

impl ClusterError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoCluster(_) => Some("set KUBECONFIG or give --kubeconfig FILE".into()),
            Self::UnknownContext { known, .. } | Self::NoContext { known } => Some(match known {
                known if known.is_empty() => "it has no contexts".into(),
                known => format!("choose one with --context: {}", known.join(", ")),
            }),
            Self::Kubeconfig(_) | Self::Client { .. } => None,
        }
    }
}

impl Cluster {
    /// Reads the configuration and makes a client; sends nothing yet.
    pub async fn new(
        kubeconfig: Option<&Path>,
        context: Option<&str>,
    ) -> Result<Self, ClusterError> {
        Self::from_config(load(kubeconfig, context).await?)
    }

    /// Makes a client of a configuration.
    pub fn from_config(mut config: Config) -> Result<Self, ClusterError> {
        // kube repeats even POST and the upgrade of exec on 503 and 504; we
        // repeat ourselves, where it is known to be harmless.
        config.default_retry = false;
        // Time in which a command reads none of its stdin is not an error.
        config.write_timeout = None;
        if config.default_namespace.is_empty() {
            config.default_namespace = "default".into();
        }
        let url = config.cluster_url.to_string().trim_end_matches('/').to_owned();
        let namespace = config.default_namespace.clone();
        let client = connector::client(config).map_err(|source| ClusterError::Client {
            url: url.clone(),
            source: Box::new(source),
        })?;
        Ok(Self { client, namespace, url })
    }

    /// Puts an error of one of this cluster's requests into words.
    pub fn error(&self, error: kube::Error) -> ApiError {
        ApiError::new(error, &self.url)
    }
}

async fn load(file: Option<&Path>, context: Option<&str>) -> Result<Config, ClusterError> {
    let read = match file {
        Some(path) => Kubeconfig::read_from(path),
        None => read_as_kubectl(),
    };
    let kubeconfig = match read {
        Ok(kubeconfig) => kubeconfig,
        // Without a file, a pod's service account is what is left.
        Err(error) if file.is_none() && is_missing(&error) => {
            return Config::incluster_env().map_err(|_| ClusterError::NoCluster(Box::new(error)));
        }
        Err(error) => return Err(ClusterError::Kubeconfig(Box::new(error))),
    };
    let known: Vec<String> = kubeconfig.contexts.iter().map(|named| named.name.clone()).collect();
    if context.is_none() && kubeconfig.current_context.as_deref().unwrap_or_default().is_empty() {
        return match Config::incluster_env() {
            Ok(config) if file.is_none() => Ok(config),
            _ => Err(ClusterError::NoContext { known }),
        };
    }
    let options = KubeConfigOptions { context: context.map(str::to_owned), ..Default::default() };
    Config::from_custom_kubeconfig(kubeconfig, &options).await.map_err(|error| match error {
        KubeconfigError::LoadContext(name) => ClusterError::UnknownContext { name, known },
        error => ClusterError::Kubeconfig(Box::new(error)),
    })
}

/// As `Kubeconfig::read`, but files of a KUBECONFIG list that do not exist are
/// skipped, as kubectl does; kube fails on the first one.
fn read_as_kubectl() -> Result<Kubeconfig, KubeconfigError> {
    let Some(list) = std::env::var_os("KUBECONFIG").filter(|list| !list.is_empty()) else {
        return Kubeconfig::read();
    };
    let mut merged = None;
    let mut missing = None;
    for path in std::env::split_paths(&list).filter(|path| !path.as_os_str().is_empty()) {
        match Kubeconfig::read_from(&path) {
            Ok(next) => {
                merged = Some(match merged {
                    Some(so_far) => Kubeconfig::merge(so_far, next)?,
                    None => next,
                });
            }
            Err(error) if is_missing(&error) => missing = Some(error),
            Err(error) => return Err(error),
        }
    }
    merged.map_or_else(|| Err(missing.unwrap_or(KubeconfigError::FindPath)), Ok)
}

fn is_missing(error: &KubeconfigError) -> bool {
    match error {
        KubeconfigError::FindPath => true,
        KubeconfigError::ReadConfig(source, _) => source.kind() == ErrorKind::NotFound,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KUBECONFIG: &str = "
apiVersion: v1
kind: Config
current-context: one
contexts:
- {name: one, context: {cluster: c, namespace: team}}
- {name: two, context: {cluster: c}}
clusters:
- {name: c, cluster: {server: 'https://10.0.0.1:6443'}}
users: []
";

    fn kubeconfig(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        file
    }

    #[tokio::test]
    async fn the_namespace_is_the_contexts() {
        let file = kubeconfig(KUBECONFIG);
        let config = load(Some(file.path()), None).await.unwrap();
        assert_eq!(config.default_namespace, "team");
        let config = load(Some(file.path()), Some("two")).await.unwrap();
        assert_eq!(config.default_namespace, "default");
        assert_eq!(config.cluster_url.to_string(), "https://10.0.0.1:6443/");
    }

    #[tokio::test]
    async fn an_unknown_context_gets_the_list_of_known_ones() {
        let file = kubeconfig(KUBECONFIG);
        let error = load(Some(file.path()), Some("three")).await.unwrap_err();
        assert_eq!(error.to_string(), "context \"three\" is not in the kubeconfig");
        assert_eq!(error.hint().unwrap(), "choose one with --context: one, two");
    }

    #[tokio::test]
    async fn a_named_file_must_exist() {
        let error = load(Some(Path::new("/nonexistent/config")), None).await.unwrap_err();
        assert!(matches!(error, ClusterError::Kubeconfig(_)), "{error:?}");
    }
}
