//! How long an entry takes beside `nsenter -a`, in one interleaved run: prints
//! samples, one a line, as `WAY PHASE NUMBER` (microseconds; memory: KiB).
//! `cargo xtask bench entry` runs it and makes a table of them.

mod memory;
mod session;

use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use node_helper::enter::seal::SealedBinary;
use node_helper::identity::{Asked, Facts, Helper, Identity, decide};
use node_helper::target::reach::reach;
use node_helper::target::status::status;
use node_helper::target::{Label, Namespace, Procfs, TargetProcess};
use session::Entry;

/// What the helper seals for its sessions.
const SEALED: &str = env!("CARGO_BIN_EXE_node-entry");

/// The exit code of a sealed copy that is told no role: it ends at once. What
/// starting one costs.
const NO_ROLE: i32 = 125;

/// Finds the command in one attempt, the same for both sides.
const PATH: &str = "PATH=/bin";

/// The ways into the container that are compared.
#[derive(Clone, Copy)]
enum Way {
    Nsenter,
    Bare,
    View,
    Nothing,
}

const WAYS: [Way; 4] = [Way::Nsenter, Way::Bare, Way::View, Way::Nothing];

fn main() -> ExitCode {
    // Cargo adds a flag of its own.
    let args = std::env::args().skip(1).filter(|arg| arg != "--bench");
    match Bench::new(&args.collect::<Vec<_>>()).and_then(|bench| bench.run()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench entry: {error:#}");
            ExitCode::FAILURE
        }
    }
}

struct Bench {
    pid: i32,
    container_id: String,
    toolset: PathBuf,
    nsenter: PathBuf,
    rounds: usize,
    procfs: Procfs,
    binary: SealedBinary,
}

impl Bench {
    fn new(args: &[String]) -> Result<Self> {
        let [pid, container_id, toolset, nsenter, rounds] = args else {
            anyhow::bail!("usage: entry PID CONTAINER-ID TOOLSET NSENTER ROUNDS");
        };
        Ok(Self {
            pid: pid.parse().context("PID")?,
            container_id: container_id.clone(),
            toolset: toolset.into(),
            nsenter: nsenter.into(),
            rounds: rounds.parse().context("ROUNDS")?,
            procfs: Procfs::open()?,
            binary: SealedBinary::of(SEALED.as_ref())?,
        })
    }

    /// As `serve` does: one thread, which everything is started from.
    fn run(&self) -> Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            for round in 0..self.rounds {
                let (target, identity) = self.before()?;
                for turn in 0..WAYS.len() {
                    self.go(WAYS[(round + turn) % WAYS.len()], &target, &identity).await?;
                }
            }
            let (target, identity) = self.before()?;
            let view = self.entry(&target, &identity, true);
            say("memory", "entry", memory::peak_of_entries(&view).await?);
            let (highest, waiting) = memory::of_nsenter(self.nsenter())?;
            say("memory", "nsenter", highest);
            say("memory", "nsenter-waiting", waiting);
            say("memory", "image", std::fs::metadata(self.binary.path())?.len() / 1024);
            Ok(())
        })
    }

    /// What `serve` does of its own before it starts anything, but for asking
    /// the container runtime.
    fn before(&self) -> Result<(TargetProcess, Identity)> {
        let begun = Instant::now();
        let target = TargetProcess::pin(&self.procfs, self.pid, &self.container_id)?;
        let pinned = Instant::now();
        let reach = reach(&self.procfs, &target)?;
        let reached = Instant::now();
        let own = self.procfs.process(std::process::id().cast_signed())?;
        let own_label = Label::of(&own)?;
        let text = String::from_utf8(Procfs::read(&own, c"status")?)?;
        let own = status(&text).context("/proc/PID/status is cut")?;
        let facts = Facts {
            uid: target.status.uid,
            gid: target.status.gid,
            groups: target.status.groups.clone(),
            permitted: target.status.permitted,
            reach,
            no_new_privs: target.status.no_new_privs,
            filtered: target.status.filtered,
            filter_known: false,
            labelled: target.label != own_label && target.label.is_some(),
            own_users: target.namespace(Namespace::User).is_some(),
        };
        let helper = Helper {
            permitted: own.permitted,
            known: own.permitted,
            filtered: own.filtered,
            own_keyring: true,
        };
        let identity = decide(&Asked::default(), &facts, &helper)?;
        say("before", "pin", micros(pinned - begun));
        say("before", "reach", micros(reached - pinned));
        say("before", "decide", micros(reached.elapsed()));
        Ok((target, identity))
    }

    async fn go(&self, way: Way, target: &TargetProcess, identity: &Identity) -> Result<()> {
        match way {
            Way::Nsenter => {
                say("nsenter", "end", micros(to_the_end(self.nsenter().arg("true"), 0)?));
            }
            Way::Nothing => {
                let mut nothing = Command::new(self.binary.path());
                say("nothing", "end", micros(to_the_end(nothing.current_dir("/"), NO_ROLE)?));
            }
            Way::Bare => self.entry(target, identity, false).run().await?.say("bare"),
            Way::View => self.entry(target, identity, true).run().await?.say("view"),
        }
        Ok(())
    }

    fn nsenter(&self) -> Command {
        let mut nsenter = Command::new(&self.nsenter);
        nsenter.args(["-t", &self.pid.to_string(), "-a"]);
        nsenter
    }

    fn entry<'a>(
        &'a self,
        target: &'a TargetProcess,
        identity: &'a Identity,
        view: bool,
    ) -> Entry<'a> {
        let toolset = view.then_some(self.toolset.as_path());
        Entry { binary: &self.binary, target, identity, toolset }
    }
}

/// From before the fork to the moment the program has been reaped, with this exit
/// code.
fn to_the_end(command: &mut Command, code: i32) -> Result<Duration> {
    let (name, value) = PATH.split_once('=').context("PATH")?;
    command.env_clear().env(name, value);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let begun = Instant::now();
    let status = command.status()?;
    let took = begun.elapsed();
    ensure!(status.code() == Some(code), "{command:?}: {status}");
    Ok(took)
}

fn say(way: &str, phase: &str, number: u64) {
    println!("{way} {phase} {number}");
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
