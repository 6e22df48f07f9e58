//! The flags that say what becomes of what the command writes.

use std::path::PathBuf;

use clap::builder::ArgPredicate;
use clap::{Args, ValueEnum};

/// What becomes of the container's files, as typed.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Files of the container")]
pub struct ViewFlags {
    /// What becomes of what the command writes
    ///
    /// Of what is mounted while the command runs neither side sees anything. New
    /// entries directly under / are the session's own in any case, and gone with
    /// it.
    #[arg(
        long,
        value_name = "MODE",
        default_value = "through",
        default_value_if("save_changes", ArgPredicate::IsPresent, "discard")
    )]
    pub writes: Writes,

    /// Write through even where the container's root is mounted read-only
    ///
    /// Volumes that are mounted read-only stay so. The container sees what is
    /// written, and cannot write it itself.
    #[arg(long, hide_short_help = true, conflicts_with_all = ["writes", "save_changes"])]
    pub writable: bool,

    /// Save what it changed as a tar; means --writes=discard
    ///
    /// In the form of an OCI image's layer: what was removed is an empty file
    /// .wh.NAME. Owners, modes, times and extended attributes are kept, ACLs are
    /// not. What is left out is named, and does not change the exit code. FILE is written when the command has ended, and replaced if it is there.
    #[arg(long, value_name = "FILE")]
    pub save_changes: Option<PathBuf>,
}

/// What becomes of what is written.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Writes {
    /// The container gets it, as far as it could write that itself
    #[default]
    Through,
    /// It is refused: nothing of the container's can be written
    Deny,
    /// It goes to memory, up to 256 MiB, and with the session; volumes are
    /// read-only
    Discard,
}

impl From<Writes> for kpexec_protocol::Writes {
    fn from(writes: Writes) -> Self {
        match writes {
            Writes::Through => Self::Through,
            Writes::Deny => Self::Deny,
            Writes::Discard => Self::Discard,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Cli;

    fn parse(args: &str) -> Result<ViewFlags, String> {
        let args = format!("kpexec {args} web -- id");
        let cli = Cli::parse_args(args.split_whitespace().map(Into::into));
        cli.map(|cli| cli.view).map_err(|error| error.to_string())
    }

    #[test]
    fn writes_go_through_unless_they_are_saved() {
        for (args, writes) in [
            ("", Writes::Through),
            ("--writes=deny", Writes::Deny),
            ("--writes discard", Writes::Discard),
            ("--save-changes f.tar", Writes::Discard),
            ("--writes=discard --save-changes f.tar", Writes::Discard),
        ] {
            assert_eq!(parse(args).unwrap().writes, writes, "{args}");
        }
        assert!(parse("--writable").unwrap().writable);
    }

    #[test]
    fn contradictions_are_refused() {
        for args in [
            "--writable --writes=discard",
            "--writable --writes=deny",
            "--writable --save-changes f.tar",
        ] {
            let error = parse(args).unwrap_err();
            assert!(error.contains("cannot be used with"), "{args}: {error}");
        }
        for writes in ["deny", "through"] {
            let error = parse(&format!("--writes={writes} --save-changes f.tar")).unwrap_err();
            assert_eq!(error, "--save-changes needs --writes=discard");
        }
    }
}
