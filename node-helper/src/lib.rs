//! The privileged end of kpexec, as a library so that its parts can be tested.
//!
//! One session, in the order it happens:
//!
//! 1. [`connect`] hands the client to [`supervise`], a copy of which, [`serve`],
//!    takes its request;
//! 2. [`cri`] asks the container runtime about the target;
//! 3. [`target`] pins the target's process and reads its facts;
//! 4. [`names`] looks up in the target what was asked for by name, and
//!    [`identity`] decides who the session is;
//! 5. [`enter`] makes a plan of it and performs that in a process of its own,
//!    which [`cgroup`] keeps track of with all that comes of it;
//! 6. [`session`] carries bytes and signals until the command has ended, and
//!    leaves nothing behind.

pub mod cgroup;
pub mod connect;
pub mod cri;
pub mod enter;
pub mod environment;
pub mod failure;
pub mod find;
pub mod hold;
pub mod identity;
pub mod interpreter;
pub mod names;
pub(crate) mod passed;
mod pipe;
pub mod program;
pub mod pty;
pub mod seccomp;
pub mod serve;
pub mod session;
pub(crate) mod signal;
pub mod supervise;
pub mod sweep;
#[allow(unsafe_code, reason = "fork, exec and system calls that have no safe wrapper")]
pub(crate) mod sys;
pub mod target;
pub mod tools;

/// Where the helper image keeps the toolset.
pub const TOOLSET: &str = "/toolset";
