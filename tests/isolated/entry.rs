//! Which processes, namespaces and streams a session gets.

use std::fs;

use anyhow::{Context, Result};
use k8s_cri::v1::ContainerState;
use kpexec_protocol::Reason;

use crate::client::{Node, terminal};

#[tokio::test]
async fn the_targets_namespaces_are_joined() -> Result<()> {
    let node = Node::start().await?;
    for kind in ["cgroup", "ipc", "net", "pid", "user", "uts"] {
        let inside = node.output(&["readlink", &format!("/proc/self/ns/{kind}")]).await?;
        let target = fs::read_link(format!("/proc/{}/ns/{kind}", node.container.pid))?;
        assert_eq!(inside, target.to_string_lossy(), "{kind}");
    }
    let mounts = node.output(&["readlink", "/proc/self/ns/mnt"]).await?;
    let target = fs::read_link(format!("/proc/{}/ns/mnt", node.container.pid))?;
    assert_ne!(mounts, target.to_string_lossy(), "the view must be private");
    assert_eq!(node.output(&["hostname"]).await?, "fake");
    Ok(())
}

#[tokio::test]
async fn streams_are_apart_and_binary_safe() -> Result<()> {
    let node = Node::start().await?;
    let outcome = node.run(node.request(&["sh", "-c", "echo out; echo err >&2"]), b"").await?;
    assert_eq!(
        (outcome.stdout.as_slice(), outcome.stderr.as_slice()),
        (&b"out\n"[..], &b"err\n"[..])
    );
    let bytes: Vec<u8> =
        (0..3_000_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let mut request = node.request(&["cat"]);
    request.stdin = true;
    let outcome = node.run(request, &bytes).await?;
    assert_eq!(outcome.code, Some(0));
    assert!(outcome.stdout == bytes, "{} bytes came back", outcome.stdout.len());
    Ok(())
}

#[tokio::test]
async fn without_stdin_it_is_empty() -> Result<()> {
    let node = Node::start().await?;
    assert_eq!(node.output(&["wc", "-c"]).await?, "0");
    Ok(())
}

#[tokio::test]
async fn exit_codes_and_signals_are_the_commands_own() -> Result<()> {
    let node = Node::start().await?;
    let code = |script: &'static str| {
        let request = node.request(&["sh", "-c", script]);
        node.run(request, b"")
    };
    assert_eq!(code("exit 0").await?.code, Some(0));
    assert_eq!(code("exit 3").await?.code, Some(3));
    assert_eq!(code("kill -KILL $$").await?.signal, Some(9));
    assert_eq!(code("kill -TERM $$").await?.signal, Some(15));
    Ok(())
}

#[tokio::test]
async fn what_cannot_be_run_says_so() -> Result<()> {
    let node = Node::start().await?;
    for (program, reason) in [
        ("no-such-program", Reason::NotFound),
        ("/no/such/program", Reason::NotFound),
        ("/etc/no-program", Reason::NotExecutable),
        ("/etc", Reason::NotExecutable),
    ] {
        let outcome = node.run(node.request(&[program]), b"").await?;
        let failure = outcome.failure.with_context(|| format!("{program} ran"))?;
        assert_eq!(failure.reason(), reason, "{program}: {}", failure.message);
        assert!(failure.message.starts_with(program), "{}", failure.message);
        assert_eq!((outcome.code, outcome.signal), (None, None));
    }
    Ok(())
}

#[tokio::test]
async fn a_terminal_is_one() -> Result<()> {
    let node = Node::start().await?;
    let mut request = node.request(&[
        "sh",
        "-c",
        "test -t 0 && test -t 1 && test -t 2 && tty && stty size && echo $TERM",
    ]);
    request.terminal = Some(terminal(33, 101));
    request.stdin = true;
    let outcome = node.run(request, b"").await?;
    assert_eq!(outcome.text(), "/dev/pts/0\r\n33 101\r\nxterm", "{outcome:?}");
    Ok(())
}

#[tokio::test]
async fn the_environment_is_the_targets_without_traps() -> Result<()> {
    let node = Node::start().await?;
    let env = node.output(&["env"]).await?;
    let lines: Vec<&str> = env.lines().collect();
    for wanted in ["SECRET=s3cret", "PATH=/.kpexec/bin:/bin", "HOME=/root"] {
        assert!(lines.contains(&wanted), "{wanted} is not in {env}");
    }
    assert!(!env.contains("LD_PRELOAD"), "{env}");
    assert_eq!(node.output(&["pwd"]).await?, "/srv");
    Ok(())
}

#[tokio::test]
async fn no_descriptor_of_ours_is_left_open() -> Result<()> {
    let node = Node::start().await?;
    let open = node.output(&["ls", "/proc/self/fd"]).await?;
    // 3 is the folder that ls itself reads.
    assert_eq!(open.split_ascii_whitespace().collect::<Vec<_>>(), ["0", "1", "2", "3"]);
    Ok(())
}

#[tokio::test]
async fn a_container_that_is_not_ours_to_enter_is_refused() -> Result<()> {
    let node = Node::start().await?;
    let refusal = async |node: &Node| -> Result<String> {
        let outcome = node.run(node.request(&["true"]), b"").await?;
        let failure = outcome.failure.context("it ran")?;
        assert_eq!(failure.reason(), Reason::Helper);
        Ok(failure.message)
    };
    let set = |change: fn(&mut crate::fake_runtime::Answer)| {
        change(&mut node.runtime.lock().expect("no test panics while it holds this"));
    };
    set(|answer| answer.runtime_type = "io.containerd.runsc.v1");
    assert!(refusal(&node).await?.contains("sandbox"));
    set(|answer| answer.runtime_type = "io.containerd.runc.v2");
    set(|answer| answer.state = ContainerState::ContainerExited);
    assert!(refusal(&node).await?.contains("not running"));
    set(|answer| answer.state = ContainerState::ContainerRunning);
    // A recycled PID: the process lives, but in no cgroup of the container.
    set(|answer| answer.id = "0123456789abcdef".into());
    assert!(refusal(&node).await?.contains("is not in the cgroup"));
    Ok(())
}

#[tokio::test]
async fn capabilities_the_helper_lacks_are_named() -> Result<()> {
    let node = Node::start().await?;
    let mut request = node.request(&["true"]);
    request.identity.as_mut().context("no identity")?.add = 1 << 63;
    let failure = node.run(request, b"").await?.failure.context("it ran")?;
    assert!(failure.message.contains("number 63"), "{}", failure.message);
    Ok(())
}
