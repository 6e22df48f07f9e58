//! Entering the target: [`plan`] decides on the steps, [`spawn`] starts the
//! entry process and hands it what it needs, [`run`] performs the steps in it.

pub mod credentials;
pub mod inherited;
pub mod message;
pub mod plan;
pub mod run;
pub mod seal;
pub mod spawn;
pub mod start;

pub use run::main;

/// `argv[0]` of the entry process, all of it that the target can ever read.
pub const PROCESS_NAME: &str = "kpexec";
