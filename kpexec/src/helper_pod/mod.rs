//! The privileged pod on the target's node: what it is, its start, its end.

mod cleanup;
mod launch;
mod needs;
mod spec;
#[cfg(test)]
mod tests;
mod verdict;

pub use cleanup::HelperPod;
pub use launch::{LaunchError, watch_for_failure};
pub use spec::{CONTAINER, HelperSpec, PROGRAM, random_name};
