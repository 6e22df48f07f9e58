//! Proxies that count whom they let through: HTTP CONNECT and SOCKS 5.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use anyhow::{Context, Result, ensure};

/// It runs as long as the tests do.
pub struct Proxy {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
}

type Greet = fn(&TcpStream) -> Result<TcpStream>;

impl Proxy {
    /// One that connects by HTTP, with whomever it is asked for.
    pub fn http() -> Result<Self> {
        Self::start(|client| {
            let (target, mut client) = connect_request(client)?;
            let server = TcpStream::connect(target)?;
            client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")?;
            Ok(server)
        })
    }

    /// The same, for who says that it is bob with the password `a@b`.
    pub fn of_bob() -> Result<Self> {
        Self::start(|client| {
            let (target, mut client) = connect_request_of(client, "Basic Ym9iOmFAYg==")?;
            let server = TcpStream::connect(target)?;
            client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")?;
            Ok(server)
        })
    }

    /// One that connects nobody.
    pub fn forbidding() -> Result<Self> {
        Self::start(|client| {
            let (_, mut client) = connect_request(client)?;
            client.write_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")?;
            anyhow::bail!("forbidden")
        })
    }

    /// One of RFC 1928, without authentication.
    pub fn socks() -> Result<Self> {
        Self::start(|client| {
            let mut client = client.try_clone()?;
            let mut hello = [0; 2];
            client.read_exact(&mut hello)?;
            client.read_exact(&mut vec![0; usize::from(hello[1])])?;
            client.write_all(&[5, 0])?;
            let mut request = [0; 4];
            client.read_exact(&mut request)?;
            let host = match request[3] {
                1 => {
                    let mut address = [0; 4];
                    client.read_exact(&mut address)?;
                    std::net::Ipv4Addr::from(address).to_string()
                }
                3 => {
                    let mut length = [0];
                    client.read_exact(&mut length)?;
                    let mut name = vec![0; usize::from(length[0])];
                    client.read_exact(&mut name)?;
                    String::from_utf8(name)?
                }
                other => anyhow::bail!("address of type {other}"),
            };
            let mut port = [0; 2];
            client.read_exact(&mut port)?;
            let server = TcpStream::connect((host.as_str(), u16::from_be_bytes(port)))?;
            client.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0])?;
            Ok(server)
        })
    }

    fn start(greet: Greet) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let connections = Arc::new(AtomicUsize::new(0));
        let count = connections.clone();
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let count = count.clone();
                thread::spawn(move || {
                    let Ok(server) = greet(&client) else { return };
                    count.fetch_add(1, Ordering::Relaxed);
                    let (Ok(from), Ok(to)) = (client.try_clone(), server.try_clone()) else {
                        return;
                    };
                    thread::spawn(move || pass(from, to));
                    pass(server, client);
                });
            }
        });
        Ok(Self { address, connections })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many it has let through.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

fn connect_request(client: &TcpStream) -> Result<(String, TcpStream)> {
    let (target, _, client) = request(client)?;
    Ok((target, client))
}

fn connect_request_of(client: &TcpStream, user: &str) -> Result<(String, TcpStream)> {
    let (target, authorization, mut client) = request(client)?;
    if authorization.as_deref() != Some(user) {
        client.write_all(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")?;
        anyhow::bail!("nobody");
    }
    Ok((target, client))
}

/// Target, `Proxy-Authorization`, and the stream behind the request.
fn request(client: &TcpStream) -> Result<(String, Option<String>, TcpStream)> {
    // The client says nothing more before it is answered.
    let mut lines = BufReader::new(client.try_clone()?).lines();
    let first = lines.next().context("no request")??;
    let target = first.strip_prefix("CONNECT ").context("no CONNECT")?;
    let target = target.split(' ').next().context("no target")?.to_owned();
    let mut authorization = None;
    for line in lines {
        let line = line?;
        if line.is_empty() {
            ensure!(!target.is_empty(), "no target");
            return Ok((target, authorization, client.try_clone()?));
        }
        if let Some((name, value)) = line.split_once(": ")
            && name.eq_ignore_ascii_case("proxy-authorization")
        {
            authorization = Some(value.to_owned());
        }
    }
    anyhow::bail!("half a request")
}

fn pass(mut from: TcpStream, mut to: TcpStream) {
    // However it ends, both ends learn of it.
    let _ended = std::io::copy(&mut from, &mut to);
    let _closed = (from.shutdown(std::net::Shutdown::Both), to.shutdown(std::net::Shutdown::Both));
}
