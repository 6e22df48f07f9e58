//! The privileged pod on the target's node: what it is, its start, its end.

mod cleanup;
mod image;
mod launch;
mod needs;
mod spec;
#[cfg(test)]
mod tests;
mod tools;
mod verdict;

pub use cleanup::HelperPod;
pub use image::{ImageError, helper_image};
pub use launch::{LaunchError, watch_for_failure};
pub use spec::{CONTAINER, HelperSpec, PROGRAM, random_name};
pub use tools::ToolsImage;
