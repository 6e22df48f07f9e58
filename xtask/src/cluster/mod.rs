//! The two-node Kubernetes cluster that the tests run against:
//! `cargo xtask cluster up | down | status | kubeconfig | enter | kill | restart`.

mod build;
mod cgroup;
mod config;
mod control_plane;
mod decoys;
mod dns;
mod host;
pub mod images;
pub mod launch;
pub mod layout;
mod leftovers;
pub mod lock;
mod mounts;
mod network;
mod node;
mod old_glibc;
mod parts;
mod pki;
mod process;
mod ready;
mod restart;
mod roots;

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use cgroup::Cgroups;
pub use control_plane::kubectl;
use leftovers::Found;
use node::NODES;
use process::Record;

use crate::run;

/// What to do with the cluster.
#[derive(clap::Subcommand)]
pub enum Command {
    /// Build what is missing, start both nodes, wait until they are Ready
    Up,
    /// Stop everything and leave nothing behind
    Down,
    /// Say what runs; exit code 1 if the cluster is not up
    Status,
    /// Print the path of the kubeconfig
    Kubeconfig,
    /// Run a command in the network and mount namespaces of a node
    ///
    /// What talks to a runtime directly, such as `ctr task exec`, has to run
    /// there: its FIFOs are in that mount namespace.
    Enter {
        /// node1 or node2
        node: String,
        /// The command
        #[arg(last = true, required = true)]
        command: Vec<String>,
    },
    /// Kill one process of the running cluster, as a fault does
    Kill {
        /// As `status` names it: node1-kubelet, node2-runtime, kube-apiserver, …
        part: String,
    },
    /// Kill it if it runs, start it again, and wait until it answers
    Restart {
        /// As `status` names it
        part: String,
    },
}

/// Does it.
pub fn perform(command: Command) -> Result<ExitCode> {
    match command {
        Command::Up => up(),
        Command::Down => down(),
        Command::Status => status(),
        Command::Kubeconfig => {
            println!("{}", layout::kubeconfig().display());
            Ok(ExitCode::SUCCESS)
        }
        Command::Enter { node, command } => enter(&node, &command),
        Command::Kill { part } => restart::kill(&part),
        Command::Restart { part } => restart::restart(&part),
    }
}

/// `up`, in a process of its own: the cluster's processes are then nobody's
/// children who would have to collect them.
pub fn start() -> Result<()> {
    run::visibly_or_fail(itself().arg("up"))
}

/// `down`.
pub fn stop() -> Result<()> {
    run::visibly_or_fail(itself().arg("down"))
}

/// Whether a cluster of this checkout works. Another checkout's is an error,
/// because nobody can do anything here while it does.
pub fn is_up() -> Result<bool> {
    match leftovers::look(&Cgroups::detect()?) {
        Found::Ours => Ok(true),
        Found::Theirs(path) => bail!(theirs(&path)),
        Found::Leftovers | Found::Nothing => Ok(false),
    }
}

/// Builds the parts that the cache lacks.
pub fn build() -> Result<()> {
    build::build_missing()
}

fn itself() -> std::process::Command {
    let mut command = std::process::Command::new("/proc/self/exe");
    command.arg("cluster");
    command
}

fn up() -> Result<ExitCode> {
    need_root()?;
    let cgroups = Cgroups::detect()?;
    let _lock = lock::wait(layout::LOCK.as_ref(), "another `cargo xtask cluster up` or `down`")?;
    match leftovers::look(&cgroups) {
        Found::Ours => {
            println!("cluster: it is up; KUBECONFIG={}", layout::kubeconfig().display());
            return Ok(ExitCode::SUCCESS);
        }
        Found::Theirs(path) => bail!(theirs(&path)),
        Found::Leftovers => {
            println!("cluster: removing what a cluster before has left");
            leftovers::remove_all(&cgroups)?;
        }
        Found::Nothing => {}
    }
    build::build_missing()?;
    control_plane::check_ports()?;
    let start = Instant::now();
    cgroups.make()?;
    // While it works, `up` itself and every program it calls are in a cgroup
    // of the cluster: if it is killed, `down` finds those it left behind.
    let origin = cgroups.current()?;
    launch::join_cgroup(&cgroups.procs("up"))?;
    let started = start_all(&cgroups);
    launch::join_cgroup(&origin)?;
    started.with_context(|| {
        format!("the cluster did not come up; logs are in {}", layout::state("log").display())
    })?;
    println!(
        "cluster: both nodes Ready after {:.1} s; KUBECONFIG={}",
        start.elapsed().as_secs_f32(),
        layout::kubeconfig().display()
    );
    Ok(ExitCode::SUCCESS)
}

/// The order: what each step needs is there before it.
fn start_all(cgroups: &Cgroups) -> Result<()> {
    for folder in ["bin", "log", "pids", "pki"] {
        fs::create_dir_all(layout::state(folder))?;
    }
    fs::write(layout::owner(), layout::checkout().as_os_str().as_encoded_bytes())?;
    host::prepare()?;
    build::link_programs(&layout::bin())?;
    println!("cluster: starting registry, DNS server and control plane");
    pki::make()?;
    network::make_bridge()?;
    control_plane::start_registry(cgroups)?;
    dns::start(cgroups)?;
    control_plane::start_api(cgroups)?;
    // The API server needs some seconds: time enough for the images.
    images::build_and_push()?;
    println!("cluster: starting node1 (containerd) and node2 (CRI-O)");
    for node in NODES {
        node::start_runtime(node, cgroups)?;
    }
    ready::api_server()?;
    control_plane::start_controllers(cgroups)?;
    for node in NODES {
        node::start_kubelet(node, cgroups)?;
    }
    ready::nodes()?;
    fs::write(layout::ready(), "")?;
    Ok(())
}

fn down() -> Result<ExitCode> {
    need_root()?;
    let cgroups = Cgroups::detect()?;
    let _lock = lock::wait(layout::LOCK.as_ref(), "another `cargo xtask cluster up` or `down`")?;
    let found = leftovers::look(&cgroups);
    if let Found::Theirs(path) = &found {
        bail!(theirs(path));
    }
    // Also when nothing was found: a link alone leaves no other trace.
    leftovers::remove_all(&cgroups)?;
    println!("cluster: {}", if found == Found::Nothing { "it was not up" } else { "down" });
    Ok(ExitCode::SUCCESS)
}

fn status() -> Result<ExitCode> {
    need_root()?;
    let cgroups = Cgroups::detect()?;
    let Some(_lock) = lock::try_take(layout::LOCK.as_ref())? else {
        println!("cluster: another `cargo xtask cluster up` or `down` is at work");
        return Ok(ExitCode::FAILURE);
    };
    let found = leftovers::look(&cgroups);
    for record in Record::all() {
        let state = if record.alive() { "running" } else { "DEAD" };
        println!("{:<24} {:>8} {state}", record.name, record.pid);
    }
    let line = match &found {
        Found::Ours => {
            let ready = ready::ready_nodes().unwrap_or(0);
            format!("up; {ready} of {} nodes Ready", NODES.len())
        }
        Found::Theirs(path) => theirs(path),
        Found::Leftovers => "not working; the next `up` removes what is left".to_owned(),
        Found::Nothing => "not up".to_owned(),
    };
    println!("cluster: {line}");
    Ok(if found == Found::Ours { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn enter(name: &str, command: &[String]) -> Result<ExitCode> {
    let node = NODES.iter().find(|node| node.name() == name);
    let node = node.with_context(|| format!("there is no node {name}: node1 or node2"))?;
    launch::enter(node.holder()?)?;
    let (program, arguments) = command.split_first().context("no command")?;
    let path = format!("{}:{}", layout::bin().display(), std::env::var("PATH").unwrap_or_default());
    let error = std::process::Command::new(program).args(arguments).env("PATH", path).exec();
    Err(error).with_context(|| format!("cannot execute {program}"))
}

fn theirs(path: &std::path::Path) -> String {
    format!(
        "the cluster of another checkout runs on this machine: {0}; \
         stop it with `cargo xtask cluster down` in {0}",
        path.display()
    )
}

fn need_root() -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        bail!("the cluster needs root: network and mount namespaces, cgroups");
    }
    Ok(())
}
