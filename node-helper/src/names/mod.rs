//! Names of users and groups, looked up in the target's own `/etc/passwd` and
//! `/etc/group`. Both are the target's to write, so (threat model, A17)
//! [`database`] takes nothing on trust. NSS, which would load libraries and ask
//! servers, has no part in it.

pub mod database;

pub use database::File;
