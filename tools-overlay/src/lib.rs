//! The view: a session's private root. It shows the target's own files, and the
//! toolset at `/.kpexec`; nothing of it is visible to the target.
//!
//! [`Parts::open`] takes what comes from the helper, before anything of the
//! target is joined; [`view::assemble`] builds the root once the target's mount
//! namespace has been copied. [`plan`] says what goes where and why.

pub mod discard;
mod entries;
mod image;
pub mod parts;
pub mod plan;
mod skeleton;
#[allow(unsafe_code, reason = "system calls that rustix lacks")]
mod sys;
pub mod view;

pub use parts::{Part, Parts};
pub use plan::{Wishes, Writes};
pub use view::assemble;

use rustix::io::Errno;

/// Where the toolset stands in every view.
pub const MOUNT_POINT: &str = "/.kpexec";

/// Where the target's root stands in a view whose root is a tools image's.
pub const TARGET: &str = "/target";

/// Why no view could be built.
#[derive(Debug, thiserror::Error)]
#[error("{action} {subject}")]
pub struct Error {
    /// What was tried, as a verb: "clone", "mount".
    pub action: &'static str,
    /// On what: a path or the name of a file system.
    pub subject: String,
    /// What the kernel answered.
    #[source]
    pub errno: Errno,
}

/// What the hints of [`Error::hint`] are about.
const MAKE_WRITABLE: &str = "make writable";
const STACK: &str = "lay an overlay over";
const SHOW: &str = "show read-only";

impl Error {
    /// What to do about it; may be empty.
    pub fn hint(&self) -> &'static str {
        match (self.action, self.errno) {
            (MAKE_WRITABLE, Errno::PERM) => {
                "a user namespace locks it read-only; --writes=discard writes to memory instead"
            }
            (MAKE_WRITABLE, _) => {
                "its file system itself is read-only; --writes=discard writes to memory instead"
            }
            (STACK, Errno::INVAL) => {
                "the kernel takes no overlay over it, as over one that lies on another; \
                 --writes=deny leaves the container as it is, too"
            }
            (SHOW, _) => "--writes=deny leaves the container as it is, too",
            _ => "",
        }
    }
}

/// Says what was tried when a system call fails.
pub(crate) trait Context<T> {
    /// Names the action and its subject.
    fn context(self, action: &'static str, subject: impl Into<String>) -> Result<T, Error>;
}

impl<T> Context<T> for rustix::io::Result<T> {
    fn context(self, action: &'static str, subject: impl Into<String>) -> Result<T, Error> {
        self.map_err(|errno| Error { action, subject: subject.into(), errno })
    }
}
