//! `cargo xtask`: prepares the machine, runs the test cluster, builds the
//! helper image, demonstrates, checks and tests.

mod buildah;
mod cluster;
mod digest;
mod run;
mod setup;

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
        Task::Launch { spec } => cluster::launch::become_process(&spec),
    }
}
