//! `cargo xtask`: prepares the machine, runs the test cluster, builds toolset
//! and helper image, demonstrates, measures, checks and tests.

mod bench;
mod buildah;
mod check;
mod cluster;
mod demo;
mod digest;
mod dist;
mod image;
mod report;
mod requirements;
mod run;
mod setup;
mod source_rules;
mod test;
mod toolset;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// Build, test cluster and checks of this repository.
#[derive(Parser)]
#[command(name = "cargo xtask", version, about)]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Install the Debian packages everything else needs
    Setup,
    /// The two-node test cluster
    #[command(subcommand)]
    Cluster(cluster::Command),
    /// Build the toolset that sessions see at /.kpexec
    Toolset(toolset::Options),
    /// Build the helper image and push it to the cluster's registry
    Image(image::Options),
    /// Everything as needed, then a root shell in a distroless pod
    Demo {
        /// Run this on both nodes instead of a shell
        #[arg(last = true)]
        command: Vec<String>,
    },
    /// Measure against a peer, in one interleaved run
    #[command(subcommand)]
    Bench(bench::Command),
    /// Make what is installed (target/dist), and the README's reference
    Dist,
    /// Format, lints, documentation, dependencies, house rules
    Check,
    /// `check`, then every test of the repository
    Test(test::Options),
    /// Internal: become a process of the cluster
    #[command(hide = true)]
    Launch {
        /// What to become, as JSON
        spec: String,
    },
}

fn main() -> ExitCode {
    match perform(Cli::parse().task) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn perform(task: Task) -> Result<ExitCode> {
    match task {
        Task::Setup => setup::setup().map(|()| ExitCode::SUCCESS),
        Task::Cluster(command) => cluster::perform(command),
        Task::Toolset(options) => toolset::perform(&options).map(|()| ExitCode::SUCCESS),
        Task::Image(options) => image::perform(&options).map(|()| ExitCode::SUCCESS),
        Task::Demo { command } => demo::demo(&command),
        Task::Bench(command) => bench::perform(&command).map(|()| ExitCode::SUCCESS),
        Task::Dist => dist::dist().map(|()| ExitCode::SUCCESS),
        Task::Check => check::check().map(|()| ExitCode::SUCCESS),
        Task::Test(options) => test::test(&options),
        Task::Launch { spec } => cluster::launch::become_process(&spec),
    }
}
