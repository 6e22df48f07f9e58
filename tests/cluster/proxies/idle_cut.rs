//! A proxy that passes bytes on and cuts connections that are silent.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;

/// How often it looks.
const TICK: Duration = Duration::from_millis(200);

/// It runs as long as the tests do.
pub struct IdleCut {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
}

impl IdleCut {
    /// Before this server; what is silent both ways for so long is cut.
    pub fn start(server: &str, idle: Duration) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let connections = Arc::new(AtomicUsize::new(0));
        let (server, count) = (server.to_owned(), connections.clone());
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let Ok(server) = TcpStream::connect(&server) else { continue };
                count.fetch_add(1, Ordering::Relaxed);
                let last = Arc::new(Mutex::new(Instant::now()));
                for (from, to) in [(&client, &server), (&server, &client)] {
                    let (Ok(from), Ok(to)) = (from.try_clone(), to.try_clone()) else { continue };
                    let last = last.clone();
                    thread::spawn(move || pass(from, to, &last, idle));
                }
            }
        });
        Ok(Self { address, connections })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many connections there were.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

/// One direction. Both ends are closed in both directions when one is, or when
/// neither has said anything for too long.
fn pass(mut from: TcpStream, mut to: TcpStream, last: &Mutex<Instant>, idle: Duration) {
    let mut buffer = vec![0; 64 * 1024];
    let last = || last.lock().unwrap_or_else(PoisonError::into_inner);
    if from.set_read_timeout(Some(TICK)).is_ok() {
        loop {
            match from.read(&mut buffer) {
                Ok(length @ 1..) => {
                    *last() = Instant::now();
                    if to.write_all(&buffer[..length]).is_err() {
                        break;
                    }
                }
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) =>
                {
                    if last().elapsed() >= idle {
                        break;
                    }
                }
                Ok(0) | Err(_) => break,
            }
        }
    }
    // One that is closed already is no fault.
    let _closed = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}
