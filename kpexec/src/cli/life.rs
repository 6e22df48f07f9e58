//! The flags that say how long a session lives without this end of it.

use std::time::Duration;

use clap::Args;

use super::value::parse_keepalive;

/// How long.
#[derive(Debug, Args)]
#[command(next_help_heading = "Session")]
pub struct LifeFlags {
    /// How long a command outlives a kpexec that is silent
    ///
    /// One that is cut off, stopped, or on a computer that sleeps. By then it was ended with SIGHUP, SIGTERM and SIGKILL, and everything that
    /// it has started with it; earlier where the connection is closed, as by the
    /// end of kpexec. 5s to 24h; there is no 0 for never. kpexec itself gives up a
    /// helper that is silent for 10s, or for as long if that is less.
    #[arg(long, hide_short_help = true, value_name = "DURATION", default_value = "30s", value_parser = parse_keepalive)]
    pub keepalive: Duration,
}
