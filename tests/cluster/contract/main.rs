//! The contract with `kubectl exec`, as one table: each command line is run by both,
//! with the same stdout and exit code, and with the same words where they matter.
//! Every intended difference is a row with its reason. The second section of
//! docs/against-kubectl.md is made of such a run:
//! `KPEXEC_WRITE_DOCS=1 cargo test -p tests --test contract`.

mod table;

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tests::beside::{Side, cell, write_section};
use tests::command::run_within;
use tests::{Namespace, kubectl};

use table::Wanted::{Differs, OursAlone, Refused, Reworded, Same, Says};
use table::{POD_IN_FILE, Row, TABLE, Wanted};

const OBJECTS: &str = include_str!("../manifests/contract.yaml");

/// Whatever takes longer hangs.
const LIMIT: Duration = Duration::from_secs(180);

/// What came of a row: exit code, stdout, stderr.
type Came = (i32, String, String);

fn came(side: Side, row: &Row, namespace: &str, folder: &Path) -> Result<Came> {
    let folder = folder.to_str().context("a temporary path is text")?;
    let args: Vec<String> =
        row.args.split(' ').map(|word| word.replace("FOLDER", folder)).collect();
    let args = ["-n", namespace].into_iter().chain(args.iter().map(String::as_str));
    let command = side.command(&args.collect::<Vec<_>>());
    let output = run_within(LIMIT, command, row.stdin.as_bytes())?;
    Ok((output.code(), output.text(), output.stderr))
}

/// What is wrong with it.
fn judge(row: &Row, theirs: &Came, ours: &Came) -> Result<()> {
    let is = |side: &str, came: &Came, code: i32, words: &str| {
        ensure!(came.0 == code, "{side}: exit code {}, not {code}: {}", came.0, came.2);
        ensure!(came.2.contains(words), "{side}: no {words:?} in {:?}", came.2);
        ensure!(code == 0 || came.1.is_empty(), "{side}: stdout of a failure: {:?}", came.1);
        Ok(())
    };
    let same = |code: i32, words: &str| {
        is("kubectl", theirs, code, words)?;
        is("kpexec", ours, code, words)?;
        ensure!(theirs.1 == ours.1, "stdout {:?} of kubectl's, {:?} of ours", theirs.1, ours.1);
        ensure!(!theirs.1.is_empty() || row.args.ends_with(" true"), "both said nothing");
        let own = |came: &Came| came.2.replace(words, "").trim().to_owned();
        ensure!(words.is_empty() || own(ours).is_empty(), "and more: {:?}", ours.2);
        ensure!(!words.is_empty() || ours.2.is_empty(), "on stderr: {:?}", ours.2);
        Ok(())
    };
    match row.wanted {
        Same(code) => same(code, ""),
        Says(code, words) => same(code, words),
        Refused(words) => {
            is("kubectl", theirs, 1, words)?;
            is("kpexec", ours, 125, words)
        }
        Reworded(kubectls, ours_say) => {
            is("kubectl", theirs, 1, kubectls)?;
            is("kpexec", ours, 125, ours_say)
        }
        Differs((their_code, kubectls), (our_code, ours_say), _) => {
            is("kubectl", theirs, their_code, kubectls)?;
            is("kpexec", ours, our_code, ours_say)?;
            // Every text contains an empty one.
            ensure!(!ours_say.is_empty() || ours.2.is_empty(), "on stderr: {:?}", ours.2);
            let outcome = |came: &Came| (came.0, came.2.trim().to_owned());
            ensure!(outcome(theirs) != outcome(ours), "there is no difference: {ours:?}");
            if their_code == 0 && our_code == 0 {
                ensure!(theirs.1 == ours.1, "stdout {:?}, and {:?} of ours", theirs.1, ours.1);
            }
            Ok(())
        }
        OursAlone(kubectls, printed, _) => {
            is("kubectl", theirs, 1, kubectls)?;
            is("kpexec", ours, 0, "")?;
            ensure!(ours.2.is_empty(), "on stderr: {:?}", ours.2);
            ensure!(ours.1 == printed, "stdout {:?}, not {printed:?}", ours.1);
            Ok(())
        }
    }
}

/// Its two cells of the document.
fn told(wanted: &Wanted) -> (String, String) {
    let outcome = |code: i32, words: &str| match words.lines().next() {
        Some(words) => format!("{code}: {words}"),
        None => code.to_string(),
    };
    match wanted {
        Same(code) => (outcome(*code, ""), "the same".into()),
        Says(code, words) => (outcome(*code, words), "the same".into()),
        Refused(words) => (outcome(1, words), "125, the same words".into()),
        Reworded(theirs, ours) => (outcome(1, theirs), outcome(125, ours)),
        Differs(theirs, ours, why) => {
            (outcome(theirs.0, theirs.1), format!("**{}**: {why}", outcome(ours.0, ours.1)))
        }
        OursAlone(theirs, _, why) => (outcome(1, theirs), format!("**0**: {why}")),
    }
}

/// The files that rows name.
fn write_files(folder: &Path) -> Result<()> {
    let web = OBJECTS.split("---\n").find(|text| text.contains("kind: Deployment"));
    let files = [
        ("web.yaml", web.context("a deployment")?),
        ("all.yaml", OBJECTS),
        ("one.yaml", POD_IN_FILE),
        ("other.yaml", "{apiVersion: v1, kind: Pod, metadata: {name: one, namespace: other}}"),
        ("bare.yaml", "{apiVersion: v1, kind: ConfigMap, metadata: {name: kube-root-ca.crt}}"),
    ];
    files.iter().try_for_each(|(name, text)| Ok(std::fs::write(folder.join(name), text)?))
}

fn prepare(namespace: &str, folder: &Path) -> Result<()> {
    write_files(folder)?;
    let all = folder.join("all.yaml");
    kubectl(&["apply", "-n", namespace, "-f", all.to_str().context("a path is text")?])?;
    let wait = |what: &str, condition: &str| {
        kubectl(&["wait", "-n", namespace, "--timeout=300s", condition, what]).map(drop)
    };
    for pod in ["pod/one", "pod/many", "pod/noted", "pod/misnoted"] {
        wait(pod, "--for=condition=Ready")?;
    }
    wait("pod/done", "--for=jsonpath={.status.phase}=Succeeded")?;
    wait("deployment/web", "--for=condition=Available")?;
    wait("job/task", "--for=jsonpath={.status.ready}=1")?;
    wait("daemonset/agent", "--for=jsonpath={.status.numberReady}=2")?;
    for one in ["statefulset/db", "replicaset/set", "replicationcontroller/old"] {
        wait(one, "--for=jsonpath={.status.readyReplicas}=1")?;
    }
    wait("deployment/web", "--for=jsonpath={.status.readyReplicas}=2")?;
    let image = "--image=10.200.0.1:5000/busybox:1";
    kubectl(&[
        "debug",
        "-n",
        namespace,
        "many",
        image,
        "-c",
        "dbg",
        "--env=WHO=dbg",
        "--profile=baseline",
        "-q",
        "--",
        "/bin/sleep",
        "100000",
    ])?;
    let running = "--for=jsonpath={.status.ephemeralContainerStatuses[0].state.running.startedAt}";
    wait("pod/many", running)
}

#[test]
fn kpexec_keeps_the_contract_or_says_why_not() -> Result<()> {
    let namespace = Namespace::create("contract", "privileged")?;
    let folder = tempfile::tempdir()?;
    prepare(namespace.name(), folder.path())?;
    let (mut wrong, mut rows) = (String::new(), String::new());
    for row in TABLE {
        let came = |side| came(side, row, namespace.name(), folder.path());
        let result = came(Side::Kubectl)
            .and_then(|theirs| Ok((theirs, came(Side::Kpexec)?)))
            .and_then(|(theirs, ours)| judge(row, &theirs, &ours));
        if let Err(error) = result {
            writeln!(wrong, "{}: {}: {error:#}", row.what, row.args)?;
        }
        let (theirs, ours) = told(&row.wanted);
        let typed = row.args.replace("FOLDER/", "").replace("${IFS}", " ");
        let typed = if row.stdin.is_empty() { typed } else { format!("{typed} < FILE") };
        let cells = [row.what, &format!("`{typed}`"), &theirs, &ours].map(cell);
        writeln!(rows, "| {} |", cells.join(" | "))?;
    }
    ensure!(wrong.is_empty(), "{wrong}");
    let text = format!(
        "`kubectl exec` and `kpexec` with the same arguments: exit code, words on stderr. stdout is the \
         same where both succeed.\nWhat is refused is 1 of kubectl's and 125 of kpexec's, which is no \
         command's own; other differences are\nbold, with their reason.\n\n\
         | | | kubectl exec | kpexec |\n|---|---|---|---|\n{rows}"
    );
    write_section("Command lines", "contract", &text)
}
