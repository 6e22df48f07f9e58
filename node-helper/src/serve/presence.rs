//! Counts connections and sessions: the server is there as long as one is.

use tokio::sync::mpsc;

/// As long as it is held the server stays.
#[derive(Clone, Debug)]
pub struct Present(#[allow(dead_code, reason = "it is there to be dropped")] mpsc::Sender<()>);

/// Whoever may come while somebody is there.
#[derive(Clone, Debug)]
pub(super) struct Door(mpsc::WeakSender<()>);

/// Tells when the last one has left.
#[derive(Debug)]
pub(super) struct Presence(mpsc::Receiver<()>);

impl Presence {
    /// Somebody is there.
    pub fn begin() -> (Self, Present, Door) {
        let (sender, receiver) = mpsc::channel(1);
        let door = Door(sender.downgrade());
        (Self(receiver), Present(sender), door)
    }

    /// Waits until nobody is there.
    pub async fn all_gone(&mut self) {
        // Nobody sends: it is the end.
        self.0.recv().await;
    }
}

impl Door {
    /// Lets another one in; `None` if all have left already.
    pub fn enter(&self) -> Option<Present> {
        self.0.upgrade().map(Present)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_last_one_closes_the_door() {
        let (mut presence, first, door) = Presence::begin();
        let second = door.enter().unwrap();
        drop(first);
        let third = door.enter().unwrap();
        drop((second, third));
        presence.all_gone().await;
        assert!(door.enter().is_none());
    }
}
