//! Who the command is, as the kernel says inside the session.

use anyhow::Result;
use tests::command::{output_in, run_kpexec};
use tests::status::{BLOCK_SUSPEND, KILL, NET_ADMIN, general, set, sets, status};
use tests::{DEMO_PODS, USER_NAMESPACED};

fn status_of(flags: &[&str], pod: &str) -> Result<String> {
    let command = [pod, "--", "cat", "/proc/self/status"];
    let arguments: Vec<&str> = flags.iter().copied().chain(command).collect();
    let output = run_kpexec(&arguments)?;
    anyhow::ensure!(output.code() == 0, "{arguments:?} gave {output:?}");
    Ok(output.text())
}

#[test]
fn without_flags_it_is_root() -> Result<()> {
    for pod in DEMO_PODS.into_iter().chain(USER_NAMESPACED) {
        let id = output_in(pod, &["id"])?;
        assert!(id.starts_with("uid=0(root) gid=0(root)"), "{pod}: {id}");
    }
    Ok(())
}

#[test]
fn root_has_the_general_capabilities() -> Result<()> {
    for pod in DEMO_PODS.into_iter().chain(USER_NAMESPACED) {
        let general = general();
        let found = sets(&status_of(&[], pod)?)?;
        assert_eq!(found, [0, general, general, general, 0], "{pod}");
    }
    Ok(())
}

#[test]
fn a_user_without_capabilities_has_the_shield_alone() -> Result<()> {
    for pod in DEMO_PODS.into_iter().chain(USER_NAMESPACED) {
        let text = status_of(&["-u", "1000:1000", "--cap-drop", "ALL"], pod)?;
        assert_eq!(sets(&text)?, [set([BLOCK_SUSPEND]); 5], "{pod}");
        assert_eq!(status(&text, "Uid")?, ["1000"; 4], "{pod}");
        assert_eq!(status(&text, "Gid")?, ["1000"; 4], "{pod}");
        assert!(status(&text, "Groups")?.is_empty(), "{pod}");
    }
    Ok(())
}

#[test]
fn capabilities_can_be_dropped_and_added() -> Result<()> {
    for pod in tests::BOTH_NODES {
        let only_kill = set([KILL]);
        let found = sets(&status_of(&["--cap-drop", "all", "--cap-add", "cap_kill"], pod)?)?;
        assert_eq!(found, [0, only_kill, only_kill, only_kill, 0], "{pod}");
        let wanted = general() & !set([KILL]) | set([NET_ADMIN]);
        let found = sets(&status_of(&["--cap-drop=KILL", "--cap-add=NET_ADMIN"], pod)?)?;
        assert_eq!(found, [0, wanted, wanted, wanted, 0], "{pod}");
        // For a user they must survive execve(2), which takes the ambient set.
        let found = sets(&status_of(&["-u", "1000", "--cap-add", "KILL"], pod)?)?;
        assert_eq!(found, [only_kill; 5], "{pod}");
    }
    Ok(())
}

#[test]
fn a_capability_added_works() -> Result<()> {
    for pod in tests::BOTH_NODES {
        let add = ["ip", "link", "set", "dev", "lo", "mtu", "65535"];
        let command: Vec<&str> = [pod, "--"].into_iter().chain(add).collect();
        assert_ne!(run_kpexec(&command)?.code(), 0, "{pod}: without NET_ADMIN");
        let command: Vec<&str> = ["--cap-add=NET_ADMIN"].into_iter().chain(command).collect();
        let output = run_kpexec(&command)?;
        assert_eq!(output.code(), 0, "{pod}: {output:?}");
        // Back to what it was: 65536 is the kernel's own choice for lo.
        let restore =
            ["--cap-add=NET_ADMIN", pod, "--", "ip", "link", "set", "dev", "lo", "mtu", "65536"];
        assert_eq!(run_kpexec(&restore)?.code(), 0, "{pod}");
    }
    Ok(())
}

#[test]
fn variables_are_added() -> Result<()> {
    for pod in tests::BOTH_NODES {
        let arguments =
            ["--env", "A=1", "--env=B=x=y", pod, "--", "sh", "-c", "echo \"$A $B $PATH\""];
        let output = run_kpexec(&arguments)?;
        assert!(output.text().starts_with("1 x=y /.kpexec/bin:"), "{pod}: {output:?}");
    }
    Ok(())
}
