//! The way to the API server: kubectl's flags, login plugins, proxies, and what a pod
//! is told of its own cluster.

mod account;
mod in_cluster;
mod proxy;

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tests::api_server::{beyond_loopback, certificate};
use tests::command::{kpexec, run};

use account::Account;
use proxy::Proxy;

/// The session came about, as root.
fn entered(command: Command) -> Result<()> {
    let shown = format!("{:?}", command.get_args().collect::<Vec<_>>());
    let output = run(command, b"")?;
    ensure!((output.code(), &*output.text()) == (0, "0"), "{shown}: {output:?}");
    Ok(())
}

/// It did not, and one line says all of `words`; what is secret is not said.
fn refused(command: Command, words: &[&str]) -> Result<()> {
    let shown = format!("{:?}", command.get_args().collect::<Vec<_>>());
    let output = run(command, b"")?;
    ensure!(output.code() == 125 && output.stdout.is_empty(), "{shown}: {output:?}");
    let lines: Vec<&str> = output.stderr.lines().collect();
    let ours = |line: &&str| line.starts_with("kpexec: ") || line.starts_with("hint: ");
    ensure!(lines.len() <= 2 && lines.iter().all(ours), "{shown}: {}", output.stderr);
    for word in words {
        ensure!(output.stderr.contains(word), "{shown}: no {word:?} in {}", output.stderr);
    }
    ensure!(!output.stderr.contains("s3cret"), "{shown}: {}", output.stderr);
    Ok(())
}

#[test]
fn flags_are_enough_without_a_kubeconfig() -> Result<()> {
    let account = Account::create("flags")?;
    let (server, token) = (["--server", &account.server], ["--token", &account.token]);
    let with = |more: &[&str]| account.bare(&[&server[..], &token, more].concat());
    entered(with(&["--certificate-authority", "FILE/ca.crt"]))?;
    entered(with(&["--insecure-skip-tls-verify"]))?;
    let other = ["--tls-server-name", "kubernetes.default.svc"];
    entered(with(&[&other[..], &["--certificate-authority", "FILE/ca.crt"]].concat()))?;
    let other = ["--tls-server-name", "api.example.com"];
    let ca = ["--certificate-authority", "FILE/ca.crt"];
    refused(with(&[other, ca].concat()), &["api.example.com"])?;
    certificate(account.folder(), "nobody", "1")?;
    let wrong = ["--certificate-authority", "FILE/nobody.crt"];
    refused(with(&wrong), &["certificate", &account.server])?;
    refused(with(&[]), &["certificate", &account.server])?;
    refused(with(&["--certificate-authority", "FILE/none"]), &["none", "certificate authority"])?;
    let bad = [&server[..], &ca, &["--token", "s3cret"]].concat();
    refused(account.bare(&bad), &["Unauthorized", "log in again"])?;
    certificate(account.folder(), "over", "-1")?;
    let over = ["--client-certificate", "FILE/over.crt", "--client-key", "FILE/over.key"];
    refused(account.bare(&[&server[..], &ca, &over].concat()), &["expired on"])?;
    refused(account.bare(&token), &["no kubeconfig", "--server"])
}

#[test]
fn a_token_is_shared_with_nobody_else() -> Result<()> {
    let account = Account::create("token")?;
    let with = |token: &str| {
        let flags = ["--share=1m", "--server", &account.server, "--token", token];
        let ca = ["--certificate-authority", "FILE/ca.crt"];
        let mut command = account.bare(&[&flags[..], &ca].concat());
        command.env("XDG_RUNTIME_DIR", account.folder());
        command
    };
    entered(with(&account.token))?;
    // The process that stays does not show it to everybody.
    for process in std::fs::read_dir("/proc")?.flatten() {
        let line = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line);
        ensure!(!line.contains(&account.token), "{:?} shows it", process.path());
    }
    // Somebody else is not answered by it.
    refused(with("s3cret"), &["Unauthorized"])?;
    entered(with(&account.token))
}

#[test]
fn contexts_clusters_and_users_can_be_mixed() -> Result<()> {
    let account = Account::create("mixed")?;
    let good = account.kubeconfig(&json!({}), &json!({"token": account.token}))?;
    let mut config: Value = serde_json::from_slice(&std::fs::read(&good)?)?;
    let list = |name: &str| config[name][0].clone();
    let (mut cluster, mut user, mut context) = (list("clusters"), list("users"), list("contexts"));
    cluster["name"] = json!("b");
    cluster["cluster"]["server"] = json!("https://127.0.0.1:1");
    user["name"] = json!("b");
    user["user"] = json!({"token": "s3cret"});
    context["name"] = json!("b");
    context["context"] = json!({"cluster": "b", "user": "b"});
    for (name, value) in [("clusters", cluster), ("users", user), ("contexts", context)] {
        config[name].as_array_mut().context("a list")?.push(value);
    }
    std::fs::write(&good, config.to_string())?;
    let with = |flags: &[&str]| {
        let mut command = account.id(flags);
        command.env("KUBECONFIG", &good);
        command
    };
    entered(with(&[]))?;
    refused(with(&["--context", "b"]), &["127.0.0.1:1"])?;
    refused(with(&["--user", "b"]), &["Unauthorized"])?;
    refused(with(&["--context", "b", "--cluster", "a"]), &["Unauthorized"])?;
    entered(with(&["--context", "b", "--cluster", "a", "--user", "a"]))?;
    entered(with(&["--context", "b", "--server", &account.server, "--token", &account.token]))?;
    refused(with(&["--cluster", "c"]), &[r#"cluster "c""#, "--cluster: a, b"])
}

#[test]
fn who_is_acted_as_is_who_it_counts_for() -> Result<()> {
    let account = Account::create("acting")?;
    entered(account.id(&["--as", &account.user()]))?;
    ensure!(account.helpers()? == 1);
    // Nor by whom that one is, but another user's: another helper.
    entered(account.id(&["--as", "bob", "--as-group", "system:masters", "--as-uid", "7"]))?;
    ensure!(account.helpers()? == 2, "a helper was shared");
    entered(account.id(&["--as", "bob", "--as-group", "system:masters", "--as-uid", "8"]))?;
    ensure!(account.helpers()? == 3, "a helper was shared");
    entered(account.id(&["--as", &account.user(), "--as-user-extra", "example.com/k=v"]))?;
    ensure!(account.helpers()? == 3, "a helper was not shared");
    let rule = "kubectl create role kpexec -n default --verb=get --resource=pods";
    refused(account.id(&["--as", "bob"]), &[r#"User "bob" cannot get resource "pods""#, rule])?;
    // Who may not act as others, until what the hint says is done.
    let path = account.kubeconfig(&json!({}), &json!({"token": account.token}))?;
    let as_bob = || {
        let mut command = account.id(&["--as", "bob"]);
        command.env("KUBECONFIG", &path);
        command
    };
    let words = ["cannot impersonate", "clusterrole kpexec --verb=impersonate --resource=users"];
    refused(as_bob(), &words)?;
    account.allow_to_act_as_others()?;
    // The API server hears of a new binding after a moment.
    let mut attempts = 0..300;
    loop {
        let as_he_is = refused(as_bob(), &[r#"User "bob" cannot get resource "pods""#]);
        if as_he_is.is_ok() || attempts.next().is_none() {
            return as_he_is;
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

#[test]
fn a_silent_server_is_waited_for_as_long_as_one_likes() -> Result<()> {
    let account = Account::create("silent")?;
    let silent = TcpListener::bind("127.0.0.1:0")?;
    for scheme in ["http", "https"] {
        let server = format!("{scheme}://{}", silent.local_addr()?);
        let begun = Instant::now();
        let flags = ["--server", &server, "--token", "s3cret", "--request-timeout", "1500ms"];
        refused(account.bare(&flags), &["no answer within 1.5s", &server])?;
        let took = begun.elapsed();
        let limit = Duration::from_millis(1500)..Duration::from_secs(30);
        ensure!(limit.contains(&took), "{server}: {took:?}");
    }
    // It is no limit for a session: this one takes longer.
    let namespace = ["--helper-namespace", account.namespace(), "--request-timeout=10s"];
    let sleep = ["distroless", "--", "sleep", "11"];
    let output = run(kpexec(&[&namespace[..], &sleep].concat()), b"")?;
    ensure!(output.code() == 0, "{output:?}");
    Ok(())
}

/// A login plugin that notes each run, and gives this token for so long.
fn plugin(account: &Account, expires: &str) -> Result<Value> {
    let answer = json!({
        "kind": "ExecCredential", "apiVersion": "client.authentication.k8s.io/v1",
        "status": {"token": account.token, "expirationTimestamp": expires},
    });
    let path = account.file("login");
    let script = format!(
        "#!/bin/sh\necho \"$KUBERNETES_EXEC_INFO\" >> {}\ncat <<'E'\n{answer}\nE\n",
        account.file("runs").display()
    );
    std::fs::write(&path, script)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))?;
    Ok(json!({"exec": {
        "apiVersion": "client.authentication.k8s.io/v1", "interactiveMode": "IfAvailable",
        "command": "./login", "provideClusterInfo": true, "installHint": "buy it",
    }}))
}

fn runs(account: &Account) -> Result<Vec<Value>> {
    let text = std::fs::read_to_string(account.file("runs"))?;
    text.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
}

#[test]
fn a_login_plugin_runs_once() -> Result<()> {
    let account = Account::create("plugin")?;
    let path = account.kubeconfig(&json!({}), &plugin(&account, "2099-01-01T00:00:00Z")?)?;
    let with = |flags: &[&str]| {
        let mut command = account.id(flags);
        command.env("KUBECONFIG", &path).env("XDG_RUNTIME_DIR", account.folder());
        command
    };
    entered(with(&["--rm"]))?;
    let told = runs(&account)?;
    ensure!(told.len() == 1, "it ran {} times: {told:?}", told.len());
    ensure!(told[0]["spec"]["interactive"] == json!(false), "{told:?}");
    ensure!(told[0]["spec"]["cluster"]["server"] == json!(account.server), "{told:?}");
    for _ in 0..2 {
        entered(with(&["--share=1m"]))?;
    }
    ensure!(runs(&account)?.len() == 2, "the background process has one of its own");
    // Whoever names a token needs none.
    entered(with(&["--token", &account.token]))?;
    ensure!(runs(&account)?.len() == 2);
    // One that is over is got anew for each request, of which there are several.
    plugin(&account, "2020-01-01T00:00:00Z")?;
    entered(with(&["--rm"]))?;
    ensure!(runs(&account)?.len() > 3, "{:?}", runs(&account)?);
    std::fs::write(account.file("login"), "#!/bin/sh\necho s3cret; exit 3\n")?;
    refused(with(&[]), &["login", "exit status: 3"])?;
    std::fs::write(account.file("login"), "#!/bin/sh\necho s3cret\n")?;
    refused(with(&[]), &["login", "no ExecCredential"])?;
    std::fs::remove_file(account.file("login"))?;
    refused(with(&[]), &["login", "hint: buy it"])
}

/// kpexec by way of a kubeconfig, with these variables.
fn through(account: &Account, kubeconfig: &Path, variables: &[(&str, &str)]) -> Command {
    let mut command = account.id(&[]);
    command.env("KUBECONFIG", kubeconfig).envs(variables.iter().copied());
    command
}

#[test]
fn proxies_are_used_as_kubectl_uses_them() -> Result<()> {
    let account = Account::create("proxied")?;
    let user = json!({"token": account.token});
    let server = beyond_loopback()?;
    let cluster = json!({"server": server});
    let (http, socks, bobs) = (Proxy::http()?, Proxy::socks()?, Proxy::of_bob()?);
    let address = http.address().to_string();
    let path = account.kubeconfig(&cluster, &user)?;
    for (variable, value) in
        [("HTTPS_PROXY", format!("http://{address}")), ("https_proxy", address.clone())]
    {
        let before = http.connections();
        entered(through(&account, &path, &[(variable, &value)]))?;
        ensure!(http.connections() > before, "{variable}={value}: another way");
        for exception in ["10.200.0.0/16", "x.example, 10.200.0.1 ,", "*"] {
            let before = http.connections();
            let variables = [(variable, &*value), ("NO_PROXY", exception)];
            entered(through(&account, &path, &variables))?;
            ensure!(http.connections() == before, "NO_PROXY={exception}: proxied");
        }
        let before = http.connections();
        let variables = [(variable, &*value), ("no_proxy", "10.200.0.1:1,00.0.1,")];
        entered(through(&account, &path, &variables))?;
        ensure!(http.connections() > before, "another way");
    }
    let value = format!("socks5://{}", socks.address());
    entered(through(&account, &path, &[("HTTPS_PROXY", &value)]))?;
    ensure!(socks.connections() > 0, "another way");
    let host = bobs.address();
    entered(through(&account, &path, &[("HTTPS_PROXY", &format!("http://bob:a%40b@{host}"))]))?;
    ensure!(bobs.connections() > 0, "another way");
    let nobody = format!("http://bob:s3cret@{host}");
    let words = ["407", &format!("proxy http://{host}")];
    refused(through(&account, &path, &[("HTTPS_PROXY", &nobody)]), &words)?;

    let forbidding = Proxy::forbidding()?.address();
    let value = format!("http://{forbidding}");
    let words = [&format!("proxy {value}: it refuses"), "NO_PROXY"];
    refused(through(&account, &path, &[("HTTPS_PROXY", &value)]), &words)?;
    // Port 1 of loopback: nobody listens.
    for value in ["http://127.0.0.1:1", "socks5://127.0.0.1:1"] {
        let why = if value.starts_with("http") { "refused" } else { "cannot be connected to" };
        let words = [&*format!("proxy {value}: "), why];
        refused(through(&account, &path, &[("HTTPS_PROXY", value)]), &words)?;
    }
    refused(through(&account, &path, &[("HTTPS_PROXY", "ftp://h")]), &["HTTPS_PROXY", "socks5"])?;
    // Loopback is never proxied, unless the kubeconfig says so.
    let path = account.kubeconfig(&json!({"server": "https://127.0.0.1:6443"}), &user)?;
    entered(through(&account, &path, &[("HTTPS_PROXY", "http://127.0.0.1:1")]))?;
    let proxied = json!({"server": server, "proxy-url": format!("http://{address}")});
    let path = account.kubeconfig(&proxied, &user)?;
    let before = http.connections();
    entered(through(
        &account,
        &path,
        &[("NO_PROXY", "*,"), ("HTTPS_PROXY", "http://127.0.0.1:1")],
    ))?;
    ensure!(http.connections() > before, "proxy-url: another way");
    Ok(())
}

#[test]
fn calls_are_shown_without_what_is_secret() -> Result<()> {
    let account = Account::create("calls")?;
    let output = run(account.id(&["--token", &account.token, "-v=6"]), b"")?;
    ensure!(output.code() == 0, "{output:?}");
    let pod = "/api/v1/namespaces/default/pods/distroless 200 OK in ";
    ensure!(output.stderr.contains(&format!("GET {}{pod}", account.server)), "{}", output.stderr);
    ensure!(output.stderr.contains("/exec?"), "{}", output.stderr);
    ensure!(!output.stderr.contains(&account.token), "{}", output.stderr);
    let output = run(account.id(&["-v"]), b"")?;
    ensure!(!output.stderr.contains("200 OK") && output.stderr.contains("resolved"), "{output:?}");
    Ok(())
}
