//! Completion where nobody answers, or nothing is said: the shell's line stays as it is.

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;
use tests::command::{Output, kpexec, run};
use tests::{Cluster, Namespace, kubectl};

use crate::in_time;

/// Each asks the cluster something else, and completes something there.
const LINES: [&[&str]; 5] = [
    &["busy"],
    &["svc/kube"],
    &["multi", "-c", "t"],
    &["-n", "kube-sys"],
    &["--as=bob", "--as-group=system:masters", "po/b"],
];

/// A user's certificates and kubeconfigs.
struct Folder(TempDir);

impl Folder {
    fn new() -> Result<Self> {
        Ok(Self(tempfile::tempdir()?))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A certificate of the cluster's authority, for the administrator and for a
    /// server on loopback, over if `days` is negative.
    fn certificate(&self, days: &str) -> Result<()> {
        let script = "echo subjectAltName=IP:127.0.0.1 > ext; \
            openssl req -new -newkey ed25519 -nodes -subj /O=system:masters/CN=admin -keyout key |
            openssl x509 -req -CA $1/ca.crt -CAkey $1/ca.key -set_serial 7 -extfile ext -days $2 \
                -out crt";
        let authority = Cluster::get().kubeconfig.with_file_name("pki");
        let mut command = Command::new("sh");
        command.args(["-ec", script, "sh"]).arg(authority).arg(days).current_dir(&self.0);
        let output = command.output()?;
        ensure!(output.status.success(), "{output:?}");
        Ok(())
    }

    /// The administrator's kubeconfig with another server or another user.
    fn kubeconfig(&self, server: Option<&str>, user: &Value) -> Result<PathBuf> {
        let text = kubectl(&["config", "view", "--raw", "--minify", "-o", "json"])?;
        let mut config: Value = serde_json::from_str(&text)?;
        if let Some(server) = server {
            config["clusters"][0]["cluster"]["server"] = json!(server);
        }
        if !user.is_null() {
            config["users"][0]["user"] = user.clone();
        }
        std::fs::write(self.path("kubeconfig"), config.to_string())?;
        Ok(self.path("kubeconfig"))
    }

    /// As whom that certificate says.
    fn by_certificate(&self) -> Value {
        json!({"client-certificate": self.path("crt"), "client-key": self.path("key")})
    }
}

/// All that is written, to stdout and stderr.
fn written(kubeconfig: &Path, words: &[&str]) -> Result<Output> {
    let mut command = kpexec(&[&["__complete"], words].concat());
    command.env("KUBECONFIG", kubeconfig);
    let output = run(command, b"")?;
    ensure!(output.code() == 0, "{words:?}: {output:?}");
    Ok(output)
}

fn is_silent(kubeconfig: &Path, what: &str) -> Result<()> {
    let attach: &[&str] = &["attach", ""];
    for words in LINES.into_iter().chain([attach]) {
        let output = written(kubeconfig, words)?;
        let said = (&*output.stdout, &*output.stderr);
        assert_eq!(said, (&b":4\n"[..], ""), "{what}: {words:?}");
    }
    Ok(())
}

fn answers(kubeconfig: &Path) -> Result<()> {
    for words in LINES {
        let output = in_time(|| written(kubeconfig, words))?;
        let answered = output.stdout.ends_with(b"\n:4\n") && output.stderr.is_empty();
        ensure!(answered, "{words:?}: {output:?}");
    }
    Ok(())
}

#[test]
fn a_server_that_is_away_or_silent_is_not_told_of() -> Result<()> {
    let folder = Folder::new()?;
    answers(&folder.kubeconfig(None, &Value::Null)?)?;
    // It is connected with, and never says a word.
    let silent = TcpListener::bind("127.0.0.1:0")?;
    let server = format!("https://{}", silent.local_addr()?);
    let kubeconfig = folder.kubeconfig(Some(&server), &Value::Null)?;
    is_silent(&kubeconfig, "silent")?;
    drop(silent);
    is_silent(&kubeconfig, "refused")
}

#[test]
fn a_certificate_that_is_over_is_not_told_of() -> Result<()> {
    let folder = Folder::new()?;
    folder.certificate("1")?;
    answers(&folder.kubeconfig(None, &folder.by_certificate())?)?;
    folder.certificate("-1")?;
    is_silent(&folder.kubeconfig(None, &folder.by_certificate())?, "the client's")?;
    let server = Server::start(&folder)?;
    let kubeconfig = folder.kubeconfig(Some(&server.address), &Value::Null)?;
    is_silent(&kubeconfig, "the server's")
}

#[test]
fn what_one_may_not_see_is_not_told_of() -> Result<()> {
    let folder = Folder::new()?;
    let namespace = Namespace::create("silence", "restricted")?;
    let token = namespace.token()?;
    let kubeconfig = folder.kubeconfig(None, &json!({"token": token}))?;
    // It is not for want of a user that nothing is said.
    let path = kubeconfig.to_str().context("a temporary path is text")?;
    let user = kubectl(&["--kubeconfig", path, "auth", "whoami"])?;
    ensure!(user.contains(&format!("system:serviceaccount:{}:default", namespace.name())));
    is_silent(&kubeconfig, "without rights")?;
    is_silent(&folder.kubeconfig(None, &json!({"token": "none"}))?, "nobody")
}

/// A server that has the folder's certificate.
struct Server {
    process: Child,
    address: String,
}

impl Server {
    fn start(folder: &Folder) -> Result<Self> {
        let mut command = Command::new("openssl");
        command.args(["s_server", "-accept", "127.0.0.1:0", "-cert", "crt", "-key", "key", "-www"]);
        command.current_dir(&folder.0).stdin(Stdio::null());
        let mut process = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let stdout = process.stdout.take().context("it is a pipe")?;
        let mut server = Self { process, address: String::new() };
        for line in BufReader::new(stdout).lines() {
            if let Some(address) = line?.strip_prefix("ACCEPT ") {
                server.address = format!("https://{address}");
                return Ok(server);
            }
        }
        anyhow::bail!("openssl does not listen")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended.
        let _ended = self.process.kill();
        let _ended = self.process.wait();
    }
}
