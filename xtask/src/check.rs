//! `cargo xtask check`: format, lints, documentation, dependencies, and the
//! house rules that no tool knows.

use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::cluster::layout;
use crate::{dist, run, source_rules};

const CARGO_DENY: &str = "0.20.2";

/// One thing that is checked. What it returns is said behind its `ok`.
type Step = (&'static str, fn() -> Result<Option<String>>);

const STEPS: &[Step] = &[
    ("source rules", source_rules::check),
    ("format", format),
    ("clippy", clippy),
    ("documentation", documentation),
    ("reference", dist::check),
    ("licences, bans, sources", dependencies),
    ("advisories", advisories),
];

/// Runs every step, also after one has failed, and fails if one has.
pub fn check() -> Result<()> {
    let mut failed = Vec::new();
    for (name, step) in STEPS {
        let start = Instant::now();
        match step() {
            Ok(remark) => {
                let remark = remark.unwrap_or_else(|| "ok".to_owned());
                println!("check {name}: {remark} ({:.1} s)", start.elapsed().as_secs_f32());
            }
            Err(error) => {
                println!("check {name}: FAILED: {error:#}");
                failed.push(*name);
            }
        }
    }
    if !failed.is_empty() {
        bail!("failed checks: {}", failed.join("; "));
    }
    Ok(())
}

fn format() -> Result<Option<String>> {
    pass(run::cargo().args(["fmt", "--all", "--check"]))
}

fn clippy() -> Result<Option<String>> {
    // What plain `cargo test` leaves out, `--all-targets` leaves out too.
    for targets in [&["--workspace", "--all-targets"][..], &["-p=node-helper", "--test=attacks"]] {
        let mut command = run::cargo();
        command.args(["clippy", "--quiet"]).args(targets);
        run::visibly_or_fail(command.args(["--", "-D", "warnings"]))?;
    }
    Ok(None)
}

fn documentation() -> Result<Option<String>> {
    let mut command = run::cargo();
    // Private items too, and links to them: the comments are for those who
    // work on the code.
    command.env("RUSTDOCFLAGS", "-D warnings -A rustdoc::private_intra_doc_links");
    pass(command.args(["doc", "--quiet", "--workspace", "--no-deps", "--document-private-items"]))
}

fn dependencies() -> Result<Option<String>> {
    let mut command = deny()?;
    pass(command.args(["licenses", "bans", "sources"]))
}

/// The database is a git repository on the internet: where that is out of
/// reach, this says so instead of failing.
fn advisories() -> Result<Option<String>> {
    let output = deny()?.arg("advisories").output().context("cargo-deny cannot be started")?;
    let said = String::from_utf8_lossy(&output.stderr);
    if output.status.success() {
        return Ok(None);
    }
    if said.contains("failed to fetch advisory database") {
        return Ok(Some("skipped: the advisory database cannot be reached from here".to_owned()));
    }
    bail!("{}", said.trim())
}

fn pass(command: &mut Command) -> Result<Option<String>> {
    run::visibly_or_fail(command).map(|()| None)
}

/// cargo-deny, up to its subcommand.
fn deny() -> Result<Command> {
    let mut command = Command::new(cargo_deny()?);
    command.current_dir(layout::checkout());
    // Warnings stay out: each comes with a tree of 50 lines.
    command.args(["--log-level", "error", "check", "--hide-inclusion-graph"]);
    Ok(command)
}

/// Where cargo-deny is; it is built the first time.
fn cargo_deny() -> Result<PathBuf> {
    let folder = layout::cache().join(format!("tools/cargo-deny-{CARGO_DENY}"));
    let program = folder.join("bin/cargo-deny");
    if !program.exists() {
        println!("cargo-deny {CARGO_DENY}: building (the first time ~5 min)");
        let mut install = run::cargo();
        install.args(["install", "--quiet", "--locked", "--version", CARGO_DENY, "--root"]);
        run::visibly_or_fail(install.arg(&folder).arg("cargo-deny"))?;
    }
    Ok(program)
}
