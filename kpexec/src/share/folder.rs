//! The folder of the sockets: ours alone, or not used at all.

use std::ffi::OsString;
use std::fs::DirBuilder;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, fstat, open, stat};
use rustix::process::geteuid;

use super::ShareError;

/// An open folder. Paths into it go by the descriptor, so that it stays the one
/// that was checked, and so that they fit into a socket's address.
#[derive(Debug)]
pub struct Folder {
    fd: OwnedFd,
    path: PathBuf,
}

impl Folder {
    /// Opens the folder, and makes it where it is not there.
    pub fn open() -> Result<Self, ShareError> {
        let is_ours = |path: &Path| stat(path).is_ok_and(|stat| stat.st_uid == own_uid());
        let path = place(|name| std::env::var_os(name), is_ours).ok_or(ShareError::NoFolder)?;
        Self::at(path)
    }

    /// The same of this one.
    pub fn at(path: PathBuf) -> Result<Self, ShareError> {
        let failed = |path: &Path, source: io::Error| {
            let path = path.to_owned();
            ShareError::Folder { path, source }
        };
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&path);
        // A link that leads to a folder is one as far as this is concerned.
        made.map_err(|error| failed(&path, error))?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = match open(&path, flags, Mode::empty()) {
            Ok(fd) => fd,
            Err(rustix::io::Errno::LOOP | rustix::io::Errno::NOTDIR) => {
                return Err(ShareError::Unsafe { path, why: "it is no folder, but a link" });
            }
            Err(error) => return Err(failed(&path, error.into())),
        };
        let found = fstat(&fd).map_err(|error| failed(&path, error.into()))?;
        match fault(found.st_uid, found.st_mode, own_uid()) {
            Some(why) => Err(ShareError::Unsafe { path, why }),
            None => Ok(Self { fd, path }),
        }
    }

    /// A path to what is in it, for this process.
    pub fn inside(&self, name: &str) -> PathBuf {
        format!("/proc/self/fd/{}/{name}", self.fd.as_raw_fd()).into()
    }

    /// For errors.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl AsFd for Folder {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// The user whose files and processes are ours.
pub fn own_uid() -> u32 {
    geteuid().as_raw()
}

/// `XDG_RUNTIME_DIR`, else the cache, by the XDG Base Directory Specification.
/// The first must be ours: su(1) and sudo(8) may leave it to another user.
fn place(
    variable: impl Fn(&str) -> Option<OsString>,
    is_ours: impl Fn(&Path) -> bool,
) -> Option<PathBuf> {
    let absolute = |name| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
    if let Some(runtime) = absolute("XDG_RUNTIME_DIR").filter(|path| is_ours(path)) {
        return Some(runtime.join("kpexec"));
    }
    let cache = absolute("XDG_CACHE_HOME");
    let cache = cache.or_else(|| absolute("HOME").map(|home| home.join(".cache")))?;
    Some(cache.join("kpexec/share"))
}

/// Why a folder is not safe.
fn fault(owner: u32, mode: u32, us: u32) -> Option<&'static str> {
    if owner != us {
        return Some("it belongs to another user");
    }
    (mode & 0o077 != 0).then_some("others have access to it")
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn the_folder_is_where_xdg_says() {
        let place = |variables: &[(&str, &str)], ours: bool| {
            let get =
                |name: &str| variables.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).into());
            place(get, |_| ours).map(|path| path.to_str().unwrap().to_owned())
        };
        let all =
            [("XDG_RUNTIME_DIR", "/run/user/7"), ("XDG_CACHE_HOME", "/c"), ("HOME", "/home/x")];
        assert_eq!(place(&all, true).unwrap(), "/run/user/7/kpexec");
        assert_eq!(place(&all, false).unwrap(), "/c/kpexec/share");
        assert_eq!(place(&all[2..], true).unwrap(), "/home/x/.cache/kpexec/share");
        assert_eq!(place(&[("HOME", "x"), ("XDG_RUNTIME_DIR", "run")], true), None);
    }

    #[test]
    fn a_folder_that_others_can_use_is_refused() {
        assert_eq!(fault(7, 0o40700, 7), None);
        for mode in [0o40701, 0o40710, 0o40702, 0o40720, 0o40740, 0o41777] {
            assert_eq!(fault(7, mode, 7), Some("others have access to it"), "{mode:o}");
        }
        assert_eq!(fault(0, 0o40700, 7), Some("it belongs to another user"));
        assert_eq!(fault(7, 0o40700, 0), Some("it belongs to another user"));
    }

    #[test]
    fn what_is_there_is_checked_and_not_mended() {
        let top = tempfile::tempdir().unwrap();
        let folder = top.path().join("a/kpexec");
        drop(Folder::at(folder.clone()).unwrap());
        let mode = std::fs::metadata(&folder).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        std::fs::set_permissions(&folder, Permissions::from_mode(0o755)).unwrap();
        assert!(matches!(Folder::at(folder.clone()), Err(ShareError::Unsafe { .. })));
        std::fs::set_permissions(&folder, Permissions::from_mode(0o700)).unwrap();
        let link = top.path().join("link");
        symlink(&folder, &link).unwrap();
        assert!(matches!(Folder::at(link), Err(ShareError::Unsafe { .. })));
        let file = top.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert!(Folder::at(file).is_err());
    }

    #[test]
    fn a_path_inside_survives_a_rename() {
        let top = tempfile::tempdir().unwrap();
        let folder = Folder::at(top.path().join("one")).unwrap();
        std::fs::rename(top.path().join("one"), top.path().join("two")).unwrap();
        std::fs::write(folder.inside("x"), "here").unwrap();
        assert_eq!(std::fs::read(top.path().join("two/x")).unwrap(), b"here");
    }
}
