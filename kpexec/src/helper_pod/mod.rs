//! The privileged pod on the target's node: what it is, its start, its end.

mod admission;
mod cleanup;
mod ended;
mod image;
mod launch;
mod name;
mod needs;
mod phases;
mod spec;
#[cfg(test)]
mod tests;
mod tools;
mod verdict;

pub use cleanup::{CleanupError, HelperPod, Sharing};
pub use ended::{remove_ended, running};
pub use image::{ImageError, helper_image};
pub use launch::{LaunchError, rehearse, watch_for_failure};
pub use name::{random_name, shared_name};
pub use phases::Phases;
pub use spec::{CONTAINER, HelperSpec};
pub use tools::ToolsImage;
