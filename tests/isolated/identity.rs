//! Who the command is: read from the kernel, inside the session.

use anyhow::{Context, Result};
use kpexec_protocol::Identity;

use crate::client::{GENERAL, Node};

/// The five capability sets, in the order of `/proc/PID/status`: inheritable,
/// permitted, effective, bounding, ambient.
async fn sets(node: &Node, identity: Identity) -> Result<Vec<u64>> {
    let mut request = node.request(&["grep", "^Cap", "/proc/self/status"]);
    request.identity = Some(identity);
    let outcome = node.run(request, b"").await?;
    let text = outcome.text();
    text.lines()
        .map(|line| {
            let digits = line.split_ascii_whitespace().nth(1).context("no value")?;
            Ok(u64::from_str_radix(digits, 16)?)
        })
        .collect()
}

#[tokio::test]
async fn root_has_the_general_capabilities_and_no_more() -> Result<()> {
    let node = Node::start().await?;
    let found = sets(&node, Identity { capabilities: GENERAL, ..Identity::default() }).await?;
    assert_eq!(found, [0, GENERAL, GENERAL, GENERAL, 0]);
    let id = node.output(&["id"]).await?;
    assert!(id.starts_with("uid=0(root) gid=0(root)"), "{id}");
    Ok(())
}

#[tokio::test]
async fn a_user_without_capabilities_has_none_in_any_set() -> Result<()> {
    let node = Node::start().await?;
    let found = sets(&node, identity(0)).await?;
    assert_eq!(found, [0, 0, 0, 0, 0]);
    Ok(())
}

#[tokio::test]
async fn a_users_capabilities_survive_exec() -> Result<()> {
    let node = Node::start().await?;
    let net_bind_service = 1 << 10;
    let found = sets(&node, identity(net_bind_service)).await?;
    assert_eq!(found, [net_bind_service; 5]);
    Ok(())
}

/// Where the test's own user namespace has one id only, that id is 0.
fn identity(capabilities: u64) -> Identity {
    let id = if rustix::process::geteuid().is_root() { 1000 } else { 0 };
    Identity { uid: id, gid: id, capabilities, ..Identity::default() }
}

#[tokio::test]
async fn uid_gid_and_groups_are_those_asked_for() -> Result<()> {
    let node = Node::start().await?;
    if !rustix::process::geteuid().is_root() {
        // One id is all an ordinary user's namespace has: the others must be
        // refused, not silently replaced.
        let mut request = node.request(&["id"]);
        request.identity = Some(Identity { uid: 1000, gid: 1000, ..Identity::default() });
        let failure = node.run(request, b"").await?.failure.context("it ran")?;
        assert!(failure.message.contains("user 1000 does not exist"), "{}", failure.message);
        return Ok(());
    }
    let mut request = node.request(&["grep", "-E", "^(Uid|Gid|Groups)", "/proc/self/status"]);
    request.identity =
        Some(Identity { uid: 1000, gid: 1001, groups: vec![7, 42], capabilities: 0 });
    let outcome = node.run(request, b"").await?;
    let text = outcome.text().replace('\t', " ");
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    assert_eq!(lines, ["Uid: 1000 1000 1000 1000", "Gid: 1001 1001 1001 1001", "Groups: 7 42"]);
    Ok(())
}
