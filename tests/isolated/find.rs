//! Which container is meant, asked of a helper that kpexec started itself.

use anyhow::{Context, Result};
use kpexec_protocol::find_answer::Kind;
use kpexec_protocol::{FindRequest, Reason, Start};

use crate::client::Node;
use crate::supervised::TURN;

async fn find(node: &Node, name: &str) -> Result<Kind> {
    let request = FindRequest { name: name.to_owned() };
    node.client.clone().find(request).await?.into_inner().kind.context("no answer")
}

#[tokio::test]
async fn what_is_found_can_be_entered() -> Result<()> {
    let _turn = TURN.lock().await;
    let node = Node::start().await?;
    let target = node.runtime.lock().expect("no test panics while it holds this").target();
    for name in ["app", "fake/default", "fake/default/app", &target.container_id[..9]] {
        let Kind::Found(found) = find(&node, name).await? else { panic!("{name} is not found") };
        assert_eq!((found.target.as_ref(), found.notice.as_str()), (Some(&target), ""), "{name}");
        let start = Start { target: found.target, ..node.request(&["true"]) };
        assert_eq!(node.run(start, b"").await?.code, Some(0), "{name}");
    }
    Ok(())
}

#[tokio::test]
async fn what_is_not_there_is_a_failure_of_ours() -> Result<()> {
    let _turn = TURN.lock().await;
    let node = Node::start().await?;
    let Kind::Failure(failure) = find(&node, "default/fake").await? else { panic!("found") };
    assert_eq!(failure.reason(), Reason::Helper);
    assert_eq!(failure.hint, "the pod comes first: fake/default");
    Ok(())
}
