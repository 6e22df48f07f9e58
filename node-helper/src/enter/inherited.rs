//! What a process inherits beside credentials and descriptors, put back to what
//! a session should start with (threat model, A13). Signals are reset by the
//! command itself.

use std::num::NonZeroU64;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::stat::{Mode, umask};
use rustix::fs::{Mode as FileMode, OFlags, open};
use rustix::io::Errno;
use rustix::process::setpriority_process;
use rustix::thread::{CpuSet, sched_setaffinity, set_current_timer_slack};

use super::message::Limit;
use crate::target::limits::RESOURCES;

/// Why something inherited could not be put back.
#[derive(Debug, thiserror::Error)]
#[error("reset {what}")]
pub struct Error {
    what: &'static str,
    /// What the kernel answered.
    #[source]
    pub errno: Errno,
}

/// Resets umask, resource limits, priority, processors and timer slack, and has the kernel
/// prefer the session when memory is short. With `limits` those of the target
/// are taken over, as far as the helper's own allow. To be called while `/proc`
/// is the helper's.
///
/// # Errors
/// When the kernel refuses one, but for a priority that only CAP_SYS_NICE could
/// raise again: a helper that somebody has niced has niced sessions.
pub fn reset(limits: &[Limit]) -> Result<(), Error> {
    umask(Mode::from_bits_truncate(0o022));
    // Not 0: that still runs a piped core_pattern, in the node's namespaces and
    // as root. 1 is the kernel's own guard against recursion and stops both
    // (fs/coredump.c).
    setrlimit(Resource::RLIMIT_CORE, 1, 1).map_err(nix_error("the limit on core dumps"))?;
    if limits.is_empty() {
        open_files().map_err(nix_error("the limit on open files"))?;
    }
    limits.iter().try_for_each(take_over).map_err(nix_error("the resource limits"))?;
    match setpriority_process(None, 0) {
        Ok(()) | Err(Errno::ACCESS | Errno::PERM) => {}
        Err(errno) => return Err(Error { what: "the priority", errno }),
    }
    let mut all = CpuSet::new();
    (0..CpuSet::MAX_CPU).for_each(|cpu| all.set(cpu));
    // Not 0, which restores what was inherited. 50 µs is the kernel's default:
    // PR_SET_TIMERSLACK(2const), init/init_task.c.
    set_current_timer_slack(NonZeroU64::new(50_000))
        .map_err(|errno| Error { what: "the timer slack", errno })?;
    sched_setaffinity(None, &all).map_err(|errno| Error { what: "the processors", errno })?;
    die_first().map_err(|errno| Error { what: "the score for the OOM killer", errno })
}

/// A tool that takes all memory dies before `serve`, which has to tell of it:
/// proc_pid_oom_score_adj(5). Raising one's own score needs no privilege.
fn die_first() -> rustix::io::Result<()> {
    const MOST: i32 = 1000;
    const PATH: &str = "/proc/self/oom_score_adj";
    let file = open(PATH, OFlags::RDWR | OFlags::CLOEXEC, FileMode::empty())?;
    let mut text = [0; 16];
    let length = rustix::io::read(&file, &mut text)?;
    let own = std::str::from_utf8(&text[..length]).ok().and_then(|text| text.trim().parse().ok());
    let own: i32 = own.ok_or(Errno::INVAL)?;
    let score = own.saturating_add(1).clamp(MOST / 2, MOST).to_string();
    rustix::io::write(&file, score.as_bytes()).map(drop)
}

/// As many as we may: who debugs opens many files, as `serve` does with many
/// sessions, and a soft limit is whatever the one who started us happened to have.
///
/// # Errors
/// When the kernel refuses.
pub fn open_files() -> nix::Result<()> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)
}

fn take_over(limit: &Limit) -> nix::Result<()> {
    let Some((_, resource)) = RESOURCES.get(limit.resource as usize) else {
        return Err(nix::errno::Errno::EINVAL);
    };
    let (_, own) = getrlimit(*resource)?;
    let hard = limit.hard.min(own);
    setrlimit(*resource, limit.soft.min(hard), hard)
}

fn nix_error(what: &'static str) -> impl Fn(nix::errno::Errno) -> Error {
    move |errno| Error { what, errno: Errno::from_raw_os_error(errno as i32) }
}
