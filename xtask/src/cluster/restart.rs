//! One process of a running cluster killed, as a fault kills it, and started
//! again. By its record, so that no other process can be meant.

use std::fs;
use std::process::ExitCode;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::cgroup::Cgroups;
use super::node::{NODES, Node, start_kubelet, start_runtime_again};
use super::process::Record;
use super::{control_plane, layout, lock, need_root, ready};

/// How long a process may take to end that was killed.
const LIMIT: Duration = Duration::from_secs(10);

/// What can be restarted alone: everything that keeps its state elsewhere. The
/// process that holds a node's namespaces is the node.
#[derive(Debug)]
enum Part {
    /// On the host.
    Control(String),
    /// A node's container runtime; its containers go on without it.
    Runtime(&'static Node),
    /// A node's kubelet.
    Kubelet(&'static Node),
}

impl Part {
    /// By the name of its record.
    fn find(name: &str) -> Option<Self> {
        if control_plane::argv_of(name).is_some() {
            return Some(Self::Control(name.to_owned()));
        }
        let (node, what) = name.split_once('-')?;
        let node = NODES.iter().find(|known| known.name() == node)?;
        match what {
            "runtime" => Some(Self::Runtime(node)),
            "kubelet" => Some(Self::Kubelet(node)),
            _ => None,
        }
    }

    fn start(&self, cgroups: &Cgroups) -> Result<()> {
        match self {
            Self::Control(name) => control_plane::start_again(cgroups, name),
            Self::Runtime(node) => start_runtime_again(node, cgroups),
            Self::Kubelet(node) => start_kubelet(node, cgroups),
        }
    }

    fn wait(&self) -> Result<()> {
        match self {
            Self::Control(_) => ready::api_server(),
            Self::Runtime(node) => ready::runtime(node),
            Self::Kubelet(node) => ready::kubelet(&node.name()),
        }
    }
}

/// Kills it, and leaves it so.
pub fn kill(name: &str) -> Result<ExitCode> {
    need_root()?;
    let _lock = lock::wait(layout::LOCK.as_ref(), "another `cargo xtask cluster`")?;
    find(name)?;
    end(&record(name)?)?;
    Ok(ExitCode::SUCCESS)
}

/// Starts it, after killing it where that is still to be done.
pub fn restart(name: &str) -> Result<ExitCode> {
    need_root()?;
    let _lock = lock::wait(layout::LOCK.as_ref(), "another `cargo xtask cluster`")?;
    let part = find(name)?;
    end(&record(name)?)?;
    part.start(&Cgroups::detect()?)?;
    part.wait()?;
    println!("cluster: {name} answers");
    Ok(ExitCode::SUCCESS)
}

fn find(name: &str) -> Result<Part> {
    Part::find(name).with_context(|| format!("{name} is nothing that can be restarted alone"))
}

fn record(name: &str) -> Result<Record> {
    Record::read(name).with_context(|| format!("{name} was never started: `cluster up` does"))
}

/// Kills a process and waits for its end: its successor needs its ports.
fn end(record: &Record) -> Result<()> {
    record.kill()?;
    let deadline = Instant::now() + LIMIT;
    // Its sockets live as long as the last of its threads: then the process itself
    // is a zombie already.
    let threads = format!("/proc/{}/task", record.pid);
    let lives = || record.alive() || fs::read_dir(&threads).is_ok_and(|all| all.count() > 1);
    while lives() {
        if Instant::now() > deadline {
            bail!("{} does not end", record.name);
        }
        sleep(Duration::from_millis(5));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_part_is_known_by_its_records_name() {
        for name in ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"] {
            assert!(matches!(Part::find(name), Some(Part::Control(found)) if found == name));
        }
        let number = |name: &str| match Part::find(name) {
            Some(Part::Runtime(node) | Part::Kubelet(node)) => Some(node.number),
            _ => None,
        };
        assert_eq!(number("node1-kubelet"), Some(1));
        assert_eq!(number("node2-runtime"), Some(2));
        for name in ["node1", "node3-kubelet", "node1-shim", "registry", "kubelet", "", "node1-"] {
            assert!(Part::find(name).is_none(), "{name}");
        }
    }

    #[test]
    fn only_the_recorded_process_is_killed() {
        let mut child = Command::new("sleep").arg("30").spawn().unwrap();
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap();
        let start: u64 =
            stat.rsplit_once(") ").unwrap().1.split(' ').nth(19).unwrap().parse().unwrap();
        let record = |start| Record { name: "x".to_owned(), pid: child.id(), start };
        let (own, other) = (record(start), record(start + 1));
        end(&other).unwrap();
        assert!(child.try_wait().unwrap().is_none(), "another process's record killed it");
        end(&own).unwrap();
        assert!(child.try_wait().unwrap().is_some());
    }
}
