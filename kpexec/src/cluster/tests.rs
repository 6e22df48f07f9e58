//! What becomes of kubeconfigs and flags.

use std::path::{Path, PathBuf};

use kube::Config;
use tempfile::TempDir;

use super::ClusterError;
use super::load::load;
use crate::cli::{ClusterFlags, Invocation};

const KUBECONFIG: &str = "
apiVersion: v1
kind: Config
current-context: one
contexts:
- {name: one, context: {cluster: c, user: u, namespace: team}}
- {name: two, context: {cluster: d}}
- {name: no-cluster, context: {cluster: gone, user: u}}
- {name: no-user, context: {cluster: c, user: gone}}
- {name: nobody, context: {cluster: c, user: ''}}
clusters:
- {name: c, cluster: {server: 'https://10.0.0.1:6443', tls-server-name: kube, insecure-skip-tls-verify: true}}
- {name: d, cluster: {server: 'http://10.0.0.2'}}
users:
- {name: u, user: {token: of-u, as: somebody}}
- {name: v, user: {username: v, password: of-v}}
- {name: half, user: {client-certificate: CERTIFICATE}}
- {name: cert, user: {client-certificate: CERTIFICATE, client-key: KEY}}
- {name: garbage, user: {client-certificate: config, client-key: KEY}}
- {name: missing, user: {tokenFile: nonexistent}}
";

struct Folder(TempDir);

impl Folder {
    fn new(kubeconfig: &str) -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        std::fs::write(folder.file("config"), kubeconfig).unwrap();
        std::fs::write(
            folder.file("KEY"),
            "-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n",
        )
        .unwrap();
        let der = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n";
        std::fs::write(folder.file("CERTIFICATE"), der).unwrap();
        folder
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn flags(&self, args: &str) -> ClusterFlags {
        let mut words = vec!["kpexec".to_owned(), "gc".into(), "--kubeconfig".into()];
        words.push(self.file("config").to_str().unwrap().to_owned());
        words.extend(
            args.replace("DIR", self.0.path().to_str().unwrap())
                .split_whitespace()
                .map(str::to_owned),
        );
        match Invocation::parse(words.into_iter().map(Into::into)) {
            Ok(Invocation::Gc(gc)) => gc.cluster,
            other => panic!("{other:?}"),
        }
    }

    async fn load(&self, args: &str) -> Result<Config, ClusterError> {
        load(&self.flags(args)).await.map(|loaded| loaded.config)
    }

    async fn error(&self, args: &str) -> (String, String) {
        let error = self.load(args).await.err().unwrap_or_else(|| panic!("{args} is taken"));
        let folder = self.0.path().to_str().unwrap();
        let source = std::error::Error::source(&error).map(|source| format!(": {source}"));
        let text = format!("{error}{}", source.unwrap_or_default());
        (text.replace(folder, "DIR"), error.hint().unwrap_or_default())
    }
}

/// As Config's Debug does not show secrets, JSON of the user.
fn user(config: &Config) -> serde_json::Value {
    serde_json::to_value(&config.auth_info).unwrap()
}

#[tokio::test]
async fn contexts_clusters_and_users_are_chosen_one_by_one() {
    let folder = Folder::new(KUBECONFIG);
    let config = folder.load("").await.unwrap();
    assert_eq!(config.default_namespace, "team");
    assert_eq!(config.cluster_url.to_string(), "https://10.0.0.1:6443/");
    assert_eq!(config.tls_server_name.as_deref(), Some("kube"));
    assert!(config.accept_invalid_certs && config.root_cert.is_none());
    assert_eq!(user(&config), serde_json::json!({"token": "of-u", "as": "somebody"}));
    let config = folder.load("--context two").await.unwrap();
    assert_eq!(config.default_namespace, "default");
    assert_eq!(user(&config), serde_json::json!({}));
    let config = folder.load("--cluster d --user v").await.unwrap();
    assert_eq!(config.cluster_url.to_string(), "http://10.0.0.2/");
    assert_eq!(config.default_namespace, "team");
    // What is not secure gets no credentials.
    assert_eq!(user(&config), serde_json::json!({}));
    let config = folder.load("--user v").await.unwrap();
    assert_eq!(user(&config), serde_json::json!({"username": "v", "password": "of-v"}));
    let config = folder.load("--context nobody").await.unwrap();
    assert_eq!(user(&config), serde_json::json!({}));
}

#[tokio::test]
async fn flags_win_over_the_kubeconfig() {
    let folder = Folder::new(KUBECONFIG);
    let config = folder.load("--server https://h:1 --token t").await.unwrap();
    assert_eq!(config.cluster_url.to_string(), "https://h:1/");
    // The name was for the other address.
    assert_eq!(config.tls_server_name, None);
    assert_eq!(user(&config), serde_json::json!({"token": "t", "as": "somebody"}));
    let config = folder.load("-s h:1 --tls-server-name n").await.unwrap();
    assert_eq!(config.cluster_url.to_string(), "https://h:1/");
    assert_eq!(config.tls_server_name.as_deref(), Some("n"));
    let config = folder.load("--certificate-authority DIR/CERTIFICATE").await.unwrap();
    assert!(!config.accept_invalid_certs);
    assert_eq!(config.root_cert, Some(vec![vec![0x30, 0]]));
    let config = folder.load("--insecure-skip-tls-verify").await.unwrap();
    assert!(config.accept_invalid_certs && config.root_cert.is_none());
    let certificate = "--client-certificate DIR/CERTIFICATE --client-key DIR/KEY";
    let config = folder.load(certificate).await.unwrap();
    assert_eq!(user(&config)["token"], serde_json::Value::Null);
    assert!(user(&config)["client-key-data"].is_string());
    let acting =
        "--as a --as-group g --as-group h --as-uid 7 --as-user-extra k=v --as-user-extra k=w";
    let config = folder.load(acting).await.unwrap();
    let expected = serde_json::json!({
        "token": "of-u", "as": "a", "as-uid": "7", "as-groups": ["g", "h"],
        "as-user-extra": {"k": ["v", "w"]},
    });
    assert_eq!(user(&config), expected);
}

#[tokio::test]
async fn a_server_needs_no_kubeconfig() {
    let folder = Folder::new("");
    let config = folder.load("--server https://h:1 --token t").await.unwrap();
    assert_eq!(config.cluster_url.to_string(), "https://h:1/");
    assert_eq!(config.default_namespace, "default");
    assert_eq!(user(&config), serde_json::json!({"token": "t"}));
    // As kubectl: what says nothing of TLS has none.
    let config = folder.load("--server h:1").await.unwrap();
    assert_eq!(config.cluster_url.to_string(), "http://h:1/");
    let (error, hint) = folder.error("").await;
    assert_eq!(error, "the kubeconfig has no current context");
    assert_eq!(hint, "it has no contexts");
}

#[tokio::test]
async fn what_is_wrong_is_told_in_one_line() {
    let folder = Folder::new(KUBECONFIG);
    for (args, error, hint) in [
        (
            "--context three",
            r#"context "three" is not in the kubeconfig"#,
            "choose one with --context: one, two, no-cluster, no-user, nobody",
        ),
        (
            "--cluster e",
            r#"cluster "e" is not in the kubeconfig"#,
            "choose one with --cluster: c, d",
        ),
        (
            "--user w",
            r#"user "w" is not in the kubeconfig"#,
            "choose one with --user: u, v, half, cert, garbage, missing",
        ),
        (
            "--context no-cluster",
            r#"context "no-cluster" is of no use: cluster "gone" is not in the kubeconfig"#,
            "choose one with --cluster: c, d",
        ),
        (
            "--context no-user",
            r#"context "no-user" is of no use: user "gone" is not in the kubeconfig"#,
            "choose one with --user: u, v, half, cert, garbage, missing",
        ),
        (
            "--user half",
            "the kubeconfig's user has a client certificate, but no client key",
            "kubectl config view shows what the kubeconfig says",
        ),
        (
            "--user garbage",
            "there is no client certificate in DIR/config",
            "it begins with -----BEGIN",
        ),
        (
            "--user missing",
            "cannot read DIR/nonexistent, the token file: No such file or directory (os error 2)",
            "kubectl config view shows what the kubeconfig says",
        ),
        (
            "--certificate-authority DIR/ca",
            "cannot read DIR/ca, the certificate authority: No such file or directory (os error 2)",
            "kubectl config view shows what the kubeconfig says",
        ),
        (
            "--kubeconfig /nonexistent/config",
            "cannot read /nonexistent/config, the kubeconfig: No such file or directory (os error 2)",
            "KUBECONFIG or --kubeconfig names the file",
        ),
        (
            "--server ftp://h",
            r#""ftp://h" is no address of a server"#,
            "for example: --server https://HOST:6443",
        ),
    ] {
        let args = match args.strip_prefix("--kubeconfig ") {
            Some(other) => {
                let flags = ClusterFlags { kubeconfig: Some(other.into()), ..folder.flags("") };
                let given = load(&flags).await.err().unwrap();
                let source = std::error::Error::source(&given).unwrap();
                assert_eq!(format!("{given}: {source}"), error);
                assert_eq!(given.hint().unwrap(), hint);
                continue;
            }
            None => args,
        };
        assert_eq!(folder.error(args).await, (error.to_owned(), hint.to_owned()), "{args}");
    }
}

/// What would make us somebody else, or have us trust somebody else, in silence.
#[tokio::test]
async fn what_contradicts_itself_is_refused() {
    let folder = Folder::new(
        "
clusters:
- {name: both, cluster: {server: 'https://h', certificate-authority: CERTIFICATE, insecure-skip-tls-verify: true}}
- {name: user, cluster: {server: 'https://bob:s3cret@h'}}
- {name: plain, cluster: {server: 'https://h'}}
users:
- {name: nameless, user: {password: x}}
- {name: wordless, user: {username: bob}}
- {name: empty, user: {token: '', username: '', exec: {apiVersion: client.authentication.k8s.io/v1, command: /nonexistent/login, interactiveMode: Never}}}
",
    );
    for (args, error) in [
        ("--cluster both", "cluster has a certificate authority and insecure-skip-tls-verify"),
        ("--cluster user", "the API server's address has a user or password in it"),
        ("--cluster plain --user nameless", "has a password, but no name"),
        ("--cluster plain --user wordless", "has a name, but no password"),
        // The login plugin is what is left.
        ("--cluster plain --user empty", "/nonexistent/login"),
    ] {
        let (said, _) = folder.error(args).await;
        assert!(said.contains(error) && !said.contains("s3cret"), "{args}: {said}");
    }
}

#[test]
fn an_empty_context_does_not_hide_that_of_the_next_file() {
    let folder = Folder::new("current-context: ''");
    let read = super::kubeconfig::read(Some(&folder.file("config"))).unwrap().unwrap();
    let merged = read.merge(serde_json::from_str(r#"{"current-context": "one"}"#).unwrap());
    assert_eq!(merged.unwrap().current_context.as_deref(), Some("one"));
}

#[tokio::test]
async fn a_broken_kubeconfig_is_named_with_the_place() {
    for text in
        ["contexts: [{name: one", "contexts: 7", "\tx", "clusters:\n- cluster: {}\n  nome: x"]
    {
        let (error, hint) = Folder::new(text).error("").await;
        assert!(error.starts_with("DIR/config is no kubeconfig: "), "{error}");
        assert!(!error.contains('\n') && !error.contains("\\n") && error.len() < 200, "{error}");
        assert!(error.contains("line"), "{error}");
        assert_eq!(hint, "KUBECONFIG or --kubeconfig names the file");
    }
}

#[test]
fn a_pod_is_told_of_its_cluster() {
    let folder = tempfile::tempdir().unwrap();
    let variables = |host: &'static str| {
        move |name: &str| match name {
            "KUBERNETES_SERVICE_HOST" => Some(host.to_owned()),
            "KUBERNETES_SERVICE_PORT" => Some("443".to_owned()),
            _ => None,
        }
    };
    let find = |host| super::kubeconfig::in_cluster(folder.path(), variables(host));
    assert!(find("10.0.0.1").is_none(), "without a token");
    std::fs::write(folder.path().join("token"), "t").unwrap();
    assert_eq!(find("10.0.0.1").unwrap().namespace, None);
    std::fs::write(folder.path().join("namespace"), "team\n").unwrap();
    let chosen = find("fd00::1").unwrap();
    assert_eq!(chosen.namespace.as_deref(), Some("team"));
    assert_eq!(chosen.cluster.server.as_deref(), Some("https://[fd00::1]:443"));
    let file = |name: &str| folder.path().join(name).to_str().map(str::to_owned);
    assert_eq!(chosen.cluster.certificate_authority, file("ca.crt"));
    assert_eq!(chosen.user.token_file, file("token"));
    assert!(find("").is_none());
    assert!(
        super::kubeconfig::in_cluster(Path::new("/nonexistent"), variables("10.0.0.1")).is_none()
    );
}

#[test]
fn kubeconfigs_are_found_as_kubectl_finds_them() {
    let files = |flag: Option<&str>, variables: &'static [(&str, &str)]| {
        let get = move |name: &'static str| {
            variables.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).into())
        };
        super::kubeconfig_files(flag.map(Path::new), &get)
    };
    let path = |text: &str| PathBuf::from(text);
    let all = &[("KUBECONFIG", "/a::/b"), ("HOME", "/h")];
    assert_eq!(files(Some("/c"), all), [path("/c")]);
    assert_eq!(files(None, all), [path("/a"), path("/b")]);
    assert_eq!(files(None, &[("KUBECONFIG", ""), ("HOME", "/h")]), [path("/h/.kube/config")]);
    // That of passwd(5).
    let home = std::env::home_dir().unwrap().join(".kube/config");
    assert_eq!(files(None, &[]), [home]);
    let here = std::env::current_dir().unwrap();
    assert_eq!(files(Some("c"), all), [here.join("c")]);
}
