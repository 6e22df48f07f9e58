//! Sessions that outlive their client, and how one comes back to them. Each test
//! has a helper namespace of its own, so that it lists no session of another.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use tests::command::{run, signal, wait};
use tests::pod::wait_for_processes;
use tests::terminal::Terminal;
use tests::tmux::Tmux;
use tests::{BOTH_NODES, Client, Pod};

const LIMIT: Duration = Duration::from_secs(60);

/// What a client may take to tell how far it is, and a helper to hear of it.
const A_WHILE: Duration = Duration::from_millis(1500);

/// Kills a client and gives what it has put out.
fn kill(mut client: Child) -> Result<Vec<u8>> {
    signal(client.id(), Signal::KILL)?;
    // Before anything is read: a write that waits for room would get it, and go on
    // although its process is being killed.
    client.wait()?;
    let mut shown = Vec::new();
    if let Some(mut stdout) = client.stdout.take() {
        std::io::Read::read_to_end(&mut stdout, &mut shown)?;
    }
    Ok(shown)
}

/// Reads so much of what a client shows.
fn read(client: &mut Child, length: usize) -> Result<Vec<u8>> {
    let mut shown = vec![0; length];
    std::io::Read::read_exact(client.stdout.as_mut().context("no stdout")?, &mut shown)?;
    Ok(shown)
}

/// Waits until there is no session any more; its client or its command may end before.
fn wait_for_none(client: &Client) -> Result<()> {
    let deadline = Instant::now() + LIMIT;
    loop {
        let left = client.sessions()?;
        if left.is_empty() {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "left: {left:?}");
    }
}

/// A file that a command in a pod waits for: so it goes on when the test wants it to,
/// however fast the machine is.
struct Gate(PathBuf);

impl Gate {
    fn closed(pod: &str, path: &str) -> Result<Self> {
        let gate = Self(Pod::find(pod)?.path(path));
        // An earlier run may have been killed.
        let _old = fs::remove_file(&gate.0);
        Ok(gate)
    }

    fn open(&self) -> Result<()> {
        Ok(fs::write(&self.0, "")?)
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        // It was never opened if the test failed.
        let _none = fs::remove_file(&self.0);
    }
}

#[test]
fn a_client_that_comes_back_loses_and_repeats_nothing() -> Result<()> {
    let client = Client::new("keep")?;
    // 589 KiB on stdout, the last of it when the third client comes; then a code of its
    // own.
    let script = "i=0; while [ $i -lt 100 ]; do seq $((i * 1000)) $((i * 1000 + 999)); \
                  i=$((i + 1)); sleep 0.1; \
                  while [ $i -eq 90 ] && [ ! -e /tmp/gate-keep ]; do sleep 0.1; done; done; exit 7";
    let whole: String = (0..100_000).map(|number| format!("{number}\n")).collect();
    for pod in BOTH_NODES {
        let gate = Gate::closed(pod, "/tmp/gate-keep")?;
        let mut first = client.start(&["--linger", "5m", pod, "--", "sh", "-c", script])?;
        let mut all = read(&mut first, 1)?;
        client.session("attached")?;
        std::thread::sleep(A_WHILE);
        all.extend(kill(first)?);
        ensure!(!all.is_empty() && all.len() < whole.len(), "{pod}: killed too late or early");
        let session = client.session("lost")?;
        // Twice: what the second one has shown is not shown by the third.
        let mut second = client.start(&["attach", &session])?;
        std::thread::sleep(Duration::from_millis(700));
        ensure!(second.try_wait()?.is_none(), "{pod}: it ended too early");
        all.extend(kill(second)?);
        client.session("lost")?;
        gate.open()?;
        let third = client.attach(&session, b"")?;
        assert_eq!((third.code(), third.stderr.as_str()), (7, ""), "{pod}");
        all.extend(third.stdout);
        let all = String::from_utf8(all)?;
        ensure!(all == whole, "{pod}: {} bytes, not {}", all.len(), whole.len());
        wait_for_none(&client)?;
        let gone = client.attach(&session, b"")?;
        assert_eq!(gone.code(), 125, "{pod}");
        ensure!(gone.stderr.contains("has ended, or never was"), "{}", gone.stderr);
    }
    Ok(())
}

#[test]
fn what_nobody_took_is_kept_up_to_a_mebibyte() -> Result<()> {
    let client = Client::new("ring")?;
    for pod in BOTH_NODES {
        let gate = Gate::closed(pod, "/tmp/gate-ring")?;
        let script = "echo begun; until [ -e /tmp/gate-ring ]; do sleep 0.1; done; \
                      seq 1000000 1499999; echo end >&2; exit 3";
        let mut first = client.start(&["--linger", "5m", pod, "--", "sh", "-c", script])?;
        assert_eq!(read(&mut first, 6)?, b"begun\n", "{pod}");
        std::thread::sleep(A_WHILE);
        assert_eq!(kill(first)?, b"", "{pod}");
        client.session("lost")?;
        gate.open()?;
        let session = client.session("ended")?;
        let second = client.attach(&session, b"")?;
        assert_eq!(second.code(), 3, "{pod}");
        let whole: String = (1_000_000..1_500_000).map(|number| format!("{number}\n")).collect();
        let kept = String::from_utf8(second.stdout)?;
        ensure!(whole.ends_with(&kept), "{pod}: it is not the end");
        // With what was written to stderr it is a mebibyte.
        assert_eq!(kept.len() + "end\n".len(), 1 << 20, "{pod}");
        ensure!(second.stderr.contains("bytes of output are lost"), "{}", second.stderr);
        ensure!(second.stderr.ends_with("end\n"), "{}", second.stderr);
    }
    Ok(())
}

#[test]
fn what_a_lost_client_was_sent_and_has_not_put_out_is_kept() -> Result<()> {
    let client = Client::new("unread")?;
    let whole: String = (0..100_000).map(|number| format!("{number}\n")).collect();
    for (pod, mark) in BOTH_NODES.into_iter().zip(["87005", "87006"]) {
        // Nobody reads what the client writes: the rest is on the way when the
        // command ends.
        let script = "sleep 2; seq 0 99999; exit 7";
        let first = client.start(&["--linger", "5m", pod, "--", "sh", "-c", script, mark])?;
        wait_for_processes(mark, 1)?;
        let session = client.session("attached")?;
        wait_for_processes(mark, 0)?;
        std::thread::sleep(A_WHILE);
        let mut all = kill(first)?;
        ensure!(!all.is_empty() && all.len() < whole.len(), "{pod}: {} bytes", all.len());
        let second = client.attach(&session, b"")?;
        assert_eq!((second.code(), second.stderr.as_str()), (7, ""), "{pod}");
        all.extend(second.stdout);
        ensure!(all == whole.as_bytes(), "{pod}: {} bytes, not {}", all.len(), whole.len());
        wait_for_none(&client)?;
    }
    Ok(())
}

#[test]
fn input_goes_on_too() -> Result<()> {
    let client = Client::new("input")?;
    for pod in BOTH_NODES {
        let mut command =
            client.kpexec(&["-i", "--linger", "5m", pod, "--", "sh", "-c", "cat; exit 4"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut first = command.spawn()?;
        let mut stdin = first.stdin.take().context("stdin is a pipe")?;
        std::io::Write::write_all(&mut stdin, b"one\n")?;
        let mut stdout = std::io::BufReader::new(first.stdout.take().context("stdout is a pipe")?);
        let mut line = String::new();
        std::io::BufRead::read_line(&mut stdout, &mut line)?;
        assert_eq!(line, "one\n", "{pod}");
        // To note that it has shown it.
        std::thread::sleep(A_WHILE);
        kill(first)?;
        // Its stdin has not ended: the client has.
        let session = client.session("lost")?;
        let second = client.attach(&session, b"two\n")?;
        assert_eq!((second.code(), second.text().as_str()), (4, "two"), "{pod}: {second:?}");
        drop(stdin);
    }
    Ok(())
}

#[test]
fn nobody_is_waited_for_longer_than_was_said() -> Result<()> {
    let client = Client::new("linger")?;
    for (pod, mark) in BOTH_NODES.into_iter().zip(["87001", "87002"]) {
        // Seen by its own end: a slow machine may not list it in time.
        let script = format!("echo begun; exec sleep {mark}");
        let mut first = client.start(&["--linger", "6s", pod, "--", "sh", "-c", &script])?;
        read(&mut first, 6)?;
        wait_for_processes(mark, 1)?;
        std::thread::sleep(A_WHILE);
        let begun = Instant::now();
        kill(first)?;
        wait_for_processes(mark, 0)?;
        let kept = begun.elapsed().as_secs();
        // Noticed only by the keepalive, its client's end would be heard of after 30 s.
        ensure!((6..30).contains(&kept), "{pod}: it was kept for {kept} s");
        wait_for_none(&client)?;

        // Who leaves by himself is not waited for.
        let mut second = client.start(&["--linger", "5m", pod, "--", "sleep", mark])?;
        wait_for_processes(mark, 1)?;
        let begun = Instant::now();
        signal(second.id(), Signal::TERM)?;
        signal(second.id(), Signal::TERM)?;
        wait(&mut second, LIMIT)?;
        wait_for_processes(mark, 0)?;
        ensure!(begun.elapsed() < Duration::from_secs(100), "{pod}: it was kept");
    }
    Ok(())
}

#[test]
fn a_terminal_can_be_left_and_come_back_to() -> Result<()> {
    let client = Client::new("detach")?;
    for pod in BOTH_NODES {
        let mut first = Terminal::run(&client.kpexec(&["-it", pod, "--", "bash"]), 24, 80)?;
        first.expect("#")?;
        first.type_in("here=$((40 + 2)); echo ready-$here\r")?;
        first.expect("ready-42")?;
        // Alone it is the shell's: the command before.
        first.type_in("\x10")?;
        std::thread::sleep(Duration::from_millis(800));
        first.type_in("; echo again-$here; PS1='[$((40 + 3))]'\r")?;
        // The prompt is the last thing that the shell writes.
        ensure!(first.expect("[43]")?.contains("again-42"), "{pod}");
        first.type_in("\x10\x11")?;
        let shown = first.expect(" goes on with it")?;
        ensure!(shown.contains("kpexec attach "), "{pod}: {shown}");
        assert_eq!(wait(&mut first.child, LIMIT)?.code(), Some(0), "{pod}: {shown}");
        let session = client.session("detached")?;
        ensure!(shown.contains(&session), "{pod}: {shown}");

        let without = client.attach(&session, b"")?;
        assert_eq!(without.code(), 125);
        ensure!(without.stderr.contains("there is none here"), "{}", without.stderr);

        // Nobody has to press a key to see the prompt, though the size is as before.
        let mut second = Terminal::run(&client.kpexec(&["attach", &session]), 24, 80)?;
        second.expect("[43]")?;
        second.resize(40, 120)?;
        let awaited = "until [ \"$(stty size)\" = '40 120' ]; do sleep 0.1; done";
        second.type_in(&format!("{awaited}; echo still-$here\r"))?;
        second.expect("still-42")?;
        // Whoever comes puts out who is there.
        let mut third = Terminal::run(&client.kpexec(&["attach", &session]), 24, 80)?;
        second.expect("taken over by another client")?;
        assert_eq!(wait(&mut second.child, LIMIT)?.code(), Some(125), "{pod}");
        third.type_in("~?")?;
        third.type_in("exit 5\r")?;
        assert_eq!(wait(&mut third.child, LIMIT)?.code(), Some(5), "{pod}");
        wait_for_none(&client)?;
    }
    Ok(())
}

/// A program that has the whole screen is there again with its screen and its keys,
/// however its last client went; and once it has ended nothing is left of it.
#[test]
fn a_terminal_is_as_it_was() -> Result<()> {
    let client = Client::new("screen")?;
    let at_prompt = |tmux: &Tmux| Ok(tmux.last_line()?.ends_with('#'));
    let in_less = |tmux: &Tmux| Ok(tmux.last_line()? == ":");
    for pod in BOTH_NODES {
        let (mut one, mut other) = (Tmux::start()?, Tmux::start()?);
        let plain = one.modes()?;
        one.start_command(&client.kpexec(&["-it", "--linger", "5m", pod, "--", "bash"]))?;
        one.wait_until("a prompt", at_prompt)?;
        one.type_line("seq 500 | less")?;
        one.wait_until("less", in_less)?;
        let of_less = one.modes()?;
        ensure!(of_less != plain, "{pod}: less leaves the terminal as it is: {plain}");
        // At once: the first alone becomes the command's after a moment.
        one.type_text("\x10\x11")?;
        one.wait_for_command()?;
        ensure!(one.modes()? == plain, "{pod}: left on: {}", one.modes()?);

        let attach = client.kpexec(&["attach", &client.session("detached")?]);
        other.start_command(&attach)?;
        other.wait_until("less again", in_less)?;
        assert_eq!(other.modes()?, of_less, "{pod}");
        // In the form that less has asked for: it understands no other. A key that
        // comes while it draws is none to it.
        other.wait_until("the next line", |tmux| {
            tmux.press("Down")?;
            Ok(tmux.screen()?.lines().next() != Some("1"))
        })?;

        // It is taken over, and then its client is killed.
        one.start_command(&attach)?;
        other.wait_for_command()?;
        one.wait_until("less once more", in_less)?;
        assert_eq!(one.modes()?, of_less, "{pod}");
        signal(one.command_pid()?, Signal::KILL)?;
        one.wait_for_command()?;
        other.start_command(&attach)?;
        other.wait_until("less after that", in_less)?;
        assert_eq!(other.modes()?, of_less, "{pod}");

        other.press("q")?;
        other.wait_until("the prompt", at_prompt)?;
        signal(other.command_pid()?, Signal::KILL)?;
        other.wait_for_command()?;
        let mut third = Tmux::start()?;
        third.start_command(&attach)?;
        third.wait_until("the prompt again", at_prompt)?;
        ensure!(third.modes()? == plain, "{pod}: of less: {}", third.modes()?);
        third.type_line("exit")?;
        third.wait_for_command()?;
        assert_eq!(fs::read_dir(client.sessions_folder())?.count(), 0, "{pod}: a note is left");
    }
    Ok(())
}

#[test]
fn a_session_that_is_not_there_is_named() -> Result<()> {
    let client = Client::new("nosession")?;
    let absent = client.attach("0123456789abcdef-1", b"")?;
    assert_eq!(absent.code(), 125);
    ensure!(absent.stderr.contains("kpexec-0123456789abcdef"), "{}", absent.stderr);
    let misspelt = client.attach("web", b"")?;
    assert_eq!(misspelt.code(), 125);
    ensure!(misspelt.stderr.contains("not a session's name"), "{}", misspelt.stderr);
    let impossible =
        run(client.kpexec(&["--rm", "--linger", "1m", BOTH_NODES[0], "--", "id"]), b"")?;
    assert_eq!(impossible.code(), 125);
    ensure!(impossible.stderr.contains("cannot be used with"), "{}", impossible.stderr);
    Ok(())
}

#[test]
fn a_pod_that_is_deleted_says_goodbye() -> Result<()> {
    let client = Client::new("farewell")?;
    for (pod, mark) in BOTH_NODES.into_iter().zip(["87003", "87004"]) {
        let script = format!("trap 'echo hung up; exit' HUP; sleep {mark} & wait");
        let session = client.start(&[pod, "--", "sh", "-c", &script])?;
        wait_for_processes(mark, 1)?;
        let begun = Instant::now();
        let helpers = client.helpers.name();
        tests::kubectl(&["delete", "pods", "--all", "-n", helpers, "--wait=false"])?;
        let output = session.wait_with_output()?;
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(125), "{pod}: {stderr}");
        ensure!(stderr.contains("the helper pod was deleted or evicted"), "{pod}: {stderr}");
        let events =
            format!("get events -n {helpers} --field-selector involvedObject.name=kpexec-");
        ensure!(stderr.contains(&events), "{pod}: {stderr}");
        ensure!(begun.elapsed() < Duration::from_secs(15), "{pod}: {:?}", begun.elapsed());
        wait_for_processes(mark, 0)?;
        client.helpers.wait_until_empty()?;
    }
    Ok(())
}
