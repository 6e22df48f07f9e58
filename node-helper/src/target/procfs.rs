//! A procfs of our own: whatever is mounted over `/proc` does not reach it.

use std::ffi::CStr;

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{Dir, Mode, OFlags, ResolveFlags, open, openat2, statfs};
use rustix::io::{self, Errno};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};

use super::facts::{self, Stat};

/// `PROC_SUPER_MAGIC` of linux/magic.h.
const PROC_SUPER_MAGIC: i64 = 0x9fa0;

/// A handle on a procfs that shows all processes of the node.
#[derive(Debug)]
pub struct Procfs(OwnedFd);

impl Procfs {
    /// Mounts a procfs, attached nowhere. Where that is refused (a user
    /// namespace that may not mount one) `/proc` is taken, if it is a procfs.
    ///
    /// # Errors
    /// When neither can be had.
    pub fn open() -> io::Result<Self> {
        let mounted = fsopen("proc", FsOpenFlags::FSOPEN_CLOEXEC).and_then(|context| {
            fsconfig_create(context.as_fd())?;
            fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())
        });
        if let Ok(root) = mounted {
            return Ok(Self(root));
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = open("/proc", flags, Mode::empty())?;
        if statfs("/proc")?.f_type != PROC_SUPER_MAGIC {
            return Err(Errno::NODEV);
        }
        Ok(Self(root))
    }

    /// Opens the folder of a process. It goes on naming that very process:
    /// once it has ended, look-ups give `ESRCH`, never another process.
    ///
    /// # Errors
    /// `ENOENT` when there is no such process.
    pub fn process(&self, pid: i32) -> io::Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_XDEV | ResolveFlags::NO_SYMLINKS;
        openat2(&self.0, pid.to_string(), flags, Mode::empty(), resolve)
    }

    /// Reads a small file below a folder given by [`Procfs::process`].
    ///
    /// # Errors
    /// `ESRCH` when the process has ended.
    pub fn read(process: impl AsFd, name: &CStr) -> io::Result<Vec<u8>> {
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_XDEV | ResolveFlags::NO_SYMLINKS;
        let file =
            openat2(process, name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty(), resolve)?;
        // None of the files we read is longer than a page.
        let mut text = vec![0; 16 * 1024];
        let mut length = 0;
        loop {
            match io::read(&file, &mut text[length..])? {
                0 => break,
                count => length += count,
            }
        }
        text.truncate(length);
        Ok(text)
    }

    /// The processes of the node with what `stat` says of each. One that ends
    /// while we look is left out.
    ///
    /// # Errors
    /// When `/proc` cannot be read.
    pub fn processes(&self) -> io::Result<Vec<(i32, Stat)>> {
        let root = rustix::fs::openat(
            &self.0,
            c".",
            OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        let mut found = Vec::new();
        for entry in Dir::new(root)? {
            let entry = entry?;
            let Some(pid) = entry.file_name().to_str().ok().and_then(|name| name.parse().ok())
            else {
                continue;
            };
            let stat = self
                .process(pid)
                .and_then(|folder| Self::read(&folder, c"stat"))
                .ok()
                .and_then(|text| facts::stat(&text));
            if let Some(stat) = stat {
                found.push((pid, stat));
            }
        }
        Ok(found)
    }
}
