//! Attacks on a session from inside a hostile container, numbered as in the
//! threat model. Each runs first where it must succeed, against nsenter(1) or
//! against an unprotected victim, and then against kpexec.
//!
//! Needs root and what `cargo xtask setup` installs. `cargo xtask test` runs
//! it; by hand it is `cargo test -p node-helper --test attacks`.

#[path = "../isolated/client.rs"]
#[allow(dead_code, reason = "the other target that includes it uses the rest")]
mod client;
#[path = "../isolated/fake_container.rs"]
#[allow(dead_code, reason = "the other target that includes it uses the rest")]
mod fake_container;
#[path = "../isolated/fake_runtime.rs"]
#[allow(dead_code, reason = "the other target that includes it uses the rest")]
mod fake_runtime;
#[path = "../isolated/inside.rs"]
#[allow(dead_code, reason = "the other target that includes it uses the rest")]
mod inside;
mod naive;
#[path = "../isolated/options.rs"]
#[allow(dead_code, reason = "the other target that includes it uses the rest")]
mod options;
#[path = "../isolated/processes.rs"]
#[allow(dead_code, reason = "the other target that includes it uses the rest")]
mod processes;
#[path = "../isolated/programs.rs"]
mod programs;

mod confined;
mod least_privilege;
mod observed;
mod race;
mod strace;

mod availability;
mod concurrency;
mod confinement;
mod credentials;
mod ended;
mod environments;
mod flood;
mod hijack;
mod interference;
mod moment_of_entry;
mod mount_points;
mod moving_trees;
mod paths;
mod proc;
mod races;
mod random_identities;
mod rig;
mod right_process;
mod terminals;
mod user_namespaces;
mod whose_code_runs;
