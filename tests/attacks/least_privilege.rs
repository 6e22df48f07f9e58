//! The helper's capabilities: each is needed, so one more would be one too many.

use std::fs;

use anyhow::{Context, Result, ensure};
use kpexec_protocol::{Id, Identity, Profile, id};

use crate::client::Node;
use crate::fake_container::{FakeContainer, Options};

/// The helper pod as the client makes it, checked by hand there.
const POD: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../kpexec/tests/golden/helper-pod.yaml");

/// The capabilities the pod adds, in lower case.
pub fn granted() -> Result<Vec<String>> {
    let pod: serde_json::Value = serde_saphyr::from_str(&fs::read_to_string(POD)?)?;
    let context = &pod["spec"]["containers"][0]["securityContext"];
    ensure!(context["capabilities"]["drop"] == serde_json::json!(["ALL"]), "{context}");
    let add = context["capabilities"]["add"].as_array().context("it adds none")?;
    let name = |value: &serde_json::Value| value.as_str().map(str::to_lowercase);
    add.iter().map(|value| name(value).context("no name")).collect()
}

/// A program that executes what follows with just these.
pub fn with(capabilities: &[String]) -> Vec<String> {
    let set: String = capabilities.iter().map(|name| format!(",+{name}")).collect();
    ["setpriv".to_owned(), format!("--bounding-set=-all{set}")].into()
}

/// Whether a helper with just these can run such a session.
async fn works(capabilities: &[String], options: &Options, identity: Identity) -> Result<bool> {
    let container = FakeContainer::hostile(options)?;
    let node = Node::around(container, &with(capabilities)).await?;
    // Root can make an entry directly under `/`.
    let mut request = node.request(&["sh", "-c", "busybox test $(id -u) != 0 || > /new"]);
    request.identity = Some(identity);
    // A helper that cannot even begin closes the connection: no session either.
    Ok(node.run(request, b"").await.is_ok_and(|outcome| outcome.code == Some(0)))
}

/// The sessions that must be possible without asking for more: root with the
/// profile `general`, anybody else, in every kind of target.
async fn all_work(capabilities: &[String]) -> Result<bool> {
    let targets = [
        Options { no_new_privs: true, ..Options::hostile() },
        Options { capabilities: Some(0), uid: 65532, ..Options::hostile() },
        Options { user_namespace: true, ..Options::hostile() },
    ];
    let user = Some(Id { kind: Some(id::Kind::Number(1000)) });
    for options in &targets {
        for identity in
            [Identity::default(), Identity { user: user.clone(), ..Identity::default() }]
        {
            if !works(capabilities, options, identity).await? {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

#[tokio::test]
async fn every_capability_of_the_helper_is_needed() -> Result<()> {
    let granted = granted()?;
    ensure!(all_work(&granted).await?, "{granted:?} do not suffice");
    let hostile = Options { capabilities: Some(0), uid: 65532, ..Options::hostile() };
    for left_out in &granted {
        let rest: Vec<_> = granted.iter().filter(|name| *name != left_out).cloned().collect();
        ensure!(!all_work(&rest).await?, "{left_out} is granted and nothing needs it");
        let nobody = Identity { profile: Profile::Restricted.into(), ..Identity::default() };
        let enters = works(&rest, &hostile, nobody).await?;
        println!("{left_out}: needed to {}", if enters { "give it" } else { "enter" });
    }
    Ok(())
}
