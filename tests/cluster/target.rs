//! The session is in the target: its processes, name, network and files; and
//! the target sees nothing of it. For each demo pod, so on both runtimes.

use std::fs;

use anyhow::Result;
use tests::command::{kpexec, output_in, run_kpexec};
use tests::pod::wait_for_processes;
use tests::{DEMO_PODS, Pod, USER_NAMESPACED};

#[test]
fn the_first_process_is_the_targets() -> Result<()> {
    for pod in DEMO_PODS {
        let wanted = Pod::find(pod)?.proc("cmdline")?;
        assert_eq!(output_in(pod, &["cat", "/proc/1/cmdline"])?, wanted, "{pod}");
    }
    Ok(())
}

#[test]
fn the_host_name_is_the_pods() -> Result<()> {
    for pod in DEMO_PODS {
        assert_eq!(output_in(pod, &["hostname"])?, pod);
    }
    Ok(())
}

#[test]
fn the_network_is_the_pods() -> Result<()> {
    for pod in DEMO_PODS {
        let found = output_in(pod, &["cat", "/proc/net/dev"])?;
        let names = |text: &str| {
            let lines = text.lines().filter_map(|line| line.split_once(':'));
            lines.map(|(name, _)| name.trim().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(names(&found), names(&Pod::find(pod)?.proc("net/dev")?), "{pod}");
        let address = tests::kubectl(&["get", "pod", pod, "-o", "jsonpath={.status.podIP}"])?;
        let addresses = output_in(pod, &["ip", "address"])?;
        assert!(addresses.contains(&format!("inet {address}/")), "{pod}: {addresses}");
    }
    Ok(())
}

#[test]
fn all_namespaces_but_the_view_are_the_targets() -> Result<()> {
    for pod in DEMO_PODS.into_iter().chain(USER_NAMESPACED) {
        let target = Pod::find(pod)?;
        let kinds = ["cgroup", "ipc", "net", "pid", "user", "uts"];
        let script = format!("for n in {}; do readlink /proc/self/ns/$n; done", kinds.join(" "));
        let found = output_in(pod, &["sh", "-c", &script])?;
        for (line, kind) in found.lines().zip(kinds) {
            let theirs = fs::read_link(format!("/proc/{}/ns/{kind}", target.pid))?;
            assert_eq!(line, theirs.to_string_lossy(), "{pod}: {kind}");
        }
        assert_eq!(found.lines().count(), kinds.len(), "{pod}: {found}");
    }
    Ok(())
}

#[test]
fn the_files_are_the_targets() -> Result<()> {
    for pod in DEMO_PODS {
        let wanted = fs::read_to_string(Pod::find(pod)?.path("/etc/passwd"))?;
        assert_eq!(output_in(pod, &["cat", "/etc/passwd"])?, wanted.trim_end(), "{pod}");
    }
    Ok(())
}

#[test]
fn what_is_written_the_target_sees() -> Result<()> {
    for pod in DEMO_PODS.into_iter().chain(USER_NAMESPACED) {
        output_in(pod, &["sh", "-c", "echo hello > /tmp/from-kpexec"])?;
        let file = Pod::find(pod)?.path("/tmp/from-kpexec");
        assert_eq!(fs::read_to_string(&file)?, "hello\n", "{pod}");
        output_in(pod, &["rm", "/tmp/from-kpexec"])?;
        assert!(!file.exists(), "{pod}");
    }
    Ok(())
}

#[test]
fn a_read_only_root_stays_read_only() -> Result<()> {
    for pod in tests::BOTH_NODES {
        let output = run_kpexec(&[pod, "--", "sh", "-c", "echo x > /etc/new"])?;
        assert_ne!(output.code(), 0, "{pod}");
        assert!(output.stderr.contains("Read-only file system"), "{pod}: {}", output.stderr);
    }
    Ok(())
}

#[test]
fn the_target_sees_nothing_of_the_toolset() -> Result<()> {
    for (pod, mark) in DEMO_PODS.into_iter().zip(["81001", "81002", "81003", "81004"]) {
        let target = Pod::find(pod)?;
        let before = target.proc("mountinfo")?;
        let mut session = kpexec(&[pod, "--", "sleep", mark]).spawn()?;
        wait_for_processes(mark, 1)?;
        let during = target.proc("mountinfo")?;
        let there = target.path("/.kpexec").exists();
        tests::command::signal(session.id(), rustix::process::Signal::TERM)?;
        session.wait()?;
        assert!(!there, "{pod} has /.kpexec");
        assert_eq!(during, before, "{pod}");
        assert!(!before.contains("kpexec"), "{pod}: {before}");
    }
    Ok(())
}

#[test]
fn the_toolset_is_there_for_us() -> Result<()> {
    for pod in DEMO_PODS {
        let found = output_in(pod, &["sh", "-c", "command -v bash; ls -d /.kpexec"])?;
        assert_eq!(found, "/.kpexec/bin/bash\n/.kpexec", "{pod}");
    }
    Ok(())
}

#[test]
fn the_container_is_chosen_as_kubectl_does() -> Result<()> {
    let pid_namespace = |flags: &[&str]| -> Result<String> {
        let command = ["multi", "--", "readlink", "/proc/self/ns/pid"];
        let arguments: Vec<&str> = flags.iter().copied().chain(command).collect();
        let output = run_kpexec(&arguments)?;
        anyhow::ensure!(output.code() == 0, "{output:?}");
        Ok(output.text())
    };
    let of = |container: &str| -> Result<String> {
        let pid = Pod::find_container("multi", container)?.pid;
        Ok(fs::read_link(format!("/proc/{pid}/ns/pid"))?.to_string_lossy().into_owned())
    };
    assert_eq!(pid_namespace(&[])?, of("two")?, "the annotation says two");
    assert_eq!(pid_namespace(&["-c", "one"])?, of("one")?);
    assert_ne!(of("one")?, of("two")?);
    Ok(())
}
