//! `--tools-root`: the tools image's root is the session's, the target's is at
//! `/target`.

use std::fs;
use std::os::unix::fs::symlink;

use anyhow::{Context, Result};
use kpexec_protocol::{Profile, Reason, Start, Writes};

use crate::client::{Node, Outcome};
use crate::fake_container::FakeContainer;
use crate::programs::{install, install_text};

/// A tools image with programs that need a file of its own.
async fn node() -> Result<Node> {
    let tools = FakeContainer::start()?;
    fs::create_dir_all(tools.path("/usr/bin"))?;
    fs::create_dir_all(tools.path("/lib"))?;
    install(&tools.path("/bin/busybox"), &tools.path("/lib/busybox"))?;
    for applet in ["cat", "echo", "env", "hostname", "ls", "pwd", "sh", "tail", "touch"] {
        symlink("/lib/busybox", tools.path(&format!("/usr/bin/{applet}")))?;
    }
    install_text("#!/lib/busybox sh\necho dug\n", &tools.path("/usr/bin/dig"))?;
    fs::write(tools.path("/etc/image"), "the image\n")?;
    fs::write(tools.path("/etc/hosts"), "")?;
    let node = Node::with_tools(tools).await?;
    fs::write(node.container.path("/etc/hosts"), "the target's\n")?;
    Ok(node)
}

async fn run(node: &Node, argv: &[&str]) -> Result<Outcome> {
    node.run(Start { tools_root: true, ..node.request(argv) }, b"").await
}

async fn output(node: &Node, argv: &[&str]) -> Result<String> {
    let outcome = run(node, argv).await?;
    anyhow::ensure!(outcome.code == Some(0), "{argv:?} gave {outcome:?}");
    Ok(outcome.text())
}

#[tokio::test]
async fn a_program_finds_what_it_needs_in_its_own_root() -> Result<()> {
    let node = node().await?;
    assert_eq!(output(&node, &["dig"]).await?, "dug");
    assert_eq!(output(&node, &["cat", "/etc/image"]).await?, "the image");
    assert_eq!(output(&node, &["pwd"]).await?, "/");
    let env = output(&node, &["env"]).await?;
    for wanted in ["PATH=/usr/bin:/bin", "SECRET=s3cret", "KPEXEC_POD=fake"] {
        assert!(env.lines().any(|line| line == wanted), "{wanted} is not in {env}");
    }
    Ok(())
}

#[tokio::test]
async fn the_target_is_there_with_all_but_its_root() -> Result<()> {
    let node = node().await?;
    assert_eq!(output(&node, &["cat", "/target/volume/file"]).await?, "data");
    assert!(output(&node, &["cat", "/proc/1/cmdline"]).await?.contains("/attacks/init"));
    assert_eq!(output(&node, &["hostname"]).await?, "fake");
    // What names stand for is the target's network's business.
    assert_eq!(output(&node, &["cat", "/etc/hosts"]).await?, "the target's");
    output(&node, &["sh", "-c", "echo x > /dev/null && test -d /dev/pts"]).await?;
    Ok(())
}

#[tokio::test]
async fn writes_stay_with_the_image_or_reach_the_target() -> Result<()> {
    let node = node().await?;
    let tools = node.tools.as_ref().context("no tools")?;
    output(&node, &["touch", "/etc/new", "/new", "/target/tmp/new"]).await?;
    assert!(fs::exists(tools.path("/etc/new"))?, "in the image's container");
    assert!(!fs::exists(tools.path("/new"))?, "gone with the session");
    assert!(fs::exists(node.container.path("/tmp/new"))?, "in the target");
    for path in ["/etc/new", "/new", "/target"] {
        assert!(!fs::exists(node.container.path(path))?, "{path} is not the target's");
    }
    assert!(!fs::exists(tools.path("/target"))?, "the image has no such folder");
    Ok(())
}

#[tokio::test]
async fn the_targets_files_can_be_denied() -> Result<()> {
    let node = node().await?;
    let denied = |path: &'static str| Start {
        tools_root: true,
        writes: Writes::Deny.into(),
        ..node.request(&["touch", path])
    };
    let outcome = node.run(denied("/target/tmp/new"), b"").await?;
    let said = String::from_utf8_lossy(&outcome.stderr).into_owned();
    assert!(said.contains("Read-only file system"), "{said}");
    assert_eq!(node.run(denied("/etc/new"), b"").await?.code, Some(0));
    let discard = Start {
        tools_root: true,
        writes: Writes::Discard.into(),
        ..node.request(&["touch", "/target/tmp/new"])
    };
    let failure = node.run(discard, b"").await?.failure.context("it ran")?;
    assert!(failure.message.contains("contradicts itself"), "{failure:?}");
    Ok(())
}

#[tokio::test]
async fn above_general_the_targets_programs_need_trust_wherever_they_are() -> Result<()> {
    let node = node().await?;
    let as_sysadmin = |program: &str| {
        let mut request = Start { tools_root: true, ..node.request(&[program, "true"]) };
        let identity = request.identity.as_mut().expect("there is one");
        identity.profile = Profile::Sysadmin.into();
        request
    };
    for program in ["/target/bin/busybox", "//target/bin/busybox", "/proc/1/root/bin/busybox"] {
        let failure = node.run(as_sysadmin(program), b"").await?.failure;
        let failure = failure.with_context(|| format!("{program} ran"))?;
        assert_eq!(failure.reason(), Reason::NotExecutable, "{program}: {failure:?}");
        assert!(failure.hint.contains("--trust-target"), "{program}: {failure:?}");
    }
    assert_eq!(node.run(as_sysadmin("/lib/busybox"), b"").await?.code, Some(0));
    // Not by way of a shell either.
    let script = ["sh", "-c", "/target/bin/busybox true"];
    let mut request = Start { tools_root: true, ..node.request(&script) };
    request.identity.as_mut().context("no identity")?.profile = Profile::Sysadmin.into();
    assert_eq!(node.run(request, b"").await?.code, Some(126));
    Ok(())
}

#[tokio::test]
async fn what_the_image_lacks_is_said_of_it() -> Result<()> {
    let node = node().await?;
    let tools = node.tools.as_ref().context("no tools")?;
    install_text("#!/no/such/thing\n", &tools.path("/usr/bin/broken"))?;
    let failure = run(&node, &["broken"]).await?.failure.context("it ran")?;
    let wanted = "/usr/bin/broken needs /no/such/thing, which the tools image lacks";
    assert_eq!((failure.message.as_str(), failure.hint.as_str()), (wanted, ""));
    Ok(())
}

#[tokio::test]
async fn without_an_image_there_is_no_such_root() -> Result<()> {
    let node = Node::start().await?;
    let failure = run(&node, &["true"]).await?.failure.context("it ran")?;
    assert!(failure.message.contains("names no tools image"), "{failure:?}");
    Ok(())
}
