//! Whether the background process is still needed.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

/// What the process does.
pub struct Activity(watch::Sender<Now>);

struct Now {
    commands: u32,
    /// Since when that is so.
    since: Instant,
    idle: Duration,
    stopping: bool,
}

/// A command, as long as this is there.
pub struct Command(watch::Sender<Now>);

impl Activity {
    /// Nothing yet; it stays for so long without a command.
    pub fn new(idle: Duration) -> Self {
        Self(watch::Sender::new(Now { commands: 0, since: Instant::now(), idle, stopping: false }))
    }

    /// One more.
    pub fn command(&self) -> Command {
        self.0.send_modify(|now| now.commands += 1);
        Command(self.0.clone())
    }

    /// From now on it stays for so long.
    pub fn stay(&self, idle: Duration) {
        self.0.send_modify(|now| now.idle = idle);
    }

    /// How long it stays.
    pub fn idle(&self) -> Duration {
        self.0.borrow().idle
    }

    /// It is not needed from now on; gives the number of commands there are.
    pub fn stop(&self) -> u32 {
        self.0.send_modify(|now| now.stopping = true);
        self.0.borrow().commands
    }

    /// Ends when it is not needed any more.
    pub async fn unneeded(&self) {
        let mut changes = self.0.subscribe();
        loop {
            let end = {
                let now = changes.borrow_and_update();
                if now.stopping {
                    return;
                }
                (now.commands == 0).then_some(now.since + now.idle)
            };
            let idle = async {
                match end {
                    Some(end) => sleep_until(end).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                // A command that came in the same moment counts.
                biased;
                changed = changes.changed() => if changed.is_err() { return },
                () = idle => return,
            }
        }
    }

    /// Ends when there is no command.
    pub async fn quiet(&self) {
        // It fails only if there is no sender, but we have one.
        let _ = self.0.subscribe().wait_for(|now| now.commands == 0).await;
    }
}

impl Drop for Command {
    fn drop(&mut self) {
        self.0.send_modify(|now| {
            now.commands -= 1;
            now.since = Instant::now();
        });
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{sleep, timeout};

    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[tokio::test(start_paused = true)]
    async fn it_ends_when_nobody_came_for_so_long() {
        let activity = Activity::new(MINUTE);
        let begun = Instant::now();
        activity.unneeded().await;
        assert_eq!(begun.elapsed().as_secs(), 60);

        let commands = [activity.command(), activity.command()];
        assert!(timeout(MINUTE * 60, activity.unneeded()).await.is_err());
        activity.stay(MINUTE * 2);
        let ended = Instant::now();
        drop(commands);
        activity.unneeded().await;
        assert_eq!(ended.elapsed().as_secs(), 120);
    }

    #[tokio::test(start_paused = true)]
    async fn it_ends_when_told_to() {
        let activity = Activity::new(MINUTE);
        let command = activity.command();
        let told = async {
            sleep(MINUTE / 2).await;
            activity.stop()
        };
        let begun = Instant::now();
        let ((), commands) = tokio::join!(activity.unneeded(), told);
        assert_eq!((begun.elapsed().as_secs(), commands), (30, 1));
        assert!(timeout(MINUTE, activity.quiet()).await.is_err());
        drop(command);
        activity.quiet().await;
    }
}
