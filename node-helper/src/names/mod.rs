//! Names of users and groups, looked up in the target's own `/etc/passwd` and
//! `/etc/group`. Both are the target's to write, so (threat model, A17):
//! [`read`] reads them in a process that can be thrown away, [`database`] takes
//! nothing on trust, and [`resolve()`] does without them where numbers suffice.
//! NSS, which would load libraries and ask servers, has no part in it.

pub mod database;
pub mod read;
pub mod resolve;

pub use database::File;
pub use resolve::{Id, Resolved, Wanted, resolve};

/// `argv[0]` of the process that reads, which the target cannot see.
pub const PROCESS_NAME: &str = "kpexec-read";
