//! Who the command is: read from the kernel, inside the session.

use anyhow::{Context, Result};
use kpexec_protocol::{Groups, Id, Identity, id};

use crate::client::{GENERAL, Node, exactly};

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
    let found = sets(&node, Identity::default()).await?;
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
    // Root gets its capabilities back at execve(2) without the other two.
    let passed_on = if rustix::process::geteuid().is_root() { net_bind_service } else { 0 };
    let held = net_bind_service;
    assert_eq!(found, [passed_on, held, held, held, passed_on]);
    Ok(())
}

/// Where the test's own user namespace has one id only, that id is 0.
fn identity(capabilities: u64) -> Identity {
    let id = if rustix::process::geteuid().is_root() { 1000 } else { 0 };
    exactly(id, id, capabilities)
}

#[tokio::test]
async fn an_id_the_user_namespace_lacks_is_refused() -> Result<()> {
    let node = Node::start().await?;
    let mut request = node.request(&["id"]);
    // -1 is no id in any namespace.
    request.identity = Some(exactly(u32::MAX, 0, 0));
    let failure = node.run(request, b"").await?.failure.context("it ran")?;
    assert!(failure.message.contains("user 4294967295 does not exist"), "{}", failure.message);
    Ok(())
}

#[tokio::test]
async fn uid_gid_and_groups_are_those_asked_for() -> Result<()> {
    let node = Node::start().await?;
    let root = rustix::process::geteuid().is_root();
    // An ordinary user's namespace has one id and forbids setgroups(2): there 0
    // is all that can be asked for, and the groups are what they are.
    let (id, groups, pattern) =
        if root { (1000, vec![7, 42], "^(Uid|Gid|Groups)") } else { (0, vec![], "^(Uid|Gid):") };
    let mut request = node.request(&["grep", "-E", pattern, "/proc/self/status"]);
    let number = |number| Id { kind: Some(id::Kind::Number(number)) };
    let groups = Some(Groups { ids: groups.into_iter().map(number).collect() });
    request.identity = Some(Identity { groups, ..exactly(id, id, 0) });
    let outcome = node.run(request, b"").await?;
    let text = outcome.text().replace('\t', " ");
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    let mut wanted = ["Uid", "Gid"].map(|kind| format!("{kind}: {id} {id} {id} {id}")).to_vec();
    if root {
        wanted.push("Groups: 7 42".to_owned());
    }
    assert_eq!(lines, wanted);
    Ok(())
}
