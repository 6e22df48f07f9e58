//! A login plugin of the kubeconfig (`users[].user.exec`), run as client-go runs it.

use std::process::Stdio;

use k8s_openapi::jiff::Timestamp;
use kube::config::{Cluster, ExecAuthCluster, ExecConfig, ExecInteractiveMode};
use rustix::termios::isatty;
use serde::Deserialize;
use serde_json::{Value, json};
use thiserror::Error;
use tokio::process::Command;

/// What the two sides call each other.
const GROUP: &str = "client.authentication.k8s.io/";

/// Why a login plugin gave no credentials.
#[derive(Debug, Error)]
pub enum PluginError {
    /// No command is named.
    #[error("the kubeconfig names no command for its login plugin")]
    NoCommand,
    /// There is no such program.
    #[error("there is no login plugin {command:?}, which the kubeconfig names")]
    NotFound {
        /// As it is named.
        command: String,
        /// What the kubeconfig says of how to get it.
        install_hint: Option<String>,
    },
    /// It cannot be run.
    #[error("cannot run the login plugin {command:?} of the kubeconfig")]
    Start {
        /// As it is named.
        command: String,
        /// Why not.
        source: std::io::Error,
    },
    /// It wants to ask the user something.
    #[error("the login plugin {0:?} of the kubeconfig needs a terminal on stdin")]
    Interactive(String),
    /// It failed; why is on stderr.
    #[error("the login plugin {command:?} of the kubeconfig failed with {status}")]
    Failed {
        /// As it is named.
        command: String,
        /// How it ended.
        status: std::process::ExitStatus,
    },
    /// It wrote something else.
    #[error("the login plugin {command:?} of the kubeconfig gave no credentials: {why}")]
    Answer {
        /// As it is named.
        command: String,
        /// What is wrong with it; nothing of it is in here, as it may be secret.
        why: String,
    },
    /// What it is to be told of the cluster.
    #[error("the login plugin cannot be told of the cluster: {0}")]
    ClusterInfo(String),
}

impl PluginError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NotFound { install_hint, .. } => {
                let hint = install_hint.as_ref()?;
                Some(hint.split_whitespace().collect::<Vec<_>>().join(" "))
            }
            Self::Interactive(_) => Some("log in by kubectl first, or leave stdin alone".into()),
            Self::Failed { .. } => Some("kubectl auth whoami runs the same one".into()),
            _ => None,
        }
    }
}

/// A login plugin.
pub struct Plugin {
    exec: ExecConfig,
    command: String,
    cluster: Option<ExecAuthCluster>,
}

/// What it gives. It has no Debug, as it is secret.
pub struct Credentials {
    /// For the `Authorization` header.
    pub token: Option<String>,
    /// Client certificate and key, as PEM.
    pub certificate: Option<(String, String)>,
    /// When it has to be run again.
    pub expires: Option<Timestamp>,
}

impl Plugin {
    /// Of a user of this cluster.
    pub fn new(exec: ExecConfig, cluster: &Cluster) -> Result<Self, PluginError> {
        let command = exec.command.clone().filter(|command| !command.is_empty());
        let command = command.ok_or(PluginError::NoCommand)?;
        let cluster = exec.provide_cluster_info.then(|| cluster.try_into()).transpose();
        let cluster = cluster.map_err(|error: kube::config::KubeconfigError| {
            PluginError::ClusterInfo(error.to_string())
        })?;
        Ok(Self { exec, command, cluster })
    }

    /// Runs it; `terminal` is whether it may have stdin to ask the user something.
    /// What it says goes to our stderr. It is killed if it is not waited for.
    pub async fn run(&self, terminal: bool) -> Result<Credentials, PluginError> {
        let name = || self.command.clone();
        let interactive = match self.exec.interactive_mode {
            Some(ExecInteractiveMode::Never) => false,
            Some(ExecInteractiveMode::Always) if !terminal => {
                return Err(PluginError::Interactive(name()));
            }
            _ => terminal,
        };
        let mut command = Command::new(&self.command);
        command.args(self.exec.args.iter().flatten());
        let variables = self.exec.env.iter().flatten();
        command.envs(variables.filter_map(|pair| Some((pair.get("name")?, pair.get("value")?))));
        command.env("KUBERNETES_EXEC_INFO", self.info(interactive).to_string());
        command.stdin(if interactive { Stdio::inherit() } else { Stdio::null() });
        command.stdout(Stdio::piped()).stderr(Stdio::inherit()).kill_on_drop(true);
        let ended = async { command.spawn()?.wait_with_output().await };
        let output = ended.await.map_err(|source| match source.kind() {
            std::io::ErrorKind::NotFound => PluginError::NotFound {
                command: name(),
                install_hint: self.exec.install_hint.clone(),
            },
            _ => PluginError::Start { command: name(), source },
        })?;
        if !output.status.success() {
            return Err(PluginError::Failed { command: name(), status: output.status });
        }
        let version = self.exec.api_version.as_deref();
        parse(&output.stdout, version).map_err(|why| self.unusable(&why))
    }

    /// That what it gave is of no use.
    pub fn unusable(&self, why: &str) -> PluginError {
        PluginError::Answer { command: self.command.clone(), why: why.to_owned() }
    }

    fn info(&self, interactive: bool) -> Value {
        let mut spec = json!({"interactive": interactive});
        if let Some(cluster) = &self.cluster {
            spec["cluster"] = serde_json::to_value(cluster).unwrap_or_default();
        }
        json!({"kind": "ExecCredential", "apiVersion": self.exec.api_version, "spec": spec})
    }
}

/// Whether there is somebody to be asked something.
pub fn stdin_is_terminal() -> bool {
    isatty(std::io::stdin())
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    api_version: Option<String>,
    kind: Option<String>,
    status: Option<Status>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    token: Option<String>,
    client_certificate_data: Option<String>,
    client_key_data: Option<String>,
    expiration_timestamp: Option<String>,
}

/// JSON, or YAML, which client-go takes as well.
fn parse(stdout: &[u8], version: Option<&str>) -> Result<Credentials, String> {
    let answer: Answer = serde_saphyr::from_slice(stdout)
        .map_err(|_| "its stdout is no ExecCredential".to_owned())?;
    if answer.kind.as_deref() != Some("ExecCredential") {
        return Err("its stdout is no ExecCredential".into());
    }
    let theirs = answer.api_version.unwrap_or_default();
    if version.is_some_and(|ours| ours != theirs) || !theirs.starts_with(GROUP) {
        let ours = version.unwrap_or(GROUP);
        return Err(format!("it is of version {theirs:?}, and {ours:?} is asked for"));
    }
    let status = answer.status.ok_or("it has no status")?;
    let given = |text: Option<String>| text.filter(|text| !text.is_empty());
    let token = given(status.token);
    let certificate = match (given(status.client_certificate_data), given(status.client_key_data)) {
        (Some(certificate), Some(key)) => Some((certificate, key)),
        (None, None) => None,
        _ => return Err("a client certificate and its key come together only".into()),
    };
    if token.is_none() && certificate.is_none() {
        return Err("there is neither a token nor a client certificate in it".into());
    }
    let expires = given(status.expiration_timestamp).map(|text| text.parse()).transpose();
    let expires = expires.map_err(|_| "its expirationTimestamp is no time".to_owned())?;
    Ok(Credentials { token, certificate, expires })
}

#[cfg(test)]
mod tests {
    use super::*;

    const V1: Option<&str> = Some("client.authentication.k8s.io/v1");

    fn answer(status: &str) -> Result<Credentials, String> {
        let text = format!(
            "{{\"apiVersion\":\"client.authentication.k8s.io/v1\",\"kind\":\"ExecCredential\",\
             \"status\":{status}}}"
        );
        parse(text.as_bytes(), V1)
    }

    #[test]
    fn tokens_and_certificates_are_taken() {
        let token = answer(r#"{"token":"t","expirationTimestamp":"2030-01-01T00:00:00Z"}"#);
        let token = token.ok().unwrap();
        assert_eq!(token.token.as_deref(), Some("t"));
        assert_eq!(token.expires.unwrap().to_string(), "2030-01-01T00:00:00Z");
        let pair = answer(r#"{"clientCertificateData":"c","clientKeyData":"k"}"#).ok().unwrap();
        assert_eq!(pair.certificate, Some(("c".into(), "k".into())));
        assert!(pair.token.is_none() && pair.expires.is_none());
        let yaml = "apiVersion: client.authentication.k8s.io/v1\nkind: ExecCredential\n\
                    status:\n  token: t\n";
        assert_eq!(parse(yaml.as_bytes(), V1).ok().unwrap().token.as_deref(), Some("t"));
    }

    #[test]
    fn what_gives_no_credentials_is_told_without_its_words() {
        for status in [
            "{}",
            "null",
            r#"{"token":""}"#,
            r#"{"clientKeyData":"s3cret"}"#,
            r#"{"token":"s3cret","expirationTimestamp":"soon"}"#,
        ] {
            let why = answer(status).err().unwrap_or_else(|| panic!("{status} is taken"));
            assert!(!why.contains("s3cret"), "{why}");
        }
        for text in ["s3cret", "", "{\"kind\":\"Pod\",\"status\":{\"token\":\"s3cret\"}}"] {
            let why = parse(text.as_bytes(), V1).err().unwrap();
            assert_eq!(why, "its stdout is no ExecCredential", "{text}");
        }
        let old = Some("client.authentication.k8s.io/v1beta1");
        let text = "{kind: ExecCredential, apiVersion: client.authentication.k8s.io/v1, status: {token: t}}";
        assert!(parse(text.as_bytes(), old).err().unwrap().contains("v1beta1"));
    }

    fn shell(script: &str, more: Value) -> Plugin {
        let mut exec = json!({
            "apiVersion": "client.authentication.k8s.io/v1",
            "command": "sh",
            "args": ["-c", script],
        });
        exec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let cluster = json!({"server": "https://10.0.0.1", "tls-server-name": "kube"});
        let cluster = serde_json::from_value(cluster).unwrap();
        Plugin::new(serde_json::from_value(exec).unwrap(), &cluster).unwrap()
    }

    const ECHO: &str = r#"echo "{kind: ExecCredential, apiVersion: client.authentication.k8s.io/v1,
        status: {token: '$KUBERNETES_EXEC_INFO $OTHER'}}""#;

    #[tokio::test]
    async fn it_is_told_what_client_go_tells() {
        let more = json!({
            "provideClusterInfo": true,
            "env": [{"name": "OTHER", "value": "x"}],
            "interactiveMode": "IfAvailable",
        });
        let told = shell(ECHO, more).run(true).await.ok().unwrap().token.unwrap();
        let (info, other) = told.rsplit_once(' ').unwrap();
        let info: Value = serde_json::from_str(info).unwrap();
        assert_eq!(other, "x");
        let expected = json!({
            "kind": "ExecCredential",
            "apiVersion": "client.authentication.k8s.io/v1",
            "spec": {
                "interactive": true,
                "cluster": {"server": "https://10.0.0.1", "tls-server-name": "kube"},
            },
        });
        assert_eq!(info, expected);
        let never = shell(ECHO, json!({"interactiveMode": "Never"}));
        let told = never.run(true).await.ok().unwrap().token.unwrap();
        assert!(told.contains(r#""interactive":false"#) && !told.contains("cluster"), "{told}");
    }

    #[tokio::test]
    async fn what_cannot_be_run_is_named() {
        let always = shell("exit 0", json!({"interactiveMode": "Always"})).run(false).await;
        assert!(matches!(always, Err(PluginError::Interactive(_))));
        let failed = shell("exit 3", json!({})).run(false).await.err().unwrap().to_string();
        assert_eq!(failed, "the login plugin \"sh\" of the kubeconfig failed with exit status: 3");
        let missing =
            json!({"command": "/nonexistent/login", "installHint": "apt\n  install it\n"});
        let missing = shell("", missing).run(false).await.err().unwrap();
        assert!(missing.to_string().contains("/nonexistent/login"));
        assert_eq!(missing.hint().unwrap(), "apt install it");
    }
}
