//! What the kubeconfig and the flags say: of which cluster, as whom.

use std::collections::HashMap;
use std::ffi::OsString;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use kube::config::{AuthInfo, Cluster, Context, Kubeconfig, KubeconfigError};

use super::ClusterError;
use crate::cli::{ClusterFlags, ConnectionFlags, has_user};
use crate::report::first_line;

/// Which cluster, and as whom.
#[derive(Debug, Default)]
pub struct Chosen {
    /// Where it is, and how to know that it is it.
    pub cluster: Cluster,
    /// Who we are.
    pub user: AuthInfo,
    /// The context's namespace.
    pub namespace: Option<String>,
}

/// Reads the kubeconfig; none if there is no such file, and none was named.
pub fn read(file: Option<&Path>) -> Result<Option<Kubeconfig>, ClusterError> {
    if let Some(file) = file {
        return read_file(file).map(Some).map_err(|(error, _)| error);
    }
    let mut merged: Option<Kubeconfig> = None;
    for path in &kubeconfig_files(None, &std::env::var_os) {
        let next = match read_file(path) {
            Ok(next) => next,
            // As kubectl does; kube fails on the first one that is missing.
            Err((_, true)) => continue,
            Err((error, false)) => return Err(error),
        };
        merged = Some(match merged {
            Some(so_far) => so_far.merge(next).map_err(|error| broken(path, &error))?,
            None => next,
        });
    }
    Ok(merged)
}

/// The kubeconfig files there may be, by absolute paths.
pub fn kubeconfig_files(
    flag: Option<&Path>,
    variable: &dyn Fn(&'static str) -> Option<OsString>,
) -> Vec<PathBuf> {
    let files = match (flag, variable("KUBECONFIG").filter(|list| !list.is_empty())) {
        (Some(path), _) => vec![path.to_owned()],
        (None, Some(list)) => {
            std::env::split_paths(&list).filter(|path| !path.as_os_str().is_empty()).collect()
        }
        (None, None) => variable("HOME")
            .map(PathBuf::from)
            .or_else(std::env::home_dir)
            .map(|home| home.join(".kube/config"))
            .into_iter()
            .collect(),
    };
    files.into_iter().map(|path| std::path::absolute(&path).unwrap_or(path)).collect()
}

/// What a kubeconfig has several of, each with a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entries {
    /// Its contexts.
    Contexts,
    /// Its clusters.
    Clusters,
    /// Its users.
    Users,
}

/// The names there are, each with a context's cluster or a cluster's address.
pub fn known_entries(
    file: Option<&Path>,
    entries: Entries,
) -> Result<Vec<(String, String)>, ClusterError> {
    let all = read(file)?.unwrap_or_default();
    Ok(match entries {
        Entries::Contexts => {
            let cluster = |context: Option<Context>| context.map(|one| one.cluster);
            let named = all.contexts.into_iter();
            named.map(|one| (one.name, cluster(one.context).unwrap_or_default())).collect()
        }
        Entries::Clusters => {
            let server = |cluster: Option<Cluster>| cluster.and_then(|one| one.server);
            // What is shown has no password in it.
            let server = |cluster| server(cluster).filter(|server| !has_user(server));
            let named = all.clusters.into_iter();
            named.map(|one| (one.name, server(one.cluster).unwrap_or_default())).collect()
        }
        Entries::Users => all.auth_infos.into_iter().map(|one| (one.name, String::new())).collect(),
    })
}

/// The error comes with whether there is no such file.
fn read_file(path: &Path) -> Result<Kubeconfig, (ClusterError, bool)> {
    let read = Kubeconfig::read_from(path).map(|mut kubeconfig| {
        // An empty one is none, and must not hide that of the next file.
        kubeconfig.current_context.take_if(|name| name.is_empty());
        kubeconfig
    });
    read.map_err(|error| match error {
        KubeconfigError::ReadConfig(source, _) => {
            let missing = source.kind() == ErrorKind::NotFound;
            (ClusterError::File { what: "kubeconfig", path: path.into(), source }, missing)
        }
        error => (broken(path, &error), false),
    })
}

fn broken(path: &Path, error: &KubeconfigError) -> ClusterError {
    let text = match error {
        KubeconfigError::Parse(error) => error.to_string(),
        error => error.to_string(),
    };
    ClusterError::Broken { path: path.into(), why: first_line(&text) }
}

/// Chooses by context and flags; none if neither says anything of a cluster.
pub fn choose(
    kubeconfig: Option<&Kubeconfig>,
    flags: &ClusterFlags,
) -> Result<Option<Chosen>, ClusterError> {
    let empty = Kubeconfig::default();
    let kubeconfig = kubeconfig.unwrap_or(&empty);
    let ConnectionFlags { cluster, user, server, .. } = &flags.connection;
    let name = flags.context.as_deref().or(kubeconfig.current_context.as_deref());
    let name = name.filter(|name| !name.is_empty());
    if name.is_none() && cluster.is_none() && server.is_none() {
        return Ok(None);
    }
    let known = |names: Vec<&String>| names.into_iter().cloned().collect();
    let context = match name {
        Some(name) => kubeconfig
            .contexts
            .iter()
            .find(|named| named.name == name)
            .map(|named| named.context.clone().unwrap_or_default())
            .ok_or_else(|| ClusterError::Unknown {
                what: "context",
                name: name.to_owned(),
                context: None,
                known: known(kubeconfig.contexts.iter().map(|named| &named.name).collect()),
            })?,
        None => Context::default(),
    };
    let by_context = |flag: &Option<String>| name.filter(|_| flag.is_none()).map(str::to_owned);
    let wanted = |flag: &Option<String>, of_context: &str| {
        let name = flag.as_deref().unwrap_or(of_context).to_owned();
        Some(name).filter(|name| !name.is_empty())
    };
    let mut chosen = Chosen { namespace: context.namespace, ..Chosen::default() };
    if let Some(name) = wanted(cluster, &context.cluster) {
        let found = kubeconfig.clusters.iter().find(|named| named.name == name);
        chosen.cluster =
            found.and_then(|named| named.cluster.clone()).ok_or_else(|| ClusterError::Unknown {
                what: "cluster",
                context: by_context(cluster),
                known: known(kubeconfig.clusters.iter().map(|named| &named.name).collect()),
                name,
            })?;
    }
    if let Some(name) = wanted(user, context.user.as_deref().unwrap_or_default()) {
        let found = kubeconfig.auth_infos.iter().find(|named| named.name == name);
        // kube takes who is not there for nobody.
        chosen.user =
            found.map(|named| named.auth_info.clone().unwrap_or_default()).ok_or_else(|| {
                ClusterError::Unknown {
                    what: "user",
                    context: by_context(user),
                    known: known(kubeconfig.auth_infos.iter().map(|named| &named.name).collect()),
                    name,
                }
            })?;
    }
    Ok(Some(chosen))
}

impl Chosen {
    /// The flags win, by the rules of client-go's clientcmd.
    pub fn apply(&mut self, flags: &ConnectionFlags) {
        let text = |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string());
        let (cluster, user) = (&mut self.cluster, &mut self.user);
        if flags.server.is_some() {
            cluster.server.clone_from(&flags.server);
        }
        if flags.server.is_some() || flags.tls_server_name.is_some() {
            cluster.tls_server_name.clone_from(&flags.tls_server_name);
        }
        if flags.insecure_skip_tls_verify || flags.certificate_authority.is_some() {
            cluster.insecure_skip_tls_verify = Some(flags.insecure_skip_tls_verify);
            cluster.certificate_authority = text(&flags.certificate_authority);
            cluster.certificate_authority_data = None;
        }
        // With the kubeconfig's beside them it would be the server's choice who we are.
        if flags.token.is_some() || flags.username.is_some() || flags.client_certificate.is_some() {
            let AuthInfo {
                impersonate,
                impersonate_uid,
                impersonate_groups,
                impersonate_user_extra,
                ..
            } = std::mem::take(user);
            *user = AuthInfo {
                impersonate,
                impersonate_uid,
                impersonate_groups,
                impersonate_user_extra,
                token: flags.token.clone().map(|token| token.0.into()),
                username: flags.username.clone(),
                password: flags.password.clone().map(|password| password.0.into()),
                client_certificate: text(&flags.client_certificate),
                client_key: text(&flags.client_key),
                ..AuthInfo::default()
            };
        }
        if flags.as_user.is_some() {
            let mut extra: HashMap<String, Vec<String>> = HashMap::new();
            for (key, value) in flags.as_user_extra.iter().map(|extra| extra.parts()) {
                extra.entry(key.to_owned()).or_default().push(value.to_owned());
            }
            user.impersonate.clone_from(&flags.as_user);
            user.impersonate_uid.clone_from(&flags.as_uid);
            user.impersonate_groups = Some(flags.as_group.clone()).filter(|all| !all.is_empty());
            user.impersonate_user_extra = Some(extra).filter(|extra| !extra.is_empty());
        }
    }
}

/// What a pod is told of its own cluster; none if this is not a pod.
pub fn in_cluster(folder: &Path, variable: impl Fn(&str) -> Option<String>) -> Option<Chosen> {
    let given = |name| variable(name).filter(|value| !value.is_empty());
    let (host, port) = (given("KUBERNETES_SERVICE_HOST")?, given("KUBERNETES_SERVICE_PORT")?);
    let host = if host.contains(':') { format!("[{host}]") } else { host };
    let file = |name: &str| folder.join(name).display().to_string();
    std::fs::metadata(file("token")).ok()?;
    let namespace = std::fs::read_to_string(file("namespace")).ok();
    Some(Chosen {
        cluster: Cluster {
            server: Some(format!("https://{host}:{port}")),
            certificate_authority: Some(file("ca.crt")),
            ..Cluster::default()
        },
        user: AuthInfo { token_file: Some(file("token")), ..AuthInfo::default() },
        namespace: namespace.map(|text| text.trim().to_owned()).filter(|name| !name.is_empty()),
    })
}
