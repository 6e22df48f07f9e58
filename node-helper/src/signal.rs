//! Signals to processes known by their numbers.

use rustix::fd::OwnedFd;
use rustix::io;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// How many are held at a time: a process may have 1024 descriptors by default.
const AT_ONCE: usize = 256;

/// Sends `signals` to each of `pids` that `list` still names once the process
/// is held: its number may be another's by then.
///
/// # Errors
/// When `list` fails.
pub(crate) fn send(
    pids: &[i32],
    signals: &[Signal],
    list: impl Fn() -> io::Result<Vec<i32>>,
) -> io::Result<()> {
    let hold = |pid: &i32| -> Option<(i32, OwnedFd)> {
        Some((*pid, pidfd_open(Pid::from_raw(*pid)?, PidfdFlags::empty()).ok()?))
    };
    for pids in pids.chunks(AT_ONCE) {
        let held: Vec<_> = pids.iter().filter_map(hold).collect();
        let mut listed = list()?;
        listed.sort_unstable();
        for (_, pidfd) in held.iter().filter(|(pid, _)| listed.binary_search(pid).is_ok()) {
            for signal in signals {
                // It may have ended meanwhile, which is what we want of it.
                let _ended = pidfd_send_signal(pidfd, *signal);
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::Command;

    use super::*;

    #[test]
    fn only_those_still_listed_are_signalled() {
        let mut children: Vec<_> =
            (0..2).map(|_| Command::new("sleep").arg("1000").spawn().unwrap()).collect();
        let pids: Vec<i32> = children.iter().map(|child| child.id().cast_signed()).collect();
        send(&pids, &[Signal::TERM], || Ok(vec![pids[1]])).unwrap();
        assert_eq!(children[1].wait().unwrap().signal(), Some(libc::SIGTERM));
        assert!(children[0].try_wait().unwrap().is_none(), "it was not listed any more");
        children[0].kill().unwrap();
        children[0].wait().unwrap();
    }
}
