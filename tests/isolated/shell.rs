//! A session without a command: which shell it gets, and in what environment.

use std::fs;
use std::os::unix::fs::symlink;

use anyhow::{Context, Result};
use kpexec_protocol::{Profile, Reason, Start};

use crate::client::{Node, Outcome, terminal};
use crate::programs::{install, install_text};

/// Runs a script by whatever shell there is.
async fn script(node: &Node, script: &str) -> Result<Outcome> {
    let request = Start { stdin: true, ..node.request(&[]) };
    node.run(request, script.as_bytes()).await
}

/// What the shell is, and by what name it was started.
const WHICH: &str = "readlink /proc/$$/exe; echo $0";

const BASH: &str = "/bin/bash-static";

fn bin(node: &Node) -> std::path::PathBuf {
    node.folder.path().join("toolset/bin")
}

#[tokio::test]
async fn the_tools_shell_comes_before_the_targets() -> Result<()> {
    let node = Node::start().await?;
    // No bash anywhere yet.
    assert_eq!(script(&node, WHICH).await?.text(), "/.kpexec/bin/busybox\nsh");
    let theirs = node.container.path("/bin/bash");
    install(BASH.as_ref(), &theirs)?;
    assert_eq!(script(&node, WHICH).await?.text(), "/.kpexec/bin/busybox\nsh");
    fs::remove_file(bin(&node).join("sh"))?;
    assert_eq!(script(&node, WHICH).await?.text(), "/bin/bash\nbash");
    fs::remove_file(&theirs)?;
    assert_eq!(script(&node, WHICH).await?.text(), "/bin/busybox\nsh");
    Ok(())
}

#[tokio::test]
async fn bash_is_preferred_and_called_by_its_plain_name() -> Result<()> {
    let node = Node::start().await?;
    install(BASH.as_ref(), &bin(&node).join("bash"))?;
    let outcome = script(&node, &format!("{WHICH}; shopt -q login_shell || echo no login")).await?;
    assert_eq!(outcome.text(), "/.kpexec/bin/bash\nbash\nno login");
    Ok(())
}

#[tokio::test]
async fn a_shell_that_cannot_run_is_passed_over() -> Result<()> {
    let node = Node::start().await?;
    // Its interpreter is not there.
    install_text("#!/no/such/program\n", &bin(&node).join("bash"))?;
    assert_eq!(script(&node, WHICH).await?.text(), "/.kpexec/bin/busybox\nsh");
    Ok(())
}

#[tokio::test]
async fn a_shell_on_a_terminal_is_interactive() -> Result<()> {
    let node = Node::start().await?;
    let request = Start { stdin: true, terminal: Some(terminal(24, 80)), ..node.request(&[]) };
    let outcome = node.run(request, b"case $- in *i*) echo is-$((1+1));; esac\nexit 7\n").await?;
    assert_eq!(outcome.code, Some(7), "{outcome:?}");
    assert!(outcome.text().contains("is-2"), "{outcome:?}");
    Ok(())
}

#[tokio::test]
async fn above_general_the_targets_shell_is_none() -> Result<()> {
    let node = Node::start().await?;
    symlink("busybox", node.container.path("/bin/bash"))?;
    fs::remove_file(bin(&node).join("sh"))?;
    let mut request = Start { stdin: true, ..node.request(&[]) };
    request.identity.as_mut().context("no identity")?.profile = Profile::Sysadmin.into();
    let failure = node.run(request, b"").await?.failure.context("it ran")?;
    assert_eq!(failure.reason(), Reason::NotFound);
    assert!(failure.hint.contains("--trust-target"), "{failure:?}");
    Ok(())
}

#[tokio::test]
async fn no_shell_at_all_is_said() -> Result<()> {
    let node = Node::start().await?;
    fs::remove_file(bin(&node).join("sh"))?;
    fs::remove_file(node.container.path("/bin/sh"))?;
    let failure = script(&node, "").await?.failure.context("it ran")?;
    assert_eq!(failure.reason(), Reason::NotFound);
    assert!(failure.message.starts_with("there is no shell"), "{failure:?}");
    Ok(())
}

#[tokio::test]
async fn the_environment_is_a_shells() -> Result<()> {
    let node = Node::start().await?;
    let env = script(&node, "env").await?.text();
    let lines: Vec<&str> = env.lines().collect();
    for wanted in [
        "KPEXEC_POD=fake",
        "KPEXEC_CONTAINER=app",
        "SHELL=/.kpexec/bin/bash",
        "LANG=C.UTF-8",
        "HISTFILE=",
        "USER=root",
        "TMPDIR=/dev/shm",
    ] {
        assert!(lines.contains(&wanted), "{wanted} is not in {env}");
    }
    assert_eq!(
        script(&node, "cat << E > $TMPDIR/here && cat $TMPDIR/here\nx\nE\n").await?.text(),
        "x"
    );
    Ok(())
}
