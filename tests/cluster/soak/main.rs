//! Many sessions at once against one helper, with random sizes, codes and cuts:
//! every byte and every code is right, and nothing of them is left.

mod idle;
mod session;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, ensure};
use tests::command::run;
use tests::{BOTH_NODES, Helper};

use session::{Client, Kind, Tally};

/// Always the same sessions; another number makes others.
const SEED: u64 = 6;

/// How long the last of them may take to go.
const GONE: Duration = Duration::from_secs(90);

/// How much of it.
struct Extent {
    sessions: usize,
    /// How long all of them are there, on each node.
    time: Duration,
    /// How long a session lasts, at most.
    life: Duration,
}

/// With `KPEXEC_LONG` set the whole of it.
fn extent() -> Extent {
    let long = std::env::var_os("KPEXEC_LONG").is_some();
    // A start costs a sixth of a second of the processors, API server to runtime, and
    // more where many begin at once: with shorter lives two of them would do nothing
    // else, and clients would be told that the helper does not answer.
    let (sessions, time, life) = if long { (200, 300, 240_000) } else { (30, 10, 3_000) };
    let (time, life) = (Duration::from_secs(time), Duration::from_millis(life));
    Extent { sessions, time, life }
}

#[test]
fn many_sessions_at_once_are_each_as_one_alone() -> Result<()> {
    let extent = extent();
    for pod in BOTH_NODES {
        soak(pod, &extent).with_context(|| format!("{pod}, seed {SEED}"))?;
    }
    Ok(())
}

fn soak(pod: &str, extent: &Extent) -> Result<()> {
    let client = Client::new(pod)?;
    // What a helper opens with its first session stays open.
    let first = run(client.kpexec(&[pod, "--", "true"]), b"")?;
    ensure!(first.code() == 0, "{first:?}");
    let helper = Helper::only_of(client.namespace.name())?;
    settle(&helper)?;
    let (open, empty) = (helper.descriptors()?, helper.memory()?);

    let tally = turmoil(&client, extent)?;
    eprintln!("{pod}: {tally}");
    ensure!(Kind::ALL.iter().all(|kind| tally.count(*kind) > 0), "not of every kind: {tally}");
    settle(&helper)?;
    let between = helper.memory()?;

    let busy = idle::memory_with(&client, &helper, extent.sessions)?;
    settle(&helper)?;
    let (left, after) = (helper.descriptors()?, helper.memory()?);
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    eprintln!(
        "{pod}: {:.1} MiB with {} idle sessions; {:.1} before all, {:.1} after the turmoil, \
         {:.1} at the end",
        mib(busy),
        extent.sessions,
        mib(empty),
        mib(between),
        mib(after)
    );
    assert_eq!(left, open, "descriptors are left open");
    let bar = (8 + extent.sessions as u64) << 20;
    ensure!(busy <= bar, "{busy} bytes with {} sessions, not {bar}", extent.sessions);
    ensure!(after <= 8 << 20, "{after} bytes without a session");
    Ok(())
}

/// Sessions of every kind, as many at once as there may be, until the time is over.
fn turmoil(client: &Client, extent: &Extent) -> Result<Tally> {
    let arrival = extent.life / 2;
    let deadline = Instant::now() + arrival + extent.time;
    let failed = AtomicBool::new(false);
    let work = |number: usize| -> Result<Tally> {
        let mut random = fastrand::Rng::with_seed(SEED + number as u64);
        let mut tally = Tally::default();
        // They come one after the other, as people do.
        std::thread::sleep(arrival.mul_f64(number as f64 / extent.sessions as f64));
        while Instant::now() < deadline && !failed.load(Ordering::Relaxed) {
            let kind = random.choice(Kind::ALL).context("there are kinds")?;
            let mark = format!("{number}-{}", tally.all());
            let done = client.session(kind, &mark, extent.life, &mut random);
            let repeated = done.with_context(|| format!("{kind:?}, session {mark}"));
            if repeated.is_err() {
                failed.store(true, Ordering::Relaxed);
            }
            tally.add(kind, repeated?);
        }
        Ok(tally)
    };
    std::thread::scope(|scope| {
        let work = &work;
        let workers: Vec<_> =
            (0..extent.sessions).map(|number| scope.spawn(move || work(number))).collect();
        let mut sum = Tally::default();
        let mut failures = Vec::new();
        for worker in workers {
            match worker.join().map_err(|_| anyhow!("a worker panicked"))? {
                Ok(tally) => sum.join(&tally),
                Err(error) => failures.push(format!("{error:#}")),
            }
        }
        ensure!(failures.is_empty(), "{} failed:\n{}", failures.len(), failures.join("\n"));
        Ok(sum)
    })
}

/// Waits until nothing of a session is there.
fn settle(helper: &Helper) -> Result<()> {
    let deadline = Instant::now() + GONE;
    loop {
        let others = helper.others()?;
        if others.is_empty() {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "left: {others:?}");
        std::thread::sleep(Duration::from_millis(100));
    }
}
