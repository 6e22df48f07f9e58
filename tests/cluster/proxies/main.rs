//! What stands between a client and the API server: a proxy that cuts who is
//! silent, and one that knows only the older protocol.

mod idle_cut;
mod only_v4;

use std::io::Read as _;
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use serde_json::{Value, json};
use tests::command::{kpexec, run};
use tests::{BOTH_NODES, kubectl};

use idle_cut::IdleCut;
use only_v4::OnlyV4;

/// What load balancers allow at the least.
const IDLE: Duration = Duration::from_secs(20);

/// A kubeconfig that leads to a proxy.
struct Kubeconfig {
    _folder: tempfile::TempDir,
    path: PathBuf,
}

impl Kubeconfig {
    fn write(config: &Value) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("kubeconfig");
        std::fs::write(&path, config.to_string())?;
        Ok(Self { _folder: folder, path })
    }

    fn kpexec(&self, arguments: &[&str]) -> Command {
        let mut command = kpexec(arguments);
        command.env("KUBECONFIG", &self.path);
        command
    }
}

#[test]
fn a_session_in_which_nothing_happens_is_not_cut() -> Result<()> {
    let long = std::env::var_os("KPEXEC_LONG").is_some();
    let silence = Duration::from_secs(if long { 45 } else { 25 });
    let view = kubectl(&["config", "view", "--raw", "--flatten", "--minify", "-o", "json"])?;
    let mut config: Value = serde_json::from_str(&view)?;
    let cluster = &mut config["clusters"][0]["cluster"];
    let server = cluster["server"].as_str().context("no server")?;
    let server = server.strip_prefix("https://").context("a server without TLS")?.to_owned();
    let proxy = IdleCut::start(&server, IDLE)?;
    let (host, _) = server.rsplit_once(':').context("a server without a port")?;
    // The certificate is the server's: the proxy passes TLS through.
    cluster["tls-server-name"] = json!(host);
    cluster["server"] = json!(format!("https://{}", proxy.address()));
    let kubeconfig = Kubeconfig::write(&config)?;

    // A connection that says nothing, to see that it does cut.
    let begun = Instant::now();
    let mut idle = TcpStream::connect(proxy.address())?;
    let script = format!("echo begun; sleep {}; echo over; exit 3", silence.as_secs());
    let sessions = BOTH_NODES.map(|pod| {
        let command = kubeconfig.kpexec(&[pod, "--", "sh", "-c", &script]);
        (pod, std::thread::spawn(move || run(command, b"")))
    });
    idle.set_read_timeout(Some(2 * IDLE))?;
    assert_eq!(idle.read(&mut [0])?, 0, "it was not cut");
    let cut = begun.elapsed();
    ensure!(cut >= IDLE && cut < silence, "cut after {cut:?}");
    for (pod, session) in sessions {
        let output = session.join().map_err(|_| anyhow!("a session panicked"))??;
        assert_eq!(
            (output.code(), output.text().as_str()),
            (3, "begun\nover"),
            "{pod}: {output:?}"
        );
    }
    ensure!(proxy.connections() > BOTH_NODES.len(), "they went another way");
    Ok(())
}

#[test]
fn a_server_that_speaks_only_the_older_protocol_is_as_good() -> Result<()> {
    let proxy = OnlyV4::start()?;
    let kubeconfig = Kubeconfig::write(&json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "proxy",
        "clusters": [{"name": "proxy", "cluster": {"server": format!("http://{}", proxy.address())}}],
        "users": [{"name": "nobody", "user": {}}],
        "contexts": [{"name": "proxy", "context": {"cluster": "proxy", "user": "nobody"}}],
    }))?;
    let mut bytes = vec![0; 4 << 20];
    std::io::Read::read_exact(&mut std::fs::File::open("/dev/urandom")?, &mut bytes)?;
    for pod in BOTH_NODES {
        for (script, code) in
            [("exit 0", 0), ("exit 3", 3), ("kill -KILL $$", 137), ("nosuch", 127)]
        {
            let output = run(kubeconfig.kpexec(&[pod, "--", "sh", "-c", script]), b"")?;
            assert_eq!(output.code(), code, "{pod}: {script}: {output:?}");
        }
        let echo = ["-i", pod, "--", "sh", "-c", "cat; echo end >&2; exit 7"];
        let output = run(kubeconfig.kpexec(&echo), &bytes)?;
        assert_eq!((output.code(), output.stderr.as_str()), (7, "end\n"), "{pod}");
        ensure!(output.stdout == bytes, "{pod}: {} bytes came back", output.stdout.len());
        // The command goes on when its stdin has ended.
        let count = ["-i", pod, "--", "sh", "-c", "wc -c; sleep 1; echo more"];
        let output = run(kubeconfig.kpexec(&count), &bytes)?;
        assert_eq!(output.text(), format!("{}\nmore", bytes.len()), "{pod}: {output:?}");
    }
    let spoken = proxy.spoken();
    ensure!(spoken.len() >= 2 * 6, "not by way of the proxy: {spoken:?}");
    ensure!(spoken.iter().all(|version| version == "v4.channel.k8s.io"), "{spoken:?}");
    Ok(())
}
