//! A procfs of our own: whatever is mounted over `/proc` does not reach it.

use std::ffi::CStr;

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{Dir, Mode, OFlags, ResolveFlags, open, openat2, statfs};
use rustix::io::{self, Errno};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_fd, fsmount, fsopen,
};

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

    /// A procfs that shows the processes of one PID namespace, numbered as they
    /// number themselves. `None` before Linux 6.17: Documentation/filesystems/
    /// proc.rst, "pidns".
    ///
    /// # Errors
    /// When it cannot be mounted.
    pub fn of_namespace(namespace: BorrowedFd<'_>) -> io::Result<Option<Self>> {
        let context = fsopen("proc", FsOpenFlags::FSOPEN_CLOEXEC)?;
        match fsconfig_set_fd(context.as_fd(), "pidns", namespace) {
            Err(Errno::INVAL) => return Ok(None),
            other => other?,
        }
        fsconfig_create(context.as_fd())?;
        let attr = MountAttrFlags::empty();
        fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attr).map(|root| Some(Self(root)))
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

    /// The numbers of all processes it shows.
    ///
    /// # Errors
    /// When `/proc` cannot be read.
    pub fn pids(&self) -> io::Result<Vec<i32>> {
        let root = rustix::fs::openat(
            &self.0,
            c".",
            OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        let mut found = Vec::new();
        for entry in Dir::new(root)? {
            found
                .extend(entry?.file_name().to_str().ok().and_then(|name| name.parse::<i32>().ok()));
        }
        Ok(found)
    }

    /// The processes of the node with what `stat` says of each. One that ends
    /// while we look is left out.
    ///
    /// # Errors
    /// When `/proc` cannot be read.
    pub fn processes(&self) -> io::Result<Vec<(i32, Stat)>> {
        let stat = |pid| {
            let text = Self::read(&self.process(pid).ok()?, c"stat").ok()?;
            Some((pid, facts::stat(&text)?))
        };
        Ok(self.pids()?.into_iter().filter_map(stat).collect())
    }
}
