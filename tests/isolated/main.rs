//! Entry and view against a container made with unshare(1), through the real
//! `node-helper serve`: only the container runtime is an imitation, and says
//! what this test tells it.
//!
//! Needs the static busybox (`cargo xtask setup` installs it), and root or a
//! kernel that lets ordinary users make user namespaces.

mod client;
mod fake_container;
mod fake_runtime;
mod processes;

mod entry;
mod identity;
mod life;
mod names;
mod teardown;
mod view;
