//! From what was chosen to what kube needs. Nothing of it is left to kube's own
//! loader: that takes the environment's proxy by rules of its own, and runs login
//! plugins more than once.

use std::path::{Path, PathBuf};

use http::Uri;
use k8s_openapi::ByteString;
use k8s_openapi::jiff::Timestamp;
use kube::Config;
use kube::config::{AuthInfo, Cluster};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use secrecy::ExposeSecret as _;
use serde_json::Value;

use super::ClusterError;
use super::certificate::not_after;
use super::kubeconfig::{Chosen, choose, in_cluster, read};
use super::login::Login;
use super::plugin::{self, Plugin};
use super::proxy;
use crate::cli::{ClusterFlags, has_user};

/// Where a pod finds its service account.
const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// What a client is made of.
pub struct Loaded {
    /// For kube.
    pub config: Config,
    /// The token of a login plugin, which gets a new one.
    pub login: Option<Login>,
    /// When the client certificate expires, if there is one.
    pub certificate_end: Option<Timestamp>,
}

/// Reads all that there is to read, and runs the login plugin, if there is one.
pub async fn load(flags: &ClusterFlags) -> Result<Loaded, ClusterError> {
    let variable = |name: &str| std::env::var(name).ok();
    let kubeconfig = read(flags.kubeconfig.as_deref())?;
    let mut chosen = match choose(kubeconfig.as_ref(), flags)? {
        Some(chosen) => chosen,
        None => {
            let pod = in_cluster(Path::new(SERVICE_ACCOUNT), variable);
            match (pod, kubeconfig) {
                (Some(pod), _) if flags.kubeconfig.is_none() => pod,
                (_, None) => return Err(ClusterError::NoCluster),
                (_, Some(kubeconfig)) => {
                    let known = kubeconfig.contexts.into_iter().map(|named| named.name).collect();
                    return Err(ClusterError::NoContext { known });
                }
            }
        }
    };
    chosen.apply(&flags.connection);
    let mut config = config_of(&chosen, variable)?;
    let certificate_end = end_of(&config.auth_info);
    let Some(exec) = config.auth_info.exec.take() else {
        return Ok(Loaded { config, login: None, certificate_end });
    };
    let plugin = Plugin::new(exec, &chosen.cluster)?;
    let credentials = plugin.run(plugin::stdin_is_terminal()).await?;
    if let Some((certificate, key)) = &credentials.certificate {
        config.auth_info.client_certificate_data = Some(encoded(certificate.as_bytes()));
        config.auth_info.client_key_data = Some(encoded(key.as_bytes()).into());
    }
    let login = Login::new(plugin, credentials)?;
    let certificate_end = end_of(&config.auth_info);
    Ok(Loaded { config, login, certificate_end })
}

fn end_of(user: &AuthInfo) -> Option<Timestamp> {
    let pem =
        content("client certificate", user.client_certificate_data.as_deref(), None).ok()??;
    certificates(&pem)?.first().and_then(|der| not_after(der))
}

fn config_of(
    chosen: &Chosen,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<Config, ClusterError> {
    let Chosen { cluster, user, namespace } = chosen;
    let url = server(cluster, user)?;
    let proxy = proxy::choose(&url, cluster.proxy_url.as_deref(), variable)?;
    let secure = url.scheme_str() == Some("https");
    let (authority, data) = (&cluster.certificate_authority, &cluster.certificate_authority_data);
    let named = [authority, data].into_iter().flatten().any(|text| !text.is_empty());
    if named && cluster.insecure_skip_tls_verify == Some(true) {
        return Err(ClusterError::Contradiction);
    }
    let mut config = Config::new(url);
    config.default_namespace =
        namespace.clone().filter(|name| !name.is_empty()).unwrap_or_else(|| "default".into());
    config.proxy_url = proxy;
    config.tls_server_name = cluster.tls_server_name.clone().filter(|name| !name.is_empty());
    config.accept_invalid_certs = cluster.insecure_skip_tls_verify.unwrap_or_default();
    if secure && !config.accept_invalid_certs {
        config.root_cert = certificate_authority(cluster)?;
    }
    config.auth_info = credentials(user, secure)?;
    Ok(config)
}

/// The server's address; without a scheme it is https where something says that TLS
/// is wanted, as client-go's DefaultServerURL has it.
fn server(cluster: &Cluster, user: &AuthInfo) -> Result<Uri, ClusterError> {
    let server = cluster.server.as_deref().filter(|server| !server.is_empty());
    let server = server.ok_or(ClusterError::NoServer)?;
    if has_user(server) {
        return Err(ClusterError::UserInServer);
    }
    let tls = cluster.certificate_authority.is_some()
        || cluster.certificate_authority_data.is_some()
        || cluster.insecure_skip_tls_verify == Some(true)
        || user.client_certificate.is_some()
        || user.client_certificate_data.is_some();
    let whole = match (server.contains("://"), tls) {
        (true, _) => server.to_owned(),
        (false, true) => format!("https://{server}"),
        (false, false) => format!("http://{server}"),
    };
    let uri: Option<Uri> = whole.parse().ok();
    uri.filter(|uri| matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some())
        .ok_or_else(|| ClusterError::Server(server.to_owned()))
}

fn certificate_authority(cluster: &Cluster) -> Result<Option<Vec<Vec<u8>>>, ClusterError> {
    const WHAT: &str = "certificate authority";
    let (data, file) = (&cluster.certificate_authority_data, &cluster.certificate_authority);
    let Some(pem) = content(WHAT, data.as_deref(), file.as_deref())? else { return Ok(None) };
    certificates(&pem).map(Some).ok_or_else(|| not_pem(WHAT, data.as_deref(), file.as_deref()))
}

fn certificates(pem: &[u8]) -> Option<Vec<Vec<u8>>> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let all: Vec<Vec<u8>> = all.ok()?.iter().map(|der| der.to_vec()).collect();
    Some(all).filter(|all| !all.is_empty())
}

/// With what is in the files in their place: so that an error of theirs is ours to
/// tell. What is not secure gets no credentials, as from client-go.
fn credentials(user: &AuthInfo, secure: bool) -> Result<AuthInfo, ClusterError> {
    const CERTIFICATE: &str = "client certificate";
    const KEY: &str = "client key";
    let mut user = user.clone();
    // What is empty is not given, as in kubectl.
    user.token.take_if(|token| token.expose_secret().is_empty());
    user.password.take_if(|password| password.expose_secret().is_empty());
    user.username.take_if(|name| name.is_empty());
    if !secure {
        let AuthInfo {
            impersonate,
            impersonate_uid,
            impersonate_groups,
            impersonate_user_extra,
            ..
        } = user;
        return Ok(AuthInfo {
            impersonate,
            impersonate_uid,
            impersonate_groups,
            impersonate_user_extra,
            ..AuthInfo::default()
        });
    }
    let (data, file) = (user.client_certificate_data.take(), user.client_certificate.take());
    let certificate = content(CERTIFICATE, data.as_deref(), file.as_deref())?;
    if certificate.as_deref().is_some_and(|pem| certificates(pem).is_none()) {
        return Err(not_pem(CERTIFICATE, data.as_deref(), file.as_deref()));
    }
    user.client_certificate_data = certificate.as_deref().map(encoded);
    if let Some(file) = user.client_key.take()
        && user.client_key_data.is_none()
    {
        let key = content(KEY, None, Some(&file))?;
        user.client_key_data = key.as_deref().map(|key| encoded(key).into());
    }
    match (&user.username, &user.password) {
        (Some(_), None) => return Err(ClusterError::Half { has: "name", lacks: "password" }),
        (None, Some(_)) => return Err(ClusterError::Half { has: "password", lacks: "name" }),
        _ => {}
    }
    match (&user.client_certificate_data, &user.client_key_data) {
        (Some(_), None) => return Err(ClusterError::Half { has: CERTIFICATE, lacks: KEY }),
        (None, Some(_)) => return Err(ClusterError::Half { has: KEY, lacks: CERTIFICATE }),
        _ => {}
    }
    match &user.token_file {
        Some(file) if user.token.is_none() => drop(content("token file", None, Some(file))?),
        _ => {}
    }
    if user.token.is_some() || user.token_file.is_some() || user.username.is_some() {
        user.exec = None;
    }
    Ok(user)
}

/// What is given as base64, else what is in the file.
fn content(
    what: &'static str,
    data: Option<&str>,
    file: Option<&str>,
) -> Result<Option<Vec<u8>>, ClusterError> {
    let given = |text: &&str| !text.is_empty();
    if let Some(data) = data.filter(given) {
        let decoded = serde_json::from_value::<ByteString>(Value::from(data.trim()));
        return decoded.map(|bytes| Some(bytes.0)).map_err(|_| ClusterError::NotPem {
            what,
            place: "its data in the kubeconfig".into(),
        });
    }
    let Some(file) = file.filter(given) else { return Ok(None) };
    let path = PathBuf::from(file);
    std::fs::read(&path).map(Some).map_err(|source| ClusterError::File { what, path, source })
}

fn not_pem(what: &'static str, data: Option<&str>, file: Option<&str>) -> ClusterError {
    let place = match (data, file) {
        (None, Some(file)) => file.to_owned(),
        _ => "its data in the kubeconfig".to_owned(),
    };
    ClusterError::NotPem { what, place }
}

/// As the kubeconfig has data.
fn encoded(bytes: &[u8]) -> String {
    match serde_json::to_value(ByteString(bytes.to_owned())) {
        Ok(Value::String(text)) => text,
        _ => String::new(),
    }
}
