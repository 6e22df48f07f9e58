//! The API server cannot be reached, or does not let somebody in, or do it.

use std::fs;
use std::net::TcpListener;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use tests::api_server::{beyond_loopback, certificate, wait_until_allowed};
use tests::{Namespace, kubectl};

use super::row::{Row, SECRET, check, row};

const ROWS: &[Row] = &[
    row(
        "no kubeconfig there",
        "kpexec --kubeconfig /no/such p -- true",
        "/no/such",
        "--kubeconfig",
    ),
    row(
        "a kubeconfig of nonsense",
        "KUBECONFIG=$files/nonsense kpexec p -- true",
        "$files/nonsense",
        "--kubeconfig",
    ),
    row("an unknown context", "kpexec --context no-such p -- true", "\"no-such\"", "--context: "),
    row("an unknown cluster", "kpexec --cluster no-such p -- true", "\"no-such\"", "--cluster: "),
    row("an unknown user", "kpexec --user no-such p -- true", "\"no-such\"", "--user: "),
    row(
        "the API server is away",
        "KUBECONFIG=$files/away kpexec p -- true",
        "cannot reach the API server https://127.0.0.1:1: … refused",
        "does kubectl reach the cluster",
    ),
    row(
        "the API server is silent",
        "KUBECONFIG=$files/silent kpexec --request-timeout 1s p -- true",
        "no answer within 1s, the --request-timeout",
        "does kubectl reach the cluster",
    ),
    row(
        "its name is unknown",
        "KUBECONFIG=$files/nowhere kpexec p -- true",
        "cannot reach the API server https://api.invalid:6443",
        "does kubectl reach the cluster",
    ),
    row(
        "its certificate is another's",
        "KUBECONFIG=$files/stranger kpexec p -- true",
        "cannot reach the API server … certificate",
        "does kubectl reach the cluster",
    ),
    row(
        "the client certificate has expired",
        "KUBECONFIG=$files/expired kpexec p -- true",
        "cannot log in to … the client certificate expired on 20",
        "get a new one",
    ),
    row(
        "the token is not accepted",
        "KUBECONFIG=$files/token kpexec p -- true",
        "Unauthorized",
        "log in again",
    ),
    row(
        "the login plugin is not installed",
        "KUBECONFIG=$files/no-plugin kpexec p -- true",
        "no login plugin \"/no/such-plugin\"",
        "apt install such-plugin",
    ),
    row(
        "the login plugin fails",
        "KUBECONFIG=$files/plugin kpexec p -- true",
        "login plugin \"sh\" … failed with exit status: 3",
        "kubectl auth whoami",
    ),
    row(
        "the proxy is away",
        "KUBECONFIG=$files/far HTTPS_PROXY=http://127.0.0.1:1 kpexec p -- true",
        "proxy http://127.0.0.1:1: … refused",
        "HTTPS_PROXY",
    ),
    row(
        "the proxy is none",
        "KUBECONFIG=$files/far HTTPS_PROXY=ftp://h kpexec p -- true",
        "proxy of HTTPS_PROXY … neither http, https nor socks5",
        "[http://|https://|socks5://]",
    ),
    row(
        "no right to see the pod",
        "kpexec --as $nobody distroless -- true",
        "User \"$nobody\" cannot get resource \"pods\"",
        "kubectl create role kpexec -n default --verb=get --resource=pods",
    ),
    row(
        "no right to an exec",
        "kpexec --as $reader distroless -- true",
        "User \"$reader\" cannot … resource \"pods/exec\"",
        "kubectl create role kpexec -n kpexec --verb= … --resource=pods/exec",
    ),
    row(
        "no right to make a helper",
        "kpexec --rm --as $reader distroless -- true",
        "cannot create helper pod … User \"$reader\" cannot create resource \"pods\"",
        "kubectl create role kpexec -n kpexec --verb=create --resource=pods",
    ),
    row(
        "no right to see the deployment",
        "kpexec --as $reader deploy/web -- true",
        "User \"$reader\" cannot get resource \"deployments\"",
        "kubectl create role kpexec -n default --verb=get --resource=deployments.apps",
    ),
    row(
        "no right to act as others",
        "KUBECONFIG=$files/reader kpexec --as $nobody distroless -- true",
        "cannot impersonate",
        "--verb=impersonate",
    ),
];

/// A role and its binding, gone with this.
struct Role(String);

impl Role {
    fn give(user: &str) -> Result<Self> {
        let role = Self(user.to_owned());
        kubectl(&["create", "clusterrole", user, "--verb=get", "--resource=pods,nodes"])?;
        let to = [format!("--clusterrole={user}"), format!("--user={user}")];
        kubectl(&["create", "clusterrolebinding", user, &to[0], &to[1]])?;
        wait_until_allowed(user, &["get", "pods"])?;
        Ok(role)
    }
}

impl Drop for Role {
    fn drop(&mut self) {
        // A failed test has said why already.
        let _gone = kubectl(&["delete", "clusterrolebinding,clusterrole", &self.0]);
    }
}

/// The kubeconfigs that the rows name: the administrator's, each with one change.
fn write_kubeconfigs(folder: &Path, silent: &str, token: &str) -> Result<()> {
    let good: Value = serde_json::from_str(&kubectl(&["config", "view", "--raw", "-o", "json"])?)?;
    let plugin = |command: &str, args: &[&str]| {
        json!({"exec": {
            "apiVersion": "client.authentication.k8s.io/v1", "interactiveMode": "Never",
            "command": command, "args": args, "installHint": "apt install such-plugin",
        }})
    };
    let (cluster, user) = ("/clusters/0/cluster", "/users/0/user");
    let server = "/clusters/0/cluster/server";
    for (name, place, value) in [
        ("away", server, json!("https://127.0.0.1:1")),
        ("silent", server, json!(format!("https://{silent}"))),
        ("nowhere", server, json!("https://api.invalid:6443")),
        ("far", server, json!(beyond_loopback()?)),
        ("stranger", cluster, json!({"server": good.pointer(server)})),
        ("expired", user, json!({"client-certificate": "x.crt", "client-key": "x.key"})),
        ("token", user, json!({"token": SECRET})),
        ("reader", user, json!({"token": token})),
        ("no-plugin", user, plugin("/no/such-plugin", &[])),
        ("plugin", user, plugin("sh", &["-c", "echo s3cret; exit 3"])),
    ] {
        let mut config = good.clone();
        *config.pointer_mut(place).context("a kubeconfig has it")? = value;
        fs::write(folder.join(name), config.to_string())?;
    }
    fs::write(folder.join("nonsense"), "clusters: [")?;
    certificate(folder, "x", "-1")
}

#[test]
fn of_access() -> Result<()> {
    let (folder, namespace) = (tempfile::tempdir()?, Namespace::create("access", "privileged")?);
    let silent = TcpListener::bind("127.0.0.1:0")?;
    let token = namespace.token()?;
    write_kubeconfigs(folder.path(), &silent.local_addr()?.to_string(), &token)?;
    let files = folder.path().to_string_lossy();
    let nobody = format!("nobody-{}", namespace.name());
    let reader = format!("reader-{}", namespace.name());
    let _role = Role::give(&reader)?;
    check(ROWS, &vec![("files", &*files), ("nobody", &*nobody), ("reader", &*reader)])
}
