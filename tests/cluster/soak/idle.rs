//! What sessions in which nothing happens cost.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use tests::Helper;
use tests::command::wait;

use crate::session::{Client, LIMIT};

/// How many begin at the same moment.
const AT_ONCE: usize = 10;

/// By then what a start took is given back: threads without work last 10 s.
const AT_REST: Duration = Duration::from_secs(12);

/// The memory of the helper while so many are open, in bytes.
pub fn memory_with(client: &Client, helper: &Helper, count: usize) -> Result<u64> {
    let mut open = Vec::new();
    while open.len() < count {
        let more = AT_ONCE.min(count - open.len());
        let begun = std::thread::scope(|scope| {
            let starting: Vec<_> = (0..more).map(|_| scope.spawn(|| Idle::begin(client))).collect();
            let begun = starting.into_iter().map(|one| one.join());
            begun.collect::<Result<Vec<_>, _>>().map_err(|_| anyhow!("a start panicked"))
        })?;
        for idle in begun {
            open.push(idle?);
        }
    }
    std::thread::sleep(AT_REST);
    let memory = helper.memory()?;
    for idle in &mut open {
        ensure!(idle.0.try_wait()?.is_none(), "a session has ended early");
    }
    for idle in open {
        idle.end()?;
    }
    Ok(memory)
}

/// A session that waits for its stdin.
struct Idle(Child);

impl Idle {
    fn begin(client: &Client) -> Result<Self> {
        let mut command =
            client.kpexec(&["-i", client.pod(), "--", "sh", "-c", "echo ready; exec cat"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn()?;
        let mut line = String::new();
        let output = child.stdout.as_mut().context("stdout is a pipe")?;
        BufReader::new(output).read_line(&mut line)?;
        ensure!(line == "ready\n", "no start: {line:?}");
        Ok(Self(child))
    }

    /// By the end of its stdin.
    fn end(mut self) -> Result<()> {
        drop(self.0.stdin.take());
        let status = wait(&mut self.0, LIMIT)?;
        ensure!(status.code() == Some(0), "an idle session ended with {status}");
        Ok(())
    }
}
