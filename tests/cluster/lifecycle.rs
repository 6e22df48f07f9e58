//! The test cluster's own life: `up` killed at any moment, `up` twice, `down`,
//! and a machine that looks afterwards as it did before.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::sleep;
use std::time::Duration;

const STATE: &str = "/var/lib/kpx";
/// Seconds after which `up`, which takes about nine, is killed.
const MOMENTS: &[f32] = &[1.5, 6.0];
const MOMENTS_LONG: &[f32] = &[0.1, 0.4, 0.8, 1.5, 2.5, 4.0, 6.0, 8.0];

/// There is one cluster on a machine: one test at a time.
static CLUSTER: Mutex<()> = Mutex::new(());

/// Gives the cluster to a test, taken down, with a picture of the machine.
fn cluster_down() -> (MutexGuard<'static, ()>, Machine) {
    let guard = CLUSTER.lock().unwrap_or_else(PoisonError::into_inner);
    succeed(&["down"]);
    (guard, Machine::look())
}

/// What may be left behind, as the machine shows it.
#[derive(Debug, PartialEq, Eq)]
struct Machine {
    links: BTreeSet<String>,
    mounts: BTreeSet<String>,
    cgroups: BTreeSet<PathBuf>,
    network_namespaces: BTreeSet<String>,
    processes: BTreeSet<String>,
    state: bool,
    sysctls: Vec<String>,
}

impl Machine {
    fn look() -> Self {
        let names = |folder: &str| -> BTreeSet<String> {
            let entries = fs::read_dir(folder).into_iter().flatten().flatten();
            entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
        };
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        // The number of a mount may change, its place and its kind may not.
        let place = |line: &str| line.split(' ').skip(3).collect::<Vec<_>>().join(" ");
        let sysctls = ["kernel/panic", "kernel/panic_on_oops", "vm/overcommit_memory"];
        let read = |name: &str| fs::read_to_string(Path::new("/proc/sys").join(name)).unwrap();
        Self {
            links: names("/sys/class/net"),
            mounts: mounts.lines().map(place).collect(),
            cgroups: cgroups(Path::new("/sys/fs/cgroup"), 2),
            network_namespaces: names("/run/netns"),
            processes: names("/proc").iter().filter_map(|pid| of_the_cluster(pid)).collect(),
            state: Path::new(STATE).exists(),
            sysctls: sysctls.into_iter().map(read).collect(),
        }
    }
}

/// Groups named `kpx` down to a depth: one per tree.
fn cgroups(folder: &Path, depth: usize) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        if entry.file_name() == "kpx" {
            found.insert(entry.path());
        } else if depth > 1 {
            found.extend(cgroups(&entry.path(), depth - 1));
        }
    }
    found
}

/// A process that was started by the cluster: by its program, by its cgroup,
/// or by a path in its command line.
fn of_the_cluster(pid: &str) -> Option<String> {
    pid.parse::<u32>().ok()?;
    let proc = Path::new("/proc").join(pid);
    let program = fs::read_link(proc.join("exe")).unwrap_or_default();
    let cgroup = fs::read_to_string(proc.join("cgroup")).unwrap_or_default();
    let line = fs::read(proc.join("cmdline")).unwrap_or_default();
    let line = String::from_utf8_lossy(&line).replace('\0', " ");
    let built = ["kubernetes-", "cri-o-", "containerd-", "gvisor-", "runc-"];
    let is_built = program.starts_with(cache())
        && program.iter().any(|part| built.iter().any(|b| part.to_string_lossy().starts_with(b)));
    let ours = is_built
        || program.starts_with(STATE)
        || cgroup.contains(":/kpx")
        || line.contains("/var/lib/kpx/");
    ours.then(|| format!("{pid} {} {line}", program.display()))
}

fn cache() -> PathBuf {
    std::env::var_os("KPEXEC_CACHE").map_or_else(|| "/var/cache/kpexec".into(), PathBuf::from)
}

/// The program itself: a kill has to hit it, not cargo.
fn xtask() -> PathBuf {
    if let Some(program) = std::env::var_os("KPEXEC_XTASK") {
        return program.into();
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut build = Command::new(env!("CARGO"));
    assert!(build.current_dir(&root).args(["build", "-p", "xtask"]).status().unwrap().success());
    root.join("target/debug/xtask")
}

fn cluster(arguments: &[&str]) -> Output {
    Command::new(xtask()).arg("cluster").args(arguments).output().unwrap()
}

fn succeed(arguments: &[&str]) -> String {
    let output = cluster(arguments);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {said}{error}");
    said
}

/// Starts `up` and kills it after that time.
fn up_killed_after(seconds: f32) {
    let mut up = start_up();
    sleep(Duration::from_secs_f32(seconds));
    up.kill().unwrap();
    up.wait().unwrap();
}

/// Starts `up` and kills it when the API server begins to start.
fn up_killed_half_way() {
    let mut up = start_up();
    let record = Path::new(STATE).join("pids/kube-apiserver");
    while !record.exists() {
        assert_eq!(up.try_wait().unwrap(), None, "it has ended");
        sleep(Duration::from_millis(20));
    }
    up.kill().unwrap();
    up.wait().unwrap();
}

fn start_up() -> Child {
    let mut command = Command::new(xtask());
    command.args(["cluster", "up"]);
    let streams = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    streams.spawn().unwrap()
}

#[test]
#[ignore = "needs the cluster to itself: cargo xtask test runs it first"]
fn down_leaves_nothing_whenever_up_was_killed() {
    let (_cluster, before) = cluster_down();
    let long = std::env::var_os("KPEXEC_LONG").is_some();
    for moment in if long { MOMENTS_LONG } else { MOMENTS } {
        up_killed_after(*moment);
        succeed(&["down"]);
        assert_eq!(Machine::look(), before, "up was killed after {moment} s");
    }
}

#[test]
#[ignore = "needs the cluster to itself: cargo xtask test runs it first"]
fn up_replaces_leftovers_is_harmless_twice_and_down_undoes_it() {
    let (_cluster, before) = cluster_down();
    assert!(!cluster(&["status"]).status.success(), "status of a cluster that is down");

    up_killed_half_way();
    assert!(!cluster(&["status"]).status.success(), "status of a cluster half up");
    let first = succeed(&["up"]);
    assert!(first.contains("removing what a cluster before has left"), "{first}");
    assert!(first.contains("both nodes Ready"), "{first}");

    let second = succeed(&["up"]);
    assert!(second.contains("it is up"), "{second}");
    let status = succeed(&["status"]);
    assert!(status.contains("2 of 2 nodes Ready"), "{status}");
    let kubeconfig = succeed(&["kubeconfig"]);
    assert!(Path::new(kubeconfig.trim()).is_file(), "{kubeconfig}");

    // Another checkout: the cluster is named and left alone.
    let owner = Path::new(STATE).join("owner");
    let ours = fs::read(&owner).unwrap();
    let theirs = other_checkout();
    fs::write(&owner, theirs.as_os_str().as_encoded_bytes()).unwrap();
    for verb in ["up", "down"] {
        let refused = cluster(&[verb]);
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(!refused.status.success() && said.contains(theirs.to_str().unwrap()), "{said}");
    }
    fs::write(&owner, ours).unwrap();
    fs::remove_dir_all(theirs).unwrap();
    assert!(succeed(&["status"]).contains("2 of 2 nodes Ready"));

    succeed(&["down"]);
    assert_eq!(Machine::look(), before);
    assert!(succeed(&["down"]).contains("it was not up"));
}

/// What looks like another checkout.
fn other_checkout() -> PathBuf {
    let folder = std::env::temp_dir().join(format!("kpx-other-{}", std::process::id()));
    fs::create_dir_all(folder.join("xtask")).unwrap();
    folder
}
