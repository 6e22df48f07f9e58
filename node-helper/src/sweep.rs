//! Ends what is left of sessions whose helper was killed: the parent-death
//! signal ends their shims, but not what the commands had started. In a helper
//! pod a copy of the main process does it. On a node kpexec starts this when its helper was lost, and
//! every helper that kpexec starts does it for those before.

use std::io;
use std::time::{Duration, Instant};

use crate::cgroup::{self, Cgroups};
use crate::failure::{chain, tell};
use crate::session::Context;
use crate::target::Procfs;

/// How long the processes of one session may take to die.
const PATIENCE: Duration = Duration::from_secs(5);

/// How often those are tried that the kernel does not let go.
const ATTEMPTS: u32 = 12;

/// Why nothing can be swept up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// `/proc` is not there.
    #[error("cannot open /proc")]
    Procfs(#[source] rustix::io::Errno),
    /// There are no cgroups to look into.
    #[error(transparent)]
    Cgroups(#[from] cgroup::Error),
    /// The runtime that waits.
    #[error("cannot start")]
    Start(#[source] io::Error),
}

/// Sweeps once, below the cgroup of this process.
///
/// # Errors
/// When it cannot look.
pub fn main() -> Result<(), Error> {
    let procfs = Procfs::open().map_err(Error::Procfs)?;
    let cgroups = Cgroups::open(&procfs)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    runtime.map_err(Error::Start)?.block_on(sweep(&procfs, &cgroups));
    Ok(())
}

/// Whether anything is left where this helper's own sessions have their cgroups.
pub(crate) fn is_needed(context: &Context) -> bool {
    let Ok(cgroups) = context.cgroups.as_ref() else { return false };
    // What cannot be read is for the sweeper to tell.
    cgroups.left_behind(&context.procfs).is_ok_and(|found| !found.is_empty())
}

/// Sweeps in a process of its own, until nothing is left that can be ended.
pub(crate) fn sweep_all(context: &Context) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    match runtime {
        Ok(runtime) => runtime.block_on(async {
            for _ in 0..ATTEMPTS {
                sweep_with(context).await;
                if !is_needed(context) {
                    return;
                }
            }
        }),
        Err(error) => tell(&format!("cannot sweep up: {}", chain(&error))),
    }
}

/// Sweeps once, where this helper's own sessions have their cgroups.
pub async fn sweep_with(context: &Context) {
    if let Ok(cgroups) = context.cgroups.as_ref() {
        sweep(&context.procfs, cgroups).await;
    }
}

async fn sweep(procfs: &Procfs, cgroups: &Cgroups) {
    let found = cgroups.left_behind(procfs).unwrap_or_else(|error| {
        tell(&chain(&error));
        Vec::new()
    });
    for cgroup in found {
        if !cgroup.remove(Instant::now() + PATIENCE).await {
            tell("processes of a session are left, whose helper was killed");
        }
    }
}
