//! Whom a session runs for: its client, the one that comes back, or nobody for a
//! while.

use std::sync::Arc;
use std::time::Duration;

use kpexec_protocol::server_message::Kind;
use kpexec_protocol::{Attach, Detached, Resumed, ServerMessage, Started, client_message};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use super::outlet::{Outlet, Resumption};
use super::pumps::Inlets;
use super::sessions::{Registered, State, Visit};
use super::{Answers, Client, Context, Requests, descendants, last_word, say};

/// How long the end of a session that was left to itself is kept.
const AFTER_END: Duration = Duration::from_secs(600);

/// What a client wants that is rare.
const EVENTS: usize = 8;

/// The rare things.
enum Event {
    /// A signal for the command, by its number.
    Signal(i32),
    /// The client leaves.
    Detach,
    /// The client leaves, and is not to be waited for.
    End,
}

/// Why there is nobody to run for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Forsaken {
    /// The client has gone, and nobody came back.
    Gone,
    /// The helper's pod is being deleted.
    PodEnds,
}

/// A client that is there.
struct Present {
    answers: Answers,
    input: JoinHandle<()>,
}

impl Drop for Present {
    fn drop(&mut self) {
        self.input.abort();
    }
}

/// Whom a session runs for.
pub(super) struct Audience<'a> {
    context: &'a Context,
    shim: i32,
    outlet: Outlet,
    inlets: Arc<Inlets>,
    registered: Registered,
    /// How long a lost client is waited for; none: not at all.
    keep: Option<Duration>,
    present: Option<Present>,
    /// When nobody is waited for any more.
    deadline: Option<Instant>,
    ended: bool,
    events: mpsc::Receiver<Event>,
    events_in: mpsc::Sender<Event>,
}

impl<'a> Audience<'a> {
    /// One client, which has been told that the command runs.
    pub fn new(
        context: &'a Context,
        shim: i32,
        client: Client,
        outlet: Outlet,
        inlets: Arc<Inlets>,
        registered: Registered,
        keep: Option<Duration>,
    ) -> Self {
        let (events_in, events) = mpsc::channel(EVENTS);
        let mut audience = Self {
            context,
            shim,
            outlet,
            inlets,
            registered,
            keep,
            present: None,
            deadline: None,
            ended: false,
            events,
            events_in,
        };
        audience.seat(client);
        audience
    }

    fn seat(&mut self, Client { requests, answers }: Client) {
        let listening =
            listen(requests, self.inlets.clone(), self.outlet.clone(), self.events_in.clone());
        self.present = Some(Present { answers, input: tokio::spawn(listening) });
        self.deadline = None;
    }

    /// Takes care of whoever comes and goes, until nobody is left to run for. What
    /// it does between two waits is done whole, so it can be dropped at any time.
    pub async fn until_forsaken(&mut self) -> Forsaken {
        loop {
            tokio::select! {
                () = gone(self.present.as_ref()) => {
                    let linger = self.keep.filter(|linger| !linger.is_zero());
                    let Some(linger) = linger.filter(|_| self.inlets.is_claimed()) else {
                        return Forsaken::Gone;
                    };
                    self.leave(State::Lost, Some(Instant::now() + linger));
                }
                () = until(self.deadline) => return Forsaken::Gone,
                Some(event) = self.events.recv() => match event {
                    Event::Signal(number) => self.forward(number),
                    Event::Detach => self.detach(),
                    Event::End => {
                        self.leave(State::Lost, None);
                        return Forsaken::Gone;
                    }
                },
                Some(visit) = self.registered.visits.recv() => match visit {
                    Visit::Client(client, attach) => self.attach(*client, &attach),
                    Visit::PodEnds => return Forsaken::PodEnds,
                },
            }
        }
    }

    /// The command has ended.
    pub fn command_has_ended(&mut self) {
        self.ended = true;
        if self.present.is_none() {
            self.leave(State::Ended, self.deadline);
        }
    }

    /// Tells the client that is there, or the next one that comes, how it ended.
    pub async fn say_last(&mut self, last: Kind) {
        let outlet = self.outlet.clone();
        match outlet {
            Outlet::Direct(answers) => drop(say(&answers, last).await),
            // It answers with `End`, or has not heard it.
            Outlet::Kept(kept) => tokio::select! {
                never = kept.say_last(last) => match never {},
                _forsaken = self.until_forsaken() => {}
            },
        }
    }

    /// Tells the client that is there at once.
    pub fn say_now(&self, last: Kind) {
        if let Some(Present { answers, .. }) = &self.present {
            let answers = answers.clone();
            // One that takes nothing must not hold up the command's end.
            tokio::spawn(async move { say(&answers, last).await });
        }
    }

    /// From now on nobody is there.
    fn leave(&mut self, state: State, deadline: Option<Instant>) {
        self.present = None;
        if let Outlet::Kept(kept) = &self.outlet {
            kept.detach();
        }
        self.deadline = match deadline {
            None if self.ended => Some(Instant::now() + AFTER_END),
            deadline => deadline,
        };
        self.registered.is(if self.ended { State::Ended } else { state });
    }

    fn detach(&mut self) {
        let Some(Present { answers, .. }) = &self.present else { return };
        let answers = answers.clone();
        if self.keep.is_none() {
            let refusal = last_word::not_kept(self.registered.name());
            // The session ends, as its client does with this answer.
            tokio::spawn(async move { say(&answers, refusal).await });
            return;
        }
        // Behind what was sent, which the client may still be taking.
        tokio::spawn(async move { say(&answers, Kind::Detached(Detached {})).await });
        self.leave(State::Detached, None);
    }

    fn attach(&mut self, client: Client, attach: &Attach) {
        let Outlet::Kept(kept) = &self.outlet else {
            return tell(&client.answers, last_word::not_kept(self.registered.name()));
        };
        if self.inlets.has_terminal() && !attach.terminal {
            return tell(&client.answers, last_word::no_terminal());
        }
        if let Some(Present { answers, .. }) = &self.present {
            let answers = answers.clone();
            tokio::spawn(async move { say(&answers, last_word::taken_over()).await });
        }
        let Resumption { first, lost } = kept.attach(client.answers.clone(), attach.output);
        let resumed = Resumed {
            output: first,
            lost,
            stdin: self.inlets.received(),
            stdin_taken: self.inlets.taken(),
            stdin_open: self.inlets.stdin_is_open(),
            terminal: self.inlets.has_terminal(),
        };
        let session = self.registered.name().to_owned();
        let started = Started { session, resumed: Some(resumed), ..Started::default() };
        // Before the output: nothing else runs until the next wait.
        tell(&client.answers, Kind::Started(started));
        self.seat(client);
        self.registered.is(State::Attached);
    }

    /// Gives the command's process group a signal that the client sent.
    fn forward(&self, number: i32) {
        let Some(signal) = Signal::from_named_raw(number) else { return };
        let leader = descendants::command(&self.context.procfs, self.shim).ok().flatten();
        if let Some(group) = leader.and_then(Pid::from_raw) {
            // It may have ended meanwhile.
            let _ended = kill_process_group(group, signal);
            // A stopped process heeds nothing else, and its client waits for its end.
            if [Signal::INT, Signal::TERM, Signal::HUP, Signal::QUIT].contains(&signal) {
                let _ended = kill_process_group(group, Signal::CONT);
            }
        }
    }
}

/// Tells a client that came too late.
pub(super) fn refuse(client: &Client, session: &str) {
    tell(&client.answers, last_word::no_session(session));
}

/// Waits until the client has gone; for ever, if none is there.
async fn gone(present: Option<&Present>) {
    match present {
        Some(present) => present.answers.closed().await,
        None => std::future::pending().await,
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// Tells a client that has been told nothing yet, so that there is room for it.
fn tell(answers: &Answers, kind: Kind) {
    // It may have gone already.
    let _gone = answers.try_send(Ok(ServerMessage { kind: Some(kind) }));
}

/// Sorts what the client sends, until it sends no more.
async fn listen(
    mut requests: Requests,
    inlets: Arc<Inlets>,
    outlet: Outlet,
    events: mpsc::Sender<Event>,
) {
    use client_message::Kind as Request;
    while let Ok(Some(message)) = requests.message().await {
        inlets.claim();
        match message.kind {
            Some(Request::Stdin(bytes)) => inlets.stdin(bytes),
            Some(Request::Eof(_)) => inlets.close_stdin(),
            Some(Request::Resize(size)) => inlets.resize(size),
            Some(Request::OutputTaken(number)) => outlet.taken(number),
            // As long as we listen somebody takes them.
            Some(Request::Signal(number)) => drop(events.send(Event::Signal(number)).await),
            Some(Request::End(_)) => drop(events.send(Event::End).await),
            Some(Request::Detach(_)) => drop(events.send(Event::Detach).await),
            // A second request, or a message of a newer client.
            Some(Request::Start(_) | Request::Attach(_)) | None => {}
        }
    }
    // No end of ours: the client that is gone is noticed by its answers.
}
