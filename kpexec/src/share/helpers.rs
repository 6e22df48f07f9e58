//! The connections to helpers that the background process keeps.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tonic::Status;

use crate::cli::Cli;
use crate::helper_pod::{HelperPod, Phases, Sharing};
use crate::run::RunError;
use crate::session::{Call, Connection, Load};
use crate::start::Place;
use crate::transport::HelperLog;

/// Namespace and name of a helper's pod.
type Key = (String, String);

/// A pod as the user names it: namespace, if said, and name.
type Named = (Option<String>, Option<String>);

/// A connection for each helper.
#[derive(Default)]
pub struct Helpers {
    slots: Mutex<HashMap<Key, Arc<Slot>>>,
    /// Which helper the last command in that pod had.
    last: Mutex<HashMap<Named, Key>>,
}

/// A call made on a guess. It says nothing yet: if the guess was wrong, nothing
/// comes of it.
pub struct Early {
    key: Key,
    call: JoinSet<Result<Call, Status>>,
}

/// What there is of one helper.
#[derive(Default)]
struct Slot {
    /// Locked while a connection is made, so that who comes meanwhile shares it.
    kept: tokio::sync::Mutex<Option<Kept>>,
    /// How it starts, for all who wait for it.
    phases: Arc<Phases>,
}

/// While a helper is made; dropped, that is over.
struct Start<'a>(&'a Phases);

impl Drop for Start<'_> {
    fn drop(&mut self) {
        self.0.forget();
    }
}

struct Kept {
    connection: Connection,
    used: Instant,
}

impl Helpers {
    /// Calls the helper that the last command in that pod had, beside all else:
    /// the answer takes as long as to ask for the pod.
    pub fn call_early(&self, cli: &Cli) -> Option<Early> {
        let named = (cli.namespace.clone(), cli.pod.clone());
        let key = self.last.lock().unwrap_or_else(PoisonError::into_inner).get(&named)?.clone();
        let slot = self.slots().get(&key)?.clone();
        let connection = slot.kept.try_lock().ok()?.as_mut().map(Kept::take)?;
        let mut call = JoinSet::new();
        call.spawn(async move { connection.call().await });
        Some(Early { key, call })
    }

    /// Calls the helper on the connection to it, which is made where there is
    /// none, or none that works; `sweep` is called before. How it starts is told
    /// to all who wait for it: [`phases`](Self::phases).
    pub async fn call(
        &self,
        place: &Place<'_>,
        helper: &mut HelperPod,
        early: Option<Early>,
        log: &mut HelperLog,
        sweep: impl Fn(),
    ) -> Result<Call, RunError> {
        if place.sharing == Sharing::None {
            return place.reach(helper, Load::One, log).await;
        }
        let key = (place.cli.cluster.helper_namespace.clone(), place.helper.to_owned());
        if let Some(mut early) = early.filter(|early| early.key == key)
            && let Some(Ok(Ok(call))) = early.call.join_next().await
        {
            return Ok(call);
        }
        let named = (place.cli.namespace.clone(), place.cli.pod.clone());
        self.last.lock().unwrap_or_else(PoisonError::into_inner).insert(named, key.clone());
        let slot = self.slots().entry(key).or_default().clone();
        loop {
            let kept = slot.kept.lock().await.as_mut().map(Kept::take);
            if let Some(connection) = kept {
                match connection.call().await {
                    Ok(call) => return Ok(call),
                    // Nothing was heard of it, so nothing was run.
                    Err(status) => tracing::debug!(?status, "the connection is of no use"),
                }
                slot.kept.lock().await.take_if(|kept| kept.connection.is(&connection));
            }
            let mut kept = slot.kept.lock().await;
            if kept.is_some() {
                continue;
            }
            sweep();
            let _start = Start(&slot.phases);
            let place = Place { phases: &slot.phases, dialer: place.dialer.clone(), ..*place };
            let call = place.reach(helper, Load::Many, log).await?;
            *kept = Some(Kept { connection: call.connection.clone(), used: Instant::now() });
            return Ok(call);
        }
    }

    /// Where it is told how this helper starts, whoever makes it.
    pub fn phases(&self, namespace: &str, helper: &str) -> Arc<Phases> {
        let key = (namespace.to_owned(), helper.to_owned());
        self.slots().entry(key).or_default().phases.clone()
    }

    /// Lets go of the connection to a helper that was deleted.
    pub async fn forget(&self, place: &Place<'_>) {
        let key = (place.cli.cluster.helper_namespace.clone(), place.helper.to_owned());
        let slot = self.slots().get(&key).cloned();
        if let Some(slot) = slot {
            slot.kept.lock().await.take();
        }
    }

    /// Lets go of connections that nobody has used for so long. A helper with a
    /// connection does not end by itself.
    pub fn sweep(&self, idle: Duration) {
        let mut slots = self.slots();
        slots.retain(|_, slot| {
            // One that is locked is in use, and so is one that somebody holds, or waits for.
            if Arc::strong_count(&slot.phases) > 1 {
                return true;
            }
            let Ok(mut kept) = slot.kept.try_lock() else { return true };
            let Some(Kept { connection, used }) = &mut *kept else {
                return Arc::strong_count(slot) > 1;
            };
            if !connection.is_unused() {
                *used = Instant::now();
            }
            used.elapsed() < idle
        });
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.retain(|_, key| slots.contains_key(key));
    }

    fn slots(&self) -> std::sync::MutexGuard<'_, HashMap<Key, Arc<Slot>>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn take(&mut self) -> Connection {
        self.used = Instant::now();
        self.connection.clone()
    }
}
