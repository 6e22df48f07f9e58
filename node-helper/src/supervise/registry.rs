//! Which processes serve clients, and which sessions each of them has. Pure: a
//! server is known by its PID, a session by a name that the server gives.

use std::collections::BTreeMap;

/// What a server tells of one of its sessions.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Note {
    /// The session's name in this helper.
    #[prost(string, tag = "1")]
    pub session: String,
    /// What there is to say of it, for people who look for it: JSON in one line.
    /// Empty: it has ended.
    #[prost(string, tag = "2")]
    pub record: String,
}

impl Note {
    /// More than any note takes, in bytes.
    pub const LONGEST: usize = 4096;
}

/// A process that serves, and the way to it.
#[derive(Debug)]
struct Server<Way> {
    way: Way,
    sessions: BTreeMap<String, String>,
}

/// All of them.
#[derive(Debug)]
pub struct Registry<Way> {
    servers: BTreeMap<i32, Server<Way>>,
}

impl<Way> Registry<Way> {
    /// Nobody serves.
    pub const fn new() -> Self {
        Self { servers: BTreeMap::new() }
    }

    /// Whether nobody serves.
    pub fn is_empty(&self) -> bool {
        self.servers.is_empty()
    }

    /// A server has been started.
    pub fn add(&mut self, pid: i32, way: Way) {
        self.servers.insert(pid, Server { way, sessions: BTreeMap::new() });
    }

    /// A process has ended, a server perhaps.
    pub fn remove(&mut self, pid: i32) {
        self.servers.remove(&pid);
    }

    /// A server has told of a session.
    pub fn note(&mut self, pid: i32, note: Note) {
        let Some(server) = self.servers.get_mut(&pid) else { return };
        if note.record.is_empty() {
            server.sessions.remove(&note.session);
        } else {
            server.sessions.insert(note.session, note.record);
        }
    }

    /// All servers with the ways to them.
    pub fn servers(&self) -> impl Iterator<Item = (i32, &Way)> {
        self.servers.iter().map(|(pid, server)| (*pid, &server.way))
    }

    /// The way to the server that has this session.
    pub fn server_of(&self, session: &str) -> Option<&Way> {
        let mut servers = self.servers.values();
        servers.find(|server| server.sessions.contains_key(session)).map(|server| &server.way)
    }

    /// What there is to say of all sessions, a line each, and the line that ends it.
    pub fn list(&self) -> String {
        let records = self.servers.values().flat_map(|server| server.sessions.values());
        records.map(String::as_str).chain([""]).map(|record| format!("{record}\n")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(session: &str, record: &str) -> Note {
        Note { session: session.into(), record: record.into() }
    }

    #[test]
    fn a_session_leads_to_its_server_while_both_are_there() {
        let mut registry = Registry::new();
        assert!(registry.is_empty());
        registry.add(10, "ten");
        registry.add(20, "twenty");
        registry.note(10, note("10", "a"));
        registry.note(20, note("20", "b"));
        registry.note(20, note("20.2", "c"));
        // A server that is not known, or no more, has nothing to say.
        registry.note(30, note("30", "d"));
        assert_eq!(registry.list(), "a\nb\nc\n\n");
        assert_eq!(registry.server_of("20.2"), Some(&"twenty"));
        assert_eq!(registry.server_of("30"), None);

        registry.note(20, note("20", "b, without a client"));
        registry.note(20, note("20.2", ""));
        assert_eq!(registry.list(), "a\nb, without a client\n\n");
        registry.remove(10);
        // What ended was no server.
        registry.remove(11);
        assert_eq!((registry.server_of("10"), registry.servers().count()), (None, 1));
        registry.remove(20);
        assert!(registry.is_empty());
    }
}
