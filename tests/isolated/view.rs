//! What a session sees, and what the target does not.

use std::fs;

use anyhow::Result;

use crate::client::Node;

#[tokio::test]
async fn the_targets_files_are_the_sessions() -> Result<()> {
    let node = Node::start().await?;
    let passwd = node.output(&["cat", "/etc/passwd"]).await?;
    assert_eq!(passwd, "root:x:0:0:the target's root:/:/bin/sh");
    assert_eq!(node.output(&["cat", "/volume/file"]).await?, "data", "volumes are part of it");
    assert_eq!(node.output(&["readlink", "/link"]).await?, "etc/passwd", "links stay links");
    assert_eq!(node.output(&["/bin/hostname"]).await?, "fake", "its programs run");
    Ok(())
}

#[tokio::test]
async fn writes_reach_the_target() -> Result<()> {
    let node = Node::start().await?;
    node.output(&["sh", "-c", "echo hello > /tmp/from-session"]).await?;
    assert_eq!(fs::read_to_string(node.container.path("/tmp/from-session"))?, "hello\n");
    Ok(())
}

#[tokio::test]
async fn the_target_sees_nothing() -> Result<()> {
    let node = Node::start().await?;
    let pid = node.container.pid;
    let look = || -> Result<_> {
        let mounts = fs::read_to_string(format!("/proc/{pid}/mountinfo"))?;
        let mut names: Vec<_> = fs::read_dir(node.container.path("/"))?
            .map(|entry| Ok(entry?.file_name()))
            .collect::<Result<_>>()?;
        names.sort();
        Ok((mounts, names))
    };
    let before = look()?;
    let (requests, mut answers) = node.open(node.request(&["sleep", "100"])).await?;
    answers.message().await?;
    assert_eq!(look()?, before, "during the session");
    drop((requests, answers));
    node.output(&["sh", "-c", "ls -d /.kpexec/bin"]).await?;
    assert_eq!(look()?, before, "after it");
    Ok(())
}

#[tokio::test]
async fn a_planted_toolset_is_not_used() -> Result<()> {
    let node = Node::start().await?;
    fs::create_dir_all(node.container.path("/.kpexec/bin"))?;
    fs::write(node.container.path("/.kpexec/bin/id"), "#!/bin/sh\necho evil\n")?;
    let id = node.output(&["id"]).await?;
    assert!(id.starts_with("uid=0"), "{id}");
    assert!(fs::exists(node.container.path("/.kpexec/bin/id"))?, "the target's own file stays");
    Ok(())
}

#[tokio::test]
async fn the_view_itself_cannot_be_written() -> Result<()> {
    let node = Node::start().await?;
    let paths = ["/.kpexec/new", "/.kpexec/bin/new", "/proc/new", "/dev/new"];
    for path in paths.into_iter().chain(["/proc/sys/kernel/core_pattern"]) {
        // Opened for writing, and nothing written: where this fails it must not
        // harm the machine.
        let script = format!(": >> {path}");
        let outcome = node.run(node.request(&["sh", "-c", &script]), b"").await?;
        assert_ne!(outcome.code, Some(0), "{path} was written");
        let said = String::from_utf8_lossy(&outcome.stderr).into_owned();
        // Where the test's root is not the machine's, `/proc/sys` says so first.
        let is_root = rustix::process::geteuid().is_root();
        let cause = match path {
            "/proc/new" => "nonexistent directory",
            "/dev/new" if is_root => "Operation not permitted",
            _ if path.starts_with("/proc/") && !is_root => "Permission denied",
            _ => "Read-only file system",
        };
        assert!(said.contains(cause), "{path}: {said}");
    }
    Ok(())
}

#[tokio::test]
async fn proc_and_dev_are_our_own() -> Result<()> {
    let node = Node::start().await?;
    let first = node.output(&["cat", "/proc/1/cmdline"]).await?;
    assert!(first.contains("/attacks/init"), "{first:?}");
    let devices = node.output(&["ls", "/dev"]).await?;
    for name in ["null", "zero", "full", "random", "urandom", "tty", "pts", "ptmx", "shm", "fd"] {
        assert!(devices.lines().any(|line| line == name), "/dev/{name} is missing: {devices}");
    }
    node.output(&["sh", "-c", "echo x > /dev/null && test -c /proc/timer_list"]).await?;
    Ok(())
}
