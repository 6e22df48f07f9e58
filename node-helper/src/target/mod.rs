//! The target's process: pinned, confirmed to be the container's, and read.

pub mod facts;
pub mod label;
pub mod limits;
pub mod process;
pub mod procfs;
pub mod reach;
pub mod status;
pub mod volumes;

pub use label::Label;
pub use limits::Limit;
pub use process::{Namespace, TargetProcess};
pub use procfs::Procfs;
