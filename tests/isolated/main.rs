//! Entry and view against a container made with unshare(1), through the real
//! `node-helper serve`: only the container runtime is an imitation, and says
//! what this test tells it.
//!
//! Needs the static busybox and bash, and gcc (`cargo xtask setup` installs them), and root or a
//! kernel that lets ordinary users make user namespaces.

#[allow(dead_code, reason = "the attacks use the rest")]
mod client;
#[allow(dead_code, reason = "the attacks use the rest")]
mod fake_container;
mod fake_runtime;
#[allow(dead_code, reason = "the attacks use the rest")]
mod inside;
#[allow(dead_code, reason = "the attacks use the rest")]
mod options;
mod processes;
mod programs;

mod entry;
mod find;
mod identity;
mod life;
mod names;
mod shell;
mod supervised;
mod teardown;
mod tools;
mod tools_root;
mod view;
mod writes;
