//! Whole sessions, by turns with kubectl's: how long they take, what the client
//! costs. Both sides run on this machine against the same cluster.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use toolset::Profile;

use crate::cluster::{kubectl, layout};
use crate::{demo, image, run};

/// A pod for each node, made for the bench: kubectl debug leaves its containers.
pub const PODS: [(&str, &str); 2] = [("bench", "node1"), ("bench-crio", "node2")];

/// What both sides do.
pub struct Case {
    /// In the report.
    pub name: &'static str,
    /// After `kpexec`; POD stands for the pod.
    ours: &'static [&'static str],
    /// After `kubectl`.
    peer: &'static [&'static str],
    /// Whether 128 MiB go in.
    stdin: bool,
    /// Our time at most, in thousandths of the peer's.
    pub bar: u64,
}

/// From a file in the pod, so that no source of bytes is measured. More takes
/// minutes and has the same rate.
const OUTPUT: &str = "cat /tmp/random /tmp/random";

/// All of them.
pub const CASES: &[Case] = &[
    Case {
        name: "warm",
        ours: &["POD", "--", "true"],
        peer: &["exec", "POD", "--", "true"],
        stdin: false,
        bar: 500,
    },
    Case {
        name: "share",
        ours: &["--share", "POD", "--", "true"],
        peer: &["exec", "POD", "--", "true"],
        stdin: false,
        bar: 100,
    },
    Case {
        name: "cold",
        ours: &["--rm", "POD", "--", "echo", "x"],
        peer: &[
            "debug",
            "-q",
            "-i",
            "POD",
            "--image=10.200.0.1:5000/busybox:1",
            "--target=POD",
            "--",
            "echo",
            "x",
        ],
        stdin: false,
        bar: 1000,
    },
    Case {
        name: "stdout-128MiB",
        ours: &["POD", "--", "/bin/sh", "-c", OUTPUT],
        peer: &["exec", "POD", "--", "/bin/sh", "-c", OUTPUT],
        stdin: false,
        bar: 1000,
    },
    Case {
        name: "stdin-128MiB",
        ours: &["-i", "POD", "--", "/bin/sh", "-c", "cat >/dev/null"],
        peer: &["exec", "-i", "POD", "--", "/bin/sh", "-c", "cat >/dev/null"],
        stdin: true,
        bar: 1000,
    },
];

/// One side's program with its environment.
struct Side {
    name: &'static str,
    program: PathBuf,
    environment: Vec<(&'static str, String)>,
}

/// What one run cost.
struct Cost {
    /// From before the fork until it is reaped, in microseconds.
    time: u128,
    /// Of the client's processors, user and system, in milliseconds.
    processor: u64,
    /// The client's largest resident set, in KiB.
    memory: u64,
}

/// Measures; gives a sample in each line.
pub fn measure(rounds: u32) -> Result<String> {
    let kpexec = demo::build_kpexec()?;
    let reference = image::build_and_push(Profile::Standard, false)?;
    let environment = demo::environment(&reference).to_vec();
    let sides = [
        Side { name: "ours", program: kpexec.clone(), environment: environment.clone() },
        Side { name: "peer", program: layout::bin().join("kubectl"), environment },
    ];
    let input = prepare()?;
    let mut lines = String::new();
    // The first round makes the helpers and fills the caches.
    for round in 0..=rounds {
        for case in CASES {
            for (pod, node) in PODS {
                // Who goes first may find the processors busy with the one before.
                for number in [round % 2, (round + 1) % 2] {
                    let side = &sides[number as usize];
                    let cost = session(side, case, pod, &input)?;
                    if round > 0 {
                        let way = format!("{}@{node}", case.name);
                        let Cost { time, processor, memory } = cost;
                        let side = side.name;
                        lines += &format!("{way} {side} {time}\n");
                        lines += &format!("{way} {side}-processor {processor}\n");
                        lines += &format!("{way} {side}-memory {memory}\n");
                    }
                }
            }
        }
        if round > 0 {
            lines += &format!("start version {}\n", start(&kpexec)?);
        }
        eprint!("\rbench: round {round} of {rounds}");
    }
    eprintln!();
    delete_pods()?;
    fs::remove_file(input)?;
    Ok(lines)
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
    let pods = PODS.map(|(pod, _)| pod);
    run::quietly(kubectl().args(["delete", "pod", "--now", "--ignore-not-found"]).args(pods))
}

fn session(side: &Side, case: &Case, pod: &str, input: &Path) -> Result<Cost> {
    let arguments = if side.name == "ours" { case.ours } else { case.peer };
    let costs = image::target().join("bench-costs");
    let mut command = Command::new("/usr/bin/time");
    command.args(["-f", "%U %S %M", "-o"]).arg(&costs).arg(&side.program);
    command.args(arguments.iter().map(|word| word.replace("POD", pod)));
    command.envs(side.environment.iter().map(|(name, value)| (name, value)));
    // Through a pipe: of a file kubectl makes messages that the server refuses.
    let mut cat = Command::new("cat");
    cat.arg(input).stdout(Stdio::piped());
    let mut source = case.stdin.then(|| cat.spawn()).transpose()?;
    let pipe = source.as_mut().and_then(|source| source.stdout.take());
    command.stdin(pipe.map_or_else(Stdio::null, Stdio::from));
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    let begin = Instant::now();
    let output = command.output().context("cannot start time(1)")?;
    let time = begin.elapsed().as_micros();
    if let Some(source) = &mut source {
        source.wait()?;
    }
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{} {} in {pod}: {said}", side.name, case.name);
    let (processor, memory) =
        read_costs(&fs::read_to_string(&costs)?).context("time(1) did not say what it took")?;
    Ok(Cost { time, processor, memory })
}

/// Seconds with two decimals twice, and KiB.
fn read_costs(text: &str) -> Option<(u64, u64)> {
    let mut words = text.lines().last()?.split(' ');
    let mut centiseconds = || words.next()?.replace('.', "").parse::<u64>().ok();
    let processor = centiseconds()? + centiseconds()?;
    Some((processor * 10, words.next()?.parse().ok()?))
}

/// How long `kpexec --version` takes, in microseconds.
fn start(kpexec: &Path) -> Result<u128> {
    let begin = Instant::now();
    run::quietly(Command::new(kpexec).arg("--version"))?;
    Ok(begin.elapsed().as_micros())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn costs_are_read_as_time_1_writes_them() {
        assert_eq!(read_costs("0.25 1.50 20480\n"), Some((1750, 20480)));
        assert_eq!(
            read_costs("Command exited with non-zero status 1\n0.00 0.01 9\n"),
            Some((10, 9))
        );
        assert_eq!(read_costs(""), None);
    }
}
