//! File locks that end with their process, however it ends.

use std::fs::{File, OpenOptions};
use std::path::Path;

use anyhow::{Context, Result};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

/// Released when dropped.
pub struct Lock {
    _file: File,
}

/// Takes the lock, or `None` if another process has it.
pub fn try_take(path: &Path) -> Result<Option<Lock>> {
    let file = open(path)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(Lock { _file: file })),
        Err(Errno::WOULDBLOCK) => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot lock {}", path.display())),
    }
}

/// Waits for the lock; says so, if there is something to wait for.
pub fn wait(path: &Path, holder: &str) -> Result<Lock> {
    if let Some(lock) = try_take(path)? {
        return Ok(lock);
    }
    println!("waiting for {holder} to finish …");
    wait_silently(path)
}

/// Waits for the lock.
pub fn wait_silently(path: &Path) -> Result<Lock> {
    let file = open(path)?;
    flock(&file, FlockOperation::LockExclusive)
        .with_context(|| format!("cannot lock {}", path.display()))?;
    Ok(Lock { _file: file })
}

fn open(path: &Path) -> Result<File> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .with_context(|| format!("cannot open {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_exclusive_and_ends_with_its_owner() {
        let path = std::env::temp_dir().join(format!("kpx-lock-test-{}", std::process::id()));
        let first = try_take(&path).unwrap();
        assert!(first.is_some());
        assert!(try_take(&path).unwrap().is_none());
        drop(first);
        // A fork of another test may hold it for a moment.
        let take = |_| {
            std::thread::sleep(std::time::Duration::from_millis(1));
            try_take(&path).unwrap()
        };
        assert!((0..10_000).find_map(take).is_some());
        std::fs::remove_file(&path).unwrap();
    }
}
