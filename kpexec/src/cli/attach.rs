//! `kpexec attach` and `kpexec sessions`: sessions that outlived their client.

use clap::Parser;

use super::cluster::ClusterFlags;
use super::keep::DetachFlags;
use super::life::LifeFlags;
use super::program::as_typed;
use super::value::{Escape, SessionName, parse_escape, parse_session};
use super::verbosity::Verbosity;

/// Go on with a session that was left or lost
///
/// Output goes on at the first byte that was not shown before, as far as it is
/// kept: the last MiB. Whoever is in the session is put out of it. The exit code
/// is the command's own. A pod of the name attach is entered as pod/attach.
#[derive(Debug, Parser)]
#[command(name = "kpexec attach", version, override_usage = as_typed("kpexec attach [FLAGS] SESSION"))]
pub struct Attach {
    /// The session's name, as kpexec sessions lists it
    #[arg(value_name = "SESSION", value_parser = parse_session)]
    pub session: SessionName,

    /// Show what the command writes to its terminal unfiltered
    #[arg(long)]
    pub raw_terminal: bool,

    /// Key that, at the start of a line, begins what is for kpexec
    #[arg(long, value_name = "KEY", default_value = "~", value_parser = parse_escape)]
    pub escape_char: Escape,

    /// How much is said.
    #[command(flatten)]
    pub verbosity: Verbosity,

    #[command(flatten)]
    pub detach: DetachFlags,

    #[command(flatten)]
    pub life: LifeFlags,

    /// Which cluster.
    #[command(flatten)]
    pub cluster: ClusterFlags,
}

/// List your sessions, those without a client included
///
/// A session that has a client is attached; one that kpexec was left from by
/// --detach-keys is detached; one whose connection broke is lost, and kept as
/// --linger says. One that has ended waits for its exit code to be taken. One whose
/// name is - ends with its client, and cannot be attached to: it has no terminal and
/// was not begun with --linger, or its changes are saved. A pod of the name sessions
/// is entered as pod/sessions.
#[derive(Debug, Parser)]
#[command(name = "kpexec sessions", version, override_usage = as_typed("kpexec sessions [FLAGS]"))]
pub struct Sessions {
    /// How much is said.
    #[command(flatten)]
    pub verbosity: Verbosity,

    /// Which cluster.
    #[command(flatten)]
    pub cluster: ClusterFlags,
}
