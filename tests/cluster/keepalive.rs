//! A kpexec that is there and says nothing: asleep, or held up by its reader.

use std::fs;
use std::io::Read as _;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use tests::Pod;
use tests::command::{kpexec, signal, wait};
use tests::pod::wait_for_processes;

const LIMIT: Duration = Duration::from_secs(60);

/// Pods whose root file system can be written, one a node.
const WRITABLE: [&str; 2] = ["busybox", "busybox-crio"];

#[test]
fn a_client_that_is_asleep_loses_its_command_after_the_keepalive() -> Result<()> {
    for (pod, mark) in WRITABLE.into_iter().zip(["88001", "88002"]) {
        let told = format!("/tmp/told-{mark}");
        // It writes down which signal came, and heeds none, nor does what it has
        // started in a session of its own. Without output: that has ended, too.
        let script = format!(
            "trap 'echo HUP >> {told}' HUP; trap 'echo TERM >> {told}' TERM; \
             setsid sh -c \"trap '' HUP TERM; sleep {mark}; sleep {mark}\" & \
             exec > /dev/null 2>&1; while :; do sleep 0.1; done"
        );
        let mut command = kpexec(&["--keepalive=6s", pod, "--", "sh", "-c", &script]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut client = command.spawn()?;
        wait_for_processes(mark, 1)?;
        signal(client.id(), Signal::STOP)?;
        let stopped = Instant::now();
        wait_for_processes(mark, 0)?;
        let took = stopped.elapsed();
        eprintln!("{pod}: gone {:.1} s after the stop", took.as_secs_f32());
        let file = Pod::find(pod)?.path(&told);
        let heard = fs::read_to_string(&file)?;
        fs::remove_file(&file)?;
        assert_eq!(heard, "HUP\nTERM\n", "{pod}");
        // Some for SIGKILL and for this test's look at all processes; without the flag it
        // would be 30 s.
        let in_time = Duration::from_secs(3)..Duration::from_secs(20);
        ensure!(in_time.contains(&took), "{pod}: gone after {took:?}");
        // Awake again it says that the session is lost.
        signal(client.id(), Signal::CONT)?;
        assert_eq!(wait(&mut client, LIMIT)?.code(), Some(125), "{pod}");
        let mut said = String::new();
        client.stderr.as_mut().context("no stderr")?.read_to_string(&mut said)?;
        ensure!(said.starts_with("kpexec: lost the session"), "{pod}: {said}");
    }
    Ok(())
}

#[test]
fn the_command_of_a_killed_client_ends_at_once() -> Result<()> {
    for (pod, mark) in WRITABLE.into_iter().zip(["88003", "88004"]) {
        let mut client = kpexec(&[pod, "--", "sleep", mark]).stdin(Stdio::null()).spawn()?;
        wait_for_processes(mark, 1)?;
        client.kill()?;
        let killed = Instant::now();
        client.wait()?;
        wait_for_processes(mark, 0)?;
        // Without its end being noticed it would be the keepalive, 30 s.
        ensure!(killed.elapsed() < Duration::from_secs(15), "{pod}: {:?}", killed.elapsed());
    }
    Ok(())
}

/// Memory that a process has now, in MiB.
fn resident(pid: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let kib = tests::status::status(&status, "VmRSS")?[0].parse::<u64>()?;
    Ok(kib / 1024)
}

#[test]
fn a_reader_that_is_stopped_holds_the_command_up_and_loses_nothing() -> Result<()> {
    const LENGTH: usize = 300 << 20;
    for pod in WRITABLE {
        // The reader's stop is longer than the keepalive: it is no client's silence.
        let script = format!("head -c {LENGTH} /dev/zero");
        let mut command = kpexec(&["--keepalive=6s", pod, "--", "sh", "-c", &script]);
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut client = command.spawn()?;
        let output = client.stdout.take().context("no stdout")?;
        let mut reader = Command::new("wc");
        let reader = reader.arg("-c").stdin(output).stdout(Stdio::piped()).spawn()?;
        let has_begun = Instant::now();
        while read_by(reader.id())? < 1 << 20 {
            ensure!(has_begun.elapsed() < LIMIT, "{pod}: no output");
            sleep(Duration::from_millis(2));
        }
        signal(reader.id(), Signal::STOP)?;
        // Until all on the way is full.
        sleep(Duration::from_secs(4));
        let (early, read) = (resident(client.id())?, read_by(reader.id())?);
        ensure!(read < LENGTH as u64, "{pod}: it has been read before it was stopped");
        sleep(Duration::from_secs(7));
        let late = resident(client.id())?;
        eprintln!("{pod}: {early} MiB, then {late} MiB; {read} bytes read");
        ensure!(late <= early + 1 && late < 40, "{pod}: it grows: {early} MiB, {late} MiB");
        ensure!(client.try_wait()?.is_none(), "{pod}: it does not wait");
        signal(reader.id(), Signal::CONT)?;
        let counted = reader.wait_with_output()?.stdout;
        assert_eq!(String::from_utf8(counted)?.trim(), LENGTH.to_string(), "{pod}");
        assert_eq!(wait(&mut client, LIMIT)?.code(), Some(0), "{pod}");
    }
    Ok(())
}

/// How much a process has read, in bytes: proc_pid_io(5).
fn read_by(pid: u32) -> Result<u64> {
    let io = fs::read_to_string(format!("/proc/{pid}/io"))?;
    let line = io.lines().find_map(|line| line.strip_prefix("rchar: ")).context("no rchar")?;
    Ok(line.parse()?)
}
