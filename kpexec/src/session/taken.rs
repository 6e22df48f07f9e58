//! When the helper of a session that is kept is told how much of the output was
//! put out.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

/// How long it may not know. A word costs as much as a key, all the way, and the
/// next key would have to wait for it.
const PAUSE: Duration = Duration::from_millis(30);

/// How much it may not know of: so that the command, which is held up at 1 MiB,
/// never waits for the pause.
const ENOUGH: u64 = 256 * 1024;

/// What was put out, and what of it the helper knows.
pub struct Taken {
    /// Bytes since the session's start; none, if nobody is told.
    written: Option<watch::Receiver<u64>>,
    /// None until it was told anything: it keeps the session from then on.
    told: Option<u64>,
    /// When to tell it of more.
    due: Option<Instant>,
}

impl Taken {
    /// Of this count.
    pub fn new(written: Option<watch::Receiver<u64>>) -> Self {
        Self { written, told: None, due: None }
    }

    /// What to tell, once it is time. May be dropped and called again.
    pub async fn next(&mut self) -> u64 {
        loop {
            let Some(untold) = self.untold() else { return std::future::pending().await };
            if self.told.is_none() || untold >= ENOUGH {
                return self.tell();
            }
            if untold > 0 {
                self.due.get_or_insert_with(|| Instant::now() + PAUSE);
            }
            let (due, Some(written)) = (self.due, &mut self.written) else { continue };
            let ended = tokio::select! {
                changed = written.changed() => changed.is_err(),
                () = until(due) => return self.tell(),
            };
            if ended {
                let last = self.rest();
                self.written = None;
                if let Some(last) = last {
                    return last;
                }
            }
        }
    }

    /// What there is to tell before we leave.
    pub fn rest(&mut self) -> Option<u64> {
        (self.untold()? > 0).then(|| self.tell())
    }

    fn untold(&self) -> Option<u64> {
        let total = *self.written.as_ref()?.borrow();
        Some(total - self.told.unwrap_or(0).min(total))
    }

    fn tell(&mut self) -> u64 {
        let total = self.written.as_ref().map_or(0, |written| *written.borrow());
        (self.told, self.due) = (Some(total), None);
        total
    }
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_helper_is_told_soon_or_when_it_is_much() {
        let (count, written) = watch::channel(7);
        let mut taken = Taken::new(Some(written));
        let begun = Instant::now();
        assert_eq!(taken.next().await, 7, "the first time, at once");
        assert_eq!(begun.elapsed(), Duration::ZERO);

        count.send_replace(8);
        let dropped = tokio::time::timeout(PAUSE / 2, taken.next()).await;
        assert!(dropped.is_err(), "each key is told of");
        count.send_replace(9);
        assert_eq!(taken.next().await, 9);
        assert_eq!(begun.elapsed(), PAUSE, "the pause began anew");

        count.send_replace(9 + ENOUGH);
        assert_eq!(taken.next().await, 9 + ENOUGH);
        assert_eq!(begun.elapsed(), PAUSE, "much output waits");
        count.send_replace(10 + ENOUGH);
        assert_eq!((taken.rest(), taken.rest()), (Some(10 + ENOUGH), None));

        count.send_replace(11 + ENOUGH);
        drop(count);
        assert_eq!(taken.next().await, 11 + ENOUGH, "the last is lost");
        assert!(tokio::time::timeout(PAUSE * 9, taken.next()).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_is_told_where_no_session_is_kept() {
        let mut taken = Taken::new(None);
        assert!(tokio::time::timeout(PAUSE * 9, taken.next()).await.is_err());
        assert_eq!(taken.rest(), None);
    }
}
