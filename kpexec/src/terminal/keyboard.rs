//! The keyboard of a session: what is typed goes to the command, and what is for
//! us comes here even if the command's end of the line takes nothing any more.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::sleep;

use super::detach::Detach;
use super::escape::{Action, Escapes, Typed};

/// How much typing waits for a session that hangs, in bytes; a large paste. What
/// comes then is not read before the rest is taken.
const MOST: usize = 1 << 20;

/// How long the first of the keys that leave is held back for the others: a shell
/// has uses of its own for ctrl-p.
const HELD: Duration = Duration::from_millis(400);

/// Splits what is typed: keys for the command, and what is for us.
pub fn split(
    typed: mpsc::Receiver<Bytes>,
    escapes: Escapes,
    detach: Detach,
) -> (mpsc::Receiver<Bytes>, mpsc::UnboundedReceiver<Action>) {
    let (keys, for_command) = mpsc::channel(1);
    let (actions, for_us) = mpsc::unbounded_channel();
    tokio::spawn(carry(typed, escapes, detach, keys, actions));
    (for_command, for_us)
}

/// Ends when all typing has been taken, or nobody takes it.
async fn carry(
    mut typed: mpsc::Receiver<Bytes>,
    mut escapes: Escapes,
    mut detach: Detach,
    keys: mpsc::Sender<Bytes>,
    actions: mpsc::UnboundedSender<Action>,
) {
    let mut waiting = VecDeque::new();
    let mut length = 0;
    let mut leaving = false;
    loop {
        // Behind the keys that were typed before.
        if leaving && waiting.is_empty() {
            leaving = false;
            // Nobody hears it once the session is over.
            let _over = actions.send(Action::Detach);
        }
        tokio::select! {
            bytes = typed.recv(), if length < MOST => {
                let Some(bytes) = bytes else { break };
                for piece in escapes.read(&bytes) {
                    match piece {
                        Typed::Keys(typed) => {
                            let (keys, leave) = detach.read(&typed);
                            length += keys.len();
                            waiting.extend(Some(keys).filter(|keys| !keys.is_empty()));
                            leaving |= leave;
                        }
                        // Nobody hears it once the session is over.
                        Typed::Action(action) => drop(actions.send(action)),
                    }
                }
            }
            () = sleep(HELD), if detach.holds() => {
                let keys = detach.release();
                length += keys.len();
                waiting.push_back(keys);
            }
            permit = keys.reserve(), if !waiting.is_empty() => {
                let Ok(permit) = permit else { return };
                if let Some(next) = waiting.pop_front() {
                    length -= next.len();
                    permit.send(next);
                }
            }
        }
    }
    for last in waiting.into_iter().chain([detach.release()]).chain(escapes.finish()) {
        if keys.send(last).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_session_that_takes_nothing_can_be_left() {
        let (keyboard, typed) = mpsc::channel(1);
        let (mut keys, mut actions) =
            split(typed, Escapes::new(Some(b'~')), Detach::new(vec![16, 17]));
        for _ in 0..100 {
            keyboard.send("some typing\r".into()).await.unwrap();
        }
        keyboard.send("~.".into()).await.unwrap();
        assert_eq!(actions.recv().await, Some(Action::End));
        // And nothing is lost if it takes it later.
        keyboard.send("~".into()).await.unwrap();
        drop(keyboard);
        let mut all = Vec::new();
        while let Some(bytes) = keys.recv().await {
            all.extend_from_slice(&bytes);
        }
        assert_eq!(String::from_utf8(all).unwrap(), "some typing\r".repeat(100) + "~");
    }

    #[tokio::test(start_paused = true)]
    async fn not_more_is_read_than_can_be_kept() {
        let (keyboard, typed) = mpsc::channel(1);
        let (_keys, _actions) = split(typed, Escapes::new(None), Detach::new(Vec::new()));
        let piece = Bytes::from(vec![b'x'; 64 * 1024]);
        let mut taken = 0;
        let soon = std::time::Duration::from_millis(200);
        while tokio::time::timeout(soon, keyboard.send(piece.clone())).await.is_ok() {
            taken += piece.len();
            assert!(taken < 2 * MOST, "it is kept without limit");
        }
        assert!(taken >= MOST);
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_of_the_keys_that_leave_reaches_the_command_a_moment_later() {
        let (keyboard, typed) = mpsc::channel(1);
        let (mut keys, mut actions) = split(typed, Escapes::new(None), Detach::new(vec![16, 17]));
        keyboard.send("\x10".into()).await.unwrap();
        assert_eq!(keys.recv().await.unwrap(), "\x10");
        keyboard.send("a\x10".into()).await.unwrap();
        assert_eq!(keys.recv().await.unwrap(), "a");
        keyboard.send("\x11".into()).await.unwrap();
        assert_eq!(actions.recv().await, Some(Action::Detach));
    }
}
