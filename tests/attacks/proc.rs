//! `/proc` of the target's choice (A14 of the threat model): what the session
//! sees there is true, or nothing.

use std::fs;

use anyhow::{Result, ensure};
use serde_json::json;

use crate::client::{GENERAL, Node, exactly};
use crate::fake_container::{FakeContainer, Options, Proc, compiled};
use crate::naive::naive;
use crate::programs::programs;

/// What the session sees of the first process and of itself.
const LOOK: &str = "cat /proc/1/comm; cat /proc/self/comm; ls /proc | head -1";

/// A helper whose kernel cannot make a procfs for another PID namespace:
/// before Linux 6.17 fsconfig(2) answers that with `EINVAL`.
fn older_kernel(filter: &std::path::Path) -> Result<Vec<String>> {
    const SET_FD: u32 = 5;
    let rule = json!({
        "names": ["fsconfig"],
        "action": "SCMP_ACT_ERRNO",
        "errnoRet": libc::EINVAL,
        "args": [{"index": 1, "value": SET_FD, "op": "SCMP_CMP_EQ"}],
    });
    let profile = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]});
    fs::write(filter, compiled(&profile)?)?;
    let confined = programs()?.join("confined").display().to_string();
    Ok(vec![confined, "-".to_owned(), filter.display().to_string()])
}

fn with(proc: Proc) -> Result<FakeContainer> {
    FakeContainer::hostile(&Options { proc, ..Options::hostile() })
}

#[tokio::test]
async fn t24_the_session_sees_the_real_processes() -> Result<()> {
    for proc in [Proc::Real, Proc::Absent, Proc::Fake, Proc::Hidden, Proc::Linked] {
        let container = with(proc)?;
        let shown = naive(&container, &["/bin/sh", "-c", "cat /proc/1/comm"])?;
        let true_one = matches!(proc, Proc::Real | Proc::Hidden);
        assert_eq!(shown == "init", true_one, "{proc:?}: {shown}");

        let node = Node::around(container, &[]).await?;
        for identity in [exactly(0, 0, GENERAL), exactly(1000, 1000, 0)] {
            let mut request = node.request(&["sh", "-c", LOOK]);
            request.identity = Some(identity);
            let outcome = node.run(request, b"").await?;
            assert_eq!(outcome.text(), "init\ncat\n1", "{proc:?}: {:?}", outcome.failure);
        }
    }
    Ok(())
}

#[tokio::test]
async fn t24_an_older_kernel_shows_the_real_processes_or_none() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let wrapper = older_kernel(&folder.path().join("filter"))?;
    for (proc, wanted) in [
        (Proc::Real, "init\ncat\n1"),
        // It is the target's own mount.
        (Proc::Hidden, "init\ncat\n1"),
        (Proc::Absent, ""),
        (Proc::Fake, ""),
        (Proc::Linked, ""),
    ] {
        let node = Node::around(with(proc)?, &wrapper).await?;
        let outcome = node.run(node.request(&["sh", "-c", LOOK]), b"").await?;
        assert_eq!(outcome.text(), wanted, "{proc:?}: {:?}", outcome.failure);
        // Nor is it kept from the operator.
        let told = outcome.notices.iter().any(|notice| notice.contains("no /proc"));
        assert_eq!(told, wanted.is_empty(), "{proc:?}");
    }
    Ok(())
}

#[tokio::test]
async fn t24_what_covers_parts_of_proc_is_shed_on_an_older_kernel() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let wrapper = older_kernel(&folder.path().join("filter"))?;
    // With the right to mount, which it should not have.
    let options = Options { capabilities: None, ..Options::hostile() };
    let container = FakeContainer::hostile(&options)?;
    let covered = "echo 0.00 > /srv/uptime && busybox mount --bind /srv/uptime /proc/uptime";
    let covered = container.run(covered)?;
    ensure!(covered.code == 0, "{}", covered.output);
    assert_eq!(naive(&container, &["/bin/cat", "/proc/uptime"])?, "0.00");

    let node = Node::around(container, &wrapper).await?;
    let mut request = node.request(&["cat", "/proc/uptime"]);
    request.trust_target = true;
    let shown = node.run(request, b"").await?;
    ensure!(shown.text().split(' ').count() == 2, "{shown:?}");
    Ok(())
}
