//! Bytes and exit codes, without a terminal.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use rustix::process::Signal;
use tests::command::{kpexec, run, run_kpexec, signal, wait};
use tests::{BOTH_NODES, DEMO_PODS};

#[test]
fn stdout_and_stderr_are_apart() -> Result<()> {
    for pod in DEMO_PODS {
        let output = run_kpexec(&[pod, "--", "sh", "-c", "echo out; echo err >&2"])?;
        assert_eq!(output.text(), "out", "{pod}");
        assert_eq!(output.stderr, "err\n", "{pod}");
    }
    Ok(())
}

#[test]
fn random_bytes_come_back_unchanged() -> Result<()> {
    let mut bytes = vec![0; 8 << 20];
    std::io::Read::read_exact(&mut std::fs::File::open("/dev/urandom")?, &mut bytes)?;
    for pod in DEMO_PODS {
        let output = run(kpexec(&["-i", pod, "--", "cat"]), &bytes)?;
        assert_eq!(output.code(), 0, "{pod}: {}", output.stderr);
        assert!(output.stdout == bytes, "{pod}: {} bytes came back", output.stdout.len());
    }
    Ok(())
}

#[test]
fn stdin_is_passed_only_if_asked_for() -> Result<()> {
    for pod in BOTH_NODES {
        assert_eq!(run(kpexec(&[pod, "--", "wc", "-c"]), b"12345")?.text(), "0", "{pod}");
        assert_eq!(run(kpexec(&["-i", pod, "--", "wc", "-c"]), b"12345")?.text(), "5", "{pod}");
    }
    Ok(())
}

#[test]
fn exit_codes_are_the_commands_own() -> Result<()> {
    for pod in DEMO_PODS {
        for (script, code) in
            [("exit 0", 0), ("exit 3", 3), ("kill -KILL $$", 137), ("kill $$", 143)]
        {
            let output = run_kpexec(&[pod, "--", "sh", "-c", script])?;
            assert_eq!(output.code(), code, "{pod}: {script}: {output:?}");
            assert_eq!(output.stderr, "", "{pod}: {script}");
        }
    }
    Ok(())
}

#[test]
fn what_cannot_be_run_is_126_or_127() -> Result<()> {
    for pod in DEMO_PODS {
        for (program, code) in [("/etc/passwd", 126), ("no-such-program", 127), ("/no/such", 127)] {
            let output = run_kpexec(&[pod, "--", program])?;
            assert_eq!(output.code(), code, "{pod}: {program}: {output:?}");
            let first = output.stderr.lines().next().unwrap_or_default();
            assert!(first.starts_with(&format!("kpexec: {program}: ")), "{pod}: {}", output.stderr);
            assert!(output.stdout.is_empty(), "{pod}: {program}");
        }
    }
    Ok(())
}

#[test]
fn arguments_are_passed_as_they_are() -> Result<()> {
    let odd = ["a b", "$HOME", "$$", "*", "'", "", "--", "-n"];
    for pod in BOTH_NODES {
        let script = "for a in \"$@\"; do printf '<%s>' \"$a\"; done";
        let command = [pod, "--", "sh", "-c", script, "sh"];
        let arguments: Vec<&str> = command.into_iter().chain(odd).collect();
        let wanted: String = odd.iter().map(|argument| format!("<{argument}>")).collect();
        assert_eq!(run_kpexec(&arguments)?.text(), wanted, "{pod}");
    }
    Ok(())
}

#[test]
fn the_targets_own_programs_run_too() -> Result<()> {
    for pod in ["busybox", "busybox-crio"] {
        let output = run_kpexec(&[pod, "--", "/bin/busybox", "echo", "hello"])?;
        assert_eq!(output.text(), "hello", "{pod}: {output:?}");
    }
    Ok(())
}

#[test]
fn a_command_that_is_stopped_is_ended_too() -> Result<()> {
    for pod in BOTH_NODES {
        for (sent, code) in [(Signal::TERM, 143), (Signal::HUP, 129), (Signal::INT, 130)] {
            let mut command = kpexec(&[pod, "--", "sh", "-c", "echo ready; kill -STOP $$"]);
            command.stdin(Stdio::null()).stdout(Stdio::piped());
            let mut client = command.spawn()?;
            let mut lines = BufReader::new(client.stdout.take().context("a pipe")?).lines();
            ensure!(lines.next().context("no output")?? == "ready", "{pod}");
            // One that has not stopped by then is ended by the signal alone.
            std::thread::sleep(Duration::from_millis(300));
            signal(client.id(), sent)?;
            let status = wait(&mut client, Duration::from_secs(60))?;
            ensure!(status.code() == Some(code), "{pod}: {sent:?}: {status}");
        }
    }
    Ok(())
}

#[test]
fn signals_are_the_commands() -> Result<()> {
    for pod in BOTH_NODES {
        let script = "for name in INT TERM HUP QUIT USR1 USR2; do trap \"echo $name\" $name; done; \
                      echo ready; while :; do sleep 0.05; done";
        let mut command = kpexec(&[pod, "--", "sh", "-c", script]);
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut client = command.spawn()?;
        let mut lines = BufReader::new(client.stdout.take().context("stdout is a pipe")?).lines();
        let mut next = || lines.next().context("no more output")?.context("not text");
        ensure!(next()? == "ready", "{pod}");
        for (sent, name) in [
            (Signal::INT, "INT"),
            (Signal::TERM, "TERM"),
            (Signal::HUP, "HUP"),
            (Signal::QUIT, "QUIT"),
            (Signal::USR1, "USR1"),
            // Twice at once, which ends kpexec with others.
            (Signal::USR1, "USR1"),
            (Signal::USR2, "USR2"),
        ] {
            signal(client.id(), sent)?;
            let heard = next()?;
            ensure!(heard == name, "{pod}: {name} came as {heard}");
        }
        signal(client.id(), Signal::KILL)?;
        client.wait()?;
    }
    Ok(())
}
