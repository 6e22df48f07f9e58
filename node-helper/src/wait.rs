//! The helper pod's main process: it waits, so that the pod is there to exec
//! into, and ends when nobody has been for a while. A client that vanished
//! without deleting its helper thus leaves no privileged pod running.

use std::path::Path;
use std::time::{Duration, Instant};

use kpexec_protocol::pod::{HOLD_FOLDER, IDLE_SECONDS, TOOLS_POD};
use nix::sched::{CloneFlags, unshare};
use rustix::fs::readlinkat;
use rustix::io;
use tokio::signal::unix::{SignalKind, signal};

use crate::cgroup::Cgroups;
use crate::failure::{chain, tell};
use crate::hold;
use crate::target::Procfs;

/// How long a helper stays without a session, if its pod does not say: its
/// client deletes it before.
const IDLE: Duration = Duration::from_secs(60);

/// How often it looks for sessions whose `serve` was killed: the parent-death
/// signal ends their commands, but not what those started.
const SWEEP: Duration = Duration::from_secs(1);

/// How often it looks whether it is needed, in sweeps: that is to look at every
/// process of the node.
const LOOK: u32 = 5;

/// Waits until a signal or idleness ends the helper.
///
/// # Errors
/// When `/proc` cannot be read or signals cannot be handled.
pub fn main() -> std::io::Result<()> {
    leave_network()?;
    // The tools container ends when this is closed, at the latest by our end.
    let _kept = match std::env::var_os(TOOLS_POD) {
        Some(_) => Some(hold::keep(Path::new(HOLD_FOLDER))?),
        None => None,
    };
    let procfs = Procfs::open()?;
    let cgroups = Cgroups::open(&procfs).inspect_err(|error| {
        tell(&format!("sessions whose helper is killed are not swept up: {}", chain(error)));
    });
    let cgroups = cgroups.ok();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        tokio::select! {
            _ = terminate.recv() => Ok(()),
            _ = interrupt.recv() => Ok(()),
            result = idle(&procfs, cgroups.as_ref(), patience()) => result,
        }
    })
}

/// The pod has the node's network, so that it starts where the CNI is broken;
/// no process of ours needs it.
///
/// # Errors
/// When the helper lacks CAP_SYS_ADMIN.
pub(crate) fn leave_network() -> nix::Result<()> {
    unshare(CloneFlags::CLONE_NEWNET)
}

/// How long to wait for a session.
fn patience() -> Duration {
    let seconds = std::env::var(IDLE_SECONDS).ok().and_then(|text| text.parse().ok());
    seconds.map_or(IDLE, Duration::from_secs)
}

async fn idle(
    procfs: &Procfs,
    cgroups: Option<&Cgroups>,
    patience: Duration,
) -> std::io::Result<()> {
    let mut last_used = Instant::now();
    while last_used.elapsed() < patience {
        for _ in 0..LOOK {
            tokio::time::sleep(SWEEP).await;
            if let Some(cgroups) = cgroups {
                sweep(procfs, cgroups).await;
            }
        }
        if in_use(procfs)? {
            last_used = Instant::now();
        }
    }
    Ok(())
}

/// Ends what is left of sessions whose `serve` was killed. What fails is tried
/// again.
async fn sweep(procfs: &Procfs, cgroups: &Cgroups) {
    let found = cgroups.left_behind(procfs).unwrap_or_else(|error| {
        tell(&chain(&error));
        Vec::new()
    });
    for cgroup in found {
        if !cgroup.remove(Instant::now() + SWEEP).await {
            tell("processes of a session are left, whose helper was killed");
        }
    }
}

/// Whether another process runs in this container, which is what `serve` does:
/// it shares our mount namespace, and nothing else on the node can.
fn in_use(procfs: &Procfs) -> std::io::Result<bool> {
    let own_pid = std::process::id().cast_signed();
    let namespace =
        |pid| -> io::Result<_> { readlinkat(procfs.process(pid)?, "ns/mnt", Vec::new()) };
    let own = namespace(own_pid)?;
    let mut others =
        procfs.processes()?.into_iter().map(|(pid, _)| pid).filter(|pid| *pid != own_pid);
    // A process that cannot be read has ended.
    Ok(others.any(|pid| namespace(pid).is_ok_and(|other| other == own)))
}
