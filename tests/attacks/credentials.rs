//! Who the session is, whatever the target's files and the helper's own
//! credentials say (A25 to A28 of the threat model).

use anyhow::{Context, Result, ensure};
use kpexec_protocol::{Groups, Id, Identity, id};

use crate::client::{Node, SHIELD, exactly};
use crate::fake_container::{FakeContainer, Options};
use crate::naive::Naive;
use crate::programs::programs;

const NET_BIND_SERVICE: u64 = 1 << 10;
const SYS_ADMIN: u64 = 1 << 21;

/// Files that would raise who executes them.
const RAISING: [(&str, &str); 4] = [
    ("/srv/set-uid", "chmod 4755 /srv/set-uid"),
    ("/srv/set-gid", "chmod 2755 /srv/set-gid"),
    ("/srv/permitted", "file_capability /srv/permitted permitted"),
    ("/srv/inheritable", "file_capability /srv/inheritable inheritable"),
];

#[tokio::test]
async fn t39_no_file_raises_the_session() -> Result<()> {
    let container = FakeContainer::hostile(&Options::hostile())?;
    for (file, raise) in RAISING {
        let made = container.run(&format!("cp /attacks/identity {file} && {raise}"))?;
        ensure!(made.code == 0, "{file}: {}", made.output);
    }
    let user = ["-a", "-S", "1000", "-G", "1000"];
    let raised = |file: &str| -> Result<String> {
        let said = Naive::new()?.run(&container, &user, &[file])?.stdout;
        Ok(String::from_utf8(said)?.trim_end().to_owned())
    };
    let (set_uid, permitted) = (raised("/srv/set-uid")?, raised("/srv/permitted")?);
    let capabilities = set_uid.strip_prefix("1000 0 1000 1000 ").context("it is not set-uid")?;
    ensure!(u64::from_str_radix(capabilities, 16)? & SYS_ADMIN != 0, "{set_uid}");
    assert_eq!(raised("/srv/set-gid")?, "1000 1000 1000 0 0");
    assert_eq!(permitted, format!("1000 1000 1000 1000 {SYS_ADMIN:x}"));

    let node = Node::around(container, &[]).await?;
    for capabilities in [0, NET_BIND_SERVICE] {
        for (file, _) in RAISING {
            let mut request = node.request(&[file]);
            request.identity = Some(exactly(1000, 1000, capabilities));
            let outcome = node.run(request, b"").await?;
            // The container may hold both of them itself: so there is the shield.
            let held = capabilities | SHIELD;
            assert_eq!(outcome.text(), format!("1000 1000 1000 1000 {held:x}"), "{file}");
        }
    }
    Ok(())
}

fn these(groups: &[u32]) -> Option<Groups> {
    let id = |number: &u32| Id { kind: Some(id::Kind::Number(*number)) };
    Some(Groups { ids: groups.iter().map(id).collect() })
}

/// A parent with supplementary groups 4 and 24.
fn grouped() -> Result<Vec<String>> {
    let program = programs()?.join("legacy").display().to_string();
    Ok(vec![program, "groups".to_owned(), "--".to_owned()])
}

const GROUPS: [&str; 4] = ["/bin/busybox", "grep", "^Groups:", "/proc/self/status"];

/// The numbers in a line `Groups:`.
fn numbers(line: &str) -> Vec<&str> {
    line.split_ascii_whitespace().skip(1).collect()
}

#[tokio::test]
async fn t40_groups_are_those_asked_for() -> Result<()> {
    let container = FakeContainer::hostile(&Options::hostile())?;
    let kept = Naive::through(&grouped()?)?.run(&container, &["-a", "-S", "1000"], &GROUPS)?;
    assert_eq!(numbers(&String::from_utf8(kept.stdout)?), ["4", "24"]);

    let wanted: [(u32, &[u32]); 4] = [(0, &[]), (1000, &[]), (1000, &[7]), (0, &[24, 1000])];
    let user_namespace = Options { user_namespace: true, ..Options::hostile() };
    for container in [container, FakeContainer::hostile(&user_namespace)?] {
        let node = Node::around(container, &grouped()?).await?;
        for (gid, groups) in wanted {
            let mut request = node.request(&GROUPS);
            let groups = groups.to_vec();
            request.identity = Some(Identity { groups: these(&groups), ..exactly(1000, gid, 0) });
            let outcome = node.run(request, b"").await?;
            let groups: Vec<String> = groups.iter().map(u32::to_string).collect();
            assert_eq!(numbers(&outcome.text()), groups, "{:?}", outcome.failure);
        }
    }
    Ok(())
}

#[tokio::test]
async fn t40_groups_that_cannot_be_set_are_an_error() -> Result<()> {
    let options = Options { user_namespace: true, no_setgroups: true, ..Options::hostile() };
    let node = Node::around(FakeContainer::hostile(&options)?, &grouped()?).await?;
    let mut request = node.request(&GROUPS);
    request.identity = Some(Identity { groups: these(&[7]), ..exactly(1000, 0, 0) });
    let failure = node.run(request, b"").await?.failure.context("it ran without its group")?;
    ensure!(failure.message.contains("supplementary groups"), "{}", failure.message);
    // None are asked for, and none of the helper's are left.
    let mut request = node.request(&GROUPS);
    request.identity = Some(exactly(1000, 0, 0));
    let outcome = node.run(request, b"").await?;
    assert_eq!(numbers(&outcome.text()), [""; 0], "{:?}", outcome.failure);
    Ok(())
}
