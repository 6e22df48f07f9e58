//! Commands by way of a background process, `--share`. Each test has processes,
//! a socket folder and a helper namespace of its own.

mod access;
mod ends;
mod one;
mod sharer;

use std::process::Command;

use anyhow::{Result, ensure};
use tests::command::{kpexec, run};
use tests::terminal::Terminal;
use tests::{BOTH_NODES, kubectl};

use sharer::Sharer;

#[test]
fn a_shared_command_is_as_one_that_is_not() -> Result<()> {
    let sharer = Sharer::new("same")?;
    for pod in BOTH_NODES {
        let sh = |script: &'static str| vec![pod, "--", "sh", "-c", script];
        for arguments in [
            sh("echo out; echo err >&2; exit 3"),
            sh("kill -KILL $$"),
            vec![pod, "--", "no-such-program"],
            vec![pod, "--", "/etc/passwd"],
            vec!["no-such-pod", "--", "true"],
            vec!["-n", "no-such-namespace", pod, "--", "true"],
            vec!["-c", "no-such-container", pod, "--", "true"],
            vec!["--context", "no-such-context", pod, "--", "true"],
            vec!["-u", "no-such-user", pod, "--", "id"],
            vec!["-u", "7:8", "--env", "A=\u{fc}", pod, "--", "sh", "-c", "id -u; id -g; echo $A"],
            vec!["--workdir", "/no/such", pod, "--", "true"],
            vec!["--cri-socket", "relative", pod, "--", "true"],
            vec!["--writes=discard", pod, "--", "sh", "-c", "echo x > /etc/x; cat /etc/x"],
            vec!["-it", pod, "--", "tty"],
            vec!["-q", "-it", pod, "--", "tty"],
            vec!["--helper-image", "", pod, "--", "true"],
        ] {
            let direct = run(sharer.direct(&arguments), b"")?;
            let shared = run(sharer.command(&arguments), b"")?;
            assert_eq!(shared.code(), direct.code(), "{arguments:?}: {shared:?}, not {direct:?}");
            assert_eq!(shared.text(), direct.text(), "{arguments:?}");
            assert_eq!(shared.stderr, direct.stderr, "{arguments:?}");
        }
    }
    Ok(())
}

#[test]
fn what_is_saved_is_the_same() -> Result<()> {
    let sharer = Sharer::new("save")?;
    for pod in BOTH_NODES {
        let file = sharer.folder().join("changes.tar");
        let path = file.to_str().unwrap_or_default();
        let arguments = ["--save-changes", path, pod, "--", "sh", "-c", "echo kept > /etc/kept"];
        let output = run(sharer.command(&arguments), b"")?;
        assert_eq!(output.code(), 0, "{pod}: {output:?}");
        let tar = std::fs::read(&file)?;
        assert!(tar.windows(8).any(|bytes| bytes == b"etc/kept"), "{pod}: {} bytes", tar.len());
    }
    Ok(())
}

#[test]
fn twenty_at_once_share_one_connection() -> Result<()> {
    for pod in BOTH_NODES {
        let sharer = Sharer::new("many")?;
        let clients: Vec<_> = (0..20)
            .map(|number: i32| {
                let script = format!("echo {number}; sleep 4; exit {number}");
                let command = sharer.command(&[pod, "--", "sh", "-c", &script]);
                std::thread::spawn(move || (number, run(command, b"")))
            })
            .collect();
        let mut most = 0;
        loop {
            // It outlives the clients, so one look at least sees it.
            let all_have_ended = clients.iter().all(|client| client.is_finished());
            most = most.max(sharer.connections()?);
            if all_have_ended {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        for client in clients {
            let (number, output) =
                client.join().map_err(|_| anyhow::anyhow!("a client panicked"))?;
            let output = output?;
            assert_eq!(output.code(), number, "{pod}: {output:?}");
            assert_eq!(output.text(), number.to_string());
        }
        assert_eq!((most, sharer.processes()?.len()), (1, 1), "{pod}");
        assert_eq!(sharer.helpers()?.len(), 1, "{pod}");
        let again = run(sharer.command(&[pod, "--", "true"]), b"")?;
        assert_eq!((again.code(), sharer.connections()?), (0, 1), "{pod}: {again:?}");
    }
    Ok(())
}

#[test]
fn sixteen_mebibytes_come_back_unchanged() -> Result<()> {
    let sharer = Sharer::new("bytes")?;
    let mut bytes = vec![0; 16 << 20];
    std::io::Read::read_exact(&mut std::fs::File::open("/dev/urandom")?, &mut bytes)?;
    for pod in BOTH_NODES {
        let output = run(sharer.command(&["-i", pod, "--", "cat"]), &bytes)?;
        assert_eq!(output.code(), 0, "{pod}: {}", output.stderr);
        assert!(output.stdout == bytes, "{pod}: {} bytes came back", output.stdout.len());
    }
    Ok(())
}

#[test]
fn whose_output_nobody_takes_holds_up_no_other() -> Result<()> {
    let sharer = Sharer::new("slow")?;
    for pod in BOTH_NODES {
        let mut slow = Vec::new();
        for _ in 0..4 {
            let mut command = sharer.command(&[pod, "--", "cat", "/dev/zero"]);
            command.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::piped());
            slow.push(command.spawn()?);
        }
        std::thread::sleep(std::time::Duration::from_secs(3));
        let output =
            run(sharer.command(&[pod, "--", "sh", "-c", "head -c 20000000 /dev/zero"]), b"")?;
        for mut client in slow {
            client.kill()?;
            client.wait()?;
        }
        assert_eq!((output.code(), output.stdout.len()), (0, 20_000_000), "{pod}");
        let memory = sharer.memory()?;
        // Sessions: 8 MiB each at most; and the process itself.
        assert!(memory < (5 * 8 + 25) * 1024, "{pod}: {memory} KiB");
    }
    Ok(())
}

#[test]
fn a_terminal_is_one() -> Result<()> {
    let sharer = Sharer::new("terminal")?;
    for pod in BOTH_NODES {
        let command = sharer.command(&["-it", pod, "--", "sh"]);
        let mut terminal = Terminal::run(&command, 31, 77)?;
        terminal.type_in("stty size; echo $TERM; tty\r")?;
        for expected in ["31 77", "xterm", "/dev/pts/"] {
            terminal.expect(expected)?;
        }
        terminal.resize(32, 78)?;
        // The change is a message of its own; asked again until it is there.
        terminal.type_in("until stty size | grep '32 78'; do sleep 0.1; done\r")?;
        terminal.expect("32 78\r\n")?;
        terminal.type_in("exit 5\r")?;
        let status = tests::command::wait(&mut terminal.child, std::time::Duration::from_secs(60))?;
        assert_eq!(status.code(), Some(5), "{pod}");
    }
    Ok(())
}

#[test]
fn signals_reach_the_command() -> Result<()> {
    let sharer = Sharer::new("signals")?;
    for pod in BOTH_NODES {
        let script = "trap 'echo got; exit 9' TERM; echo ready; while :; do sleep 0.1; done";
        let mut command = sharer.command(&[pod, "--", "sh", "-c", script]);
        command.stdout(std::process::Stdio::piped()).stdin(std::process::Stdio::null());
        let mut client = command.spawn()?;
        let mut output = std::io::BufReader::new(client.stdout.take().expect("it is a pipe"));
        let mut line = String::new();
        std::io::BufRead::read_line(&mut output, &mut line)?;
        assert_eq!(line, "ready\n", "{pod}");
        tests::command::signal(client.id(), rustix::process::Signal::TERM)?;
        let status = tests::command::wait(&mut client, std::time::Duration::from_secs(60))?;
        assert_eq!(status.code(), Some(9), "{pod}");
    }
    Ok(())
}

#[test]
fn what_has_a_helper_of_its_own_shares_nothing() -> Result<()> {
    let sharer = Sharer::new("own")?;
    for pod in BOTH_NODES {
        let output = run(sharer.command(&["--rm", pod, "--", "true"]), b"")?;
        assert_eq!((output.code(), sharer.processes()?.len()), (0, 0), "{pod}: {output:?}");
    }
    let mut command =
        kpexec(&["--helper-namespace", sharer.namespace(), BOTH_NODES[0], "--", "true"]);
    command.env("XDG_RUNTIME_DIR", sharer.folder()).env("KPEXEC_SHARE", "0");
    assert_eq!((run(command, b"")?.code(), sharer.processes()?.len()), (0, 0));
    Ok(())
}

#[test]
fn nothing_that_was_inherited_is_kept_open() -> Result<()> {
    let sharer = Sharer::new("open")?;
    let kpexec = sharer.command(&[BOTH_NODES[0], "--", "echo", "done"]);
    let mut shell = Command::new("sh");
    shell.args(["-c", "exec 7>&1; \"$@\"", "sh"]).arg(kpexec.get_program()).args(kpexec.get_args());
    shell.envs(kpexec.get_envs().filter_map(|(name, value)| Some((name, value?))));
    // It reads until the last descriptor of the pipe is closed.
    let output = run(shell, b"")?;
    assert_eq!((output.code(), output.text().as_str()), (0, "done"), "{output:?}");
    let process = sharer.process()?;
    let descriptors = std::fs::read_dir(format!("/proc/{process}/fd"))?;
    for entry in descriptors.flatten() {
        let target = std::fs::read_link(entry.path()).unwrap_or_default();
        let target = target.to_string_lossy().into_owned();
        ensure!(!target.starts_with("pipe:"), "{target} is open");
    }
    assert_eq!(std::fs::read_link(format!("/proc/{process}/cwd"))?.to_str(), Some("/"));
    Ok(())
}

#[test]
fn a_helper_that_is_deleted_ends_its_sessions_and_no_more() -> Result<()> {
    let sharer = Sharer::new("lost")?;
    for pod in BOTH_NODES {
        let session = sharer.started(&[pod, "--", "sh", "-c", "echo ready; sleep 1000"])?;
        let process = sharer.process()?;
        kubectl(&[
            "delete",
            "pod",
            "-n",
            sharer.namespace(),
            "--all",
            "--force",
            "--grace-period=0",
        ])?;
        let output = session.end()?;
        assert_eq!(output.code(), 125, "{pod}: {output:?}");
        // As far as the helper had time to say it.
        let told = ["lost the session, and with it the command's result: ", "deleted or evicted"];
        assert!(told.iter().any(|told| output.stderr.contains(told)), "{pod}: {}", output.stderr);
        let next = run(sharer.command(&[pod, "--", "sh", "-c", "exit 6"]), b"")?;
        assert_eq!(next.code(), 6, "{pod}: {next:?}");
        assert_eq!(sharer.process()?, process, "{pod}");
    }
    Ok(())
}
