//! Clients that come and go at random: whatever they do, output within the ring
//! is neither lost nor repeated.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use fastrand::Rng;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::super::ring::CAPACITY;
use super::*;

type Messages = mpsc::Receiver<Result<ServerMessage, tonic::Status>>;

/// What the command writes: each byte follows from its number, and so does its
/// stream.
fn byte(number: u64) -> (Stream, u8) {
    let stream = if (number / 700).is_multiple_of(3) { Stream::Stderr } else { Stream::Stdout };
    (stream, (number % 251) as u8)
}

/// Writes so much, in pieces as a command does.
async fn write(kept: Arc<Kept>, total: u64, mut random: Rng, written: Arc<AtomicU64>) {
    let mut number = 0;
    while number < total {
        let stream = byte(number).0;
        let longest = random.u64(1..=9000).min(total - number);
        let run = (number..number + longest).take_while(|at| byte(*at).0 == stream);
        let bytes: Vec<u8> = run.map(|at| byte(at).1).collect();
        kept.push(stream, &bytes).await;
        number += bytes.len() as u64;
        written.store(number, Ordering::Relaxed);
        if random.u8(..16) == 0 {
            tokio::task::yield_now().await;
        }
    }
}

/// Takes a message, which must begin with the byte of this number; gives the
/// number of the one that follows.
async fn take(messages: &mut Messages, from: u64, patience: u64, case: &str) -> Option<u64> {
    let message = timeout(Duration::from_millis(patience), messages.recv()).await.ok()??;
    let (stream, bytes) = match message.unwrap().kind {
        Some(Kind::Stdout(bytes)) => (Stream::Stdout, bytes),
        Some(Kind::Stderr(bytes)) => (Stream::Stderr, bytes),
        other => panic!("{case}: {other:?}"),
    };
    for (number, got) in (from..).zip(&bytes) {
        assert!(byte(number) == (stream, *got), "{case}: {number} is not what follows");
    }
    Some(from + bytes.len() as u64)
}

/// Clients that come and go until all was written, then one that takes the rest.
async fn play(seed: u64, total: u64) {
    let mut random = Rng::with_seed(seed);
    let (first, mut messages) = mpsc::channel(random.usize(1..4));
    let kept = Kept::start(first);
    let written = Arc::new(AtomicU64::new(0));
    let writing = tokio::spawn(write(kept.clone(), total, random.fork(), written.clone()));
    // What the client has, and what one of them has said to have.
    let (mut has, mut said) = (0, 0);
    let case = |step: &str| format!("seed {seed}, {step}");
    for round in 0..random.usize(1..30) {
        for _ in 0..random.usize(..40) {
            match take(&mut messages, has, 2, &case("taking")).await {
                Some(next) => has = next,
                None => break,
            }
            if random.bool() {
                kept.taken(has);
                said = has;
            }
        }
        // It goes, or another comes while it is still there.
        if random.bool() {
            drop(messages);
            kept.detach();
            for _ in 0..random.usize(..50) {
                tokio::task::yield_now().await;
            }
        }
        let from = random.bool().then_some(has);
        let wanted = from.unwrap_or(said);
        let (next, receiver) = mpsc::channel(random.usize(1..4));
        let before = written.load(Ordering::Relaxed);
        let Resumption { first, lost } = kept.attach(next, from);
        assert_eq!(first, wanted + lost, "{}", case("attaching"));
        let missed = before.saturating_sub(wanted);
        assert!(
            lost == 0 || missed as usize + 2 * kpexec_protocol::CHUNK > CAPACITY,
            "{}: {lost} of {missed} bytes are lost in round {round}",
            case("attaching")
        );
        (has, messages) = (first, receiver);
    }
    while has < total {
        let next = take(&mut messages, has, 20_000, &case("the rest")).await;
        has = next.unwrap_or_else(|| panic!("{}: it ends at {has}", case("the rest")));
        kept.taken(has);
    }
    timeout(Duration::from_secs(20), writing).await.expect("a deadlock").unwrap();
    timeout(Duration::from_secs(20), kept.all_sent()).await.expect("not all was sent");
}

#[tokio::test]
async fn nothing_within_the_ring_is_lost_or_repeated() {
    for seed in 0..200 {
        play(seed, 300_000).await;
    }
}

#[tokio::test]
async fn what_is_lost_beyond_the_ring_is_told() {
    for seed in 0..20 {
        play(seed, 4 * CAPACITY as u64).await;
    }
}
