//! Completion with a cluster that is away: no word, and not for long.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

use std::io::Write as _;
use std::net::TcpListener;
use std::process::Command;
use std::time::{Duration, Instant};

/// The limit of 2 s, and what a loaded machine takes besides.
const LIMIT: Duration = Duration::from_secs(20);

fn ends_silently(kubeconfig: &str, what: &str) {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(kubeconfig.as_bytes()).unwrap();
    let start = Instant::now();
    let mut command = Command::new(env!("CARGO_BIN_EXE_kpexec"));
    let output = command.args(["__complete", "web"]).env("KUBECONFIG", file.path()).output();
    let output = output.unwrap();
    let (code, took) = (output.status.code(), start.elapsed());
    assert_eq!(
        (code, &*output.stdout, &*output.stderr),
        (Some(0), &b":4\n"[..], &b""[..]),
        "{what}"
    );
    assert!(took < LIMIT, "{what}: {took:?}");
}

fn kubeconfig(port: u16, user: &str) -> String {
    format!(
        "{{apiVersion: v1, kind: Config, current-context: c, \
         contexts: [{{name: c, context: {{cluster: c, user: u}}}}], \
         clusters: [{{name: c, cluster: {{server: 'https://127.0.0.1:{port}'}}}}], \
         users: [{{name: u, user: {user}}}]}}"
    )
}

#[test]
fn a_cluster_that_is_away_is_not_waited_for() {
    // It is connected with, and nobody ever answers.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    ends_silently(&kubeconfig(port, "{token: x}"), "silent");
    drop(silent);
    ends_silently(&kubeconfig(port, "{token: x}"), "refused");
}

#[test]
fn a_login_plugin_neither_asks_nor_is_waited_for() {
    let plugin = "{exec: {apiVersion: client.authentication.k8s.io/v1, command: sh, \
                  interactiveMode: IfAvailable, args: [-c, 'echo who are you >&2; sleep 60']}}";
    ends_silently(&kubeconfig(9, plugin), "plugin");
}

#[test]
fn a_kubeconfig_that_is_none_is_no_error() {
    ends_silently("{contexts: 7", "broken");
}
