//! Taking over a session that runs, from a process of the target with the same
//! user (A4, A8 and A20 of the threat model). A session of equals can be taken
//! over, and shows that the attacks work; a shielded one cannot.

use std::fs;
use std::process::{Child, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use kpexec_protocol::{Identity, Profile, ServerMessage, Start};
use serde_json::{Value, json};

use crate::client::{Node, SHIELD, exactly};
use crate::fake_container::{DEFAULT, FakeContainer, Options};
use crate::naive::Naive;
use crate::observed::{inside, until};

/// A command with a child, which both wait.
const FAMILY: [&str; 3] = ["sh", "-c", "echo pid $$; sleep 20; true"];

/// What the attack says that it could have, and what else it was told.
fn attack(container: &FakeContainer, name: &str) -> Result<(Vec<String>, Vec<String>)> {
    let said = container.run(&format!("exec hijack {name}"))?;
    ensure!(said.code == 0, "{}", said.output);
    let lines: Vec<_> = said.output.lines().filter_map(|line| line.split_once(' ')).collect();
    ensure!(lines.len() >= 16, "no {name} was found: {}", said.output);
    let (had, refused): (Vec<_>, Vec<_>) = lines.into_iter().partition(|(_, how)| *how == "had");
    let had = had.into_iter().map(|(what, _)| what.to_owned());
    let refused = refused.into_iter().map(|(what, how)| format!("{what} {how}"));
    Ok((had.collect(), refused.collect()))
}

/// A shell's words for: these wait in a system call.
fn waits(pids: &[&str]) -> String {
    let wait = |pid: &&str| format!("busybox grep -q '^State:.S' /proc/{pid}/status");
    pids.iter().map(wait).collect::<Vec<_>>().join(" && ")
}

/// What entering without a shield amounts to: a process in the container with
/// the container's own capabilities.
struct Equal {
    sleep: Child,
    /// As the container numbers it.
    pid: String,
    _naive: Naive,
}

impl Equal {
    fn inside(container: &FakeContainer) -> Result<Self> {
        let naive = Naive::new()?;
        let argv = ["/attacks/confined", &format!("{DEFAULT:x}"), "-", "/bin/sleep", "20"];
        let sleep = naive.command(container, &["-a"], &argv).spawn()?;
        let waiting = waits(&["$pid"]);
        let line = format!("until pid=$(busybox pidof sleep) && {waiting}; do :; done; echo $pid");
        let pid = container.run(&line)?.output.trim().to_owned();
        Ok(Self { sleep, pid, _naive: naive })
    }

    fn end(mut self, container: &FakeContainer) -> Result<()> {
        container.run(&format!("kill {}", self.pid))?;
        self.sleep.wait()?;
        Ok(())
    }
}

pub fn parity() -> Identity {
    Identity { profile: Profile::Target.into(), ..Identity::default() }
}

/// Ends a session, and waits until nothing of it is left: processes are attacked by
/// their names.
async fn end(node: &Node, session: Session) -> Result<()> {
    drop(session);
    for name in ["kpexec-shim", "sh", "sleep"] {
        let gone = || Ok(inside(&node.container, name)?.is_empty());
        until(name, Duration::from_secs(20), gone).await?;
    }
    Ok(())
}

/// A session that runs as long as this is held.
pub struct Session {
    _requests: tokio::sync::mpsc::Sender<kpexec_protocol::ClientMessage>,
    _answers: tonic::Streaming<ServerMessage>,
    /// Of the command, as the container numbers it.
    pub pid: String,
}

/// Starts the family, and waits until both of it wait in a system call.
pub async fn started(node: &Node, identity: Identity) -> Result<Session> {
    let request = Start { identity: Some(identity), ..node.request(&FAMILY) };
    let (requests, mut answers) = node.open(request).await?;
    let first = answers.message().await?.context("no answer")?;
    let said = answers.message().await?.and_then(|answer| answer.kind);
    let Some(kpexec_protocol::server_message::Kind::Stdout(said)) = said else {
        bail!("not the PID, but {first:?} {said:?}")
    };
    let pid = String::from_utf8(said.to_vec())?;
    let pid = pid.strip_prefix("pid ").context("not the PID")?.trim().to_owned();
    let both = format!(
        "until set -- $(cat /proc/{pid}/task/{pid}/children)
            [ $# = 1 ] && busybox grep -q sleep /proc/$1/comm && {}
        do :; done",
        waits(&["$1", &pid])
    );
    ensure!(node.container.run(&both)?.code == 0, "no family");
    Ok(Session { _requests: requests, _answers: answers, pid })
}

/// Nothing can be had of any process of it.
fn is_closed(node: &Node) -> Result<()> {
    for name in ["kpexec-shim", "sh", "sleep"] {
        let (had, refused) = attack(&node.container, name)?;
        assert_eq!(had, [""; 0], "of {name}");
        for what in refused {
            ensure!(what.ends_with(" EACCES") || what.ends_with(" EPERM"), "{name}: {what}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn t07_an_elevated_session_is_closed_to_the_target() -> Result<()> {
    let node = Node::around(FakeContainer::hostile(&Options::hostile())?, &[]).await?;
    let session = started(&node, Identity::default()).await?;
    is_closed(&node)?;
    end(&node, session).await?;
    // The same attacks, on equals.
    let session = started(&node, parity()).await?;
    for name in ["sh", "sleep"] {
        let (had, refused) = attack(&node.container, name)?;
        // A tool cannot be written anyway, and CAP_SYS_ADMIN is lacking.
        assert_eq!(refused, ["tool EROFS", "mounts EPERM"], "{name}: {had:?}");
    }
    drop(session);
    Ok(())
}

#[tokio::test]
async fn t09_one_capability_more_is_a_shield() -> Result<()> {
    let container = FakeContainer::hostile(&Options::hostile())?;
    let equal = Equal::inside(&container)?;
    let (had, _) = attack(&container, "sleep")?;
    for what in ["link:exe", "root", "cwd", "mem", "environ", "fd/0", "descriptor", "trace"] {
        ensure!(had.iter().any(|found| found == what), "{what} is none of {had:?}");
    }
    equal.end(&container)?;

    let node = Node::around(container, &[]).await?;
    // No other capability than the container's own was asked for.
    let session = started(&node, exactly(0, 0, DEFAULT)).await?;
    let held = format!("CapPrm:\t{:016x}", DEFAULT | SHIELD);
    let status = node.container.run(&format!("cat /proc/{}/status", session.pid))?.output;
    ensure!(status.contains(&held), "{status}");
    is_closed(&node)
}

#[tokio::test]
async fn t08_a_session_of_equals_does_not_give_the_tools_away() -> Result<()> {
    let container = FakeContainer::hostile(&Options::hostile())?;
    let write = "busybox echo HOSTILE > /proc/$pid/root/.kpexec/bin/busybox";
    // Tools as one would mount them: in private mounts, writable.
    let script = format!(
        "mkdir /.kpexec; mount -t tmpfs tools /.kpexec; mkdir /.kpexec/bin
        cp /bin/busybox /.kpexec/bin; exec /attacks/confined {DEFAULT:x} - sleep 20"
    );
    let argv = ["/bin/busybox", "unshare", "-m", "/bin/sh", "-c", &script];
    let nsenter = Naive::new()?;
    let mut session = nsenter.command(&container, &["-a"], &argv).stdout(Stdio::null()).spawn()?;
    container.run("until busybox pidof sleep; do :; done")?;
    let written = container.run(&format!("pid=$(busybox pidof sleep); {write}"))?;
    assert_eq!(written.code, 0, "{}", written.output);
    session.kill()?;
    session.wait()?;

    let node = Node::around(container, &[]).await?;
    let tool = node.folder.path().join("toolset/bin/busybox");
    let before = fs::read(&tool)?;
    let session = started(&node, parity()).await?;
    let attack = |line: &str| node.container.run(&format!("pid={}; {line}", session.pid));
    let refused = |line: &str, why: &str| -> Result<()> {
        let said = attack(line)?;
        ensure!(said.code != 0 && said.output.contains(why), "{line}: {}", said.output);
        Ok(())
    };
    refused(write, "Read-only file system")?;
    refused("busybox rm /proc/$pid/root/.kpexec/bin/busybox", "Read-only file system")?;
    let remount = "busybox mount -o remount,rw,bind /.kpexec";
    refused(&format!("busybox nsenter -t $pid -m -- {remount}"), "Operation not permitted")?;
    ensure!(fs::read(&tool)? == before, "a tool has changed");
    Ok(())
}

/// All but unshare(2).
fn no_unshare() -> Value {
    json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["unshare"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1}],
    })
}

#[tokio::test]
async fn t16_a_seccomp_filter_is_not_shed_by_way_of_a_session() -> Result<()> {
    let options = Options { seccomp: Some(no_unshare()), ..Options::hostile() };
    let container = FakeContainer::hostile(&options)?;
    let own = container.run("busybox unshare -U true")?;
    ensure!(own.code != 0, "the container has no filter: {}", own.output);
    let equal = Equal::inside(&container)?;
    let shed = container.run(&format!("exec inject {} unshare", equal.pid))?;
    assert_eq!(shed.output, "call had\n");
    equal.end(&container)?;

    let node = Node::around(container, &[]).await?;
    for (identity, wanted) in [
        (Identity::default(), "trace EPERM\n"),
        (exactly(0, 0, DEFAULT), "trace EPERM\n"),
        (parity(), "call EPERM\n"),
    ] {
        let session = started(&node, identity).await?;
        let attack = node.container.run(&format!("exec inject {} unshare", session.pid))?;
        assert_eq!(attack.output, wanted);
    }
    Ok(())
}

/// A cgroup without the device `full`, which stands for the node's disk; such
/// a cgroup is what confines containers, and our pod. Dropped, it goes.
struct NoDevice(std::path::PathBuf);

impl NoDevice {
    fn around(pids: &[i32]) -> Result<Self> {
        let name = format!("/sys/fs/cgroup/devices/kpexec-attacks-{}", std::process::id());
        let folder = std::path::PathBuf::from(name);
        fs::create_dir_all(&folder).context("make a cgroup of version 1")?;
        fs::write(folder.join("devices.deny"), "c 1:7 rw")?;
        for pid in pids {
            fs::write(folder.join("cgroup.procs"), pid.to_string())?;
        }
        Ok(Self(folder))
    }
}

impl Drop for NoDevice {
    fn drop(&mut self) {
        // Its processes end a moment later than those who hold them.
        for _ in 0..100 {
            if fs::remove_dir(&self.0).is_ok() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }
}

#[tokio::test]
#[ignore = "needs the device controller of cgroup version 1"]
async fn t17_a_device_cgroup_is_not_left_by_way_of_a_session() -> Result<()> {
    let container = FakeContainer::hostile(&Options::hostile())?;
    let made = container.run("mknod /srv/device c 1 7 && chmod 666 /srv/device")?;
    ensure!(made.code == 0, "{}", made.output);
    let cgroup = NoDevice::around(&[container.pid])?;
    let own = container.run("cat < /srv/device")?;
    ensure!(own.output.contains("not permitted"), "nothing confines it: {}", own.output);
    let equal = Equal::inside(&container)?;
    let opened = container.run(&format!("exec inject {} open /srv/device", equal.pid))?;
    assert_eq!(opened.output, "call had\n");
    equal.end(&container)?;

    let node = Node::around(container, &[]).await?;
    // As the runtime does with a pod that is not privileged. Without, the
    // session of an equal could be made to open the device by way of the
    // target's own mounts, which are not ours to make nodev.
    let helper = node.helper.id().context("it has ended")?;
    fs::write(cgroup.0.join("cgroup.procs"), helper.to_string())?;
    for (identity, wanted) in
        [(Identity::default(), ["trace EPERM\n"; 2]), (parity(), ["call EACCES\n", "call EPERM\n"])]
    {
        let session = started(&node, identity).await?;
        for (path, wanted) in ["/srv/device", "/proc/1/root/srv/device"].iter().zip(wanted) {
            let line = format!("exec inject {} open {path}", session.pid);
            assert_eq!(node.container.run(&line)?.output, wanted, "{path}");
        }
    }
    drop(node);
    drop(cgroup);
    Ok(())
}

#[tokio::test]
async fn t17_no_session_opens_a_device_that_the_target_made() -> Result<()> {
    let container = FakeContainer::hostile(&Options::hostile())?;
    container.run("mknod /srv/device c 1 7")?;
    let equal = Equal::inside(&container)?;
    let opened = container.run(&format!("exec inject {} open /srv/device", equal.pid))?;
    assert_eq!(opened.output, "call had\n");
    equal.end(&container)?;

    let node = Node::around(container, &[]).await?;
    for (identity, wanted) in [(Identity::default(), "trace EPERM\n"), (parity(), "call EACCES\n")]
    {
        let session = started(&node, identity).await?;
        let line = format!("exec inject {} open /srv/device", session.pid);
        assert_eq!(node.container.run(&line)?.output, wanted);
    }
    Ok(())
}
