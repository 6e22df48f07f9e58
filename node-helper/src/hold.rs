//! The tools container's process. The container is there for the sake of its
//! image's files, and the image need not have a program that waits: so it runs
//! ours, which the pod's init container leaves in a volume for it.
//!
//! It has to end when the helper does, or the pod would not. A FIFO in the same
//! volume tells: the helper's main process has it open for writing as long as it
//! lives, however it ends.

use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use kpexec_protocol::pod::HOLD_FOLDER;
use nix::sys::prctl;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::OwnedFd;
use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat, open};
use rustix::io::{Errno, read};

/// The FIFO in it.
const FIFO: &str = "alive";

/// How long the helper's container may take to start after ours: its image is
/// there already.
const PATIENCE: Duration = Duration::from_secs(300);

/// How often it is looked for until then.
const LOOK: Duration = Duration::from_millis(100);

/// Runs one of the two roles, out of the reach of its equals: this process is in
/// the node's network, which it has no right to leave, and a target that sees the
/// node's processes could otherwise trace it if it has the same user.
///
/// # Errors
/// Those of the role.
pub fn main(role: impl FnOnce(&Path) -> io::Result<()>) -> io::Result<()> {
    prctl::set_dumpable(false)?;
    role(Path::new(HOLD_FOLDER))
}

/// Puts this program and the FIFO into the volume. Any user can run the one and
/// read the other.
///
/// # Errors
/// When the volume cannot be written.
pub fn prepare(folder: &Path) -> io::Result<()> {
    let program = folder.join("node-helper");
    std::fs::copy("/proc/self/exe", &program)?;
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755))?;
    let fifo = folder.join(FIFO);
    mknodat(CWD, &fifo, FileType::Fifo, Mode::from_raw_mode(0o644), 0)?;
    // Whatever the umask is.
    std::fs::set_permissions(fifo, std::fs::Permissions::from_mode(0o644))
}

/// Has [`hold`] wait until what is returned is closed.
///
/// # Errors
/// When there is no FIFO.
pub fn keep(folder: &Path) -> io::Result<OwnedFd> {
    // For reading too: for writing alone it fails until there is a reader
    // (fifo(7)).
    Ok(open(folder.join(FIFO), OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty())?)
}

/// Waits until the helper has gone.
///
/// # Errors
/// When there is no FIFO, or the helper does not come.
pub fn hold(folder: &Path) -> io::Result<()> {
    wait_for_end(folder, PATIENCE)
}

fn wait_for_end(folder: &Path, patience: Duration) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let fifo = open(folder.join(FIFO), flags, Mode::empty())?;
    let begun = Instant::now();
    // `EAGAIN` is nothing to read, an end is nobody to write: pipe(7).
    while read(&fifo, &mut [0; 1]) != Err(Errno::AGAIN) {
        if begun.elapsed() > patience {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "the helper did not come"));
        }
        std::thread::sleep(LOOK);
    }
    // Nobody writes, so whatever happens is the last writer's end.
    poll(&mut [PollFd::new(&fifo, PollFlags::IN)], None)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn no_equal_can_trace_a_role() {
        let mut dumpable = true;
        main(|_| {
            dumpable = prctl::get_dumpable()?;
            Ok(())
        })
        .unwrap();
        // The tests that run beside this one are no role.
        prctl::set_dumpable(true).unwrap();
        assert!(!dumpable);
    }

    #[test]
    fn it_ends_with_the_helper_and_not_before() {
        let folder = tempfile::tempdir().unwrap();
        prepare(folder.path()).unwrap();
        let (ended, end) = mpsc::channel();
        let path = folder.path().to_owned();
        let holder = std::thread::spawn(move || ended.send(hold(&path).is_ok()));
        // The helper comes a moment later, and stays for so long that it is seen.
        std::thread::sleep(LOOK);
        let kept = keep(folder.path()).unwrap();
        assert!(end.recv_timeout(30 * LOOK).is_err(), "it ended before the helper");
        drop(kept);
        assert_eq!(end.recv_timeout(Duration::from_secs(20)), Ok(true));
        holder.join().unwrap().unwrap();
    }

    #[test]
    fn a_helper_that_does_not_come_is_not_waited_for_for_ever() {
        let folder = tempfile::tempdir().unwrap();
        prepare(folder.path()).unwrap();
        let error = wait_for_end(folder.path(), LOOK).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[test]
    fn anybody_can_run_the_program_and_read_the_fifo() {
        let folder = tempfile::tempdir().unwrap();
        prepare(folder.path()).unwrap();
        let mode = |name| {
            let path = folder.path().join(name);
            std::fs::metadata(path).unwrap().permissions().mode() & 0o777
        };
        assert_eq!((mode("node-helper"), mode(FIFO)), (0o755, 0o644));
        let size = |path: &Path| std::fs::metadata(path).unwrap().len();
        assert_eq!(size(&folder.path().join("node-helper")), size(Path::new("/proc/self/exe")));
    }
}
