//! A proxy that does not know v5.channel.k8s.io: `kubectl proxy` behind a filter
//! of HTTP/1.1 that takes it out of the requests.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use anyhow::{Context, Result};
use tests::Cluster;

/// The header in which WebSocket's two ends agree: RFC 6455, 11.3.4.
const HEADER: &str = "sec-websocket-protocol:";

/// It runs as long as this lives.
pub struct OnlyV4 {
    kubectl: Child,
    address: SocketAddr,
    spoken: Arc<Mutex<Vec<String>>>,
}

impl OnlyV4 {
    pub fn start() -> Result<Self> {
        let cluster = Cluster::get();
        // By default it lets nobody exec.
        let mut kubectl = Command::new(cluster.kubeconfig.with_file_name("bin").join("kubectl"))
            .arg("--kubeconfig")
            .arg(&cluster.kubeconfig)
            .args(["proxy", "--port=0", "--disable-filter"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let said = kubectl.stdout.as_mut().context("stdout is a pipe")?;
        let mut line = String::new();
        BufReader::new(said).read_line(&mut line)?;
        let behind = line.trim_end().rsplit(' ').next().context("it says no address")?.to_owned();
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let spoken = Arc::new(Mutex::new(Vec::new()));
        let heard = spoken.clone();
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let (behind, heard) = (behind.clone(), heard.clone());
                thread::spawn(move || connection(client, &behind, &heard));
            }
        });
        Ok(Self { kubectl, address, spoken })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What was agreed on, each time.
    pub fn spoken(&self) -> Vec<String> {
        self.spoken.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for OnlyV4 {
    fn drop(&mut self) {
        // One that has ended by itself has failed the test already.
        let _ended = (self.kubectl.kill(), self.kubectl.wait());
    }
}

fn connection(client: TcpStream, behind: &str, spoken: &Mutex<Vec<String>>) -> io::Result<()> {
    let server = TcpStream::connect(behind)?;
    let (mut requests, mut to_server) = (BufReader::new(client.try_clone()?), server.try_clone()?);
    let up = thread::spawn(move || {
        // An error is the end.
        let _end = pass_requests(&mut requests, &mut to_server);
        to_server.shutdown(Shutdown::Write)
    });
    let (mut answers, mut to_client) = (BufReader::new(server), client);
    let _end = pass_answers(&mut answers, &mut to_client, spoken);
    to_client.shutdown(Shutdown::Both)?;
    drop(up.join());
    Ok(())
}

/// Requests one after the other, to the end or to one that is no HTTP any more.
fn pass_requests(from: &mut BufReader<TcpStream>, to: &mut TcpStream) -> io::Result<()> {
    loop {
        let (mut body, mut upgrade) = (0, false);
        loop {
            let mut line = String::new();
            if from.read_line(&mut line)? == 0 {
                return Ok(());
            }
            let lower = line.to_ascii_lowercase();
            if let Some(length) = lower.strip_prefix("content-length:") {
                body = length.trim().parse().map_err(io::Error::other)?;
            }
            upgrade |= lower.starts_with("upgrade:");
            if lower.starts_with(HEADER) {
                let (name, versions) = line.split_once(':').unwrap_or_default();
                let known: Vec<_> = versions
                    .split(',')
                    .map(str::trim)
                    .filter(|name| !name.starts_with("v5."))
                    .collect();
                line = format!("{name}: {}\r\n", known.join(", "));
            }
            to.write_all(line.as_bytes())?;
            if line == "\r\n" {
                break;
            }
        }
        if upgrade {
            return io::copy(from, to).map(drop);
        }
        io::copy(&mut from.take(body), to)?;
    }
}

/// Everything as it is, with an eye on what was agreed on.
fn pass_answers(
    from: &mut BufReader<TcpStream>,
    to: &mut TcpStream,
    spoken: &Mutex<Vec<String>>,
) -> io::Result<()> {
    loop {
        let mut bytes = piece(from)?;
        if bytes.is_empty() {
            return Ok(());
        }
        if bytes.starts_with(b"HTTP/1.1 101 ") {
            // It may come in several pieces.
            while !bytes.windows(4).any(|end| end == b"\r\n\r\n") {
                let more = piece(from)?;
                if more.is_empty() {
                    return Ok(());
                }
                bytes.extend(more);
            }
            let text = String::from_utf8_lossy(&bytes).to_ascii_lowercase();
            let version = text.lines().find_map(|line| line.strip_prefix(HEADER));
            let version = version.unwrap_or("none").trim().to_owned();
            spoken.lock().unwrap_or_else(PoisonError::into_inner).push(version);
        }
        to.write_all(&bytes)?;
    }
}

/// What has come; nothing at the end.
fn piece(from: &mut BufReader<TcpStream>) -> io::Result<Vec<u8>> {
    let bytes = from.fill_buf()?.to_vec();
    from.consume(bytes.len());
    Ok(bytes)
}
