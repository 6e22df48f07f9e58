//! Whole sessions, by turns with kubectl's: how long they take, what the client
//! costs. Both sides run on this machine against the same cluster.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use toolset::Profile;

use super::child::{self, Cost};
use super::floor::Proxy;
use super::keystrokes;
use crate::cluster::{kubectl, layout};
use crate::{demo, image, run};

/// A pod for each node, made for the bench: kubectl debug leaves its containers.
pub const PODS: [(&str, &str); 2] = [("bench", "node1"), ("bench-crio", "node2")];

/// Longer than any run takes that does not hang.
const LIMIT: Duration = Duration::from_secs(120);

/// What both sides do.
#[derive(Debug)]
pub struct Case {
    /// In the report, and on the command line.
    pub name: &'static str,
    kind: Kind,
    /// Our time at most, in thousandths of the peer's.
    pub bar: u64,
    /// Our client's processor time at most, in thousandths of the peer's.
    pub processor_bar: Option<u64>,
}

/// POD stands for the pod.
#[derive(Debug)]
enum Kind {
    /// A process of ours, and one of kubectl's with these arguments.
    Whole { ours: &'static [&'static str], peer: &'static [&'static str], stdin: bool },
    /// A process of ours, and a bare pod.
    Floor { ours: &'static [&'static str] },
    /// A terminal that is typed into.
    Keystrokes,
}

/// From a file in the pod, so that no source of bytes is measured. A GiB, of
/// which the issue speaks, takes minutes and has the same rate.
const OUTPUT: &str = "cat /tmp/random /tmp/random";

/// Fails if a byte is lost: one that kubectl exec loses on the way it would not
/// tell.
const INPUT: &str = "test $(/bin/wc -c) = 134217728";

const DEBUG: &[&str] = &[
    "debug",
    "-q",
    "-i",
    "POD",
    "--image=10.200.0.1:5000/busybox:1",
    "--target=POD",
    "--",
    "echo",
    "x",
];

/// All of them.
pub const CASES: &[Case] = &[
    Case {
        name: "warm",
        kind: Kind::Whole {
            ours: &["POD", "--", "true"],
            peer: &["exec", "POD", "--", "true"],
            stdin: false,
        },
        bar: 500,
        processor_bar: Some(250),
    },
    Case {
        name: "share",
        kind: Kind::Whole {
            ours: &["--share", "POD", "--", "true"],
            peer: &["exec", "POD", "--", "true"],
            stdin: false,
        },
        bar: 100,
        processor_bar: Some(250),
    },
    Case {
        name: "cold",
        kind: Kind::Floor { ours: &["--rm", "POD", "--", "true"] },
        bar: 1500,
        processor_bar: None,
    },
    Case {
        name: "cold-debug",
        kind: Kind::Whole { ours: &["--rm", "POD", "--", "echo", "x"], peer: DEBUG, stdin: false },
        bar: 1000,
        processor_bar: Some(250),
    },
    Case {
        name: "stdout-128MiB",
        kind: Kind::Whole {
            ours: &["POD", "--", "/bin/sh", "-c", OUTPUT],
            peer: &["exec", "POD", "--", "/bin/sh", "-c", OUTPUT],
            stdin: false,
        },
        bar: 1000,
        processor_bar: Some(250),
    },
    Case {
        name: "stdin-128MiB",
        kind: Kind::Whole {
            ours: &["-i", "POD", "--", "/bin/sh", "-c", INPUT],
            peer: &["exec", "-i", "POD", "--", "/bin/sh", "-c", INPUT],
            stdin: true,
        },
        bar: 1000,
        processor_bar: Some(250),
    },
    Case { name: "keystroke", kind: Kind::Keystrokes, bar: 1000, processor_bar: None },
];

/// The cases of these names; all, if there is none.
pub fn chosen(names: &[String]) -> Vec<&'static Case> {
    let wanted = |case: &&Case| names.is_empty() || names.iter().any(|name| name == case.name);
    CASES.iter().filter(wanted).collect()
}

/// The names that [`chosen`] takes.
pub fn names() -> impl Iterator<Item = &'static str> {
    CASES.iter().map(|case| case.name)
}

/// Both sides' programs and what they need.
struct Rig {
    kpexec: PathBuf,
    environment: Vec<(&'static str, String)>,
    /// 128 MiB.
    input: PathBuf,
    proxy: Proxy,
}

/// Measures; gives a sample in each line. A run of ours that fails ends it; one
/// of the peer's is counted.
pub fn measure(rounds: u32, cases: &[&Case]) -> Result<String> {
    let kpexec = demo::build_kpexec()?;
    let reference = image::build_and_push(Profile::Standard, false)?;
    let environment = demo::environment(&reference).to_vec();
    let rig = Rig { kpexec, environment, input: prepare()?, proxy: Proxy::start()? };
    let mut lines = String::new();
    // The first round makes the helpers and fills the caches.
    for round in 0..=rounds {
        for case in cases {
            for (pod, node) in PODS {
                let way = format!("{}@{node}", case.name);
                // Who goes first may find the processors busy with the one before.
                for number in [round % 2, (round + 1) % 2] {
                    let side = ["ours", "peer"][number as usize];
                    let samples = match rig.samples(case, side, pod, node) {
                        Ok(samples) => samples,
                        Err(error) if side == "peer" => {
                            eprintln!("\rbench: the peer failed in {way}: {error:#}");
                            vec![("peer-failed", 1)]
                        }
                        Err(error) => {
                            return Err(error).with_context(|| format!("our run of {way} failed"));
                        }
                    };
                    if round > 0 {
                        for (phase, number) in samples {
                            lines += &format!("{way} {phase} {number}\n");
                        }
                    }
                }
            }
        }
        if round > 0 {
            lines += &format!("start version {}\n", start(&rig.kpexec)?);
        }
        eprint!("\rbench: round {round} of {rounds}");
    }
    eprintln!();
    delete_pods()?;
    fs::remove_file(&rig.input)?;
    Ok(lines)
}

/// A number of a kind.
type Sample = (&'static str, u128);

impl Rig {
    /// One run of one side.
    fn samples(&self, case: &Case, side: &str, pod: &str, node: &str) -> Result<Vec<Sample>> {
        let is_ours = side == "ours";
        match &case.kind {
            Kind::Whole { ours, peer, stdin } => {
                let command = self.command(is_ours, if is_ours { ours } else { peer }, pod);
                let input = stdin.then_some(self.input.as_path());
                Ok(costs(is_ours, &child::timed(&command, input, LIMIT)?))
            }
            Kind::Floor { ours } if is_ours => {
                let command = self.command(true, ours, pod);
                Ok(costs(true, &child::timed(&command, None, LIMIT)?))
            }
            Kind::Floor { .. } => {
                Ok(vec![("peer", self.proxy.measure(&format!("{pod}-bare"), node)?)])
            }
            Kind::Keystrokes => {
                let start =
                    if is_ours { &["-it", "POD", "--"][..] } else { &["exec", "-it", "POD", "--"] };
                let arguments = [start, keystrokes::COMMAND].concat();
                let times = keystrokes::measure(&self.command(is_ours, &arguments, pod))?;
                let phase = if is_ours { "ours" } else { "peer" };
                Ok(times.into_iter().map(|time| (phase, time)).collect())
            }
        }
    }

    fn command(&self, is_ours: bool, arguments: &[&str], pod: &str) -> Command {
        let kubectl = layout::bin().join("kubectl");
        let mut command = Command::new(if is_ours { &self.kpexec } else { &kubectl });
        command.args(arguments.iter().map(|word| word.replace("POD", pod)));
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }
}

fn costs(is_ours: bool, cost: &Cost) -> Vec<Sample> {
    let phases = if is_ours {
        ["ours", "ours-processor", "ours-memory"]
    } else {
        ["peer", "peer-processor", "peer-memory"]
    };
    phases.into_iter().zip([cost.time, cost.processor.into(), cost.memory.into()]).collect()
}

/// Makes the pods, and what they and we send.
fn prepare() -> Result<PathBuf> {
    delete_pods()?;
    for (pod, node) in PODS {
        let overrides = format!(r#"{{"spec":{{"nodeName":"{node}"}}}}"#);
        let image = "--image=10.200.0.1:5000/busybox:1";
        let mut create = kubectl();
        create.args(["run", pod, image, "--overrides", &overrides, "--command", "--"]);
        run::quietly(create.args(["sleep", "86400"]))?;
        let ready = ["wait", "--for=condition=Ready", "--timeout=60s", "pod", pod];
        run::quietly(kubectl().args(ready))?;
        let fill = "dd if=/dev/urandom of=/tmp/random bs=1M count=64";
        run::quietly(kubectl().args(["exec", pod, "--", "sh", "-c", fill]))?;
    }
    let input = image::target().join("bench-input");
    let mut dd = Command::new("dd");
    let to = format!("of={}", input.display());
    run::quietly(dd.args(["if=/dev/urandom", &to, "bs=1M", "count=128"]))?;
    Ok(input)
}

/// Those of an earlier run, too, which failed.
fn delete_pods() -> Result<()> {
    let bare = PODS.map(|(pod, _)| format!("{pod}-bare"));
    let pods = PODS.map(|(pod, _)| pod);
    let delete = ["delete", "pod", "--now", "--ignore-not-found"];
    run::quietly(kubectl().args(delete).args(pods).args(bare))
}

/// How long `kpexec --version` takes, in microseconds.
fn start(kpexec: &Path) -> Result<u128> {
    let mut command = Command::new(kpexec);
    command.arg("--version").stdout(std::process::Stdio::null());
    let begin = Instant::now();
    let status = command.status()?;
    let time = begin.elapsed().as_micros();
    ensure!(status.success(), "kpexec --version: {status}");
    Ok(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cases_are_chosen_by_name() {
        assert_eq!(chosen(&[]).len(), CASES.len());
        let cases = chosen(&["keystroke".into(), "warm".into()]);
        assert_eq!(cases.iter().map(|case| case.name).collect::<Vec<_>>(), ["warm", "keystroke"]);
    }
}
