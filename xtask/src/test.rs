//! `cargo xtask test`: everything, on a machine where nothing was prepared.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use ::toolset::Profile;
use anyhow::{Context, Result};

use crate::cluster;
use crate::report::Report;
use crate::{check, demo, image, requirements, run, setup, toolset};

/// Tells the life-cycle test which program to run: what cargo would start in
/// between could not be killed half-way.
const XTASK_VARIABLE: &str = "KPEXEC_XTASK";
/// Tells the toolset's tests where the trees are.
const TOOLSET_VARIABLE: &str = "KPEXEC_TOOLSET_TREES";
/// Tells tests with a short and a long form to take the long one.
const LONG_VARIABLE: &str = "KPEXEC_LONG";

const ONE_BY_ONE: &str = "--test-threads=1";

/// Which tests.
#[derive(clap::Args)]
pub struct Options {
    /// Also what takes minutes: the cluster killed at many moments of `up`, the
    /// full toolset built twice, the nodes' links down for a minute, 200 sessions at
    /// once for five
    #[arg(long)]
    long: bool,
}

/// Runs every test of the repository and says how it went.
pub fn test(options: &Options) -> Result<ExitCode> {
    requirements::check()?;
    setup::setup()?;
    let mut report = Report::default();
    let checked = check::check();
    let run = run_tests(options, &mut report);
    for failure in &report.failures {
        println!("failed: {failure}");
    }
    for failure in &report.unsteady {
        println!("unsteady, passed when run once more: {failure}");
    }
    for skipped in &report.skipped {
        println!("skipped: {skipped}");
    }
    // A failed check or an unusable cluster is no test, but must not close on
    // a line that reads like success.
    for error in [checked.err(), run.err()].into_iter().flatten() {
        println!("failed: {error:#}");
        report.failed += 1;
    }
    println!("{}", report.closing_line());
    Ok(if report.good() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn run_tests(options: &Options, report: &mut Report) -> Result<()> {
    println!("test: unit and isolated tests");
    cargo_test(&[], options, report)?;
    // What of them an ordinary user cannot run: we are root.
    cargo_test(&["-p", "node-helper", "--test", "isolated", "--", "--ignored"], options, report)?;
    toolset_tests(options, report)?;
    println!("test: attacks");
    // Each measures moments: more at once would only be slower.
    let attacks = ["-p", "node-helper", "--test", "attacks", "--", "--test-threads=2"];
    cargo_test(&attacks, options, report)?;
    if Path::new("/sys/fs/cgroup/devices").is_dir() {
        let devices = ["-p", "node-helper", "--test", "attacks", "--", "--ignored", "t17"];
        cargo_test(&devices, options, report)?;
    }
    let was_up = cluster::is_up()?;
    if was_up {
        println!("test: the cluster is up; it is taken down now, and left up at the end");
    }
    // Builds what is missing before the life-cycle test measures seconds.
    cluster::build()?;
    println!("test: the cluster's life cycle");
    let lifecycle = ["-p", "tests", "--test", "lifecycle", "--", "--ignored", "--test-threads=1"];
    cargo_test(&lifecycle, options, report)?;
    let tested = cluster::start().and_then(|()| cluster_tests(options, report));
    if !was_up {
        cluster::stop()?;
    }
    tested
}

/// The smallest tree, twice, and the largest, which has all of the others;
/// that twice, too, if it may take long.
fn toolset_tests(options: &Options, report: &mut Report) -> Result<()> {
    println!("test: toolset");
    let minimal = toolset::build_again(Profile::Minimal)?;
    let build_full = if options.long { toolset::build_again } else { toolset::build };
    let full = build_full(Profile::Full)?;
    let trees = format!("{}:{}", minimal.root.display(), full.root.display());
    let tree = ["-p", "toolset", "--test", "tree", "--", "--ignored"];
    run_cargo_test(cargo_command(&tree, options)?.env(TOOLSET_VARIABLE, trees), report)
}

fn cluster_tests(options: &Options, report: &mut Report) -> Result<()> {
    // The tests would build both, each again finding nothing to do.
    demo::build_kpexec()?;
    image::build_and_push(Profile::Standard, false)?;
    demo::apply_manifests()?;
    demo::apply_pods("demo.yaml")?;
    demo::apply_pods("fixtures.yaml")?;
    demo::apply_pods("roots.yaml")?;
    println!("test: cluster tests");
    cluster_test(&["-p", "tests"], &[], options, report)?;
    // Last, and one at a time: all others need a cluster without faults.
    println!("test: faults of the cluster");
    let faults = ["-p", "tests", "--test", "faults"];
    cluster_test(&faults, &["--ignored", ONE_BY_ONE], options, report)
}

/// Runs tests of the cluster. One or two of them that fail are run once more, alone,
/// and said to be unsteady if they pass then: of two hundred looks at two busy nodes
/// not always all are in time, and each such test is to be mended. With `--long` once
/// is all they get.
fn cluster_test(
    packages: &[&str],
    flags: &[&str],
    options: &Options,
    report: &mut Report,
) -> Result<()> {
    let mut first = Report::default();
    cargo_test(&[packages, &["--"], flags].concat(), options, &mut first)?;
    let failed = first.failed_tests();
    if options.long || !first.is_nearly_good(report) {
        report.add(first);
        return Ok(());
    }
    println!("test: once more, alone: {}", failed.join(", "));
    // libtest takes each flag once.
    let mut chosen = vec!["--", "--exact", ONE_BY_ONE];
    chosen.extend(flags.iter().filter(|flag| **flag != ONE_BY_ONE));
    chosen.extend(failed.iter().map(String::as_str));
    let mut again = Report::default();
    let run = cargo_test(&[packages, &chosen].concat(), options, &mut again);
    // A name may be that of tests of several programs.
    let all_passed = run.is_ok() && again.good() && again.passed >= failed.len();
    report.add(if all_passed { first.unsteady() } else { first });
    run
}

/// `cargo test`, with what tests are told.
fn cargo_command(arguments: &[&str], options: &Options) -> Result<Command> {
    let mut command = run::cargo();
    command.args(["test", "--no-fail-fast"]).args(arguments);
    command.env(XTASK_VARIABLE, std::env::current_exe()?);
    if options.long {
        command.env(LONG_VARIABLE, "1");
    }
    Ok(command)
}

fn cargo_test(arguments: &[&str], options: &Options, report: &mut Report) -> Result<()> {
    run_cargo_test(&mut cargo_command(arguments, options)?, report)
}

/// Runs it, shows its output as it comes, and counts.
fn run_cargo_test(command: &mut Command, report: &mut Report) -> Result<()> {
    let failed_before = report.failed;
    let mut child = command.stdout(Stdio::piped()).spawn().context("cargo cannot be started")?;
    let output = child.stdout.take().context("cargo has no output")?;
    for line in BufReader::new(output).split(b'\n') {
        let line = line?;
        let line = String::from_utf8_lossy(&line);
        println!("{line}");
        report.read(&line);
    }
    report.end_of_run(child.wait()?.success(), failed_before);
    Ok(())
}
