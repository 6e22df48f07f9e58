//! Where a session's output goes: to its client, or, if it can be come back to,
//! to whoever is its client by then.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use kpexec_protocol::ServerMessage;
use kpexec_protocol::server_message::Kind;
use tokio::sync::watch;

use super::ring::{Ring, Stream};
use super::{Answers, say};

/// The way of the output.
#[derive(Clone, Debug)]
pub(super) enum Outlet {
    /// To this client, as fast as it takes it.
    Direct(Answers),
    /// Kept until a client has taken it.
    Kept(Arc<Kept>),
}

/// Output that is kept, and who gets it.
#[derive(Debug)]
pub(super) struct Kept {
    state: Mutex<State>,
    /// Changes with the state.
    changed: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct State {
    ring: Ring,
    client: Option<Answers>,
    /// How many bytes clients have said to have.
    taken: u64,
    /// The number of the byte that the client gets next.
    next: u64,
    /// The highest number that was ever sent.
    most: u64,
    /// Changes with the client.
    generation: u64,
}

/// What a client that comes back is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Resumption {
    /// The number of the byte it gets first.
    pub first: u64,
    /// How many bytes before it are lost.
    pub lost: u64,
}

impl Outlet {
    /// Gives the client a piece; says whether output is still of use.
    pub async fn output(&self, stream: Stream, bytes: Bytes) -> bool {
        match self {
            Self::Direct(answers) => say(answers, kind(stream, bytes)).await,
            Self::Kept(kept) => {
                kept.push(stream, &bytes).await;
                true
            }
        }
    }

    /// Tells the client something that no other is to know; says whether a client
    /// may be there to be told more.
    pub async fn tell(&self, kind: Kind) -> bool {
        match self {
            Self::Direct(answers) => say(answers, kind).await,
            Self::Kept(kept) => {
                let (client, generation) = kept.client();
                if let Some(answers) = client {
                    // Whether it has gone is noticed elsewhere, and one that hangs
                    // must not hold up the next.
                    tokio::select! {
                        _there = say(&answers, kind) => {}
                        () = kept.replaced(generation) => {}
                    }
                }
                true
            }
        }
    }

    /// The client has all output that lies before the byte of this number.
    pub fn taken(&self, number: u64) {
        if let Self::Kept(kept) = self {
            kept.taken(number);
        }
    }
}

fn kind(stream: Stream, bytes: Bytes) -> Kind {
    match stream {
        Stream::Stdout => Kind::Stdout(bytes),
        Stream::Stderr => Kind::Stderr(bytes),
    }
}

impl Kept {
    /// For a session whose first client is there. Ends with what holds it.
    pub fn start(client: Answers) -> Arc<Self> {
        let state = State { client: Some(client), ..State::default() };
        let kept = Arc::new(Self { state: Mutex::new(state), changed: watch::channel(()).0 });
        let weak = Arc::downgrade(&kept);
        let mut changed = kept.changed.subscribe();
        tokio::spawn(async move {
            loop {
                let sending = match weak.upgrade() {
                    Some(kept) => kept.next_piece(),
                    None => return,
                };
                match sending {
                    // Another client may come before this one has taken it.
                    Some(sending) => tokio::select! {
                        () = sending.send(&weak) => {}
                        true = replaced(&weak, sending.generation, changed.clone()) => {}
                    },
                    None if changed.changed().await.is_err() => return,
                    None => {}
                }
            }
        });
        kept
    }

    /// Adds output, once there is room for it; while there is no client, that is
    /// made by dropping the oldest.
    pub async fn push(&self, stream: Stream, bytes: &[u8]) {
        let mut changed = self.changed.subscribe();
        loop {
            {
                let mut state = self.lock();
                if state.client.is_none() || state.ring.has_room() {
                    state.ring.push(stream, bytes);
                    if state.client.is_none() {
                        state.ring.drop_excess();
                    }
                    break;
                }
            }
            // It changes as long as we are there.
            let _changed = changed.changed().await;
        }
        self.changed.send_replace(());
    }

    /// A client has all that lies before the byte of this number.
    pub fn taken(&self, number: u64) {
        self.update(|state| {
            state.taken = number.min(state.next);
            state.ring.trim(state.taken);
        });
    }

    /// From now on this client gets the output, from the byte of number `from` on
    /// or from the first that no client is known to have, as far as it is kept.
    pub fn attach(&self, client: Answers, from: Option<u64>) -> Resumption {
        let mut resumption = Resumption { first: 0, lost: 0 };
        self.update(|state| {
            let start = state.ring.start();
            // More than anybody was sent is of another session of the same name.
            let known = from.filter(|from| *from <= state.most);
            let wanted = known.unwrap_or(state.taken);
            resumption =
                Resumption { first: wanted.max(start), lost: start.saturating_sub(wanted) };
            state.next = resumption.first;
            state.client = Some(client);
            state.generation += 1;
        });
        resumption
    }

    /// The client has gone.
    pub fn detach(&self) {
        self.update(|state| {
            state.client = None;
            state.generation += 1;
        });
    }

    /// Tells each client that comes, once it has been sent everything. Never ends:
    /// whether it was heard is for the client to say.
    pub async fn say_last(&self, last: Kind) -> std::convert::Infallible {
        loop {
            let (client, generation) = self.all_sent().await;
            tokio::select! {
                _there = say(&client, last.clone()) => {}
                () = self.replaced(generation) => continue,
            }
            self.replaced(generation).await;
        }
    }

    /// Waits until a client has been sent everything.
    async fn all_sent(&self) -> (Answers, u64) {
        let mut changed = self.changed.subscribe();
        loop {
            {
                let state = self.lock();
                if let Some(client) = &state.client
                    && state.next == state.ring.end()
                {
                    return (client.clone(), state.generation);
                }
            }
            let _changed = changed.changed().await;
        }
    }

    fn client(&self) -> (Option<Answers>, u64) {
        let state = self.lock();
        (state.client.clone(), state.generation)
    }

    /// Waits until there is another client than that of `generation`, or none.
    async fn replaced(&self, generation: u64) {
        let mut changed = self.changed.subscribe();
        while self.lock().generation == generation {
            let _changed = changed.changed().await;
        }
    }

    fn next_piece(&self) -> Option<Sending> {
        let state = self.lock();
        let (stream, bytes) = state.ring.piece(state.next)?;
        let (generation, client) = (state.generation, state.client.clone()?);
        let end = state.next + bytes.len() as u64;
        Some(Sending { client, generation, end, message: kind(stream, bytes) })
    }

    fn update(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.lock());
        self.changed.send_replace(());
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A piece on its way to a client.
struct Sending {
    client: Answers,
    generation: u64,
    /// The number of the byte behind it.
    end: u64,
    message: Kind,
}

impl Sending {
    async fn send(&self, kept: &std::sync::Weak<Kept>) {
        let message = ServerMessage { kind: Some(self.message.clone()) };
        let sent = self.client.send(Ok(message)).await.is_ok();
        let Some(kept) = kept.upgrade() else { return };
        kept.update(|state| {
            if state.generation != self.generation {
                return;
            }
            if sent {
                state.next = self.end;
                state.most = state.most.max(self.end);
            } else {
                state.client = None;
                state.generation += 1;
            }
        });
    }
}

/// Waits until another client has come, or all has ended.
async fn replaced(
    kept: &std::sync::Weak<Kept>,
    generation: u64,
    mut changed: watch::Receiver<()>,
) -> bool {
    while kept.upgrade().is_some_and(|kept| kept.lock().generation == generation) {
        if changed.changed().await.is_err() {
            break;
        }
    }
    true
}

#[cfg(test)]
#[path = "outlet_random.rs"]
mod random;

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::super::ring::CAPACITY;
    use super::*;

    fn client() -> (Answers, mpsc::Receiver<Result<ServerMessage, tonic::Status>>) {
        mpsc::channel(2)
    }

    async fn next(from: &mut mpsc::Receiver<Result<ServerMessage, tonic::Status>>) -> Bytes {
        match from.recv().await.unwrap().unwrap().kind {
            Some(Kind::Stdout(bytes)) => bytes,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn a_client_that_comes_back_gets_what_it_has_not_taken() {
        let (first, mut from_first) = client();
        let kept = Kept::start(first);
        kept.push(Stream::Stdout, b"one").await;
        assert_eq!(next(&mut from_first).await, "one");
        kept.push(Stream::Stdout, b"two").await;
        kept.taken(3);
        drop(from_first);
        kept.detach();
        kept.push(Stream::Stdout, b"three").await;

        let (second, mut from_second) = client();
        assert_eq!(kept.attach(second, None), Resumption { first: 3, lost: 0 });
        assert_eq!(next(&mut from_second).await, "twothree");
        // It knows better than the helper what it has.
        let (third, mut from_third) = client();
        assert_eq!(kept.attach(third, Some(6)), Resumption { first: 6, lost: 0 });
        assert_eq!(next(&mut from_third).await, "three");
        kept.all_sent().await;
        // What nobody can have is no claim.
        let (fourth, _from) = client();
        assert_eq!(kept.attach(fourth, Some(99)), Resumption { first: 3, lost: 0 });
    }

    #[tokio::test]
    async fn a_client_that_takes_nothing_holds_up_the_command() {
        let (slow, _never_read) = client();
        let kept = Kept::start(slow);
        let full = vec![b'x'; CAPACITY];
        kept.push(Stream::Stdout, &full).await;
        let pushed = kept.push(Stream::Stdout, b"more");
        let moment = std::time::Duration::from_millis(50);
        assert!(tokio::time::timeout(moment, pushed).await.is_err(), "it was taken");
        // Once nobody is there the oldest is lost, which is said.
        kept.detach();
        kept.push(Stream::Stdout, b"more").await;
        let (second, _from) = client();
        assert_eq!(kept.attach(second, Some(0)), Resumption { first: 4, lost: 4 });
        // Also to one that does not know what others had.
        let (third, _from) = client();
        assert_eq!(kept.attach(third, None), Resumption { first: 4, lost: 4 });
    }

    #[tokio::test]
    async fn another_client_need_not_wait_for_the_one_before() {
        let (stuck, _never_read) = client();
        let kept = Kept::start(stuck);
        for _ in 0..4 {
            kept.push(Stream::Stdout, &[b'x'; kpexec_protocol::CHUNK]).await;
        }
        let (second, mut from_second) = client();
        kept.attach(second, Some(0));
        let mut got = 0;
        while got < 4 * kpexec_protocol::CHUNK {
            got += next(&mut from_second).await.len();
        }
    }
}
