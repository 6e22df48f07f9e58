//! What is set for all commands, and what is told before anything is done.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tests::command::{kpexec, run, run_kpexec};
use tests::{BOTH_NODES, Namespace, kubectl};

const CAPABILITIES: [&str; 4] = ["--", "grep", "CapEff", "/proc/self/status"];
const NONE: &str = "CapEff:\t0000000000000000";

#[test]
fn what_the_file_says_is_done_with_a_background_process_and_without() -> Result<()> {
    let namespace = Namespace::for_helpers("configuration")?;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("mine.toml");
    let text = "profile = 'restricted'\nhelper-namespace = 'NS'\nhelper-ttl = '9m'\n";
    std::fs::write(&file, text.replace("NS", namespace.name()))?;
    let ours = |mut command: Command| {
        command.env("KPEXEC_CONFIG", &file).env("XDG_RUNTIME_DIR", folder.path());
        command
    };
    for (number, pod) in BOTH_NODES.into_iter().enumerate() {
        for share in [&[][..], &["--share"]] {
            let of = |flags: &[&str], variable: &str| {
                let command = kpexec(&[share, flags, &[pod], &CAPABILITIES].concat());
                let mut command = ours(command);
                command.env("KPEXEC_PROFILE", variable);
                run(command, b"")
            };
            let by_file = of(&[], "")?;
            assert_eq!(by_file.text(), NONE, "{pod} {share:?}: {by_file:?}");
            let by_variable = of(&[], "baseline")?;
            assert_eq!(by_variable.text(), "CapEff:\t00000000a80425fb", "{pod} {share:?}");
            let by_flag = of(&["--profile", "restricted"], "baseline")?;
            assert_eq!(by_flag.text(), NONE, "{pod} {share:?}: {by_flag:?}");
        }
        // One helper for all of it, as the file says.
        let pods = kubectl(&["get", "pods", "-n", namespace.name(), "-o", "json"])?;
        let pods: Value = serde_json::from_str(&pods)?;
        let pods = pods["items"].as_array().context("a list")?;
        assert_eq!(pods.len(), number + 1, "{pods:?}");
        for pod in pods {
            let variables = pod["spec"]["containers"][0]["env"].to_string();
            ensure!(variables.contains("\"540\""), "{variables}");
        }
    }
    let ended = run(ours(kpexec(&["gc"])), b"")?;
    ensure!(ended.code() == 0 && ended.stderr.is_empty(), "{ended:?}");
    Ok(())
}

/// A namespace for helpers, and `kpexec --helper-namespace NS ARGUMENTS`.
fn in_print(namespace: &str, arguments: &[&str]) -> Result<String> {
    let output = run_kpexec(&[&["--helper-namespace", namespace], arguments].concat())?;
    ensure!(output.code() == 0 && output.stderr.is_empty(), "{arguments:?}: {output:?}");
    Ok(output.text())
}

#[test]
fn the_pod_in_print_is_one_that_the_api_server_takes() -> Result<()> {
    let namespace = Namespace::for_helpers("dry-run")?;
    let file = tempfile::NamedTempFile::new()?;
    let path = file.path().to_str().context("a path is text")?;
    for pod in BOTH_NODES {
        for flags in [
            &["--dry-run=client"][..],
            &["--dry-run=client", "-o", "json", "--rm", "--profile", "sysadmin"],
            &["--dry-run=client", "-o", "yaml", "--tools-image", "10.200.0.1:5000/busybox:1"],
        ] {
            let text = in_print(namespace.name(), &[flags, &[pod, "--", "no-such"]].concat())?;
            std::fs::write(file.path(), text)?;
            let made = kubectl(&["create", "--dry-run=server", "-f", path, "-o", "name"])?;
            ensure!(made.starts_with("pod/kpexec-"), "{pod} {flags:?}: {made}");
        }
        let server = in_print(namespace.name(), &["--dry-run=server", "-ojson", pod])?;
        let server: Value = serde_json::from_str(&server)?;
        // What only the API server fills in.
        ensure!(server["metadata"]["uid"].is_string(), "{server}");
        assert_eq!(server["spec"]["schedulerName"], "default-scheduler");
        assert_eq!(server["metadata"]["managedFields"], Value::Null);
    }
    ensure!(namespace.pods()?.is_empty(), "something was made");
    Ok(())
}

#[test]
fn a_dry_run_is_told_what_a_session_would_be() -> Result<()> {
    let pod = BOTH_NODES[0];
    let refused = run_kpexec(&["--dry-run=server", "--helper-namespace", "no-such", pod])?;
    assert_eq!(refused.code(), 125, "{refused:?}");
    ensure!(refused.stderr.contains("hint: namespace no-such is missing"), "{refused:?}");

    let namespace = Namespace::for_helpers("dry-again")?;
    let helpers = ["--helper-namespace", namespace.name()];
    ensure!(run_kpexec(&[&helpers[..], &[pod, "--", "true"]].concat())?.code() == 0);
    let there = run_kpexec(&[&helpers[..], &["--dry-run=server", pod]].concat())?;
    let pods = namespace.pods()?;
    let name = pods.trim().strip_prefix("pod/").context("one helper")?;
    assert_eq!(
        there.stderr,
        format!(
            "helper pod {name} is there already and would be used; this is as it was asked for\n"
        )
    );
    ensure!(there.code() == 0 && there.text().contains(name), "{there:?}");
    Ok(())
}

#[test]
fn what_will_be_done_is_told_before_it_is() -> Result<()> {
    let namespace = Namespace::for_helpers("explain")?;
    let helpers = ["--helper-namespace", namespace.name()];
    for (pod, node) in BOTH_NODES.into_iter().zip(["node1", "node2"]) {
        let flags = [&helpers[..], &["--explain", "-u", "5:6", "--cap-add", "KILL"]].concat();
        let script = "id -u; id -g; grep CapEff /proc/self/status";
        let dry = run_kpexec(&[&flags[..], &["--dry-run=client", pod]].concat())?;
        ensure!(dry.stderr.lines().count() <= 12, "{dry:?}");
        let before = namespace.pods()?;
        let done = run_kpexec(&[&flags[..], &[pod, "--", "sh", "-c", script]].concat())?;
        // KILL, as was told, and the shield that every session may have.
        let text = done.text();
        ensure!(text.starts_with("5\n6\nCapEff:") && text.ends_with("20"), "{done:?}");
        for line in [
            &format!("container:    app of pod default/{pod}, on node {node}"),
            "user:         5, group 6",
            "capabilities: KILL",
            "seccomp:      the container runtime's default",
        ] {
            for output in [&dry, &done] {
                ensure!(output.stderr.lines().any(|told| told == line), "{line}: {output:?}");
            }
        }
        let name = done.stderr.lines().find_map(|line| line.strip_prefix("helper:       pod "));
        let name = name.and_then(|line| line.split(' ').next()).context("a name")?;
        ensure!(!before.contains(name) && namespace.pods()?.contains(name), "{name}");
    }
    Ok(())
}
