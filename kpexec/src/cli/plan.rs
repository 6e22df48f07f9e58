//! The flags that say what would be done, before it is or instead.

use clap::{Args, ValueEnum};

/// What to tell beforehand.
#[derive(Debug, Args)]
#[command(next_help_heading = "Before it is done")]
pub struct PlanFlags {
    /// Print the helper pod, but make none and run nothing: client or server
    ///
    /// With client it is as it would be asked for; with server as the API server
    /// would make it, which has then been asked, with all its admission.
    #[arg(
        hide_short_help = true,
        long,
        value_name = "HOW",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "client",
        default_value = "none",
        hide_default_value = true,
    )]
    pub dry_run: DryRun,

    /// How --dry-run prints it
    #[arg(
        hide_short_help = true,
        short,
        long,
        value_name = "FORMAT",
        default_value = "yaml",
        requires = "dry_run"
    )]
    pub output: Format,

    /// Say on stderr what will be done: where, as whom, with which rights
    ///
    /// Then it is done, but with --dry-run. Done without --share.
    #[arg(hide_short_help = true, long)]
    pub explain: bool,
}

/// Who is asked, as kubectl has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DryRun {
    /// It is no dry run
    None,
    /// Nobody is asked to make anything
    Client,
    /// The API server goes through all of it but the last step
    Server,
}

/// How an object is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// As people read it
    Yaml,
    /// As programs do
    Json,
}

impl PlanFlags {
    /// Whether nothing is to be done at all.
    pub fn is_dry(&self) -> bool {
        self.dry_run != DryRun::None
    }

    /// Whether something is to be told before anything is done.
    pub fn comes_first(&self) -> bool {
        self.explain || self.is_dry()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Cli;

    fn parse(args: &str) -> Result<Cli, String> {
        let args = format!("kpexec {args} web");
        let cli = Cli::parse_args(args.split_whitespace().map(Into::into));
        cli.map_err(|error| error.to_string())
    }

    #[test]
    fn a_dry_run_needs_no_command() {
        for (flags, how, format) in [
            ("--dry-run", DryRun::Client, Format::Yaml),
            ("--dry-run=client -o json", DryRun::Client, Format::Json),
            ("--dry-run=server -oyaml", DryRun::Server, Format::Yaml),
        ] {
            let plan = parse(flags).unwrap().plan;
            assert_eq!((plan.dry_run, plan.output), (how, format), "{flags}");
        }
        let none = parse("--dry-run=none").unwrap_err();
        assert_eq!(none, "a command is required after --");
        assert!(parse("--dry-run=maybe").unwrap_err().contains("invalid value 'maybe'"));
        assert!(parse("-i -o json").unwrap_err().contains("--dry-run"));
        assert!(parse("--local --dry-run").unwrap_err().contains("cannot be used with"));
    }

    #[test]
    fn what_is_told_beforehand_is_not_left_to_another_process() {
        let shares = |flags: &str| parse(&format!("-i --share {flags}")).unwrap().shares();
        assert!(shares("").is_some());
        assert!(shares("--explain").is_none() && shares("--dry-run").is_none());
    }
}
