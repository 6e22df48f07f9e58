//! Builds the toolset, the tree that sessions see at `/.kpexec`, from Debian
//! packages: `docs/toolset.md` says what is done to them and why.
//!
//! The order of a build is in [`build`]; what is taken, left out and changed is
//! data in [`profile`], [`layout`], [`patch::rules`] and [`patch::closed`].

#![forbid(unsafe_code)]

mod apt;
mod build;
mod elf;
mod fetch;
mod key;
pub mod layout;
mod libraries;
mod licences;
mod lock;
mod nss;
mod own_files;
pub mod patch;
mod profile;
mod program;
mod scripts;
mod stage;
mod tree;
mod update;

pub use build::{Built, Toolset};
pub use profile::Profile;

/// Where sessions see the tree.
pub const HOME: &str = "/.kpexec";

/// Debian's name of the architecture, as its library folders have it.
pub const TRIPLET: &str = "x86_64-linux-gnu";

/// The dynamic linker.
const LOADER: &str = "ld-linux-x86-64.so.2";
