//! Random interleavings of what a helper may say and what a client may do. A seed
//! decides both, so a case that failed can be played again.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use fastrand::Rng;
use kpexec_protocol::server_message::Kind;
use kpexec_protocol::{
    CHUNK, ClientMessage, Detached, Exit, Failure, Reason, STDIN_WINDOW, Started, WindowSize,
    client_message, exit,
};
use tokio::sync::Notify;
use tokio::time::sleep;
use tonic::Streaming;

use super::server::{Replies, say};
use super::{Control, noise};

/// What a command begins with that the fake helper plays.
const PREFIX: &str = "random-";

/// A case: what the helper does, and what this end does meanwhile.
#[derive(Debug)]
pub struct Case {
    pub steps: Vec<Step>,
    pub finish: Finish,
    /// Pieces of stdin; none where there is no stdin.
    pub stdin: Option<Vec<usize>>,
    /// Whether stdin ends behind them.
    pub eof: bool,
    pub controls: Vec<Control>,
    /// How long whoever takes the output sleeps at times, in milliseconds.
    pub reader_pause: u64,
    /// After how many pieces of output nobody takes any more.
    pub taken_pieces: Option<usize>,
}

/// What the helper says while the command runs.
#[derive(Debug, Clone, Copy)]
pub enum Step {
    Stdout(usize),
    Stderr(usize),
    /// That all stdin was taken that has come.
    StdinTaken,
    /// A piece of changes that nobody asked for.
    Changes,
    /// What is of no meaning at this place.
    Odd,
    Pause(u64),
}

/// What it says last.
#[derive(Debug, Clone, Copy)]
pub enum Finish {
    Code(u32),
    Signal(u32),
    /// An `Exit` without a status.
    NoStatus,
    Failure(Reason),
    Detached,
    /// The call ends, as if all were well.
    Ends,
    /// The transport is gone.
    Cut,
}

impl Case {
    pub fn new(seed: u64) -> Self {
        let mut random = Rng::with_seed(seed);
        let steps = (0..random.usize(..24)).map(|_| step(&mut random)).collect();
        let has_stdin = random.u8(..4) > 0;
        // Some more than may be on its way at once.
        let length = if random.u8(..4) == 0 { CHUNK } else { 100 };
        let pieces =
            |mut random: Rng| (0..random.usize(..50)).map(move |_| random.usize(1..=length));
        let stdin = has_stdin.then(|| pieces(random.fork()).collect());
        let controls = (0..random.usize(..6)).map(|_| control(&mut random)).collect();
        Self {
            steps,
            finish: finish(&mut random),
            stdin,
            eof: random.bool(),
            controls,
            reader_pause: if random.bool() { 0 } else { random.u64(1..5) },
            taken_pieces: (random.u8(..8) == 0).then(|| random.usize(..4)),
        }
    }

    /// The word that has the helper play it.
    pub fn command(seed: u64) -> String {
        format!("{PREFIX}{seed}")
    }

    /// All the helper writes to stdout and to stderr.
    pub fn output(&self) -> (Vec<u8>, Vec<u8>) {
        let (mut out, mut err) = (0, 0);
        for step in &self.steps {
            match step {
                Step::Stdout(length) => out += length,
                Step::Stderr(length) => err += length,
                _ => {}
            }
        }
        (noise(out), noise(err))
    }
}

fn step(random: &mut Rng) -> Step {
    let length = if random.u8(..4) == 0 { CHUNK } else { 300 };
    match random.u8(..10) {
        0..4 => Step::Stdout(random.usize(1..=length)),
        4..6 => Step::Stderr(random.usize(1..=length)),
        6..8 => Step::StdinTaken,
        8 => *random.choice(&[Step::Changes, Step::Odd]).unwrap(),
        _ => Step::Pause(random.u64(..4)),
    }
}

fn finish(random: &mut Rng) -> Finish {
    let reasons = [Reason::Helper, Reason::NotExecutable, Reason::NotFound, Reason::Runtime];
    match random.u8(..14) {
        0..3 => Finish::Code(0),
        3 => Finish::Code(random.u32(1..=255)),
        // No command ends like that, and it must not look like 0.
        4 => Finish::Code(256 << random.u32(..24)),
        5 => Finish::Signal(random.u32(1..=64)),
        6 => Finish::Signal(128 * random.u32(..9)),
        7 => Finish::NoStatus,
        8 => Finish::Failure(*random.choice(&reasons).unwrap()),
        9 => Finish::Detached,
        10 | 11 => Finish::Ends,
        _ => Finish::Cut,
    }
}

fn control(random: &mut Rng) -> Control {
    match random.u8(..5) {
        0 | 1 => Control::Resize(WindowSize { rows: random.u32(..), columns: random.u32(..) }),
        2 | 3 => Control::Signal(random.i32(1..=64)),
        _ => Control::Detach,
    }
}

/// The seed of a command that is to be played.
pub fn seed_of(command: &[u8]) -> Option<u64> {
    std::str::from_utf8(command).ok()?.strip_prefix(PREFIX)?.parse().ok()
}

/// The helper's part. It says `Failure` if the client does what it must not.
pub async fn play(
    seed: u64,
    mut messages: Streaming<ClientMessage>,
    replies: &Replies,
    vanish: &Notify,
) {
    let case = Case::new(seed);
    let heard = Arc::new(Mutex::new(Heard::new(&case)));
    let hearing = heard.clone();
    let listening = tokio::spawn(async move {
        while let Ok(Some(message)) = messages.message().await {
            hearing.lock().unwrap().message(message.kind);
        }
    });
    let (mut out, mut err) = case.output();
    for step in &case.steps {
        match *step {
            Step::Stdout(length) => {
                let rest = out.split_off(length);
                say(replies, Kind::Stdout(std::mem::replace(&mut out, rest).into())).await;
            }
            Step::Stderr(length) => {
                let rest = err.split_off(length);
                say(replies, Kind::Stderr(std::mem::replace(&mut err, rest).into())).await;
            }
            Step::StdinTaken => {
                let taken = heard.lock().unwrap().take();
                say(replies, Kind::StdinTaken(taken)).await;
            }
            Step::Changes => say(replies, Kind::Changes(Bytes::from_static(b"tar"))).await,
            Step::Odd => say(replies, Kind::Started(Started::default())).await,
            Step::Pause(milliseconds) => sleep(Duration::from_millis(milliseconds)).await,
        }
    }
    let fault = heard.lock().unwrap().fault.take();
    listening.abort();
    let kind = match (fault, case.finish) {
        (Some(message), _) => failure(Reason::Unspecified, message),
        (None, Finish::Code(code)) => exit_with(Some(exit::Status::Code(code))),
        (None, Finish::Signal(number)) => exit_with(Some(exit::Status::Signal(number))),
        (None, Finish::NoStatus) => exit_with(None),
        (None, Finish::Failure(reason)) => failure(reason, "as was to be".into()),
        (None, Finish::Detached) => Kind::Detached(Detached {}),
        (None, Finish::Ends) => return,
        (None, Finish::Cut) => {
            vanish.notify_one();
            return std::future::pending().await;
        }
    };
    say(replies, kind).await;
}

fn exit_with(status: Option<exit::Status>) -> Kind {
    Kind::Exit(Exit { status, ..Exit::default() })
}

fn failure(reason: Reason, message: String) -> Kind {
    Kind::Failure(Failure { reason: reason.into(), message, hint: String::new() })
}

/// What the client has said, and whether it may.
struct Heard {
    /// What is yet to come.
    stdin: std::vec::IntoIter<u8>,
    controls: std::vec::IntoIter<Control>,
    eof: bool,
    got: u64,
    taken: u64,
    fault: Option<String>,
}

impl Heard {
    fn new(case: &Case) -> Self {
        let stdin = noise(case.stdin.iter().flatten().sum()).into_iter();
        let controls = case.controls.clone().into_iter();
        Self { stdin, controls, eof: false, got: 0, taken: 0, fault: None }
    }

    /// All that has come was taken.
    fn take(&mut self) -> u64 {
        self.taken = self.got;
        self.taken
    }

    fn message(&mut self, kind: Option<client_message::Kind>) {
        let fine = match &kind {
            Some(client_message::Kind::Stdin(bytes)) => {
                self.got += bytes.len() as u64;
                let same = bytes.iter().all(|byte| self.stdin.next() == Some(*byte));
                same && !self.eof && self.got <= self.taken + STDIN_WINDOW as u64
            }
            Some(client_message::Kind::Eof(_)) => {
                !std::mem::replace(&mut self.eof, true) && self.stdin.len() == 0
            }
            Some(client_message::Kind::Resize(size)) => {
                self.controls.next() == Some(Control::Resize(*size))
            }
            Some(client_message::Kind::Signal(number)) => {
                self.controls.next() == Some(Control::Signal(*number))
            }
            Some(client_message::Kind::Detach(_)) => self.controls.next() == Some(Control::Detach),
            _ => false,
        };
        if !fine {
            let place = format!("{} bytes of stdin, {} taken", self.got, self.taken);
            let words = format!("the client said {kind:?}");
            self.fault.get_or_insert(format!("{place}: {:.200}", words));
        }
    }
}
