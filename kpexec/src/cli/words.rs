//! `kpexec completion`, `help` and `version`: what the program says of itself.

use clap::builder::PossibleValuesParser;
use clap::{Parser, ValueEnum};

use super::invocation::WORDS;
use super::program::as_typed;

/// Print a script that has your shell complete kpexec's command lines
///
/// Pods, containers, namespaces, contexts, profiles, capabilities and sessions are
/// completed, as the flags typed so far lead to them. For this shell only:
///
///   source <(kpexec completion bash)
///   source <(kpexec completion zsh)
///   kpexec completion fish | source
///   kpexec completion powershell | Out-String | Invoke-Expression
///
/// The same line in ~/.bashrc, ~/.zshrc, ~/.config/fish/config.fish or $PROFILE is
/// for all to come. kubectl completes kubectl pexec itself if
/// kubectl_complete-pexec, a link to kpexec, is in PATH. A pod of the name
/// completion is entered as pod/completion.
#[derive(Debug, Parser)]
#[command(
    name = "kpexec completion",
    version,
    verbatim_doc_comment,
    override_usage = as_typed("kpexec completion SHELL")
)]
pub struct Completion {
    /// The shell
    pub shell: Shell,
}

/// The shells there are scripts for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Shell {
    /// bash, 4.4 or newer
    Bash,
    /// zsh
    Zsh,
    /// fish, 3.0 or newer
    Fish,
    /// PowerShell, 5.1 or newer
    Powershell,
}

/// Tell what kpexec takes, or what one of its words takes
///
/// The same as kpexec --help and kpexec WORD --help. A pod of the name help is
/// entered as pod/help.
#[derive(Debug, Parser)]
#[command(name = "kpexec help", version, override_usage = as_typed("kpexec help [WORD]"))]
pub struct Help {
    /// The word
    #[arg(value_name = "WORD", value_parser = PossibleValuesParser::new(WORDS))]
    pub word: Option<String>,
}

/// Print the version
///
/// The same as kpexec --version. A pod of the name version is entered as
/// pod/version.
#[derive(Debug, Parser)]
#[command(name = "kpexec version", version, override_usage = as_typed("kpexec version"))]
pub struct Version {}
