//! `kpexec --local`, on the nodes themselves, without an API server: which
//! container is meant, that it is entered as in the cluster, and that nothing is
//! left of it.

mod naming;

use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use tests::command::{Output, run, signal, wait};
use tests::node::{NODES, cgroups_of, children};
use tests::pod::wait_for_processes;
use tests::status::{DEFAULT_CAPABILITIES, KILL, SYS_PTRACE, general, set, sets, status};
use tests::terminal::Terminal;
use tests::{Node, Pod, cluster};

const LIMIT: Duration = Duration::from_secs(60);

/// Runs `kpexec --local ARGUMENTS` on a node.
fn on(node: &str, arguments: &[&str]) -> Result<Output> {
    run(Node::find(node)?.kpexec(arguments), b"")
}

#[test]
fn it_takes_root() -> Result<()> {
    for (node, [pod, _]) in NODES {
        let node = Node::find(node)?;
        let kpexec = cluster::Cluster::get().kpexec.to_string_lossy();
        let nobody = ["setpriv", "--reuid=65534", "--clear-groups", "--bounding-set=-all"];
        let start = [&nobody[..], &[&*kpexec, "--local"]].concat();
        let output = run(node.with_tools(&start, &[&format!("{pod}/default"), "--", "id"]), b"")?;
        let said = "kpexec: --local must be run by root: it enters the container itself\n\
                    hint: sudo kpexec --local ...\n";
        assert_eq!((output.code(), output.stderr.as_str()), (125, said));
    }
    Ok(())
}

#[test]
fn the_tools_of_a_distroless_container_are_ours() -> Result<()> {
    for (node, [pod, _]) in NODES {
        let script = "echo $BASH; readlink /proc/1/exe; ls -d /app; hostname; ip -br link | wc -l";
        let output = on(node, &[&format!("{pod}/default"), "--", "bash", "-c", script])?;
        let wanted = format!("/.kpexec/bin/bash\n/app\n/app\n{pod}\n2");
        assert_eq!(output.text(), wanted, "{node}: {}", output.stderr);
    }
    Ok(())
}

#[test]
fn without_a_toolset_the_containers_own_programs_are_run() -> Result<()> {
    for (node, [hardened, plain]) in NODES {
        let at = Node::find(node)?;
        let without = |pod: &str, program: &str| {
            let mut kpexec = at.kpexec(&[&format!("{pod}/default"), "--", program]);
            // A helper that stands alone: there is nothing beside it.
            let alone = tempfile::tempdir()?;
            tests::node::copy_helper(alone.path())?;
            kpexec.env("KPEXEC_NODE_HELPER", alone.path().join("node-helper"));
            kpexec.env_remove("KPEXEC_TOOLSET_FOLDER");
            run(kpexec, b"")
        };
        let output = without(plain, "hostname")?;
        assert_eq!((output.code(), output.text().as_str()), (0, plain), "{node}: {output:?}");
        ensure!(output.stderr.starts_with("no toolset on this node"), "{node}: {output:?}");
        let output = without(hardened, "bash")?;
        assert_eq!(output.code(), 127, "{node}: {output:?}");
        let hint = "hint: this node has no toolset: KPEXEC_TOOLSET_FOLDER names the folder of one";
        ensure!(output.stderr.contains(hint), "{node}: {output:?}");
    }
    Ok(())
}

#[test]
fn the_identity_is_as_asked() -> Result<()> {
    for (node, [pod, _]) in NODES {
        let name = format!("{pod}/default");
        let of = |flags: &[&str]| -> Result<String> {
            let arguments = [flags, &[&name, "--", "cat", "/proc/self/status"]].concat();
            let output = on(node, &arguments)?;
            ensure!(output.code() == 0, "{node}: {flags:?}: {output:?}");
            Ok(output.text())
        };
        let root = of(&[])?;
        assert_eq!(status(&root, "Uid")?, ["0"; 4], "{node}");
        assert_eq!(sets(&root)?[2], general(), "{node}");
        assert_eq!(sets(&root)?[3], general(), "{node}: the bounding set");
        let user = of(&["-u", "1234:5678", "--groups", "7,8"])?;
        assert_eq!(status(&user, "Uid")?, ["1234"; 4], "{node}");
        assert_eq!(status(&user, "Gid")?, ["5678"; 4], "{node}");
        assert_eq!(status(&user, "Groups")?, ["7", "8"], "{node}");
        let few = of(&["--cap-drop", "ALL", "--cap-add", "KILL"])?;
        ensure!(sets(&few)?[2] & set([KILL, SYS_PTRACE]) == set([KILL]), "{node}: {few}");
        let baseline = of(&["--profile", "baseline"])?;
        ensure!(sets(&baseline)?[2] & general() == set(DEFAULT_CAPABILITIES), "{node}");
        let parity = of(&["--profile", "target"])?;
        assert_eq!(status(&parity, "Uid")?, ["65532"; 4], "{node}");
        assert_eq!(sets(&parity)?[2], 0, "{node}");
        assert_eq!(status(&parity, "Seccomp")?, ["2"], "{node}: the container's filter");
        assert_eq!(status(&parity, "NoNewPrivs")?, ["1"], "{node}");
    }
    Ok(())
}

#[test]
fn a_terminal_is_one() -> Result<()> {
    for (node, [pod, _]) in NODES {
        let kpexec = Node::find(node)?.kpexec(&["-it", &format!("{pod}/default")]);
        // Of a terminal that nobody has touched: kpexec may be fast.
        let before = Terminal::run(&Command::new("true"), 24, 80)?.settings()?;
        let mut terminal = Terminal::run(&kpexec, 24, 80)?;
        terminal.expect(&format!("default/{pod}, container app, on node "))?;
        terminal.expect("# ")?;
        terminal.type_in("tty; stty size\r")?;
        terminal.expect("/dev/pts/")?;
        terminal.expect("24 80")?;
        terminal.resize(30, 100)?;
        // The change is a message of its own; asked again until it is there.
        terminal
            .type_in("until stty size | command grep '30 100'; do sleep 0.1; done; exit 4\r")?;
        terminal.expect("30 100\r\n")?;
        assert_eq!(wait(&mut terminal.child, LIMIT)?.code(), Some(4), "{node}");
        assert_eq!(terminal.settings()?, before, "{node}");
    }
    Ok(())
}

#[test]
fn the_escape_leaves_a_session_that_hangs() -> Result<()> {
    for ((node, [pod, _]), mark) in NODES.into_iter().zip(["85001", "85002"]) {
        let kpexec =
            Node::find(node)?.kpexec(&["-it", &format!("{pod}/default"), "--", "sleep", mark]);
        let mut terminal = Terminal::run(&kpexec, 24, 80)?;
        wait_for_processes(mark, 1)?;
        terminal.type_in("\r~.")?;
        assert_eq!(wait(&mut terminal.child, LIMIT)?.code(), Some(125), "{node}");
        wait_for_processes(mark, 0)?;
    }
    Ok(())
}

#[test]
fn exit_codes_are_the_commands_own() -> Result<()> {
    for (node, [pod, _]) in NODES {
        let name = format!("{pod}/default");
        for (script, code) in [("exit 0", 0), ("exit 7", 7), ("kill -KILL $$", 137)] {
            let output = on(node, &[&name, "--", "sh", "-c", script])?;
            assert_eq!((output.code(), output.stderr.as_str()), (code, ""), "{node}: {script}");
        }
        for (program, code) in [("/etc/passwd", 126), ("no-such-program", 127)] {
            assert_eq!(on(node, &[&name, "--", program])?.code(), code, "{node}: {program}");
        }
    }
    Ok(())
}

#[test]
fn bytes_come_back_unchanged() -> Result<()> {
    let mut bytes = vec![0; 16 << 20];
    std::io::Read::read_exact(&mut fs::File::open("/dev/urandom")?, &mut bytes)?;
    for (node, [pod, _]) in NODES {
        let name = format!("{pod}/default");
        let node_here = Node::find(node)?;
        let output = run(node_here.kpexec(&["-i", &name, "--", "cat"]), &bytes)?;
        assert_eq!(output.code(), 0, "{node}: {}", output.stderr);
        assert!(output.stdout == bytes, "{node}: {} bytes came back", output.stdout.len());
        let script = "echo out; echo err >&2";
        let output = on(node, &[&name, "--", "sh", "-c", script])?;
        assert_eq!((output.text().as_str(), output.stderr.as_str()), ("out", "err\n"), "{node}");
    }
    Ok(())
}

#[test]
fn what_is_written_can_be_discarded_and_saved() -> Result<()> {
    let folder = tempfile::tempdir()?;
    for (node, [_, pod]) in NODES {
        let name = format!("{pod}/default");
        let file = folder.path().join(node);
        let path = file.to_str().context("a temporary path is text")?;
        let script = "echo new > /etc/written; cat /etc/written";
        let output = on(node, &["--save-changes", path, &name, "--", "sh", "-c", script])?;
        assert_eq!((output.code(), output.text().as_str()), (0, "new"), "{node}: {output:?}");
        let listed = Command::new("tar").args(["tf", path]).output()?;
        let listed = String::from_utf8(listed.stdout)?;
        ensure!(listed.lines().any(|line| line == "etc/written"), "{node}: {listed}");
        ensure!(!Pod::find(pod)?.path("/etc/written").exists(), "{node}: it was written");
    }
    Ok(())
}

#[test]
fn a_signal_is_the_commands() -> Result<()> {
    for ((node, [pod, _]), mark) in NODES.into_iter().zip(["85003", "85004"]) {
        let script = format!("trap 'exit 9' INT; echo ready; sleep {mark} & wait");
        let mut kpexec =
            Node::find(node)?.kpexec(&[&format!("{pod}/default"), "--", "sh", "-c", &script]);
        let mut client = kpexec.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        // Before that the signal would be kpexec's own.
        let stdout = client.stdout.as_mut().context("stdout is a pipe")?;
        std::io::Read::read_exact(stdout, &mut [0; 6])?;
        signal(client.id(), Signal::INT)?;
        assert_eq!(wait(&mut client, LIMIT)?.code(), Some(9), "{node}");
        wait_for_processes(mark, 0)?;
    }
    Ok(())
}

/// A session whose command leaves a process of its own session behind.
struct Running {
    client: std::process::Child,
    helper: u32,
    mark: &'static str,
}

impl Running {
    fn start(node: &Node, pod: &str, mark: &'static str) -> Result<Self> {
        let script = format!("(trap '' HUP TERM; setsid sleep {mark} &); exec sleep {mark}");
        let mut kpexec = node.kpexec(&[&format!("{pod}/default"), "--", "bash", "-c", &script]);
        let client = kpexec.stdin(Stdio::null()).stderr(Stdio::piped()).spawn()?;
        wait_for_processes(mark, 2)?;
        // The kernel cuts names to 15 characters: both fit.
        let helpers = children(client.id(), "node-helper")?;
        ensure!(helpers.len() == 1, "helpers of one client: {helpers:?}");
        ensure!(cgroups_of(&helpers)?.len() == 1, "the session has its cgroup");
        Ok(Self { client, helper: helpers[0], mark })
    }

    /// Waits until nothing is left of it.
    fn wait_until_gone(&self) -> Result<()> {
        wait_for_processes(self.mark, 0)?;
        let deadline = std::time::Instant::now() + LIMIT;
        let is_there = || fs::exists(format!("/proc/{}/exe", self.helper)).unwrap_or(true);
        let cgroups = || cgroups_of(&[self.helper]);
        while is_there() || !cgroups()?.is_empty() {
            ensure!(std::time::Instant::now() < deadline, "left: {} {:?}", self.helper, cgroups());
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }
}

#[test]
fn a_client_that_is_killed_leaves_nothing() -> Result<()> {
    for ((node, [pod, _]), mark) in NODES.into_iter().zip(["85005", "85006"]) {
        let node = Node::find(node)?;
        let before = node.mounts()?;
        let mut running = Running::start(&node, pod, mark)?;
        assert_eq!(node.mounts()?, before, "a session mounts nothing on the node");
        running.client.kill()?;
        running.client.wait()?;
        running.wait_until_gone()?;
        assert_eq!(node.mounts()?, before);
    }
    Ok(())
}

#[test]
fn a_helper_that_is_killed_is_told_and_swept_up() -> Result<()> {
    for ((node, [pod, _]), mark) in NODES.into_iter().zip(["85007", "85008"]) {
        let mut running = Running::start(&Node::find(node)?, pod, mark)?;
        signal(running.helper, Signal::KILL)?;
        assert_eq!(wait(&mut running.client, LIMIT)?.code(), Some(125), "{node}");
        let mut said = String::new();
        let stderr = running.client.stderr.as_mut().context("stderr is a pipe")?;
        std::io::Read::read_to_string(stderr, &mut said)?;
        let lost = "kpexec: lost the session, and with it the command's result: \
                    the helper was ended by signal 9\n";
        assert_eq!(said, lost, "{node}");
        running.wait_until_gone()?;
    }
    Ok(())
}

#[test]
fn what_both_left_that_were_killed_the_next_one_sweeps_up() -> Result<()> {
    for ((node, [pod, _]), mark) in NODES.into_iter().zip(["85009", "85010"]) {
        let node = Node::find(node)?;
        let mut running = Running::start(&node, pod, mark)?;
        // The client first: it would sweep.
        signal(running.client.id(), Signal::STOP)?;
        signal(running.helper, Signal::KILL)?;
        running.client.kill()?;
        running.client.wait()?;
        // Another test's helper may have done it already; without any it would stay.
        let next = run(node.kpexec(&[&format!("{pod}/default"), "--", "sleep", "0.5"]), b"")?;
        assert_eq!(next.code(), 0, "{next:?}");
        running.wait_until_gone()?;
    }
    Ok(())
}
