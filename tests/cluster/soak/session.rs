//! One session of each kind, and what it has to be.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Read as _;
use std::process::{Child, Command, Stdio};
use std::sync::{OnceLock, mpsc};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use fastrand::Rng;
use rustix::process::Signal;
use tests::Namespace;
use tests::command::{Output, kpexec, run_within, signal};

/// Longer than a session takes on a machine that is busy with all the others.
pub const LIMIT: Duration = Duration::from_secs(300);

/// The longest stdin.
const INPUT: usize = 1 << 20;
/// How far the longest output counts.
const HIGHEST: usize = 200_000;
/// What a client that is killed may have put out without a note of it: one write.
const UNNOTED: usize = rustix::pipe::PIPE_BUF;

/// What happens in a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Its stdin comes back.
    Echo,
    /// Both streams of output.
    Output,
    /// Its client is killed.
    Cut,
    /// Its client is killed, and another goes on with it.
    Return,
}

impl Kind {
    pub const ALL: [Self; 4] = [Self::Echo, Self::Output, Self::Cut, Self::Return];
}

/// A user's machine, and the pod that is entered from it.
pub struct Client {
    pub namespace: Namespace,
    state: tempfile::TempDir,
    pod: String,
}

impl Client {
    pub fn new(pod: &str) -> Result<Self> {
        let namespace = Namespace::for_helpers("soak")?;
        Ok(Self { namespace, state: tempfile::tempdir()?, pod: pod.to_owned() })
    }

    pub fn pod(&self) -> &str {
        &self.pod
    }

    /// `kpexec WORDS`, with the namespace where it belongs.
    pub fn kpexec(&self, words: &[&str]) -> Command {
        let at = words.iter().position(|word| *word == "--").unwrap_or(words.len());
        let (before, after) = words.split_at(at);
        let helpers = ["--helper-namespace", self.namespace.name()];
        let mut command = kpexec(&[before, &helpers, after].concat());
        command.env("XDG_STATE_HOME", self.state.path());
        command
    }

    fn script(&self, flags: &[&str], script: &str) -> Command {
        self.kpexec(&[flags, &[&self.pod, "--", "sh", "-c", script]].concat())
    }

    /// One session, of not much more than this duration; gives how many bytes came
    /// twice.
    pub fn session(
        &self,
        kind: Kind,
        mark: &str,
        life: Duration,
        random: &mut Rng,
    ) -> Result<usize> {
        let life = life.mul_f64(random.f64());
        match kind {
            Kind::Echo => self.echo(life, random).map(|()| 0),
            Kind::Output => self.output(life, random).map(|()| 0),
            Kind::Cut => self.cut(life, random).map(|()| 0),
            Kind::Return => self.come_back(mark, life, random),
        }
    }

    fn echo(&self, life: Duration, random: &mut Rng) -> Result<()> {
        let mut sent = vec![0; random.usize(..=INPUT)];
        random.fill(&mut sent);
        let (code, signalled) = end(random);
        let script = format!("sleep {}; cat; {signalled}", life.as_secs_f32());
        let output = run_within(LIMIT, self.script(&["-i"], &script), &sent)?;
        check(&output, code)?;
        same(&output.stdout, &sent)?;
        ensure!(output.stderr.is_empty(), "stderr: {}", output.stderr);
        Ok(())
    }

    fn output(&self, life: Duration, random: &mut Rng) -> Result<()> {
        let (first, second) = (random.usize(1..HIGHEST), random.usize(1..HIGHEST / 10));
        let (code, signalled) = end(random);
        let script = format!(
            "seq {first} & seq {second} >&2; wait; sleep {}; {signalled}",
            life.as_secs_f32()
        );
        let output = run_within(LIMIT, self.script(&[], &script), b"")?;
        check(&output, code)?;
        same(&output.stdout, counted(first))?;
        same(output.stderr.as_bytes(), counted(second))
    }

    /// All that came before is right; what is left of the command is seen when the
    /// helper is looked at.
    fn cut(&self, life: Duration, random: &mut Rng) -> Result<()> {
        // It may hang in a write, in a read, or in neither.
        let (flags, script) = match random.u8(..3) {
            0 => (&[][..], format!("seq {HIGHEST}; sleep 1000")),
            1 => (&["-i"][..], "cat; sleep 1000".to_owned()),
            _ => (&["-i"][..], "sleep 1000".to_owned()),
        };
        let is_read = random.bool();
        let sent = counted(HIGHEST);
        let mut command = self.script(flags, &script);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn()?;
        let mut stdin = child.stdin.take().context("stdin is a pipe")?;
        let mut stdout = child.stdout.take().context("stdout is a pipe")?;
        // It goes on until the pipe breaks.
        std::thread::spawn(move || std::io::Write::write_all(&mut stdin, sent));
        let (begin, begun) = mpsc::channel();
        let reader = std::thread::spawn(move || {
            let mut got = Vec::new();
            begun.recv()?;
            stdout.read_to_end(&mut got)?;
            anyhow::Ok(got)
        });
        if is_read {
            begin.send(())?;
        }
        sleep(life);
        ensure!(child.try_wait()?.is_none(), "it ended by itself");
        signal(child.id(), Signal::KILL)?;
        child.wait()?;
        if !is_read {
            begin.send(())?;
        }
        let got = reader.join().ok().context("the reader panicked")??;
        ensure!(sent.starts_with(&got), "what came of {} bytes is not what was sent", got.len());
        Ok(())
    }

    fn come_back(&self, mark: &str, life: Duration, random: &mut Rng) -> Result<usize> {
        let (code, signalled) = end(random);
        let (rounds, step) = (random.usize(5..50), random.usize(1..2000));
        let pause = life.as_secs_f64() / rounds as f64;
        let last = step * rounds;
        // Each round counts on.
        let script = format!(
            ": {mark} .; i=0; while [ $i -lt {last} ]; do seq $((i + 1)) $((i + {step})); \
             i=$((i + {step})); sleep {pause:.3}; done; {signalled}"
        );
        let mut first = self.script(&["--linger", "300s"], &script);
        first.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = first.spawn()?;
        // From then on it has begun. All else waits in the pipe, and behind it.
        let mut began = [0; 1];
        child.stdout.as_mut().context("stdout is a pipe")?.read_exact(&mut began)?;
        let name = self.name_of(&format!(": {mark} ."), &mut child)?;
        sleep(life.mul_f64(random.f64() / 2.0));
        child.kill()?;
        // It may hang in a write, which must not succeed now.
        child.wait()?;
        let killed = child.wait_with_output()?;
        let got = [&began[..], &killed.stdout].concat();
        let whole = counted(last);
        if killed.status.code().is_some() {
            ensure!(killed.status.code() == Some(code), "{:?}", killed.status);
            return same(&got, whole).map(|()| 0);
        }
        let second = run_within(LIMIT, self.kpexec(&["attach", &name]), b"")?;
        if second.stderr.contains("has ended, or never was") {
            // It was killed when it had put out all, and said so.
            return same(&got, whole).context("the session has gone").map(|()| 0);
        }
        check(&second, code)?;
        ensure!(second.stderr.is_empty(), "stderr: {}", second.stderr);
        let lengths = (got.len(), second.stdout.len(), whole.len());
        ensure!(whole.starts_with(&got), "{lengths:?}: the first part is not the beginning");
        ensure!(whole.ends_with(&second.stdout), "{lengths:?}: the second is not the end");
        let repeated = (lengths.0 + lengths.1).checked_sub(whole.len());
        let repeated = repeated.with_context(|| format!("{lengths:?}: bytes are lost"))?;
        ensure!(repeated <= UNNOTED, "{lengths:?}: {repeated} bytes came twice");
        Ok(repeated)
    }

    /// The name of the session whose command has this in it; any, if its client has
    /// ended meanwhile.
    fn name_of(&self, mark: &str, client: &mut Child) -> Result<String> {
        let deadline = Instant::now() + LIMIT;
        loop {
            let ended = client.try_wait()?.is_some();
            let output = run_within(LIMIT, self.kpexec(&["sessions"]), b"")?;
            let row = output.text().lines().find(|row| row.contains(mark)).map(str::to_owned);
            if let Some(row) = row {
                return Ok(row.split_whitespace().next().unwrap_or_default().to_owned());
            }
            if ended {
                return Ok(String::new());
            }
            ensure!(Instant::now() < deadline, "there is no session {mark}: {output:?}");
            sleep(Duration::from_millis(200));
        }
    }
}

/// A random end of a command: its exit code, and the script's last words.
fn end(random: &mut Rng) -> (i32, String) {
    if random.u8(..10) == 0 {
        return (137, "kill -KILL $$".into());
    }
    let code = random.u8(..);
    (code.into(), format!("exit {code}"))
}

/// What `seq LAST` writes.
fn counted(last: usize) -> &'static [u8] {
    static ALL: OnceLock<(Vec<u8>, Vec<usize>)> = OnceLock::new();
    let (text, ends) = ALL.get_or_init(|| {
        let (mut text, mut ends) = (Vec::new(), vec![0]);
        for number in 1..=HIGHEST {
            text.extend_from_slice(format!("{number}\n").as_bytes());
            ends.push(text.len());
        }
        (text, ends)
    });
    &text[..ends[last]]
}

fn check(output: &Output, code: i32) -> Result<()> {
    let (got, said) = (output.code(), &output.stderr[..output.stderr.len().min(400)]);
    ensure!(got == code, "exit code {got}, not {code}; {} bytes; {said}", output.stdout.len());
    Ok(())
}

fn same(got: &[u8], wanted: &[u8]) -> Result<()> {
    let at = got.iter().zip(wanted).position(|(got, wanted)| got != wanted);
    let lengths = (got.len(), wanted.len());
    ensure!(got == wanted, "{} bytes, not {}; differing at {at:?}", lengths.0, lengths.1);
    Ok(())
}

/// How many there were.
#[derive(Debug, Default)]
pub struct Tally {
    counts: BTreeMap<Kind, usize>,
    repeated: usize,
}

impl Tally {
    pub fn add(&mut self, kind: Kind, repeated: usize) {
        *self.counts.entry(kind).or_default() += 1;
        self.repeated += repeated;
    }

    pub fn join(&mut self, other: &Self) {
        for (kind, count) in &other.counts {
            *self.counts.entry(*kind).or_default() += count;
        }
        self.repeated += other.repeated;
    }

    pub fn count(&self, kind: Kind) -> usize {
        self.counts.get(&kind).copied().unwrap_or(0)
    }

    pub fn all(&self) -> usize {
        self.counts.values().sum()
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} sessions {:?}, {} bytes twice", self.all(), self.counts, self.repeated)
    }
}
