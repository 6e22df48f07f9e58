//! One table of what bytes, exit codes and signals have to do, run by kpexec and
//! by `kubectl exec` against the same pods. kpexec must be right in each row;
//! where kubectl is not, docs/against-kubectl.md says so, which is made of such a
//! run: `KPEXEC_WRITE_DOCS=1 cargo test -p tests --test against_kubectl`.

use std::fmt::Write as _;
use std::io::{Read, Write as _};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use tests::beside::{Side, cell, write_section};
use tests::command::{Output, run_within, signal, wait};
use tests::pod::{processes_with, wait_for_processes};

/// They have a shell of their own, which kubectl needs.
const PODS: [&str; 2] = ["busybox", "busybox-crio"];

/// Whatever takes longer hangs. kubectl, which does in some rows, is no failure of the test.
const fn limit(side: Side) -> Duration {
    Duration::from_secs(match side {
        Side::Kpexec => 180,
        Side::Kubectl => 30,
    })
}

const MIB: usize = 1 << 20;

/// `kpexec FLAGS POD -- WORDS`, or `kubectl exec` with the same.
fn command(side: Side, flags: &[&str], pod: &str, words: &[&str]) -> Command {
    side.command(&[flags, &[pod, "--"], words].concat())
}

fn run(side: Side, flags: &[&str], pod: &str, words: &[&str], stdin: &[u8]) -> Result<Output> {
    let output = run_within(limit(side), command(side, flags, pod, words), stdin);
    // The command line, which is in the error, is not for the document.
    output.map_err(|_| anyhow::anyhow!("it hangs, or cannot be started"))
}

fn shell(side: Side, flags: &[&str], pod: &str, script: &str, stdin: &[u8]) -> Result<Output> {
    run(side, flags, pod, &["sh", "-c", script], stdin)
}

/// What has to be so, and a look whether it is.
type Row = (&'static str, fn(Side, &str) -> Result<()>);

const TABLE: &[Row] = &[
    ("16 MiB of random bytes go in and come back unchanged", unchanged),
    ("stdin ends where it ends", |side, pod| {
        let output = run(side, &["-i"], pod, &["wc", "-c"], b"12345")?;
        is(&output.text(), "5")
    }),
    ("an empty stdin ends at once", |side, pod| {
        is(&run(side, &["-i"], pod, &["wc", "-c"], b"")?.text(), "0")
    }),
    ("without -i there is no stdin", |side, pod| {
        is(&run(side, &[], pod, &["wc", "-c"], b"12345")?.text(), "0")
    }),
    ("exit code 0", |side, pod| code(side, pod, "exit 0", 0)),
    ("exit code 7", |side, pod| code(side, pod, "exit 7", 7)),
    ("a command killed by SIGKILL is 137", |side, pod| code(side, pod, "kill -KILL $$", 137)),
    ("a command killed by SIGTERM is 143", |side, pod| code(side, pod, "kill $$", 143)),
    ("an exit code comes alone: no line of the client's own", |side, pod| {
        let output = shell(side, &[], pod, "exit 3", b"")?;
        is(&output.stderr, "")
    }),
    ("4 MiB of stdout and of stderr arrive whole and apart", apart),
    ("what is written last arrives, 20 times of 20", |side, pod| {
        (0..20).try_for_each(|_| {
            let output = shell(side, &[], pod, "head -c 100000 /dev/zero; echo end", b"")?;
            ensure!(output.stdout.len() == 100_004, "{} bytes came", output.stdout.len());
            Ok(())
        })
    }),
    ("a command that ends early does not wait for its stdin", |side, pod| {
        let output = run(side, &["-i"], pod, &["head", "-c", "1"], &vec![b'x'; 64 * MIB])?;
        is(&output.text(), "x")?;
        let said = output.stderr.lines().last().unwrap_or_default();
        ensure!(output.code() == 0, "exit code {}, {said:?}", output.code());
        Ok(())
    }),
    ("`yes | head -1` ends at once, here and there", closed_reader),
    ("both directions full, and then read", both_full),
    ("SIGTERM to the client reaches the command", terminated),
    ("a client that is killed leaves no process", killed),
];

fn is(found: &str, wanted: &str) -> Result<()> {
    ensure!(found == wanted, "{found:?} instead of {wanted:?}");
    Ok(())
}

fn code(side: Side, pod: &str, script: &str, wanted: i32) -> Result<()> {
    let output = shell(side, &[], pod, script, b"")?;
    ensure!(output.code() == wanted, "exit code {}", output.code());
    Ok(())
}

fn random(count: usize) -> Result<Vec<u8>> {
    let mut bytes = vec![0; count];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn unchanged(side: Side, pod: &str) -> Result<()> {
    let bytes = random(16 * MIB)?;
    let output = run(side, &["-i"], pod, &["cat"], &bytes)?;
    ensure!(output.stdout.len() == bytes.len(), "{} bytes came back", output.stdout.len());
    ensure!(output.stdout == bytes, "other bytes came back");
    Ok(())
}

fn apart(side: Side, pod: &str) -> Result<()> {
    let script = "head -c 4194304 /dev/zero & head -c 4194304 /dev/zero | tr '\\0' x >&2; wait";
    let output = shell(side, &[], pod, script, b"")?;
    let (out, err) = (output.stdout.len(), output.stderr.len());
    ensure!((out, err) == (4 * MIB, 4 * MIB), "{out} bytes of stdout, {err} of stderr");
    ensure!(output.stdout.iter().all(|byte| *byte == 0), "stdout has something of stderr");
    ensure!(output.stderr.bytes().all(|byte| byte == b'x'), "stderr has something of stdout");
    Ok(())
}

/// A mark that no other test, row or run has.
fn mark(row: u32, side: Side, pod: &str) -> String {
    let node = u32::from(pod == PODS[1]);
    (86_000 + row * 10 + node * 2 + u32::from(side == Side::Kubectl)).to_string()
}

fn closed_reader(side: Side, pod: &str) -> Result<()> {
    let mark = mark(1, side, pod);
    let mut command = command(side, &[], pod, &["yes", &mark]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut client = command.spawn()?;
    let mut stdout = client.stdout.take().context("stdout is a pipe")?;
    stdout.read_exact(&mut [0; 6])?;
    drop(stdout);
    let ended = wait(&mut client, Duration::from_secs(15));
    let gone = gone(&mark);
    client.kill()?;
    client.wait()?;
    ended.context("the client goes on")?;
    gone
}

fn both_full(side: Side, pod: &str) -> Result<()> {
    let bytes = random(16 * MIB)?;
    let mut command = command(side, &["-i"], pod, &["cat"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut client = command.spawn()?;
    let mut stdin = client.stdin.take().context("stdin is a pipe")?;
    let mut stdout = client.stdout.take().context("stdout is a pipe")?;
    let input = bytes.clone();
    let writer = std::thread::spawn(move || stdin.write_all(&input));
    std::thread::sleep(Duration::from_secs(2));
    let reader = std::thread::spawn(move || {
        let mut output = Vec::new();
        stdout.read_to_end(&mut output).map(|_| output)
    });
    let ended = wait(&mut client, limit(side));
    client.kill()?;
    client.wait()?;
    let output = reader.join().map_err(|_| anyhow::anyhow!("the reader panicked"))??;
    let _written = writer.join();
    ended.with_context(|| format!("{} bytes came back", output.len()))?;
    ensure!(output == bytes, "{} of {} bytes came back", output.len(), bytes.len());
    Ok(())
}

/// Whether the command ends in time; if not, it is ended here, by its PID. That of
/// kubectl mostly does not.
fn gone(mark: &str) -> Result<()> {
    // Shorter than the keepalive, 30 s: that a client is gone is noticed at once.
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    while processes_with(mark)? > 0 {
        if std::time::Instant::now() > deadline {
            end(mark)?;
            anyhow::bail!("the command goes on in the container");
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

fn end(mark: &str) -> Result<()> {
    for entry in std::fs::read_dir("/proc")? {
        let path = entry?.path();
        let command = std::fs::read(path.join("cmdline")).unwrap_or_default();
        let mut words = command.split(|byte| *byte == 0);
        let pid = path.file_name().and_then(|name| name.to_str()?.parse::<u32>().ok());
        if let Some(pid) = pid.filter(|_| words.any(|word| word == mark.as_bytes())) {
            // It may have ended meanwhile.
            let _ended = signal(pid, Signal::KILL);
        }
    }
    Ok(())
}

fn terminated(side: Side, pod: &str) -> Result<()> {
    let mark = mark(2, side, pod);
    let script = format!("trap 'exit 9' TERM; echo ready; sleep {mark} & wait");
    let mut command = command(side, &[], pod, &["sh", "-c", &script]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut client = command.spawn()?;
    // Before that the signal would be the client's own.
    client.stdout.as_mut().context("stdout is a pipe")?.read_exact(&mut [0; 6])?;
    wait_for_processes(&mark, 1)?;
    signal(client.id(), Signal::TERM)?;
    let status = wait(&mut client, limit(side))?;
    gone(&mark)?;
    ensure!(status.code() == Some(9), "{status}, not the command's own code");
    Ok(())
}

fn killed(side: Side, pod: &str) -> Result<()> {
    let mark = mark(3, side, pod);
    let mut command = command(side, &[], pod, &["sleep", &mark]);
    let mut client = command.stdin(Stdio::null()).stderr(Stdio::null()).spawn()?;
    wait_for_processes(&mark, 1)?;
    client.kill()?;
    client.wait()?;
    gone(&mark)
}

#[test]
fn kpexec_is_right_in_every_row() -> Result<()> {
    let mut wrong = String::new();
    let mut rows = String::new();
    for (what, look) in TABLE {
        let mut theirs = Vec::new();
        for pod in PODS {
            if let Err(error) = look(Side::Kpexec, pod) {
                writeln!(wrong, "{pod}: {what}: {error:#}")?;
            }
            theirs.push(look(Side::Kubectl, pod).err().map(|error| format!("{error:#}")));
        }
        let kubectls = verdict(&theirs[0], &theirs[1]);
        writeln!(rows, "| {} | yes | {} |", cell(what), cell(&kubectls))?;
    }
    ensure!(wrong.is_empty(), "kpexec is wrong:\n{wrong}");
    let text = format!(
        "Each row is run against a busybox pod on each node of the test cluster (containerd and \
         CRI-O).\n\n| | kpexec | kubectl exec |\n|---|---|---|\n{rows}"
    );
    write_section("Bytes, exit codes and signals", "against_kubectl", &text)
}

/// kubectl's part of a row: containerd's node and CRI-O's.
fn verdict(containerd: &Option<String>, crio: &Option<String>) -> String {
    match (containerd, crio) {
        (None, None) => "yes".to_owned(),
        (Some(one), Some(other)) if one == other => format!("**no**: {one}"),
        (Some(one), Some(other)) => format!("**no**: {one}; on CRI-O: {other}"),
        (Some(one), None) => format!("**no** on containerd: {one}"),
        (None, Some(other)) => format!("**no** on CRI-O: {other}"),
    }
}
