//! `kpexec gc`: no session, but what sessions left.

use clap::{ArgAction, Parser};

use super::cluster::ClusterFlags;

/// Delete your helper pods that have ended, and end what --share keeps
///
/// A helper ends by itself, and the next session deletes what is left of it, on
/// whichever node. This is for when there is no next one. Helpers that still wait
/// for a session are left alone. The background processes of --share, of whatever
/// cluster, take no more commands, and end with the last one they have. A pod of
/// the name gc is entered as pod/gc.
#[derive(Debug, Parser)]
#[command(name = "kpexec gc", version, override_usage = "kpexec gc [FLAGS]")]
pub struct Gc {
    /// Say what is done, and why it failed in full
    #[arg(short, long, action = ArgAction::SetTrue)]
    pub verbose: bool,

    /// Which cluster.
    #[command(flatten)]
    pub cluster: ClusterFlags,
}
