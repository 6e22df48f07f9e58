//! A helper that stays: who shares it, how it ends, and what is left of it. Each
//! test has a helper namespace of its own, so that it sees no helper of another.

use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tests::command::{Output, kpexec, run, run_kpexec, wait};
use tests::pod::wait_for_processes;
use tests::{BOTH_NODES, Namespace, kubectl};

/// `kpexec --helper-namespace NS FLAGS POD -- COMMAND`.
fn session(namespace: &Namespace, flags: &[&str], pod: &str, command: &[&str]) -> Result<Output> {
    let helpers = ["--helper-namespace", namespace.name()];
    run_kpexec(&[&helpers, flags, &[pod, "--"], command].concat())
}

/// Name, phase and UID of each helper pod there is.
fn helpers(namespace: &Namespace) -> Result<Vec<String>> {
    rows(namespace, "-o=custom-columns=:.metadata.name,:.status.phase,:.metadata.uid")
}

/// The same without the phase, which the kubelet tells after sessions begin.
fn names(namespace: &Namespace) -> Result<Vec<String>> {
    rows(namespace, "-o=custom-columns=:.metadata.name,:.metadata.uid")
}

fn rows(namespace: &Namespace, columns: &str) -> Result<Vec<String>> {
    let text = kubectl(&["get", "pods", "-n", namespace.name(), "--no-headers", columns])?;
    let mut pods: Vec<_> = text.lines().map(|line| line.trim().to_owned()).collect();
    pods.sort();
    Ok(pods)
}

#[test]
fn the_next_session_of_the_node_has_the_same_helper() -> Result<()> {
    let namespace = Namespace::for_helpers("warm")?;
    for (pod, other, count) in
        [("distroless", "busybox", 1), ("distroless-crio", "busybox-crio", 2)]
    {
        let first = session(&namespace, &[], pod, &["sh", "-c", "exit 3"])?;
        assert_eq!(first.code(), 3, "{first:?}");
        let after_first = names(&namespace)?;
        assert_eq!(after_first.len(), count, "one for each node: {after_first:?}");
        // A refusal is no fault of the helper's.
        let refused = session(&namespace, &[], other, &["no-such-program"])?;
        assert_eq!(refused.code(), 127, "{refused:?}");
        let second = session(&namespace, &["-u", "7:7"], other, &["id", "-u"])?;
        assert_eq!(second.text(), "7", "{second:?}");
        assert_eq!(names(&namespace)?, after_first);
    }
    Ok(())
}

#[test]
fn the_helper_of_the_last_session_is_asked_ahead_and_may_be_the_wrong_one() -> Result<()> {
    for pod in BOTH_NODES {
        let namespace = Namespace::for_helpers("warm-ahead")?;
        let cache = tempfile::tempdir()?;
        let said = |flags: &[&str]| {
            let flags = [&["--helper-namespace", namespace.name(), "-v", pod], flags].concat();
            let mut command = kpexec(&[&flags[..], &["--", "echo", "x"]].concat());
            command.env("XDG_CACHE_HOME", cache.path());
            let output = run(command, b"")?;
            ensure!(output.code() == 0 && output.text() == "x", "{pod}: {output:?}");
            anyhow::Ok(output.stderr)
        };
        let file = cache.path().join("kpexec/helpers");
        let first = said(&["--rm"])?;
        ensure!(!first.contains("ahead") && !file.exists(), "a helper of its own: {first}");
        let first = said(&[])?;
        ensure!(!first.contains("ahead"), "there was no last one: {first}");
        let right = std::fs::read_to_string(&file)?;
        let helper = right.split_whitespace().nth(1).context("there is no name")?;
        let of_helper = |row: &String| row.starts_with(helper);
        ensure!(helpers(&namespace)?.iter().any(of_helper), "{helper} is no helper");
        let second = said(&[])?;
        ensure!(second.contains(&format!("asking helper pod {helper} ahead")), "{second}");

        for wrong in ["kpexec-none", "a/b?c=d"] {
            std::fs::write(&file, right.replace(helper, wrong))?;
            said(&[])?;
            ensure!(std::fs::read_to_string(&file)? == right, "{pod}: {wrong} is not corrected");
        }
        let after = helpers(&namespace)?;
        ensure!(after.iter().filter(|row| row.contains("Running")).all(of_helper), "{after:?}");
    }
    Ok(())
}

#[test]
fn a_session_that_needs_another_helper_gets_one() -> Result<()> {
    let namespace = Namespace::for_helpers("rights")?;
    for (node, pod) in BOTH_NODES.into_iter().enumerate() {
        for (flags, count) in [
            (&[][..], 1),
            (&["--cap-add", "NET_ADMIN"], 2),
            (&["--cap-add", "NET_ADMIN", "-u", "7"], 2),
        ] {
            let output = session(&namespace, flags, pod, &["true"])?;
            assert_eq!(output.code(), 0, "{pod} {flags:?}: {output:?}");
            assert_eq!(helpers(&namespace)?.len(), 2 * node + count, "{pod} {flags:?}");
        }
    }
    Ok(())
}

#[test]
fn with_rm_a_session_has_a_helper_of_its_own() -> Result<()> {
    let namespace = Namespace::for_helpers("rm")?;
    for pod in BOTH_NODES {
        let shared = session(&namespace, &[], pod, &["true"])?;
        assert_eq!(shared.code(), 0, "{shared:?}");
        let before = names(&namespace)?;
        let own = session(&namespace, &["--rm"], pod, &["true"])?;
        assert_eq!(own.code(), 0, "{own:?}");
        let deadline = Instant::now() + Duration::from_secs(60);
        while names(&namespace)? != before {
            ensure!(Instant::now() < deadline, "{:?}, not {before:?}", names(&namespace)?);
        }
    }
    Ok(())
}

#[test]
fn twenty_clients_at_once_share_one_helper() -> Result<()> {
    for pod in BOTH_NODES {
        let namespace = Namespace::for_helpers("race")?;
        let clients: Vec<_> = (0..20)
            .map(|number: i32| {
                let script = format!("echo {number}; sleep 1; exit {number}");
                let helpers = ["--helper-namespace", namespace.name()];
                let command = kpexec(&[&helpers[..], &[pod, "--", "sh", "-c", &script]].concat());
                std::thread::spawn(move || (number, run(command, b"")))
            })
            .collect();
        for client in clients {
            let (number, output) =
                client.join().map_err(|_| anyhow::anyhow!("a client panicked"))?;
            let output = output?;
            assert_eq!(output.code(), number, "{pod}: {output:?}");
            assert_eq!(output.text(), number.to_string());
        }
        assert_eq!(helpers(&namespace)?.len(), 1, "{pod}");
    }
    Ok(())
}

/// A helper on each node that has ended by itself.
fn end_of_helpers(namespace: &Namespace) -> Result<Vec<String>> {
    // At once: a later one would sweep up the first. And not too soon: a helper waits no
    // longer for its first session.
    let sessions = BOTH_NODES.map(|pod| {
        let flags = ["--helper-ttl", "6s", "--helper-namespace", namespace.name()];
        let command = kpexec(&[&flags[..], &[pod, "--", "true"]].concat());
        std::thread::spawn(move || run(command, b""))
    });
    for session in sessions {
        let output = session.join().map_err(|_| anyhow::anyhow!("a session panicked"))??;
        assert_eq!(output.code(), 0, "{output:?}");
    }
    let deadline = Instant::now() + Duration::from_secs(120);
    loop {
        let ended = helpers(namespace)?;
        if ended.len() == 2 && ended.iter().all(|helper| helper.contains("Succeeded")) {
            return Ok(ended);
        }
        ensure!(Instant::now() < deadline, "no end: {ended:?}");
        std::thread::sleep(Duration::from_millis(200));
    }
}

#[test]
fn gc_removes_what_has_ended() -> Result<()> {
    let namespace = Namespace::for_helpers("idle")?;
    end_of_helpers(&namespace)?;
    let gc = ["gc", "--helper-namespace", namespace.name()];
    let swept = run_kpexec(&gc)?;
    assert_eq!((swept.code(), swept.text().lines().count()), (0, 2), "{swept:?}");
    assert_eq!(helpers(&namespace)?, [""; 0]);
    let again = run_kpexec(&gc)?;
    assert_eq!((again.code(), again.text()), (0, String::new()), "{again:?}");
    Ok(())
}

#[test]
fn a_helper_that_has_ended_is_replaced_and_swept_up() -> Result<()> {
    let namespace = Namespace::for_helpers("ended")?;
    let ended = end_of_helpers(&namespace)?;
    // The session on one node sweeps up on the other, too.
    let second = session(&namespace, &[], BOTH_NODES[0], &["sh", "-c", "sleep 2; exit 5"])?;
    assert_eq!(second.code(), 5, "{second:?}");
    // The kubelet tells late that it runs.
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let now = helpers(&namespace)?;
        if matches!(&now[..], [one] if one.contains("Running") && !ended.contains(one)) {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "{now:?}");
        std::thread::sleep(Duration::from_millis(200));
    }
}

#[test]
fn a_session_keeps_its_helper_longer_than_it_may_be_idle() -> Result<()> {
    let namespace = Namespace::for_helpers("busy")?;
    for pod in BOTH_NODES {
        // A helper waits no longer for its first session either.
        let output = session(&namespace, &["--helper-ttl", "5s"], pod, &["sleep", "12"])?;
        assert_eq!(output.code(), 0, "{pod}: {output:?}");
    }
    Ok(())
}

#[test]
fn a_helper_that_is_deleted_is_made_anew() -> Result<()> {
    let namespace = Namespace::for_helpers("deleted")?;
    for (pod, mark) in BOTH_NODES.into_iter().zip(["87301", "87302"]) {
        for code in [3, 4] {
            let output = session(&namespace, &[], pod, &["sh", "-c", &format!("exit {code}")])?;
            assert_eq!(output.code(), code, "{pod}: {output:?}");
            // Ends when the helper has heard that it was deleted: who comes before that is
            // still let in.
            let place = ["--helper-namespace", namespace.name(), pod, "--", "sleep", mark];
            let mut other = kpexec(&place).stderr(Stdio::null()).spawn()?;
            wait_for_processes(mark, 1)?;
            kubectl(&["delete", "pod", "-n", namespace.name(), "--all", "--wait=false"])?;
            let told = wait(&mut other, Duration::from_secs(90));
            let _ended = other.kill();
            assert_eq!(told?.code(), Some(125), "{pod}");
        }
    }
    Ok(())
}
