//! Ends what is left of sessions whose server was killed: the parent-death
//! signal ends their commands, but not what those started.

use std::time::{Duration, Instant};

use crate::failure::{chain, tell};
use crate::session::Context;

/// How long it may take to end one session's processes, before they are tried
/// again.
const PATIENCE: Duration = Duration::from_secs(5);

/// How often those are tried that the kernel does not let go.
const ATTEMPTS: u32 = 12;

/// Whether anything is left.
pub(super) fn is_needed(context: &Context) -> bool {
    let Ok(cgroups) = context.cgroups.as_ref() else { return false };
    // What cannot be read is for the sweeper to tell.
    cgroups.left_behind(&context.procfs).is_ok_and(|found| !found.is_empty())
}

/// Ends it, in a process of its own.
pub(super) fn sweep(context: &Context) {
    match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(async {
            for _ in 0..ATTEMPTS {
                if end_all(context).await {
                    return;
                }
            }
            tell("processes of a session are left, whose helper was killed");
        }),
        Err(error) => tell(&format!("cannot sweep up: {}", chain(&error))),
    }
}

/// Says whether nothing is left.
async fn end_all(context: &Context) -> bool {
    let Ok(cgroups) = context.cgroups.as_ref() else { return true };
    let found = cgroups.left_behind(&context.procfs).unwrap_or_else(|error| {
        tell(&chain(&error));
        Vec::new()
    });
    let mut all = true;
    for cgroup in found {
        all &= cgroup.remove(Instant::now() + PATIENCE).await;
    }
    all
}
