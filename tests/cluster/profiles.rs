//! Profiles and what refines them, as the kernel says inside the session.

use std::fs;

use anyhow::{Context, Result, ensure};
use tests::command::{Output, run_kpexec};
use tests::status::{NET_ADMIN, general, set, sets, status};
use tests::{BOTH_NODES, Pod, USER_NAMESPACED};

/// Pods that say nothing about their security, one a node.
const PLAIN: [&str; 2] = ["busybox", "busybox-crio"];

/// User and group of the distroless pods.
const THEIR_USER: &str = "65532";

fn in_pod(flags: &[&str], pod: &str, command: &[&str]) -> Result<Output> {
    run_kpexec(&[flags, &[pod, "--"], command].concat())
}

fn status_of(flags: &[&str], pod: &str) -> Result<String> {
    let output = in_pod(flags, pod, &["cat", "/proc/self/status"])?;
    ensure!(output.code() == 0, "{flags:?} in {pod} gave {output:?}");
    Ok(output.text())
}

/// The same line in the session and in the container's first process, as the
/// node sees that.
fn assert_as_target(session: &str, pod: &str, key: &str) -> Result<()> {
    let target = Pod::find(pod)?.proc("status")?;
    ensure!(status(session, key)? == status(&target, key)?, "{pod}: {key}: {session}");
    Ok(())
}

#[test]
fn the_target_profile_is_the_targets_own_identity() -> Result<()> {
    for pod in BOTH_NODES.into_iter().chain(PLAIN) {
        let found = status_of(&["--profile", "target"], pod)?;
        for key in ["Uid", "Gid", "Groups", "CapPrm", "CapEff", "NoNewPrivs"] {
            assert_as_target(&found, pod, key)?;
        }
    }
    for pod in BOTH_NODES {
        // The helper's filter, and the container's own on top of it.
        let filters = |flags: &[&str]| -> Result<u32> {
            Ok(status(&status_of(flags, pod)?, "Seccomp_filters")?[0].parse()?)
        };
        assert!(filters(&["--profile", "target"])? > filters(&[])?, "{pod}");
    }
    Ok(())
}

#[test]
fn restricted_is_the_targets_user_with_nothing() -> Result<()> {
    for pod in BOTH_NODES.into_iter().chain(PLAIN).chain(USER_NAMESPACED) {
        let found = status_of(&["--profile", "restricted"], pod)?;
        assert_eq!(sets(&found)?, [0; 5], "{pod}");
        assert_eq!(status(&found, "NoNewPrivs")?, ["1"], "{pod}");
        assert_eq!(status(&found, "Seccomp")?, ["2"], "{pod}");
    }
    for pod in BOTH_NODES {
        let found = status_of(&["--profile", "restricted"], pod)?;
        assert_eq!(status(&found, "Uid")?, [THEIR_USER; 4], "{pod}");
        let found = status_of(&["--profile", "restricted", "-u", "7:8"], pod)?;
        assert_eq!(status(&found, "Uid")?, ["7"; 4], "{pod}");
        assert_eq!(status(&found, "Gid")?, ["8"; 4], "{pod}");
    }
    Ok(())
}

#[test]
fn baseline_and_netadmin_are_what_their_names_say() -> Result<()> {
    let pod = BOTH_NODES[0];
    let found = sets(&status_of(&["--profile", "baseline"], pod)?)?;
    let baseline = general() & !set([19]);
    assert_eq!(found, [0, baseline, baseline, baseline, 0]);
    for pod in BOTH_NODES {
        let found = sets(&status_of(&["--profile=netadmin"], pod)?)?;
        let netadmin = general() | set([NET_ADMIN]);
        assert_eq!(found, [0, netadmin, netadmin, netadmin, 0], "{pod}");
    }
    Ok(())
}

/// Whether the node of `pod` can make a helper with all it has. CRI-O asks the
/// kernel for every capability there is, so not on a machine that lacks one.
fn can_give_all(pod: &str) -> Result<bool> {
    let last: u32 = fs::read_to_string("/proc/sys/kernel/cap_last_cap")?.trim().parse()?;
    let own = sets(&fs::read_to_string("/proc/self/status")?)?[1];
    Ok(!pod.ends_with("crio") || own == set(0..=last))
}

#[test]
fn sysadmin_is_all_the_node_has() -> Result<()> {
    // What root of this machine, and so of its nodes, has.
    let own = sets(&fs::read_to_string("/proc/self/status")?)?[1];
    for pod in BOTH_NODES {
        if !can_give_all(pod)? {
            let refused = in_pod(&["--profile", "sysadmin"], pod, &["true"])?;
            assert_eq!(refused.code(), 125, "{pod}: {refused:?}");
            assert!(refused.stderr.contains("hint: the node cannot give"), "{pod}: {refused:?}");
            continue;
        }
        for flags in [&["--profile", "sysadmin"][..], &["--cap-add", "ALL"]] {
            let found = status_of(flags, pod)?;
            assert_eq!(sets(&found)?, [0, own, own, own, 0], "{pod} {flags:?}");
            let filtered = if flags[1] == "sysadmin" { "0" } else { "2" };
            assert_eq!(status(&found, "Seccomp")?, [filtered], "{pod} {flags:?}");
        }
        // Mounting something is what one needs it for.
        let script = "mkdir /dev/shm/m && mount -t tmpfs x /dev/shm/m && > /dev/shm/m/file";
        let output = in_pod(&["--profile", "sysadmin"], pod, &["sh", "-c", script])?;
        assert_eq!(output.code(), 0, "{pod}: {output:?}");
    }
    Ok(())
}

#[test]
fn above_general_the_targets_programs_need_trust() -> Result<()> {
    for pod in PLAIN {
        let program = ["/bin/busybox", "true"];
        assert_eq!(in_pod(&[], pod, &program)?.code(), 0, "{pod}");
        let refused = in_pod(&["--profile", "netadmin"], pod, &program)?;
        assert_eq!(refused.code(), 126, "{pod}: {refused:?}");
        assert!(refused.stderr.contains("--trust-target"), "{pod}: {refused:?}");
        let trusted = in_pod(&["--profile", "netadmin", "--trust-target"], pod, &program)?;
        assert_eq!(trusted.code(), 0, "{pod}: {trusted:?}");
        // The toolset's own always run.
        assert_eq!(in_pod(&["--profile", "netadmin"], pod, &["true"])?.code(), 0, "{pod}");
    }
    Ok(())
}

#[test]
fn the_targets_filter_is_the_sessions() -> Result<()> {
    // Docker's and containerd's profile and CRI-O's: new user namespaces are
    // for those with SYS_ADMIN, which helpers have and their sessions do not.
    let try_it = ["unshare", "--user", "true"];
    for pod in BOTH_NODES {
        let helpers = in_pod(&[], pod, &try_it)?;
        assert_eq!(helpers.code(), 0, "{pod}: {helpers:?}");
        for flags in [&["--seccomp", "target"][..], &["--profile", "target"]] {
            let targets = in_pod(flags, pod, &try_it)?;
            assert_ne!(targets.code(), 0, "{pod} {flags:?}");
            // containerd's profile answers EPERM, CRI-O's ENOSYS.
            let refused = ["not permitted", "not implemented"];
            let said = refused.iter().any(|reason| targets.stderr.contains(reason));
            assert!(said, "{pod} {flags:?}: {targets:?}");
        }
        let found = status_of(&["--seccomp", "unconfined"], pod)?;
        assert_eq!(status(&found, "Seccomp")?, ["0"], "{pod}");
    }
    Ok(())
}

#[test]
fn parity_with_less_confinement_is_refused() -> Result<()> {
    let output = in_pod(&["--profile=target", "--seccomp=unconfined"], BOTH_NODES[0], &["true"])?;
    assert_eq!(output.code(), 125, "{output:?}");
    assert!(output.stderr.contains("hint:"), "{output:?}");
    Ok(())
}

#[test]
fn names_are_those_of_the_containers_files() -> Result<()> {
    let users = "root:x:0:0::/:/bin/sh\nalice:x:4321:4322::/home/alice:/bin/sh\n";
    let groups = "wheel:x:77:bob,alice\nstaff:x:78:\n";
    for pod in PLAIN {
        let etc = Pod::find(pod)?.path("/etc");
        fs::create_dir_all(&etc)?;
        let kept = ["passwd", "group"].map(|name| (name, fs::read(etc.join(name)).ok()));
        fs::write(etc.join("passwd"), users)?;
        fs::write(etc.join("group"), groups)?;
        let look = || -> Result<()> {
            let found = status_of(&["-u", "alice"], pod)?;
            assert_eq!(status(&found, "Uid")?, ["4321"; 4], "{pod}");
            assert_eq!(status(&found, "Gid")?, ["4322"; 4], "{pod}");
            assert_eq!(status(&found, "Groups")?, ["77"], "{pod}");
            let home = in_pod(&["-u", "alice"], pod, &["sh", "-c", "echo $HOME"])?;
            assert_eq!(home.text(), "/home/alice", "{pod}");
            let found = status_of(&["-u", "alice:staff", "--groups", "wheel,9"], pod)?;
            assert_eq!(status(&found, "Gid")?, ["78"; 4], "{pod}");
            assert_eq!(status(&found, "Groups")?, ["9", "77"], "{pod}");
            let unknown = in_pod(&["-u", "mallory"], pod, &["id"])?;
            assert_eq!(unknown.code(), 125, "{pod}: {unknown:?}");
            assert!(unknown.stderr.contains("mallory"), "{pod}: {unknown:?}");
            Ok(())
        };
        let looked = look();
        for (name, content) in kept {
            match content {
                Some(content) => fs::write(etc.join(name), content)?,
                None => fs::remove_file(etc.join(name))?,
            }
        }
        looked?;
    }
    Ok(())
}

#[test]
fn privileges_can_be_given_up_and_the_directory_chosen() -> Result<()> {
    for pod in BOTH_NODES {
        let found = status_of(&["--no-new-privs"], pod)?;
        assert_eq!(status(&found, "NoNewPrivs")?, ["1"], "{pod}");
        let there = in_pod(&["--workdir", "/tmp/../etc"], pod, &["pwd"])?;
        assert_eq!(there.text(), "/etc", "{pod}: {there:?}");
        let nowhere = in_pod(&["--workdir", "/no/such/folder"], pod, &["pwd"])?;
        assert_eq!(nowhere.code(), 125, "{pod}: {nowhere:?}");
        let line = nowhere.stderr.lines().find(|line| line.starts_with("kpexec:"));
        let line = line.with_context(|| format!("{pod}: {nowhere:?}"))?;
        assert!(line.contains("working directory"), "{pod}: {line}");
    }
    Ok(())
}

#[test]
fn user_namespaced_targets_have_every_capability_to_give() -> Result<()> {
    let last: u32 = fs::read_to_string("/proc/sys/kernel/cap_last_cap")?.trim().parse()?;
    let all = set(0..=last);
    for pod in USER_NAMESPACED {
        // Of the runtime's own helper: what it holds does not matter in there.
        let found = sets(&status_of(&["--profile", "netadmin"], pod)?)?;
        assert_eq!(found[1], general() | set([NET_ADMIN]), "{pod}");
        if can_give_all(pod)? {
            let found = sets(&status_of(&["--profile", "sysadmin"], pod)?)?;
            assert_eq!(found, [0, all, all, all, 0], "{pod}");
        }
        // What they mean inside: the host name is its own, devices are not.
        let named = in_pod(&["--cap-add", "SYS_ADMIN"], pod, &["hostname", "mine"])?;
        assert_eq!(named.code(), 0, "{pod}: {named:?}");
        let node = ["mknod", "/tmp/node", "c", "1", "3"];
        let node = in_pod(&["--cap-add", "SYS_ADMIN"], pod, &node)?;
        assert_ne!(node.code(), 0, "{pod}: a device node was made");
        let made = ["sh", "-c", "echo x > /tmp/made && stat -c '%u %g' /tmp/made"];
        let made = in_pod(&[], pod, &made)?;
        assert_eq!(made.text(), "0 0", "{pod}: {made:?}");
        fs::remove_file(Pod::find(pod)?.path("/tmp/made"))?;
    }
    Ok(())
}
