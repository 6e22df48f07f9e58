//! Sessions when something fails: what is said, how soon, and what is left. On
//! both nodes, with real faults.

mod session;
mod ways;

use std::collections::{BTreeMap, HashMap};
use std::io::Read as _;
use std::process::Stdio;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::Signal;
use session::{BY_KUBELET, LIMIT, Session};
use tests::command::{kpexec, run_kpexec, signal};
use tests::faults::{Cut, Killed};
use tests::{BOTH_NODES, Namespace, kubectl};

/// There is one cluster on a machine: one fault at a time.
static CLUSTER: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    CLUSTER.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Which of a helper's processes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    /// The pod's main one.
    Main,
    /// Its copies, which serve clients.
    Serving,
}

/// PIDs of the helper's processes in a namespace that play a role, of which there is
/// one at least.
fn processes_of(helpers: &Namespace, role: Role) -> Result<Vec<u32>> {
    let deadline = Instant::now() + BY_KUBELET;
    loop {
        let found = known_processes_of(helpers, role)?;
        if !found.is_empty() {
            return Ok(found);
        }
        ensure!(Instant::now() < deadline, "the helper has no such process");
        sleep(Duration::from_millis(100));
    }
}

/// Those of all pods, or none before the kubelets have told each one's container, which
/// they do after sessions begin.
fn known_processes_of(helpers: &Namespace, role: Role) -> Result<Vec<u32>> {
    let path = "jsonpath={range .items[*]}{.status.containerStatuses[*].containerID}{\"\\n\"}{end}";
    let ids = kubectl(&["get", "pods", "-n", helpers.name(), "-o", path])?;
    let ids: Option<Vec<&str>> =
        ids.lines().map(|id| id.split_once("://").map(|(_, id)| id)).collect();
    let Some(ids) = ids else { return Ok(Vec::new()) };
    let mut parents = HashMap::new();
    for entry in std::fs::read_dir("/proc")? {
        let entry = entry?;
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let read = |file| std::fs::read_to_string(entry.path().join(file)).unwrap_or_default();
        let is_ours = read("cmdline").starts_with("/node-helper\0supervise\0");
        let cgroup = read("cgroup");
        if is_ours && ids.iter().any(|id| cgroup.contains(id)) {
            let status = read("status");
            let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"));
            parents.insert(pid, parent.and_then(|text| text.trim().parse().ok()).unwrap_or(0));
        }
    }
    let is_copy = |parent: &u32| parents.contains_key(parent);
    let wanted = parents.iter().filter(|(_, parent)| is_copy(parent) == (role == Role::Serving));
    Ok(wanted.map(|(pid, _)| *pid).collect())
}

#[test]
#[ignore = "needs the cluster to itself: cargo xtask test runs it last"]
fn a_process_of_the_helper_that_is_killed_is_told() -> Result<()> {
    let _alone = alone();
    let helpers = Namespace::for_helpers("killed")?;
    for (number, pod) in (0..).zip(BOTH_NODES) {
        for (role, what, mark) in [
            (Role::Serving, "the helper's process for it was killed", 87_010),
            (Role::Main, "the helper's container was killed", 87_012),
        ] {
            // The second time the helper that has just been killed is replaced.
            let place = ["--helper-namespace", helpers.name()];
            let mut session = Session::begin(pod, mark + number, &place)?;
            let processes = processes_of(&helpers, role)?;
            let fault = Instant::now();
            for pid in processes {
                signal(pid, Signal::KILL)?;
            }
            session.ends_by(fault, what)?;
            session.leaves_nothing(fault)?;
        }
        let next = run_kpexec(&["--helper-namespace", helpers.name(), pod, "--", "true"])?;
        assert_eq!((next.code(), next.stderr.as_str()), (0, ""), "{pod}: the next one");
    }
    Ok(())
}

#[test]
#[ignore = "needs the cluster to itself: cargo xtask test runs it last"]
fn a_helper_that_is_deleted_or_evicted_is_told() -> Result<()> {
    let _alone = alone();
    let helpers = Namespace::for_helpers("evicted")?;
    for (number, pod) in (0..).zip(BOTH_NODES) {
        for (evict, mark) in [(false, 87_020), (true, 87_022)] {
            let place = ["--helper-namespace", helpers.name()];
            let mut session = Session::begin(pod, mark + number, &place)?;
            let helper = session_pod(&helpers)?;
            let fault = Instant::now();
            if evict {
                evict_pod(helpers.name(), &helper)?;
            } else {
                kubectl(&["delete", "-n", helpers.name(), "pod", &helper, "--wait=false"])?;
            }
            session.ends_by(fault, "the helper pod was deleted or evicted")?;
            session.leaves_nothing(fault)?;
        }
    }
    Ok(())
}

/// The only helper pod of a namespace that is not on its way out.
fn session_pod(helpers: &Namespace) -> Result<String> {
    let template = "go-template={{range .items}}{{if not .metadata.deletionTimestamp}}\
                    {{.metadata.name}} {{end}}{{end}}";
    let staying = kubectl(&["get", "pods", "-n", helpers.name(), "-o", template])?;
    match staying.split_whitespace().collect::<Vec<_>>().as_slice() {
        [one] => Ok((*one).to_owned()),
        others => bail!("not one helper pod: {others:?}"),
    }
}

fn evict_pod(namespace: &str, name: &str) -> Result<()> {
    let eviction = serde_json::json!({
        "apiVersion": "policy/v1", "kind": "Eviction",
        "metadata": {"name": name, "namespace": namespace},
    });
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), eviction.to_string())?;
    let path = format!("/api/v1/namespaces/{namespace}/pods/{name}/eviction");
    let file = file.path().to_str().context("a temporary path is text")?;
    kubectl(&["create", "--raw", &path, "-f", file]).map(drop)
}

#[test]
#[ignore = "needs the cluster to itself: cargo xtask test runs it last"]
fn a_kubelet_that_is_killed_is_told() -> Result<()> {
    let _alone = alone();
    for (node, pod, mark) in [("node1", BOTH_NODES[0], 87_030), ("node2", BOTH_NODES[1], 87_031)] {
        let mut session = Session::begin(pod, mark, &[])?;
        let fault = Instant::now();
        let killed = Killed::part(&format!("{node}-kubelet"))?;
        session.ends_by(fault, &format!("the kubelet of node {node} was restarted or is gone"))?;
        session.leaves_nothing(fault)?;
        drop(killed);
        let next = run_kpexec(&[pod, "--", "true"])?;
        assert_eq!(next.code(), 0, "{pod}: the next one: {next:?}");
    }
    Ok(())
}

#[test]
#[ignore = "needs the cluster to itself: cargo xtask test runs it last"]
fn a_container_runtime_that_is_killed_is_told() -> Result<()> {
    let _alone = alone();
    for (node, pod, mark) in [("node1", BOTH_NODES[0], 87_040), ("node2", BOTH_NODES[1], 87_041)] {
        // containerd's shim goes on and holds the streams open: the helper hears of
        // it by silence.
        let mut session = Session::begin(pod, mark, &["--keepalive=6s"])?;
        let fault = Instant::now();
        let killed = Killed::part(&format!("{node}-runtime"))?;
        let end = session.watch(fault);
        let what = format!("the container runtime of node {node} was restarted or is gone");
        session.ends_by(fault, &what)?;
        let gone = end.took()?;
        ensure!(gone < Duration::from_secs(12), "{pod}: gone after {gone:?}");
        drop(killed);
        // Its helper has outlived the runtime.
        let next = run_kpexec(&[pod, "--", "true"])?;
        assert_eq!((next.code(), next.stderr.as_str()), (0, ""), "{pod}: the next one");
    }
    Ok(())
}

#[test]
#[ignore = "needs the cluster to itself: cargo xtask test runs it last"]
fn an_api_server_that_is_killed_is_told() -> Result<()> {
    let _alone = alone();
    let mut sessions = [
        Session::begin(BOTH_NODES[0], 87_050, &["--keepalive=6s"])?,
        Session::begin(BOTH_NODES[1], 87_051, &["--keepalive=6s"])?,
    ];
    let fault = Instant::now();
    let killed = Killed::part("kube-apiserver")?;
    for session in &mut sessions {
        session.ends_by(fault, "the API server https://127.0.0.1:6443 was restarted or is away")?;
        session.leaves_nothing(fault)?;
    }
    // And one that is to begin meanwhile.
    let begun = Instant::now();
    let next = run_kpexec(&[BOTH_NODES[0], "--", "true"])?;
    ensure!(begun.elapsed() < LIMIT, "it takes {:?}", begun.elapsed());
    assert_eq!(next.code(), 125, "{next:?}");
    ensure!(next.stderr.contains("cannot reach the API server https://127.0.0.1:6443"), "{next:?}");
    drop(killed);
    Ok(())
}

#[test]
#[ignore = "needs the cluster to itself: cargo xtask test runs it last"]
fn a_link_that_is_down_for_5_s_is_survived() -> Result<()> {
    let _alone = alone();
    let mut clients = BTreeMap::new();
    for pod in BOTH_NODES {
        let script = "for n in $(seq 12); do echo $n; sleep 1; done; exit 3";
        let mut command = kpexec(&[pod, "--", "sh", "-c", script]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        clients.insert(pod, command.spawn()?);
    }
    for (pod, client) in &mut clients {
        let mut first = [0; 2];
        client.stdout.as_mut().context("no stdout")?.read_exact(&mut first)?;
        ensure!(&first == b"1\n", "{pod}: {first:?}");
    }
    let fault = Instant::now();
    let cut = Cut::both()?;
    // No longer than that: 6.2 s later TCP tries again, and it is given up after 10 s.
    sleep(Duration::from_secs(5).saturating_sub(fault.elapsed()));
    drop(cut);
    for (pod, client) in clients {
        let output = client.wait_with_output()?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!((output.status.code(), said.as_str()), (Some(3), ""), "{pod}");
        let wanted: String = (2..=12).map(|n| format!("{n}\n")).collect();
        assert_eq!(String::from_utf8_lossy(&output.stdout), wanted, "{pod}");
    }
    Ok(())
}

#[test]
#[ignore = "needs the cluster to itself: cargo xtask test runs it last"]
fn a_link_that_stays_down_is_told_and_ends_the_command() -> Result<()> {
    let _alone = alone();
    let long = std::env::var_os("KPEXEC_LONG").is_some();
    let (keepalive, down) = if long { (30, 60) } else { (12, 20) };
    let flag = format!("--keepalive={keepalive}s");
    let mut sessions = [
        Session::begin(BOTH_NODES[0], 87_060, &[&flag])?,
        Session::begin(BOTH_NODES[1], 87_061, &[&flag])?,
    ];
    let fault = Instant::now();
    let cut = Cut::both()?;
    let ends: Vec<_> = sessions.iter().map(|session| session.watch(fault)).collect();
    for session in &mut sessions {
        session.ends_by(fault, "its network is cut, or it is gone")?;
    }
    // On a node that nobody can reach. Some for this test's look at all processes.
    let limit = Duration::from_secs(keepalive + 2);
    for end in ends {
        let gone = end.took()?;
        ensure!(gone < limit, "gone after {gone:?}");
    }
    sleep(Duration::from_secs(down).saturating_sub(fault.elapsed()));
    drop(cut);
    for pod in BOTH_NODES {
        let next = run_kpexec(&[pod, "--", "true"])?;
        assert_eq!(next.code(), 0, "{pod}: the next one: {next:?}");
    }
    Ok(())
}
