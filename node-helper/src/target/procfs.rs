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
        // `status` of a process with the most groups there can be, 65536, is the
        // longest: what is cut off could be what a target wants to hide.
        const LARGEST: usize = 1024 * 1024;
        let mut text = Vec::with_capacity(4096);
        loop {
            let length = text.len();
            text.resize(length + 4096.max(length), 0);
            let count = io::read(&file, &mut text[length..])?;
            text.truncate(length + count);
            if count == 0 {
                return Ok(text);
            }
            if text.len() > LARGEST {
                return Err(Errno::FBIG);
            }
        }
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

    /// The folders of a process's threads: capabilities are each thread's own.
    ///
    /// # Errors
    /// `ESRCH` or `ENOENT` when it has ended.
    pub fn threads(process: &OwnedFd) -> io::Result<Vec<OwnedFd>> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_XDEV | ResolveFlags::NO_SYMLINKS;
        let folder = openat2(process, c"task", flags, Mode::empty(), resolve)?;
        let mut threads = Vec::new();
        for entry in Dir::read_from(&folder)? {
            let entry = entry?;
            if entry.file_name().to_bytes().iter().all(u8::is_ascii_digit) {
                let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
                match openat2(&folder, entry.file_name(), flags, Mode::empty(), resolve) {
                    Ok(thread) => threads.push(thread),
                    // It has ended meanwhile.
                    Err(Errno::NOENT | Errno::SRCH) => {}
                    Err(errno) => return Err(errno),
                }
            }
        }
        Ok(threads)
    }

    /// The processes of the node with what `stat` says of each. One that ends
    /// while we look is left out.
    ///
    /// # Errors
    /// When `/proc` cannot be read.
    pub fn processes(&self) -> io::Result<Vec<(i32, Stat)>> {
        Ok(self.stats(self.pids()?))
    }

    /// What `stat` says of each of these, but for those that have ended.
    pub fn stats(&self, pids: Vec<i32>) -> Vec<(i32, Stat)> {
        let stat = |pid| {
            let text = Self::read(&self.process(pid).ok()?, c"stat").ok()?;
            Some((pid, facts::stat(&text)?))
        };
        pids.into_iter().filter_map(stat).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own() -> OwnedFd {
        Procfs::open().unwrap().process(std::process::id().cast_signed()).unwrap()
    }

    #[test]
    fn long_files_are_read_to_their_end() {
        // Some 600 bytes for each mapping, of which every process here has
        // dozens.
        let text = Procfs::read(own(), c"smaps").unwrap();
        assert!(text.len() > 16 * 1024, "{}", text.len());
        let last = String::from_utf8(text).unwrap();
        assert!(last.trim_end().lines().last().unwrap().starts_with("VmFlags:"));
    }

    #[test]
    fn every_thread_is_found() {
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn(move || stopped.recv());
        // This test's own and that one, whatever others there are.
        assert!(Procfs::threads(&own()).unwrap().len() >= 2);
        drop(stop);
        assert!(thread.join().unwrap().is_err());
    }
}
