//! Output without end, and a client that does not read it (A42 of the threat
//! model).

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use kpexec_protocol::ServerMessage;
use kpexec_protocol::server_message::Kind as Answer;
use tonic::Streaming;

use crate::client::{Node, terminal};
use crate::fake_container::{FakeContainer, Options};
use crate::observed::{inside, number, state_and_ticks, until};

/// What the helper may need at most, whatever its sessions write.
const MOST_MEMORY: u64 = 64 << 10;

/// What may be on its way between a command and a client that does not read:
/// pipes, the helper's buffers, HTTP/2 windows.
const MOST_ON_ITS_WAY: u64 = 4 << 20;

/// How long a writer may take for that much, or to end.
const PATIENCE: Duration = Duration::from_secs(60);

async fn bytes(answers: &mut Streaming<ServerMessage>) -> Result<u64> {
    loop {
        if let Some(Answer::Stdout(bytes)) =
            answers.message().await?.context("the session has ended")?.kind
        {
            return Ok(bytes.len() as u64);
        }
    }
}

/// Waits until a process sleeps and uses no processor.
async fn stands_still(pid: i32) -> Result<()> {
    let begun = Instant::now();
    loop {
        let before = state_and_ticks(pid)?;
        tokio::time::sleep(Duration::from_millis(200)).await;
        let now = state_and_ticks(pid)?;
        if now == before && now.0 == "S" {
            return Ok(());
        }
        ensure!(begun.elapsed() < PATIENCE, "it goes on: {before:?}, {now:?}");
    }
}

/// A command that writes for ever is not held up while it is read, is held up
/// while it is not, and the helper keeps next to nothing.
async fn waits_for_its_client(node: &Node, argv: &[&str], with_terminal: bool) -> Result<()> {
    let helper = node.helper.id().context("the helper has ended")?.cast_signed();
    let mut request = node.request(argv);
    request.terminal = with_terminal.then(|| terminal(24, 80));
    let (requests, mut answers) = node.open(request).await?;
    let mut taken = 0;
    while taken < MOST_ON_ITS_WAY / 8 {
        taken += bytes(&mut answers).await?;
    }
    let writer = *inside(&node.container, argv[0])?.last().context("it does not run")?;
    stands_still(writer).await.with_context(|| argv[0].to_owned())?;
    // Now and then a little.
    for _ in 0..5 {
        taken += bytes(&mut answers).await?;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let on_its_way = number(writer, "io", "wchar")?.saturating_sub(taken);
    let peak = number(helper, "status", "VmHWM")?;
    println!("{:?}: {on_its_way} bytes on their way, {peak} KiB at most in the helper", argv[0]);
    ensure!(on_its_way < MOST_ON_ITS_WAY, "{on_its_way} bytes are kept somewhere");
    ensure!(peak < MOST_MEMORY, "{peak} KiB");
    // The next writer may have the same name.
    drop((requests, answers));
    until("it has ended", PATIENCE, || Ok(inside(&node.container, argv[0])?.is_empty())).await
}

#[tokio::test]
async fn t55_a_flood_waits_for_its_client() -> Result<()> {
    let node = Node::around(FakeContainer::hostile(&Options::hostile())?, &[]).await?;
    waits_for_its_client(&node, &["busybox", "yes"], false).await?;
    // Lines as long as a terminal's buffer: each byte costs it dearly.
    waits_for_its_client(&node, &["busybox", "yes", &"y".repeat(4000)], true).await?;
    waits_for_its_client(&node, &["cat", "/dev/urandom"], false).await
}

#[tokio::test]
async fn t55_many_floods_do_not_fill_the_helper() -> Result<()> {
    let node = Node::around(FakeContainer::hostile(&Options::hostile())?, &[]).await?;
    let mut unread = Vec::new();
    for _ in 0..16 {
        unread.push(node.open(node.request(&["busybox", "yes"])).await?);
    }
    let all_run = || Ok(inside(&node.container, "busybox")?.len() == 16);
    until("all floods run", Duration::from_secs(20), all_run).await?;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let helper = node.helper.id().context("the helper has ended")?.cast_signed();
    let peak = number(helper, "status", "VmHWM")?;
    println!("{} floods: {peak} KiB at most", unread.len());
    ensure!(peak < MOST_MEMORY, "{peak} KiB");
    // One connection, so they were in each other's way; now they are not.
    drop(unread);
    assert_eq!(node.output(&["echo", "through"]).await?, "through");
    Ok(())
}
