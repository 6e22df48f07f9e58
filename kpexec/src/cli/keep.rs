//! The flags that say whether a session outlives its client.

use std::time::Duration;

use clap::Args;

use super::value::{DetachKeys, parse_detach_keys, parse_linger};

/// Heading of the flags about how a session is lived in.
pub(super) const SESSION: &str = "Session";

/// Whether the client can leave the command, or lose it, and come back.
#[derive(Debug, Args)]
#[command(next_help_heading = SESSION)]
pub struct KeepFlags {
    /// Keep the command for so long if it loses us [default: 0]
    ///
    /// kpexec attach goes on with it, from the byte at which the connection broke;
    /// up to 1 MiB of output is kept for that. Without it a command ends when its
    /// client has gone.
    #[arg(hide_short_help = true, long, value_name = "DURATION", value_parser = parse_linger,
          conflicts_with_all = ["rm", "tools_root", "save_changes"])]
    pub linger: Option<Duration>,
}

/// How the keyboard leaves a session without ending it.
#[derive(Debug, Args)]
#[command(next_help_heading = SESSION)]
pub struct DetachFlags {
    /// Keys that leave the command running on a terminal
    ///
    /// kpexec attach goes on with it. Characters and ctrl-KEY with commas between, or
    /// none.
    #[arg(long, hide_short_help = true, value_name = "KEYS", default_value = "ctrl-p,ctrl-q", value_parser = parse_detach_keys)]
    pub detach_keys: DetachKeys,
}
