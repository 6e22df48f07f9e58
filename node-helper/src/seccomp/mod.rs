//! The target's own seccomp filter, for sessions that hold no more than the
//! target: [`Profile`] is what the container runtime was given for it,
//! [`compile()`] makes of it [`Program`]s that the kernel takes.
//!
//! The filter is built anew because it cannot be copied: the kernel shows a
//! process's filter only to ptrace(2), and only in the simple case
//! (`PTRACE_SECCOMP_GET_FILTER`, `CONFIG_CHECKPOINT_RESTORE`).

mod compile;
mod profile;
mod program;
#[cfg(test)]
mod tests;

pub use compile::{Error, compile};
pub use profile::{Argument, Profile, Rule};
pub use program::{NotAProgram, Program};
