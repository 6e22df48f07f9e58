//! The unpacked packages of a build, one folder each.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result, anyhow};

use crate::lock::Package;
use crate::program::output;

/// A package and the folder of its files.
pub struct Unpacked {
    /// What it is.
    pub package: Package,
    /// Where its files are.
    pub folder: PathBuf,
}

impl Unpacked {
    /// Every file and link, as a path in the package, in order.
    pub fn files(&self) -> Result<Vec<String>> {
        files_below(&self.folder)
    }
}

/// Every file and link below a folder, relative to it, in order.
pub fn files_below(folder: &Path) -> Result<Vec<String>> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(current) = folders.pop() {
        let entries =
            fs::read_dir(&current).with_context(|| format!("cannot read {}", current.display()))?;
        for entry in entries {
            let entry = entry?;
            let path = entry.path();
            if entry.file_type()?.is_dir() {
                folders.push(path);
                continue;
            }
            let relative = path.strip_prefix(folder)?;
            let text =
                relative.to_str().with_context(|| format!("{} is no text", path.display()))?;
            found.push(text.to_owned());
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// Unpacks the packages of `debs` into folders below `stage`.
pub fn unpack(packages: &[Package], debs: &Path, stage: &Path) -> Result<Vec<Unpacked>> {
    let jobs: Vec<Unpacked> = packages
        .iter()
        .map(|package| Unpacked { package: package.clone(), folder: stage.join(&package.name) })
        .collect();
    in_parallel(&jobs, |job| {
        fs::create_dir_all(&job.folder)?;
        let deb = debs.join(job.package.file_name());
        output(Command::new("dpkg-deb").arg("-x").arg(deb).arg(&job.folder)).map(drop)
    })?;
    Ok(jobs)
}

/// Does the same with each item, on as many threads as there are processors.
/// The first error ends it.
pub fn in_parallel<T: Sync>(items: &[T], work: impl Fn(&T) -> Result<()> + Sync) -> Result<()> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let next = AtomicUsize::new(0);
    let run = || -> Result<()> {
        while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
            if let Err(error) = work(item) {
                next.store(items.len(), Ordering::Relaxed);
                return Err(error);
            }
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(run)).collect();
        workers
            .into_iter()
            .try_for_each(|worker| worker.join().map_err(|_| anyhow!("a worker panicked"))?)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    #[test]
    fn every_item_is_worked_on_once() {
        let items: Vec<u32> = (0..100).collect();
        let done = Mutex::new(Vec::new());
        in_parallel(&items, |item| {
            done.lock().unwrap().push(*item);
            Ok(())
        })
        .unwrap();
        let mut done = done.into_inner().unwrap();
        done.sort_unstable();
        assert_eq!(done, items);
    }

    #[test]
    fn an_error_is_handed_on() {
        let error = in_parallel(&[1, 2, 3], |item| {
            anyhow::ensure!(*item != 2, "two");
            Ok(())
        });
        assert_eq!(error.unwrap_err().to_string(), "two");
    }
}
