//! `kpexec --local`, by turns with nsenter(1) and ctr(8), all on the node itself:
//! whole processes, from before the fork until they are reaped. Prints samples.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use toolset::Profile;

use super::samples::{Samples, thousandths};
use super::{container_id_of, first_process};
use crate::cluster::layout;
use crate::{demo, image, run};

/// The pod that is entered on each node: it has a `true` of its own, which
/// nsenter needs. CRI-O has no program like ctr.
const PODS: [(&str, &str, bool); 2] =
    [("node1", "busybox", true), ("node2", "busybox-crio", false)];

/// By how much our median may exceed nsenter's, in microseconds, and what part of
/// ctr's it may be, in thousandths.
const MOST_OVER_NSENTER: u64 = 10_000;
const MOST_OF_CTR: u64 = 300;

/// Measures on both nodes; gives a sample in each line.
pub fn measure(rounds: u32) -> Result<String> {
    let kpexec = demo::build_kpexec()?;
    let files = image::files(Profile::Standard)?;
    let own = std::env::current_exe()?;
    let mut lines = String::new();
    for (node, pod, has_ctr) in PODS {
        let id = container_id_of(pod)?;
        let pid = first_process(&id)?.with_context(|| format!("pod {pod} has no process"))?;
        let mut command = Command::new(&own);
        command.args(["cluster", "enter", node, "--"]).arg(&own).args(["bench", "local-rounds"]);
        command.args([&rounds.to_string(), node, &id, &pid.to_string()]).arg(&kpexec).arg(&files);
        command.args(has_ctr.then_some("--ctr")).stderr(Stdio::inherit());
        lines += &run::output(&mut command)?;
    }
    Ok(lines)
}

/// What is measured on one node; to be called there.
#[derive(clap::Args)]
pub struct Rounds {
    /// How often each way is taken
    rounds: u32,
    /// The node's name
    node: String,
    /// The container
    id: String,
    /// Its first process
    pid: String,
    /// The client
    kpexec: PathBuf,
    /// The files of the helper image
    files: PathBuf,
    /// Whether there is a ctr
    #[arg(long)]
    ctr: bool,
}

impl Rounds {
    /// Measures and prints.
    pub fn measure(&self) -> Result<()> {
        let nsenter = run::find("nsenter").context("nsenter is not installed (util-linux)")?;
        let mut ways = vec!["kpexec", "nsenter", "start"];
        ways.extend(self.ctr.then_some("ctr"));
        // The first round fills the caches.
        for round in 0..=self.rounds {
            let count = ways.len();
            for number in 0..count {
                let way = ways[(number + round as usize) % count];
                let time = time(self.command(way, &nsenter, round))?;
                if round > 0 {
                    println!("{} {way} {time}", self.node);
                }
            }
            eprint!("\rbench: {}: round {round} of {}", self.node, self.rounds);
        }
        eprintln!();
        Ok(())
    }

    fn command(&self, way: &str, nsenter: &Path, round: u32) -> Command {
        let mut command;
        match way {
            "kpexec" => {
                command = Command::new(&self.kpexec);
                command.args(["--local", &self.id, "--", "true"]);
                command.env("KPEXEC_NODE_HELPER", self.files.join("root/node-helper"));
                command.env("KPEXEC_TOOLSET_FOLDER", self.files.join("toolset"));
            }
            // What of it is the client's own.
            "start" => {
                command = Command::new(&self.kpexec);
                command.arg("--version");
            }
            "nsenter" => {
                command = Command::new(nsenter);
                command.args(["--target", &self.pid, "--all", "true"]).env("PATH", "/bin");
            }
            _ => {
                command = Command::new(layout::bin().join("ctr"));
                let exec = format!("bench-{}-{round}", std::process::id());
                command.args(["--namespace", "k8s.io", "task", "exec", "--exec-id", &exec]);
                command.args([&self.id, "true"]);
            }
        }
        command
    }
}

fn time(mut command: Command) -> Result<u128> {
    command.stdin(Stdio::null()).stdout(Stdio::null());
    let begin = Instant::now();
    let status = command.status()?;
    let time = begin.elapsed().as_micros();
    ensure!(status.success(), "{}: {status}", run::line_of(&command));
    Ok(time)
}

/// Says what the samples tell.
pub fn report(samples: &Samples) -> Result<String> {
    let rounds = samples.of("node1", "kpexec")?.count;
    let mut text = format!("{rounds} rounds, by turns; whole processes, ms\n\n");
    writeln!(text, "{:<24}{:>8}{:>8}{:>8}", "", "median", "p95", "min")?;
    for (node, _, has_ctr) in PODS {
        let ways = ["kpexec", "nsenter", "start", "ctr"];
        for way in &ways[..if has_ctr { 4 } else { 3 }] {
            let found = samples.of(node, way)?;
            let [median, p95, least] = [found.median, found.p95, found.least].map(thousandths);
            writeln!(text, "{:<24}{median:>8}{p95:>8}{least:>8}", format!("{way}@{node}"))?;
        }
    }
    text.push('\n');
    for (node, _, has_ctr) in PODS {
        let median = |way| Ok::<_, anyhow::Error>(samples.of(node, way)?.median);
        let ours = median("kpexec")?;
        let over = ours.saturating_sub(median("nsenter")?);
        let met = verdict(over <= MOST_OVER_NSENTER);
        let (shown, bar) = (thousandths(over), thousandths(MOST_OVER_NSENTER));
        writeln!(text, "{node}: nsenter + {shown} ms; bar + {bar} ms: {met}")?;
        if has_ctr {
            let ratio = ours * 1000 / median("ctr")?.max(1);
            let met = verdict(ratio <= MOST_OF_CTR);
            let (ratio, bar) = (thousandths(ratio), thousandths(MOST_OF_CTR));
            writeln!(text, "{node}: {ratio} of ctr; bar {bar}: {met}")?;
        }
    }
    Ok(text)
}

fn verdict(met: bool) -> &'static str {
    if met { "met" } else { "missed" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_bars_are_told_and_nothing_may_be_missing() {
        let lines = "node1 kpexec 12000\nnode1 nsenter 2000\nnode1 start 3000\nnode1 ctr 40000\n\
                     node2 kpexec 12100\nnode2 nsenter 2000\nnode2 start 3000\n";
        let text = report(&Samples::read(lines).unwrap()).unwrap();
        assert!(text.contains("node1: nsenter + 10.00 ms; bar + 10.00 ms: met"), "{text}");
        assert!(text.contains("node1: 0.30 of ctr; bar 0.30: met"), "{text}");
        assert!(text.contains("node2: nsenter + 10.10 ms; bar + 10.00 ms: missed"), "{text}");
        for line in lines.lines() {
            let rest = lines.replace(&format!("{line}\n"), "");
            assert!(report(&Samples::read(&rest).unwrap()).is_err(), "{line}");
        }
    }
}
