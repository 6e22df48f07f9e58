//! The only `unsafe` of the helper: fork and exec, and system calls that no
//! library of ours wraps.

pub(crate) mod call;
pub(crate) mod fork;
pub(crate) mod page;
pub(crate) mod seccomp;
pub(crate) mod start;
pub(crate) mod watch;
