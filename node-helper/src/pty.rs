//! The session's terminal: a PTY in a devpts of its own, so that `ttyname`,
//! `su` and `tmux` find it, and the target cannot open it.

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{Mode, OFlags, openat};
use rustix::io;
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use tools_overlay::parts::{Owner, devpts};

use kpexec_protocol::WindowSize;

/// A terminal and the file system it is in.
#[derive(Debug)]
pub struct Pty {
    /// To be mounted at `/dev/pts` of the view.
    pub devpts: OwnedFd,
    /// Our end.
    pub master: OwnedFd,
    /// The command's end.
    pub slave: OwnedFd,
}

/// Why there is no terminal.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No devpts.
    #[error(transparent)]
    Devpts(#[from] tools_overlay::Error),
    /// No PTY in it.
    #[error("cannot {0} a terminal")]
    Open(&'static str, #[source] io::Errno),
}

impl Pty {
    /// Opens a terminal that belongs to `owner`.
    ///
    /// # Errors
    /// When the devpts cannot be mounted, or no PTY is left.
    pub fn open(owner: Owner, size: WindowSize) -> Result<Self, Error> {
        let devpts = devpts(owner)?;
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let master =
            openat(&devpts, "ptmx", flags, Mode::empty()).map_err(|e| Error::Open("open", e))?;
        unlockpt(&master).map_err(|e| Error::Open("unlock", e))?;
        // By descriptor (Linux 4.13): /dev/pts of anybody could lie.
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let slave = ioctl_tiocgptpeer(&master, flags).map_err(|e| Error::Open("open", e))?;
        resize(&master, size).map_err(|e| Error::Open("size", e))?;
        Ok(Self { devpts, master, slave })
    }
}

/// Gives the terminal a size; the kernel tells its foreground programs.
///
/// # Errors
/// What ioctl_tty(2) says of TIOCSWINSZ.
pub fn resize(master: impl AsFd, size: WindowSize) -> io::Result<()> {
    let clamp = |cells: u32| u16::try_from(cells).unwrap_or(u16::MAX);
    let size = Winsize {
        ws_row: clamp(size.rows),
        ws_col: clamp(size.columns),
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    tcsetwinsize(master, size)
}
