//! The target's process: pinned, confirmed to be the container's, and read.

pub mod facts;
pub mod process;
pub mod procfs;

pub use process::{Namespace, TargetProcess};
pub use procfs::Procfs;
