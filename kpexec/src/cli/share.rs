//! The flag that shares connections, and how the background process is started.

use std::time::Duration;

use clap::{Args, Parser};

use super::cluster::{CLUSTER, ClusterFlags};
use super::value::{ValueError, parse_duration};

/// How long the background process stays if it is not said.
const DEFAULT: Duration = Duration::from_secs(600);

/// Whether to share, as chosen.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = CLUSTER)]
pub struct ShareFlags {
    /// Keep the connections for the next command
    ///
    /// A background process does. The next command with --share has no connection to make, and takes some
    /// hundredths of a second. The process is yours alone, holds the kubeconfig's
    /// credentials, and ends when it was not used for TIME (10m), when the
    /// kubeconfig changes, or by kpexec gc. KPEXEC_SHARE=1 is for all commands, 0
    /// for none. With --rm and --tools-root nothing is shared: such a session has
    /// a helper of its own, which goes with its connection.
    #[arg(
        long,
        value_name = "TIME",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "1",
        value_parser = parse_share,
    )]
    pub share: Option<Share>,
}

/// How long the background process stays without a command; none: there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share(pub Option<Duration>);

/// 1 or 0, as one writes it in the environment, or a duration.
fn parse_share(text: &str) -> Result<Share, ValueError> {
    match text {
        "" | "0" => Ok(Share(None)),
        "1" => Ok(Share(Some(DEFAULT))),
        text => {
            let idle = parse_duration(text).map_err(|_| ValueError::NotAShare)?;
            Ok(Share(Some(idle)))
        }
    }
}

/// The first argument of the background process: no pod can have that name.
pub(super) const BACKGROUND: &str = "--share-background";

/// The background process. No user starts it.
#[derive(Debug, Parser)]
#[command(name = "kpexec --share-background")]
pub struct Background {
    /// Name of its socket.
    pub name: String,
    /// How long it stays without a command, in seconds.
    pub idle: u64,
    /// Which cluster.
    #[command(flatten)]
    pub cluster: ClusterFlags,
}

/// Its arguments, `argv[0]` not included.
pub fn background_arguments(name: &str, idle: Duration) -> [String; 3] {
    [BACKGROUND.to_owned(), name.to_owned(), idle.as_secs().to_string()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Cli;

    fn share(args: &str) -> Result<Option<Share>, String> {
        let args = args.split_whitespace().map(Into::into);
        Cli::parse_args(args).map(|cli| cli.share.share).map_err(|error| error.to_string())
    }

    #[test]
    fn sharing_is_asked_for_with_a_time_or_without() {
        assert_eq!(share("kpexec web -- id").unwrap(), None);
        let minutes = |minutes: u64| Some(Share(Some(Duration::from_secs(60 * minutes))));
        assert_eq!(share("kpexec --share web -- id").unwrap(), minutes(10));
        assert_eq!(share("kpexec --share=1 web -- id").unwrap(), minutes(10));
        assert_eq!(share("kpexec --share=2m web -- id").unwrap(), minutes(2));
        for none in ["kpexec --share=0 web -- id", "kpexec --share= web -- id"] {
            assert_eq!(share(none).unwrap(), Some(Share(None)));
        }
        assert!(share("kpexec --share=soon web -- id").unwrap_err().contains("not a duration"));
    }
}
