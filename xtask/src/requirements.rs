//! Whether this machine can hold the cluster, and in plain words what it
//! lacks if it cannot.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};

use crate::cluster::layout;
use crate::run;

const GIB: u64 = 1 << 30;
/// The cluster uses 1 GiB; linking Kubernetes and the helper needs more.
const MEMORY: u64 = 4 * GIB;
/// Go's module and build caches, the programs, cargo's target folder.
const DISK: u64 = 15 * GIB;
/// The oldest Go that builds the modules of `tests/cluster/go`.
const GO: (u32, u32) = (1, 26);

/// What matters of a machine.
#[derive(Debug, Clone)]
struct Machine {
    linux_amd64: bool,
    debian: bool,
    root: bool,
    go: Option<(u32, u32)>,
    memory: u64,
    disk: u64,
}

/// Fails with everything that is missing, not only the first.
pub fn check() -> Result<()> {
    let missing = missing(&look());
    if missing.is_empty() {
        return Ok(());
    }
    bail!("this machine cannot hold the test cluster:\n  - {}", missing.join("\n  - "));
}

fn look() -> Machine {
    Machine {
        linux_amd64: cfg!(all(target_os = "linux", target_arch = "x86_64")),
        debian: run::find("apt-get").is_some() && run::find("dpkg-query").is_some(),
        root: rustix::process::geteuid().is_root(),
        go: run::output(Command::new("go").args(["env", "GOVERSION"])).ok().and_then(|v| go(&v)),
        memory: memory_in(&fs::read_to_string("/proc/meminfo").unwrap_or_default()),
        disk: free_space(&layout::checkout()),
    }
}

fn missing(machine: &Machine) -> Vec<String> {
    let mut missing = Vec::new();
    let mut need = |holds: bool, text: String| {
        if !holds {
            missing.push(text);
        }
    };
    need(machine.linux_amd64, "Linux on amd64".to_owned());
    need(machine.debian, "Debian 12 or a descendant, for its packages".to_owned());
    need(machine.root, "root, for namespaces, mounts and cgroups".to_owned());
    let found = match machine.go {
        Some((major, minor)) => format!("{major}.{minor} is on PATH"),
        None => "none is on PATH".to_owned(),
    };
    need(machine.go >= Some(GO), format!("Go {}.{} or newer: {found}", GO.0, GO.1));
    let gib = |bytes: u64| format!("{:.1} GiB", bytes as f64 / GIB as f64);
    need(
        machine.memory >= MEMORY,
        format!("{} of memory: it has {}", gib(MEMORY), gib(machine.memory)),
    );
    need(machine.disk >= DISK, format!("{} of free disk: it has {}", gib(DISK), gib(machine.disk)));
    missing
}

/// `go1.26.8` → (1, 26)
fn go(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.trim().strip_prefix("go")?.split('.');
    let major = parts.next()?.parse().ok()?;
    let minor = parts.next()?;
    let digits = minor.find(|c: char| !c.is_ascii_digit()).unwrap_or(minor.len());
    Some((major, minor[..digits].parse().ok()?))
}

fn memory_in(meminfo: &str) -> u64 {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    // The kernel keeps some of a 4 GiB machine's memory to itself.
    kib.unwrap_or(0) * 1024 * 105 / 100
}

fn free_space(path: &Path) -> u64 {
    rustix::fs::statvfs(path).map_or(0, |found| found.f_bavail * found.f_frsize)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: Machine = Machine {
        linux_amd64: true,
        debian: true,
        root: true,
        go: Some((1, 27)),
        memory: 8 * GIB,
        disk: 50 * GIB,
    };

    #[test]
    fn nothing_is_missing_on_a_good_machine() {
        assert!(missing(&GOOD).is_empty());
    }

    #[test]
    fn everything_that_is_missing_is_named() {
        let bad = Machine { root: false, go: Some((1, 19)), memory: GIB, ..GOOD };
        let text = missing(&bad).join("\n");
        for word in ["root", "Go 1.26 or newer: 1.19", "4.0 GiB of memory: it has 1.0 GiB"] {
            assert!(text.contains(word), "{word} not in {text}");
        }
        assert!(missing(&Machine { go: None, ..GOOD })[0].contains("none is on PATH"));
    }

    #[test]
    fn go_versions_are_read() {
        assert_eq!(go("go1.26.8\n"), Some((1, 26)));
        assert_eq!(go("go1.27rc1"), Some((1, 27)));
        assert_eq!(go("devel"), None);
    }
}
