//! The floor of a cold start: a bare pod, from the request to make it to the end
//! of the first command in it, by the same calls of the API that kpexec makes.
//! They go through `kubectl proxy`, which holds the connection to the API server
//! open: no program is started, no TLS begun.

use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::net::TcpStream;
use std::process::{Child, ChildStdout, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::cluster::kubectl;

/// How often an exec is tried, as kpexec does.
const RETRY: Duration = Duration::from_millis(30);

/// How long the pod may take to start.
const PATIENCE: Duration = Duration::from_secs(60);

/// The way to the API server.
pub struct Proxy {
    child: Child,
    address: String,
    // Closed, the proxy could not write any more.
    _output: BufReader<ChildStdout>,
}

impl Proxy {
    /// Starts it.
    pub fn start() -> Result<Self> {
        let mut command = kubectl();
        // exec is among what it refuses by itself.
        command.args(["proxy", "--port=0", "--reject-paths=^$"]).stdout(Stdio::piped());
        let mut child = command.spawn().context("cannot start kubectl proxy")?;
        let mut output = BufReader::new(child.stdout.take().context("it has a stdout")?);
        let mut line = String::new();
        output.read_line(&mut line)?;
        let address = line.trim().rsplit(' ').next().unwrap_or_default().to_owned();
        Ok(Self { child, address, _output: output })
    }

    /// Makes a pod, runs `true` in it, deletes it; gives the time until `true`
    /// had ended, in microseconds.
    pub fn measure(&self, name: &str, node: &str) -> Result<u128> {
        let pods = "/api/v1/namespaces/default/pods";
        let begin = Instant::now();
        let (status, answer) = self.ask("POST", pods, &pod(name, node))?;
        ensure!(status == 201, "pod {name} cannot be made: {status}: {answer}");
        let time = loop {
            match self.exec(&format!("{pods}/{name}/exec?command=true&stdout=true")) {
                Ok(true) => break Ok(begin.elapsed().as_micros()),
                Ok(false) if begin.elapsed() < PATIENCE => sleep(RETRY),
                Ok(false) => break Err(anyhow::anyhow!("pod {name} does not start")),
                Err(error) => break Err(error),
            }
        };
        let now = r#"{"gracePeriodSeconds":0}"#;
        let (status, answer) = self.ask("DELETE", &format!("{pods}/{name}"), now)?;
        ensure!(status == 200, "pod {name} cannot be deleted: {answer}");
        time
    }

    fn ask(&self, method: &str, path: &str, body: &str) -> Result<(u16, String)> {
        let headers = format!(
            "Content-Type: application/json\r\nContent-Length: {}\r\nConnection: close",
            body.len()
        );
        let mut stream = self.send(method, path, &headers, body)?;
        let status = read_head(&mut stream)?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        Ok((status, text))
    }

    /// Whether the command ran and gave 0.
    fn exec(&self, path: &str) -> Result<bool> {
        let headers = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: a3BleGVjLWtwZXhlYy1rcA==\r\n\
                       Sec-WebSocket-Protocol: v5.channel.k8s.io";
        let mut stream = self.send("GET", path, headers, "")?;
        if read_head(&mut stream)? != 101 {
            return Ok(false);
        }
        loop {
            match frame(&mut stream)? {
                Some(message) if message.first() == Some(&3) => {
                    return Ok(String::from_utf8_lossy(&message).contains("\"Success\""));
                }
                Some(_) => {}
                None => return Ok(false),
            }
        }
    }

    fn send(
        &self,
        method: &str,
        path: &str,
        headers: &str,
        body: &str,
    ) -> Result<BufReader<TcpStream>> {
        let mut stream = TcpStream::connect(&self.address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        let request =
            format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n\r\n{body}");
        stream.write_all(request.as_bytes())?;
        Ok(BufReader::new(stream))
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // Nothing can be done about a proxy that has ended.
        let _ended = self.child.kill();
        let _ended = self.child.wait();
    }
}

/// As a helper pod has it: the node's network and processes, no token.
fn pod(name: &str, node: &str) -> String {
    serde_json::json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {
            "nodeName": node,
            "hostNetwork": true,
            "hostPID": true,
            "automountServiceAccountToken": false,
            "enableServiceLinks": false,
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 0,
            "tolerations": [{"operator": "Exists"}],
            "containers": [{
                "name": "bare",
                "image": "10.200.0.1:5000/busybox:1",
                "command": ["sleep", "600"],
            }],
        },
    })
    .to_string()
}

/// The status of the answer; what is left to be read is its body.
fn read_head(stream: &mut BufReader<TcpStream>) -> Result<u16> {
    let mut line = String::new();
    stream.read_line(&mut line)?;
    let status = line.split(' ').nth(1).and_then(|word| word.parse().ok());
    let status = status.with_context(|| format!("no HTTP: {line:?}"))?;
    while line.trim() != "" {
        line.clear();
        stream.read_line(&mut line)?;
    }
    Ok(status)
}

/// The next message, as servers send them: not masked, in one frame (RFC 6455,
/// 5.2). None: the connection is closed.
fn frame(stream: &mut impl Read) -> Result<Option<Vec<u8>>> {
    let mut head = [0; 2];
    if stream.read_exact(&mut head).is_err() || head[0] & 0xf == 8 {
        return Ok(None);
    }
    let length = match head[1] {
        126 => {
            let mut length = [0; 2];
            stream.read_exact(&mut length)?;
            u64::from(u16::from_be_bytes(length))
        }
        127 => {
            let mut length = [0; 8];
            stream.read_exact(&mut length)?;
            u64::from_be_bytes(length)
        }
        length => u64::from(length),
    };
    if length > 1 << 20 {
        bail!("a message of {length} bytes");
    }
    let mut message = vec![0; usize::try_from(length)?];
    stream.read_exact(&mut message)?;
    Ok(Some(message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_read_whatever_their_length() {
        let long = [vec![0x82, 126, 1, 0], vec![3; 256]].concat();
        let mut bytes: &[u8] = &[vec![0x82, 2, 1, b'x'], long, vec![0x88, 0]].concat();
        assert_eq!(frame(&mut bytes).unwrap().unwrap(), [1, b'x']);
        assert_eq!(frame(&mut bytes).unwrap().unwrap(), [3; 256]);
        assert_eq!(frame(&mut bytes).unwrap(), None);
        assert_eq!(frame(&mut bytes).unwrap(), None);
    }
}
