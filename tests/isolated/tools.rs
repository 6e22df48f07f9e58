//! Tools of another image: what of it a session sees, and what it runs.

use std::fs;
use std::os::unix::fs::symlink;

use anyhow::{Context, Result};
use kpexec_protocol::{Failure, Profile, Reason, Start};

use crate::client::Node;
use crate::fake_container::FakeContainer;
use crate::programs::{install, install_text};

/// A container like others, with a file and two links of its own.
fn image() -> Result<FakeContainer> {
    let tools = FakeContainer::start()?;
    fs::create_dir_all(tools.path("/usr/bin"))?;
    fs::write(tools.path("/etc/image"), "the image\n")?;
    fs::create_dir_all(tools.path("/opt"))?;
    install(&tools.path("/bin/busybox"), &tools.path("/opt/box"))?;
    for applet in ["cat", "ls", "env", "readlink", "sh", "touch"] {
        let link = tools.path(&format!("/usr/bin/{applet}"));
        // As in Alpine: the target has no such file.
        symlink("/opt/box", link)?;
    }
    Ok(tools)
}

async fn refusal(node: &Node, argv: &[&str]) -> Result<Failure> {
    node.run(node.request(argv), b"").await?.failure.context("it ran")
}

#[tokio::test]
async fn the_images_programs_run_beside_the_targets_files() -> Result<()> {
    let node = Node::with_tools(image()?).await?;
    assert_eq!(node.output(&["cat", "/.kpexec/etc/image"]).await?, "the image");
    assert_eq!(node.output(&["readlink", "/proc/self/exe"]).await?, "/.kpexec/opt/box");
    assert_eq!(node.output(&["/.kpexec/usr/bin/cat", "/volume/file"]).await?, "data");
    let path = "PATH=/.kpexec/usr/bin:/.kpexec/bin:/bin";
    assert!(node.output(&["env"]).await?.lines().any(|line| line == path));
    Ok(())
}

#[tokio::test]
async fn what_is_mounted_in_the_tools_container_is_not_seen() -> Result<()> {
    let node = Node::with_tools(image()?).await?;
    for folder in ["proc", "dev", "volume"] {
        assert_eq!(node.output(&["ls", &format!("/.kpexec/{folder}")]).await?, "", "{folder}");
    }
    Ok(())
}

#[tokio::test]
async fn the_image_is_read_only_and_stays_the_tools_containers() -> Result<()> {
    let node = Node::with_tools(image()?).await?;
    let outcome = node.run(node.request(&["touch", "/.kpexec/etc/new"]), b"").await?;
    let said = String::from_utf8_lossy(&outcome.stderr).into_owned();
    assert!(said.contains("Read-only file system"), "{said}");
    // Once the session has gone it can be written as before.
    let tools = node.tools.as_ref().context("no tools")?;
    assert_eq!(tools.run("echo > /etc/new")?.code, 0);
    let own = fs::read_to_string(format!("/proc/{}/mountinfo", tools.pid))?;
    assert!(!own.contains("kpexec"), "{own}");
    Ok(())
}

#[tokio::test]
async fn a_shell_of_the_image_is_taken_where_it_runs() -> Result<()> {
    let node = Node::with_tools(image()?).await?;
    let mut request = node.request(&[]);
    request.stdin = true;
    let outcome = node.run(request, b"readlink /proc/$$/exe; echo $0").await?;
    assert_eq!(outcome.text(), "/.kpexec/opt/box\nsh");
    Ok(())
}

#[tokio::test]
async fn what_needs_a_root_of_its_own_is_said_to() -> Result<()> {
    let tools = image()?;
    install_text("#!/lib/ld-musl.so\n", &tools.path("/usr/bin/dig"))?;
    let node = Node::with_tools(tools).await?;
    let failure = refusal(&node, &["dig"]).await?;
    assert_eq!(failure.reason(), Reason::NotExecutable);
    let wanted = "/.kpexec/usr/bin/dig needs /lib/ld-musl.so, which the container lacks";
    assert_eq!(failure.message, wanted);
    assert!(failure.hint.contains("--tools-root"), "{failure:?}");
    // The target's own programs are explained as well.
    install_text("#!/no/such/thing\n", &node.container.path("/tmp/app"))?;
    let failure = refusal(&node, &["/tmp/app"]).await?;
    assert_eq!(failure.message, "/tmp/app needs /no/such/thing, which the container lacks");
    assert_eq!(failure.hint, "");
    // What is there, and cannot be run itself, is not what is missing.
    install_text("#!/tmp/app\n", &node.container.path("/tmp/script"))?;
    let failure = refusal(&node, &["/tmp/script"]).await?;
    let wanted = "/tmp/script is run by /tmp/app, which needs /no/such/thing, \
                  which the container lacks";
    assert_eq!(failure.message, wanted);
    Ok(())
}

#[tokio::test]
async fn what_runs_a_script_may_lack_something_itself() -> Result<()> {
    let tools = image()?;
    install_text("#!/bin/runner -x\n", &tools.path("/usr/bin/script"))?;
    let node = Node::with_tools(tools).await?;
    install_text("#!/no/such/thing\n", &node.container.path("/bin/runner"))?;
    let failure = refusal(&node, &["script"]).await?;
    let wanted = "/.kpexec/usr/bin/script is run by /bin/runner, which needs /no/such/thing, \
                  which the container lacks";
    assert_eq!(failure.message, wanted);
    Ok(())
}

#[tokio::test]
async fn a_tool_that_cannot_run_is_not_replaced_by_the_targets() -> Result<()> {
    let tools = image()?;
    install_text("#!/lib/ld-musl.so\n", &tools.path("/usr/bin/both"))?;
    install_text("no program\n", &tools.path("/usr/bin/unreadable"))?;
    let node = Node::with_tools(tools).await?;
    for name in ["both", "unreadable", "theirs"] {
        let program = node.container.path(&format!("/bin/{name}"));
        install_text("#!/bin/busybox sh\necho the target\n", &program)?;
    }
    let failure = refusal(&node, &["both"]).await?;
    assert!(
        failure.message.starts_with("/.kpexec/usr/bin/both needs /lib/ld-musl.so"),
        "{failure:?}"
    );
    let failure = refusal(&node, &["unreadable"]).await?;
    assert!(failure.message.starts_with("/.kpexec/usr/bin/unreadable: "), "{failure:?}");
    // What the tools lack is the target's as before.
    assert_eq!(node.output(&["theirs"]).await?, "the target");
    Ok(())
}

#[tokio::test]
async fn a_shell_is_replaced_and_that_is_told() -> Result<()> {
    let tools = image()?;
    let run = async |node: &Node| {
        let request = Start { stdin: true, ..node.request(&[]) };
        node.run(request, b"readlink /proc/$$/exe").await
    };
    let node = Node::with_tools(tools).await?;
    let outcome = run(&node).await?;
    assert!(!outcome.notices.iter().any(|notice| notice.contains("shell")), "{outcome:?}");
    drop(node);
    let tools = image()?;
    install_text("#!/lib/ld-musl.so\n", &tools.path("/usr/bin/bash"))?;
    let node = Node::with_tools(tools).await?;
    let outcome = run(&node).await?;
    assert_eq!(outcome.text(), "/.kpexec/opt/box");
    let told = |notice: &String| notice.contains("shell") && notice.ends_with("/.kpexec/opt/box");
    assert!(outcome.notices.iter().any(told), "{outcome:?}");
    Ok(())
}

#[tokio::test]
async fn no_link_of_the_image_leads_to_a_program_of_the_target() -> Result<()> {
    let tools = image()?;
    symlink("/tmp/evil", tools.path("/usr/bin/tool"))?;
    symlink("../../../../tmp/evil", tools.path("/usr/bin/up"))?;
    let node = Node::with_tools(tools).await?;
    install_text("#!/bin/sh\necho evil\n", &node.container.path("/tmp/evil"))?;
    for tool in ["tool", "up", "/.kpexec/usr/bin/tool"] {
        for profile in [Profile::General, Profile::Sysadmin] {
            let mut request = node.request(&[tool]);
            request.identity.as_mut().context("no identity")?.profile = profile.into();
            let failure = node.run(request, b"").await?.failure;
            let failure = failure.with_context(|| format!("{tool} ran"))?;
            assert_eq!(failure.reason(), Reason::NotFound, "{tool}: {failure:?}");
        }
    }
    Ok(())
}
