//! The sessions of one server: how each is called, and how a client comes back
//! to it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use kpexec_protocol::{Attach, Start, Target};
use prost::Message as _;
use rustix::fd::OwnedFd;
use rustix::net::{SendFlags, send};
use serde::Serialize;
use tokio::sync::mpsc;

use super::Client;
use crate::failure::tell;
use crate::supervise::Note;

/// As much of a command as is told of it, in characters.
const COMMAND: usize = 200;

/// Visits on their way to a session.
const QUEUE: usize = 4;

/// Somebody wants something of a session.
#[derive(Debug)]
pub(super) enum Visit {
    /// A client has come back.
    Client(Box<Client>, Attach),
    /// The helper's pod is being deleted.
    PodEnds,
}

/// All sessions of a server.
#[derive(Clone, Debug, Default)]
pub struct Sessions(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    /// The server's PID: sessions are named after it, so that those of a helper that
    /// has the name of an earlier one have others.
    server: u32,
    /// How many sessions it has had.
    made: u32,
    /// Where the main process is told.
    way: Option<OwnedFd>,
    running: HashMap<String, mpsc::Sender<Visit>>,
}

/// A session's place among the others, as long as it is held.
#[derive(Debug)]
pub(super) struct Registered {
    sessions: Sessions,
    record: Record,
    pub visits: mpsc::Receiver<Visit>,
}

/// How a session is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum State {
    /// A client is there.
    Attached,
    /// Its client has left it to itself.
    Detached,
    /// Its client has gone without a word.
    Lost,
    /// The command has ended, which no client has been told.
    Ended,
}

/// What whoever looks for a session is told, as JSON in one line.
#[derive(Clone, Debug, Serialize)]
struct Record {
    session: String,
    namespace: String,
    pod: String,
    container: String,
    command: String,
    /// Seconds since 1970.
    since: u64,
    state: State,
    /// Whether a client can come back to it.
    kept: bool,
}

impl Sessions {
    /// In a server: its PID, and where it tells of its sessions.
    pub fn of_server(server: u32, way: OwnedFd) -> Self {
        Self(Arc::new(Mutex::new(Inner { server, way: Some(way), ..Inner::default() })))
    }

    /// A session begins.
    pub(super) fn register(&self, start: &Start, kept: bool) -> Registered {
        let (sender, visits) = mpsc::channel(QUEUE);
        let session = {
            let mut inner = self.lock();
            inner.made += 1;
            let name = match inner.made {
                1 => inner.server.to_string(),
                number => format!("{}.{number}", inner.server),
            };
            inner.running.insert(name.clone(), sender);
            name
        };
        let Target { pod_namespace, pod_name, container_name, .. } =
            start.target.clone().unwrap_or_default();
        let record = Record {
            session,
            namespace: pod_namespace,
            pod: pod_name,
            container: container_name,
            command: command(start),
            since: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs(),
            state: State::Attached,
            kept,
        };
        self.note(&record.session, &record);
        Registered { sessions: self.clone(), record, visits }
    }

    /// Sends a client to its session; gives it back if there is none.
    pub(super) async fn visit(&self, client: Client, attach: &Attach) -> Result<(), Client> {
        let way = self.lock().running.get(&attach.session).cloned();
        let Some(way) = way else { return Err(client) };
        let Ok(permit) = way.reserve().await else { return Err(client) };
        permit.send(Visit::Client(Box::new(client), attach.clone()));
        Ok(())
    }

    /// Tells all sessions that the pod ends.
    pub fn end_all(&self) {
        for way in self.lock().running.values() {
            // One whose queue is full is about to be killed with the pod.
            let _full = way.try_send(Visit::PodEnds);
        }
    }

    fn note(&self, session: &str, record: &impl Serialize) {
        let record = serde_json::to_string(record).unwrap_or_default();
        self.send(Note { session: session.to_owned(), record });
    }

    fn send(&self, note: Note) {
        let inner = self.lock();
        if let Some(way) = &inner.way {
            let sent = send(way, &note.encode_to_vec(), SendFlags::NOSIGNAL | SendFlags::DONTWAIT);
            if let Err(errno) = sent {
                tell(&format!("cannot tell the main process of session {}: {errno}", note.session));
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The command as people read it.
fn command(start: &Start) -> String {
    if start.argv.is_empty() {
        return "(shell)".to_owned();
    }
    let words: Vec<_> = start.argv.iter().map(|word| String::from_utf8_lossy(word)).collect();
    words.join(" ").chars().take(COMMAND).collect()
}

impl Registered {
    /// What the session is called.
    pub fn name(&self) -> &str {
        &self.record.session
    }

    /// The session is like this from now on.
    pub fn is(&mut self, state: State) {
        self.record.state = state;
        self.sessions.note(&self.record.session, &self.record);
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.visits.close();
        while let Ok(Visit::Client(client, _)) = self.visits.try_recv() {
            super::audience::refuse(&client, &self.record.session);
        }
        let session = self.record.session.clone();
        self.sessions.lock().running.remove(&session);
        self.sessions.send(Note { session, record: String::new() });
    }
}

#[cfg(test)]
mod tests {
    use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, recv, socketpair};

    use super::*;

    fn start(command: &str) -> Start {
        let argv = command.split(' ').map(|word| word.as_bytes().to_vec().into()).collect();
        Start { argv, ..Start::default() }
    }

    #[test]
    fn the_main_process_hears_of_each_session() {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let (ours, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap();
        let note = || {
            let mut bytes = [0; Note::LONGEST];
            let (length, _) = recv(&ours, &mut bytes[..], RecvFlags::empty()).unwrap();
            Note::decode(&bytes[..length]).unwrap()
        };
        let sessions = Sessions::of_server(5, theirs);
        let mut first = sessions.register(&start("sleep 7"), true);
        assert_eq!(first.name(), "5");
        let told = note();
        assert_eq!(told.session, "5");
        assert!(told.record.contains("\"command\":\"sleep 7\""), "{}", told.record);
        first.is(State::Lost);
        assert!(note().record.contains("\"state\":\"lost\""));
        // A name is not given twice.
        drop(first);
        assert_eq!(note(), Note { session: "5".into(), record: String::new() });
        assert_eq!(sessions.register(&Start::default(), false).name(), "5.2");
    }

    #[test]
    fn the_longest_record_fits_a_note() {
        let long = |length| "\u{1}".repeat(length);
        let target = Target {
            pod_namespace: "n".repeat(63),
            pod_name: "p".repeat(253),
            container_name: "c".repeat(63),
            ..Target::default()
        };
        let start = Start { target: Some(target), ..start(&long(9999)) };
        let registered = Sessions::default().register(&start, true);
        // A control character is six in JSON.
        assert!(serde_json::to_string(&registered.record).unwrap().len() < Note::LONGEST - 64);
    }
}
