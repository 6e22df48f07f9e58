//! The client's state machine, whatever comes in whatever order: it never hangs,
//! and 0 is what the helper has said, or nothing is.

use futures::{StreamExt as _, stream};

use super::random::{Case, Finish};
use super::*;

/// What the relay gave, and all output that came.
type Played = (Result<Ended, SessionError>, Vec<u8>, Vec<u8>);

/// The client's part. Hangs are failures.
async fn play(protocol: &'static str, seed: u64) -> Played {
    let case = Case::new(seed);
    let server = server::start(protocol, &[Answer::Serve]).await;
    let mut session = match session_with(&server, &Case::command(seed)).await {
        Ok(session) => session,
        // A cut may come before all else.
        Err(error) => return (Err(error), Vec::new(), Vec::new()),
    };
    let (controls, control) = mpsc::channel(16);
    let pieces = case.stdin.clone();
    let (stdin_sender, stdin) = mpsc::channel(4);
    let stdin = pieces.is_some().then_some(stdin);
    let feed = tokio::spawn(async move {
        let mut bytes = Bytes::from(noise(pieces.iter().flatten().sum()));
        for piece in pieces.into_iter().flatten() {
            if stdin_sender.send(bytes.split_to(piece)).await.is_err() {
                return;
            }
        }
        if !case.eof {
            stdin_sender.closed().await;
        }
    });
    let steer = tokio::spawn(async move {
        for control in case.controls {
            if controls.send(control).await.is_err() {
                return;
            }
            tokio::task::yield_now().await;
        }
        controls.closed().await;
    });
    let (output, mut written) = mpsc::channel(4);
    let (pause, most) = (Duration::from_millis(case.reader_pause), case.taken_pieces);
    let collect = tokio::spawn(async move {
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        for number in 0.. {
            if most == Some(number) {
                break;
            }
            match written.recv().await {
                Some(Output::Stdout(bytes)) => stdout.extend_from_slice(&bytes),
                Some(Output::Stderr(bytes)) => stderr.extend_from_slice(&bytes),
                None => break,
            }
            if number % 3 == 0 {
                tokio::time::sleep(pause).await;
            }
        }
        (stdout, stderr)
    });
    let local = Local { stdin, control, output, written: None };
    let relayed = timeout(LIMIT, relay(&mut session, local)).await;
    let result = relayed.unwrap_or_else(|_| panic!("{protocol}, seed {seed}: it hangs"));
    for task in [feed, steer] {
        let ended = timeout(LIMIT, task).await;
        ended.unwrap_or_else(|_| panic!("{protocol}, seed {seed}: a queue is still open")).unwrap();
    }
    let (stdout, stderr) = collect.await.unwrap();
    (result, stdout, stderr)
}

/// Whether it is what must come of it.
fn is_right(case: &Case, (result, stdout, stderr): &Played) -> bool {
    let (all_stdout, all_stderr) = case.output();
    let part = all_stdout.starts_with(stdout) && all_stderr.starts_with(stderr);
    let whole = all_stdout == *stdout && all_stderr == *stderr;
    if case.taken_pieces.is_some() && matches!(result, Ok(Ended::Unwanted)) {
        return part;
    }
    // Who has stopped taking it may have missed the rest.
    let delivered = if case.taken_pieces.is_some() { part } else { whole };
    match (case.finish, result) {
        (Finish::Code(code @ 0..=255), Ok(Ended::Command(got))) => {
            u32::from(*got) == code && delivered
        }
        (Finish::Signal(number @ 1..=127), Ok(Ended::Command(got))) => {
            u32::from(*got) == 128 + number && delivered
        }
        // What no command can end with is a fault of the helper's.
        (Finish::Code(_) | Finish::Signal(_), Ok(Ended::Command(125))) => delivered,
        (Finish::NoStatus, Err(SessionError::Protocol(_))) => delivered,
        (Finish::Failure(reason), Err(error @ SessionError::Refused(failure))) => {
            failure.reason == i32::from(reason) && error.exit_code() >= 125 && delivered
        }
        (Finish::Detached, Ok(Ended::Detached)) => delivered,
        (Finish::Ends, Err(error @ SessionError::Lost(_))) => error.exit_code() == 125 && delivered,
        (Finish::Cut, Err(error @ SessionError::Lost(_))) => error.exit_code() == 125 && part,
        _ => false,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_comes_in_whatever_order_it_ends_and_says_the_truth() {
    // Some at once: a loss that is looked into takes its time.
    let cases = stream::iter(0..200).map(async |seed| {
        let protocol = if seed % 2 == 0 { V5 } else { V4 };
        (protocol, seed, play(protocol, seed).await)
    });
    let mut played = std::pin::pin!(cases.buffer_unordered(16));
    while let Some((protocol, seed, played)) = played.next().await {
        let case = Case::new(seed);
        let (result, stdout, stderr) = &played;
        assert!(
            is_right(&case, &played),
            "{protocol}, seed {seed}: {result:?} with {} and {} bytes, of {case:?}",
            stdout.len(),
            stderr.len()
        );
    }
}
