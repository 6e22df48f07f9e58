//! Pods found by what they belong to, by a file, and by labels. What kubectl does, too,
//! is in contract.rs.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use rustix::process::Signal;
use tests::command::{kpexec, run, run_kpexec, signal, wait};
use tests::{Namespace, cluster, kubectl};

fn deployment(namespace: &str, replicas: u32) -> Result<()> {
    cluster::apply(&format!(
        "{{apiVersion: apps/v1, kind: Deployment, metadata: {{name: web, namespace: {namespace}}}, \
         spec: {{replicas: {replicas}, selector: {{matchLabels: {{app: web}}}}, template: {{metadata: \
         {{labels: {{app: web}}}}, spec: {{terminationGracePeriodSeconds: 1, containers: \
         [{{name: app, image: \"10.200.0.1:5000/busybox:1\"}}]}}}}}}}}"
    ))
}

#[test]
fn a_first_pod_is_waited_for() -> Result<()> {
    let namespace = Namespace::create("objects", "privileged")?;
    let ns = namespace.name();
    deployment(ns, 0)?;
    let begun = Instant::now();
    let output =
        run_kpexec(&["-n", ns, "deploy/web", "--pod-running-timeout", "2s", "--", "true"])?;
    let said = "deployment/web has no pod, and got none within 2 s";
    ensure!(output.code() == 125 && output.stderr.contains(said), "{output:?}");
    ensure!(begun.elapsed() >= Duration::from_secs(2), "it did not wait");

    // Ctrl-C ends the waiting.
    let mut waits = kpexec(&["-n", ns, "deploy/web", "--", "true"]).spawn()?;
    std::thread::sleep(Duration::from_secs(2));
    signal(waits.id(), Signal::INT)?;
    assert_eq!(wait(&mut waits, Duration::from_secs(30))?.code(), Some(130));

    // As with kubectl a pod ends it, whatever that does.
    let mut waits = kpexec(&["-n", ns, "deploy/web", "--", "true"]).spawn()?;
    std::thread::sleep(Duration::from_secs(2));
    ensure!(waits.try_wait()?.is_none(), "it did not wait");
    deployment(ns, 1)?;
    wait(&mut waits, Duration::from_secs(180))?;
    Ok(())
}

#[test]
fn the_other_ways_to_name_a_pod_work_with_shared_connections_too() -> Result<()> {
    let namespace = Namespace::create("objects", "privileged")?;
    let ns = namespace.name();
    deployment(ns, 2)?;
    kubectl(&["rollout", "status", "-n", ns, "deployment/web", "--timeout=180s"])?;
    let file = format!(
        "{{\"kind\": \"Deployment\", \"apiVersion\": \"apps/v1\", \"metadata\": {{\"name\": \"web\", \"namespace\": \"{ns}\"}}}}"
    );
    for share in ["--share=0", "--share=20s"] {
        let output = run(kpexec(&[share, "-f", "-", "--", "hostname"]), file.as_bytes())?;
        ensure!(output.code() == 0 && output.text().starts_with("web-"), "{share}: {output:?}");
        let told = format!("Entering pod {}, one of 2 of deployment/web\n", output.text());
        ensure!(output.stderr == told, "{share}: {output:?}");

        let several = run_kpexec(&[share, "-n", ns, "-l", "app=web", "--", "true"])?;
        ensure!(several.code() == 125 && several.stdout.is_empty(), "{several:?}");
        let lines: Vec<&str> = several.stderr.lines().collect();
        ensure!(lines[0].starts_with("kpexec: 2 pods in namespace"), "{share}: {lines:?}");
        ensure!(lines.len() == 4 && lines[1] == "hint: name the one you mean:", "{lines:?}");
        let chosen = lines[2].split_whitespace().collect::<Vec<_>>();
        ensure!(chosen[0].starts_with("web-") && chosen[1] == "Running", "{share}: {lines:?}");
        let output = run_kpexec(&[share, "-n", ns, chosen[0], "--", "hostname"])?;
        ensure!(output.text() == chosen[0], "{share}: {output:?}");
    }
    Ok(())
}
