//! `cargo xtask bench`: speed and memory as a ratio against a peer, both
//! measured in one interleaved run. It reports; it does not judge.

mod child;
mod entry;
mod floor;
mod keystrokes;
mod local;
mod samples;
mod session;
mod session_report;
mod start;
mod toolset;

use std::fs;
use std::path::PathBuf;
use std::process::Stdio;

use ::toolset::Profile;
use anyhow::{Context, Result, bail};
use clap::builder::PossibleValuesParser;

use crate::cluster::{kubectl, layout};
use crate::{demo, image, requirements, run};
use samples::Samples;

/// What is measured.
#[derive(clap::Subcommand)]
pub enum Command {
    /// An entry into a container, against `nsenter -a`
    Entry {
        /// How often each way is taken
        #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..))]
        rounds: u32,
    },
    /// How large the toolset is, and how long its programs take to start,
    /// against the machine's own
    Toolset {
        /// How often each program is started
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(50..))]
        rounds: u32,
    },
    /// Whole sessions, against kubectl exec and kubectl debug
    Session {
        /// Which cases [default: all]
        #[arg(value_name = "CASE", value_parser = PossibleValuesParser::new(session::names()))]
        cases: Vec<String>,
        /// How often each is run
        #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..))]
        rounds: u32,
    },
    /// kpexec --local, against nsenter -a and ctr task exec
    Local {
        /// How often each way is taken
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
        rounds: u32,
    },
    /// Internal: what `local` measures on one node, on that node
    #[command(hide = true)]
    LocalRounds(local::Rounds),
    /// Internal: start programs, in a mount namespace made for it
    #[command(hide = true)]
    Start {
        /// How often each program is started
        rounds: u32,
        /// The trees whose size is wanted; the programs are those of the last
        trees: Vec<PathBuf>,
    },
}

/// The pod that is entered: it has a `true` of its own, which nsenter needs.
const POD: &str = "busybox";

/// Measures.
pub fn perform(command: &Command) -> Result<()> {
    match command {
        Command::Entry { rounds } => entry(*rounds),
        Command::Toolset { rounds } => toolset(*rounds),
        Command::Session { cases, rounds } => {
            requirements::check()?;
            check_cluster()?;
            let cases = session::chosen(cases);
            let output = watched(*rounds, || session::measure(*rounds, &cases))?;
            println!("\n{}", session_report::report(&Samples::read(&output)?, &cases)?);
            Ok(())
        }
        Command::Local { rounds } => {
            requirements::check()?;
            check_cluster()?;
            demo::apply_pods("demo.yaml")?;
            let samples = Samples::read(&watched(*rounds, || local::measure(*rounds))?)?;
            println!("\n{}", local::report(&samples)?);
            Ok(())
        }
        Command::LocalRounds(rounds) => rounds.measure(),
        Command::Start { rounds, trees } => start::measure(*rounds, trees),
    }
}

fn toolset(rounds: u32) -> Result<()> {
    start::check_host()?;
    let mut trees = Vec::new();
    for profile in Profile::ALL {
        trees.push((profile, crate::toolset::build(profile)?));
    }
    let roots: Vec<PathBuf> = trees.iter().map(|(_, built)| built.root.clone()).collect();
    let output = watched(rounds, || run::output(&mut start::command(rounds, &roots)?))?;
    println!("peer: {}", toolset::versions()?);
    println!("\n{}", toolset::report(&trees, &Samples::read(&output)?)?);
    Ok(())
}

fn entry(rounds: u32) -> Result<()> {
    requirements::check()?;
    check_cluster()?;
    let nsenter = run::find("nsenter").context("nsenter is not installed (util-linux)")?;
    demo::apply_pods("demo.yaml")?;
    let id = container_id_of(POD)?;
    let pid = first_process(&id)?.with_context(|| format!("pod {POD} has no process"))?;
    let tools = crate::toolset::build(Profile::Standard)?.root;

    eprintln!("bench: building the helper as nodes run it (about 3 min the first time)");
    run::visibly_or_fail(image::helper_cargo("bench").args(["--bench", "entry", "--no-run"]))?;
    let mut bench = image::helper_cargo("bench");
    bench.args(["--bench", "entry", "--", &pid.to_string(), &id]).arg(&tools).arg(&nsenter);
    bench.arg(rounds.to_string()).stderr(Stdio::inherit());
    let samples = Samples::read(&watched(rounds, || run::output(&mut bench))?)?;
    println!(
        "peer: {}",
        run::output(std::process::Command::new(&nsenter).arg("--version"))?.trim()
    );
    println!("\n{}", entry::report(&samples)?);
    Ok(())
}

fn check_cluster() -> Result<()> {
    if !layout::ready().exists() {
        bail!("the cluster is not up: `cargo xtask cluster up`");
    }
    Ok(())
}

/// Runs a bench, and says what its numbers depend on.
fn watched(rounds: u32, bench: impl FnOnce() -> Result<String>) -> Result<String> {
    eprintln!("bench: {rounds} rounds");
    let (load_before, time_before) = (load()?, processor_time()?);
    let output = bench()?;
    println!("{}", machine()?);
    println!("load: {load_before} before, {} after (average of 1, 5, 15 min)", load()?);
    println!("idle: {} % of all processors' time meanwhile", idle(time_before, processor_time()?));
    Ok(output)
}

/// The container's ID, without the runtime's name.
fn container_id_of(pod: &str) -> Result<String> {
    let path = "jsonpath={.status.containerStatuses[0].containerID}";
    let id = run::output(kubectl().args(["get", "pod", "--namespace=default", pod, "-o", path]))?;
    let (_, id) = id.split_once("://").with_context(|| format!("pod {pod} has no container"))?;
    Ok(id.to_owned())
}

/// PID 1 of the container, as this machine numbers it: the nodes' processes are
/// its own. A process that ends while we look is not the one we look for.
fn first_process(container_id: &str) -> Result<Option<i32>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        let read = |file| fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
        if read("cgroup").contains(container_id) && is_first(&read("status")) {
            found.push(pid);
        }
    }
    Ok(found.into_iter().min())
}

/// Whether it is PID 1 of a namespace below ours: proc_pid_status(5), "NSpid".
fn is_first(status: &str) -> bool {
    let pids = status.lines().find_map(|line| line.strip_prefix("NSpid:")).unwrap_or_default();
    let pids: Vec<&str> = pids.split_ascii_whitespace().collect();
    pids.len() > 1 && pids.last() == Some(&"1")
}

/// What numbers depend on: processor and kernel.
fn machine() -> Result<String> {
    let info = fs::read_to_string("/proc/cpuinfo")?;
    let models: Vec<&str> = info.lines().filter(|line| line.starts_with("model name")).collect();
    let model = models.first().and_then(|line| line.split_once(": ")).map_or("?", |(_, m)| m);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    Ok(format!("machine: {} × {model}, Linux {}", models.len(), kernel.trim()))
}

/// The three load averages: a busy machine has other numbers.
fn load() -> Result<String> {
    let text = fs::read_to_string("/proc/loadavg")?;
    Ok(text.split(' ').take(3).collect::<Vec<_>>().join(" "))
}

/// Time all processors together have spent idle, and in all, in clock ticks:
/// proc_stat(5).
type ProcessorTime = (u64, u64);

fn processor_time() -> Result<ProcessorTime> {
    let text = fs::read_to_string("/proc/stat")?;
    ticks(&text).context("/proc/stat has no line of all processors")
}

fn ticks(stat: &str) -> Option<ProcessorTime> {
    let line = stat.lines().next()?.strip_prefix("cpu ")?;
    let times: Vec<u64> =
        line.split_ascii_whitespace().map(str::parse).collect::<Result<_, _>>().ok()?;
    // user, nice, system, idle, iowait, irq, softirq, steal; the two times of
    // guests behind them are in user and nice already.
    Some((times.get(3)? + times.get(4)?, times.iter().take(8).sum()))
}

/// In per cent. The run itself keeps about one processor busy; load averages
/// lag minutes behind.
fn idle(before: ProcessorTime, after: ProcessorTime) -> u64 {
    let (idle, all) = (after.0.saturating_sub(before.0), after.1.saturating_sub(before.1));
    idle * 100 / all.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_is_what_nobody_used() {
        let before = ticks("cpu  10 0 10 100 0 0 0 0 5 5\ncpu0 1 1 1 1\n").unwrap();
        let after = ticks("cpu  30 0 30 140 20 0 0 0 5 5\n").unwrap();
        assert_eq!((before, after), ((100, 120), (160, 220)));
        assert_eq!(idle(before, after), 60);
        assert_eq!(ticks("intr 1 2 3"), None);
    }

    #[test]
    fn the_first_process_is_one_of_a_namespace_below() {
        assert!(is_first("Name:\tsh\nNSpid:\t4711\t1\nNSpgid:\t4711\t1\n"));
        assert!(is_first("NSpid:\t4711\t12\t1\n"));
        assert!(!is_first("NSpid:\t4711\t7\n"));
        // The machine's own.
        assert!(!is_first("NSpid:\t1\n"));
        assert!(!is_first(""));
    }
}
