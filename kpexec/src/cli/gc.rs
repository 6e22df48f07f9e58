//! `kpexec gc`: no session, but what sessions left.

use clap::Parser;

use super::cluster::ClusterFlags;
use super::program::as_typed;
use super::verbosity::Verbosity;

/// Delete your helper pods that have ended, and end what --share keeps
///
/// A helper ends by itself, and the next session deletes what is left of it, on
/// whichever node. This is for when there is no next one. Helpers that still wait
/// for a session are left alone. The background processes of --share, of whatever
/// cluster, take no more commands, and end with the last one they have. A pod of
/// the name gc is entered as pod/gc.
#[derive(Debug, Parser)]
#[command(name = "kpexec gc", version, override_usage = as_typed("kpexec gc [FLAGS]"))]
pub struct Gc {
    /// How much is said.
    #[command(flatten)]
    pub verbosity: Verbosity,

    /// Which cluster.
    #[command(flatten)]
    pub cluster: ClusterFlags,
}
