//! A sealed copy of the program that entry processes run: what the target
//! reaches through `/proc/PID/exe` cannot be written (CVE-2019-5736).

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use kpexec_protocol::pod::ENTRY;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{
    MemfdFlags, Mode, OFlags, SealFlags, fchmod, fcntl_add_seals, fcntl_get_seals, memfd_create,
    open,
};
use rustix::io::Errno;
use tokio::process::{Child, Command};

/// All that can change a file.
const SEALS: SealFlags =
    SealFlags::SEAL.union(SealFlags::SHRINK).union(SealFlags::GROW).union(SealFlags::WRITE);

/// A sealed copy of a binary.
#[derive(Debug)]
pub struct SealedBinary(OwnedFd);

impl SealedBinary {
    /// Copies [`ENTRY`], which lies beside the running program.
    ///
    /// # Errors
    /// As [`SealedBinary::of`].
    pub fn of_entry() -> io::Result<Self> {
        Self::of(&std::env::current_exe()?.with_file_name(ENTRY))
    }

    /// Copies a program into memory and seals the copy.
    ///
    /// # Errors
    /// When it cannot be read, or the kernel has no memfd or forbids
    /// executable ones (`vm.memfd_noexec=2`).
    pub fn of(binary: &Path) -> io::Result<Self> {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        // MFD_EXEC is Linux 6.3 and needed where vm.memfd_noexec is 1.
        let copy = match memfd_create(c"kpexec", flags | MemfdFlags::EXEC) {
            Err(Errno::INVAL) => memfd_create(c"kpexec", flags)?,
            other => other?,
        };
        let mut copy = File::from(copy);
        io::copy(&mut File::open(binary)?, &mut copy)?;
        let copy = OwnedFd::from(copy);
        fchmod(copy.as_fd(), Mode::from_raw_mode(0o511))?;
        fcntl_add_seals(copy.as_fd(), SEALS)?;
        Ok(Self(copy))
    }

    /// Starts a process that runs the copy, as `name`, with an empty environment,
    /// in `/`. The parent-death signal it sets refers to the calling thread.
    ///
    /// A target that may trace us can open the copy for writing and keep it so:
    /// the seals stop it from writing, but execve(2) then answers `ETXTBSY`. It
    /// gets another copy to run, which nobody has seen.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn start(
        &self,
        name: &str,
        stdin: BorrowedFd<'_>,
        configure: impl Fn(&mut Command) -> io::Result<()>,
    ) -> io::Result<Child> {
        let start = |copy: &Self| {
            let mut command = Command::new(copy.path());
            command.arg0(name).env_clear().current_dir("/").kill_on_drop(true);
            command.stdin(stdin.try_clone_to_owned()?);
            configure(&mut command)?;
            command.spawn()
        };
        match start(self) {
            Err(error) if error.kind() == io::ErrorKind::ExecutableFileBusy => {
                start(&Self::of(&self.path())?)
            }
            other => other,
        }
    }

    /// A path that names the copy in this process and in what it forks.
    pub fn path(&self) -> PathBuf {
        format!("/proc/self/fd/{}", self.0.as_raw_fd()).into()
    }
}

/// Whether this process runs from a sealed copy.
pub fn is_sealed() -> bool {
    open("/proc/self/exe", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .and_then(|exe| fcntl_get_seals(&exe))
        .is_ok_and(|seals| seals.contains(SEALS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_cannot_be_changed() {
        let sealed = SealedBinary::of(&std::env::current_exe().unwrap()).unwrap();
        assert_eq!(rustix::io::write(&sealed.0, b"x"), Err(Errno::PERM));
        assert_eq!(rustix::fs::ftruncate(&sealed.0, 0), Err(Errno::PERM));
        let size = std::fs::metadata(std::env::current_exe().unwrap()).unwrap().len();
        assert_eq!(rustix::fs::fstat(&sealed.0).unwrap().st_size, size.cast_signed());
    }

    #[test]
    fn a_plain_binary_is_not_sealed() {
        assert!(!is_sealed());
    }
}
