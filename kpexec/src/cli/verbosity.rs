//! How much is said, by the one flag that both kpexec's and kubectl's users know.

use clap::{ArgAction, Args};

/// From here on kubectl shows each HTTP call.
const CALLS: u8 = 6;

/// How much is said.
#[derive(Debug, Clone, Copy, Default, Args)]
pub struct Verbosity {
    /// Say what is done, and why it failed in full
    ///
    /// From -v=6 on also each HTTP call to the API server.
    #[arg(
        short = 'v',
        long = "verbose",
        alias = "v",
        id = "verbose",
        value_name = "LEVEL",
        num_args = 0..=1,
        require_equals = true,
        default_value = "0",
        default_missing_value = "1",
        hide_default_value = true,
        action = ArgAction::Set,
    )]
    level: u8,
}

impl Verbosity {
    /// Whether to say what is done.
    pub fn is_on(self) -> bool {
        self.level > 0
    }

    /// Whether to show the HTTP calls.
    pub fn shows_calls(self) -> bool {
        self.level >= CALLS
    }
}

#[cfg(test)]
mod tests {
    use crate::cli::Cli;

    #[test]
    fn levels_are_written_as_for_kubectl() {
        for (flag, on, calls) in [
            ("-i", false, false),
            ("-v", true, false),
            ("--verbose", true, false),
            ("-v=0", false, false),
            ("-v=5", true, false),
            ("-v=6", true, true),
            ("--v=8", true, true),
            ("--verbose=6", true, true),
            ("-iv", true, false),
            ("-vi", true, false),
        ] {
            let args = ["kpexec", flag, "web", "--", "id"].map(Into::into);
            let verbosity = Cli::parse_args(args).unwrap().verbosity;
            assert_eq!((verbosity.is_on(), verbosity.shows_calls()), (on, calls), "{flag}");
        }
        let args = ["kpexec", "-v=loud", "web", "--", "id"].map(Into::into);
        assert!(Cli::parse_args(args).is_err());
    }
}
