//! It fails while the command runs. What takes a kubelet, a runtime or the API server
//! away is in faults/, which has the cluster to itself.

use std::io::Read as _;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use tests::command::{Output, run, signal, wait};
use tests::pod::Pod;
use tests::{NODE_NAMES, Namespace, cluster, kubectl};

use super::row::{Row, Variables, check, row};

/// How long it may take until the failure is told.
const LIMIT: Duration = Duration::from_secs(90);

/// A failure, and what makes it happen once the command runs.
struct Midway {
    row: Row,
    fault: fn(&Scene) -> Result<()>,
}

/// Where it happens.
struct Scene<'a> {
    /// The namespace of pods and helpers.
    namespace: &'a str,
    /// The pod.
    pod: &'a str,
}

const LINE: &str =
    "kpexec -n $ns --helper-namespace $ns $web -- sh -c 'echo runs; exec sleep 1000'";

const MIDWAY: &[Midway] = &[
    Midway {
        row: row(
            "the container is restarted",
            LINE,
            "the container stopped while the command ran",
            "kubectl describe pod",
        ),
        fault: |scene| {
            let pod = Pod::find_in(scene.namespace, scene.pod)?;
            signal(pod.pid.cast_unsigned(), Signal::KILL)
        },
    },
    Midway {
        row: row(
            "the pod is deleted",
            LINE,
            "the container stopped while the command ran",
            "kubectl describe pod",
        ),
        fault: |scene| {
            kubectl(&["delete", "pod", "-n", scene.namespace, scene.pod, "--now"]).map(drop)
        },
    },
    Midway {
        row: row(
            "the helper is deleted",
            LINE,
            "lost the session, and with it the command's result: the helper pod was deleted",
            "kubectl get events",
        ),
        fault: |scene| {
            let label = "app.kubernetes.io/name=kpexec-helper";
            let delete = ["delete", "pod", "--wait=false", "-n", scene.namespace, "-l", label];
            kubectl(&delete).map(drop)
        },
    },
];

/// What is at this end, and has no fault to wait for.
const HERE: &[Row] = &[
    row(
        "no room for the output",
        "kpexec $pod -- seq 100000 > /dev/full",
        "cannot write the command's output: No space left on device",
        "",
    ),
    row(
        "stdin cannot be read",
        "kpexec -i $pod -- cat < /",
        "cannot read stdin: Is a directory",
        "",
    ),
];

/// The pods that the rows are about: one for each row and node.
fn pod(namespace: &str, node: &str, row: usize) -> Result<String> {
    let name = format!("web-{row}-{node}");
    cluster::apply(&format!(
        "{{apiVersion: v1, kind: Pod, metadata: {{name: {name}, namespace: {namespace}}}, spec: \
         {{nodeName: {node}, terminationGracePeriodSeconds: 1, containers: [{{name: app, image: \
         \"10.200.0.1:5000/busybox:1\"}}]}}}}"
    ))?;
    let ready = ["wait", "-n", namespace, "--timeout=120s", "--for=condition=Ready"];
    kubectl(&[&ready[..], &[&format!("pod/{name}")]].concat())?;
    Ok(name)
}

impl Midway {
    /// Begins the session, waits until its command runs, and lets it happen.
    fn happens(&self, scene: &Scene, variables: &Variables) -> Result<()> {
        let mut command = self.row.command(variables);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut client = command.spawn()?;
        let mut said = [0; 5];
        client.stdout.as_mut().context("a pipe")?.read_exact(&mut said)?;
        ensure!(&said == b"runs\n", "{said:?}");
        (self.fault)(scene)?;
        wait(&mut client, LIMIT)?;
        let output = client.wait_with_output()?;
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        let output = Output { status: output.status, stdout: output.stdout, stderr };
        self.row.judge(&output, variables).with_context(|| output.stderr.clone())
    }
}

#[test]
fn midway() -> Result<()> {
    let namespace = Namespace::for_helpers("midway")?;
    for (number, midway) in MIDWAY.iter().enumerate() {
        for node in NODE_NAMES {
            let pod = pod(namespace.name(), node, number)?;
            let variables = vec![("ns", namespace.name()), ("web", &*pod)];
            let scene = Scene { namespace: namespace.name(), pod: &pod };
            let happened = midway.happens(&scene, &variables);
            happened.with_context(|| format!("{node}: {}", midway.row.failure))?;
        }
    }
    Ok(())
}

#[test]
fn at_this_end() -> Result<()> {
    check(HERE, &Variables::new())
}

#[test]
fn stdin_that_is_closed_is_at_its_end() -> Result<()> {
    // The second is what nohup(1) makes of a terminal.
    for line in ["kpexec -i $pod -- wc -c <&-", "kpexec -i $pod -- wc -c 0>/dev/null"] {
        let empty = row("", line, "", "");
        for variables in empty.places(&Variables::new()) {
            let output = run(empty.command(&variables), b"")?;
            let told = (output.code(), &*output.text(), &*output.stderr);
            ensure!(told == (0, "0", ""), "{line}: {output:?}");
        }
    }
    Ok(())
}
