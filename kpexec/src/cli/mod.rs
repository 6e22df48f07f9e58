//! The command line: kubectl exec's grammar, who to be, what becomes of writes.

mod attach;
mod cluster;
mod gc;
mod identity;
mod invocation;
mod keep;
mod life;
mod local;
mod share;
#[cfg(test)]
mod tests;
mod tools;
mod value;
mod view;

use std::ffi::OsString;
use std::time::Duration;

use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{ArgAction, ArgMatches, CommandFactory, FromArgMatches as _, Parser};
use thiserror::Error;

pub use attach::{Attach, Sessions};
use cluster::CLUSTER;
pub use cluster::ClusterFlags;
pub use gc::Gc;
pub use identity::IdentityFlags;
#[cfg(test)]
pub use identity::Profile;
pub use identity::Seccomp;
pub use invocation::Invocation;
use keep::{DetachFlags, KeepFlags};
pub use life::LifeFlags;
use local::BY_ENVIRONMENT;
pub use local::LocalFlags;
pub use share::{Background, ShareFlags, background_arguments};
pub use tools::{ToolsFlags, Toolset};
use value::Escape;
pub use value::parse_session;
pub use value::{EnvVar, SessionName, session_name};
use value::{parse_duration, parse_env, parse_escape, parse_workdir};
pub use view::{ViewFlags, Writes};

/// Run a command or a shell inside any container, as root, with its own files
///
/// kpexec runs CMD in the namespaces of the container, as any user and with any
/// capabilities, even if the container has no shell, no root and no rights. A
/// helper pod on the container's node does it; it stays for a while, as your next
/// session begins faster then. The target pod is not changed.
///
/// The container's files are at /, as it sees them. A toolset is at /.kpexec,
/// for kpexec alone, and its programs come first in PATH: bash and sh are its
/// own. The container's own program of the same name is run by its full path.
///
/// Without CMD it is a shell: with -it to work in, with -i to run a script from
/// stdin. It is the toolset's bash; where there is none its sh, or the
/// container's.
///
/// Exit codes: the command's own; 128+n if signal n ended it; 127 if it was not
/// found; 126 if it cannot be executed; 125 if kpexec itself failed.
#[derive(Debug, Parser)]
#[command(
    version,
    override_usage = "kpexec [FLAGS] POD [-- CMD [ARG]...]",
    after_help = "Examples:\n  kpexec -it my-pod\n  kpexec my-pod -- ps aux"
)]
pub struct Cli {
    /// The pod to enter: NAME or pod/NAME
    #[arg(value_name = "POD")]
    pub pod: Option<String>,

    /// The command and its arguments, passed on as they are, without a shell
    #[arg(last = true, value_name = "CMD", value_parser = OsStringValueParser::new())]
    pub command: Vec<OsString>,

    /// Pass stdin to the command
    #[arg(short = 'i', long)]
    pub stdin: bool,

    /// Give the command a terminal (needs -i, and terminals on stdin and stdout);
    /// -tt gives it one even if they are none
    #[arg(short, long, action = ArgAction::Count)]
    pub tty: u8,

    /// Show what the command writes to its terminal unfiltered: it may then set
    /// the clipboard, draw images, and have your terminal type
    #[arg(long)]
    pub raw_terminal: bool,

    /// Key that, at the start of a line, begins what is for kpexec: ~. ends a
    /// session that hangs, ~? tells the rest; a key, ^KEY, or none
    #[arg(long, value_name = "KEY", default_value = "~", value_parser = parse_escape)]
    pub escape_char: Escape,

    /// Namespace of the pod [default: that of the context]
    #[arg(short, long, value_name = "NS")]
    pub namespace: Option<String>,

    /// Container to enter [default: as kubectl chooses]
    #[arg(short, long)]
    pub container: Option<String>,

    /// Add a variable to the container's environment; may be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = OsStringValueParser::new().try_map(parse_env))]
    pub env: Vec<EnvVar>,

    /// Directory to run in [default: the container's own]
    #[arg(long, value_name = "DIR", value_parser = OsStringValueParser::new().try_map(parse_workdir))]
    pub workdir: Option<OsString>,

    /// Print nothing but the command's output, errors, and what is lost
    #[arg(short, long, conflicts_with = "verbose")]
    pub quiet: bool,

    /// Say what is done, and why it failed in full
    #[arg(short, long, action = ArgAction::SetTrue)]
    pub verbose: bool,

    #[command(flatten)]
    pub identity: IdentityFlags,

    #[command(flatten)]
    pub view: ViewFlags,

    #[command(flatten)]
    pub tools: ToolsFlags,

    #[command(flatten)]
    pub keep: KeepFlags,

    #[command(flatten)]
    pub detach: DetachFlags,

    #[command(flatten)]
    pub life: LifeFlags,

    #[command(flatten)]
    pub local: LocalFlags,

    #[command(flatten)]
    pub cluster: ClusterFlags,

    /// Path of the CRI socket on the pod's node [default: by the node's runtime]
    #[arg(long, help_heading = CLUSTER, value_name = "PATH")]
    pub cri_socket: Option<String>,

    /// Image of the helper pod
    #[arg(long, help_heading = CLUSTER, value_name = "REF", env = "KPEXEC_HELPER_IMAGE")]
    pub helper_image: Option<String>,

    /// How long the helper pod may take to start: seconds, or 90s, 2m, 1h
    #[arg(long, help_heading = CLUSTER, value_name = "DURATION", default_value = "60s", value_parser = parse_duration)]
    pub helper_timeout: Duration,

    /// How long a helper pod made now stays without a session, for your next one
    ///
    /// All your sessions of a node that need a helper of the same kind share one.
    /// It ends by itself, and is offered for six hours at most.
    #[arg(long, help_heading = CLUSTER, value_name = "DURATION", default_value = "5m", value_parser = parse_duration)]
    pub helper_ttl: Duration,

    #[command(flatten)]
    pub share: ShareFlags,

    /// Take a helper pod of its own, and delete it at the end
    #[arg(long, help_heading = CLUSTER)]
    pub rm: bool,
}

/// How parsing ended, if not in a command to run.
#[derive(Debug, Error)]
pub enum CliError {
    /// `--help` or `--version`: text for stdout, exit code 0.
    #[error("{0}")]
    Information(String),
    /// The arguments make no sense, in one line.
    #[error("{what}")]
    Usage {
        /// What is wrong.
        what: String,
        /// What would be right, if that is known.
        hint: Option<String>,
    },
}

const LOCAL_EXAMPLE: &str = "for example: kpexec --local -it POD/NAMESPACE";
const EXAMPLE: &str = "for example: kpexec -it POD -- bash";
const SHELL: &str = "kpexec -it POD opens a shell";
const WORD_FIRST: &str = "gc, attach and sessions are the first word: kpexec sessions [FLAGS]";

impl Cli {
    /// Parses the arguments, `argv[0]` included.
    pub fn parse_args(args: impl IntoIterator<Item = OsString>) -> Result<Self, CliError> {
        let matches =
            Self::command().try_get_matches_from(args).map_err(|error| from_clap(&error))?;
        let cli = Self::from_arg_matches(&matches).map_err(|error| from_clap(&error))?;
        match (&cli.pod, cli.local.local) {
            (Some(_), true) => cli.check_local(&matches)?,
            (Some(_), false) => {}
            (None, true) => return Err(usage("which container? None was named", LOCAL_EXAMPLE)),
            (None, false) => return Err(usage("which pod? None was named", EXAMPLE)),
        }
        // A shell whose stdin is empty ends before anybody has seen it.
        if cli.is_shell() && !cli.stdin {
            return Err(match cli.pod.as_deref() {
                // With -- behind it, it is a pod of that name.
                Some(name) if invocation::WORDS.contains(&name) => {
                    usage(&format!("no command for pod {name} is named"), WORD_FIRST)
                }
                _ => usage("a command is required after --", SHELL),
            });
        }
        // clap knows no conflicts between a flag and one value of another.
        if cli.tools.tools_root && cli.view.writes == Writes::Discard {
            let what = "--tools-root cannot be used with --writes=discard";
            return Err(usage(what, "--writes=deny keeps /target as it is"));
        }
        if cli.view.save_changes.is_some() && cli.view.writes != Writes::Discard {
            return Err(usage("--save-changes needs --writes=discard", "leave out --writes"));
        }
        Ok(cli)
    }

    /// How long the background process that is to be used stays, if one is. What
    /// has a helper of its own has nothing to share.
    pub fn shares(&self) -> Option<Duration> {
        let alone = self.rm || self.tools.tools_root;
        self.share.share.and_then(|share| share.0).filter(|_| !alone)
    }

    /// clap takes a variable for a flag that was given, and knows no conflicts
    /// with one value of a flag.
    fn check_local(&self, matches: &ArgMatches) -> Result<(), CliError> {
        let given = |id| matches.value_source(id) == Some(ValueSource::CommandLine);
        if let Some((_, flag)) = BY_ENVIRONMENT.into_iter().find(|(id, _)| given(id)) {
            let what = format!("the argument '--local' cannot be used with '{flag}'");
            return Err(usage(&what, "no helper pod is made on the node itself"));
        }
        if self.identity.seccomp == Some(Seccomp::Runtime) {
            let what = "--seccomp=runtime cannot be used with --local: no runtime filters it here";
            return Err(usage(what, "--seccomp=target is the container's filter"));
        }
        Ok(())
    }

    /// Whether a shell is wanted, whichever there is.
    pub fn is_shell(&self) -> bool {
        self.command.is_empty()
    }
}

fn usage(what: &str, hint: &str) -> CliError {
    CliError::Usage { what: what.to_owned(), hint: Some(hint.to_owned()) }
}

/// clap prints a paragraph and exits with 2; we want one line and 125.
fn from_clap(error: &clap::Error) -> CliError {
    let text = error.render().to_string();
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => return CliError::Information(text),
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            return CliError::Information(Cli::command().render_help().to_string());
        }
        _ => {}
    }
    let what = text.split("\n\n").next().map(one_line).unwrap_or_default();
    let what = what.strip_prefix("error: ").unwrap_or(&what).to_owned();
    let misplaced = error.kind() == ErrorKind::UnknownArgument && !what.contains("argument '-");
    let hint = if misplaced {
        "the command stands after --: kpexec POD -- CMD [ARG]...".to_owned()
    } else {
        let meant = suggestion(error).map(|meant| format!("did you mean {meant}?"));
        meant.unwrap_or_else(|| "kpexec --help lists the flags".to_owned())
    };
    CliError::Usage { what, hint: Some(hint) }
}

/// The flag or value that clap takes for the one meant. Of a short flag it takes
/// any for similar: `--namespace` for `--as`.
fn suggestion(error: &clap::Error) -> Option<&str> {
    match (error.get(ContextKind::InvalidArg)?, error.get(ContextKind::SuggestedArg)) {
        (ContextValue::String(given), Some(ContextValue::String(meant))) => {
            (given.len() > "--1234".len()).then_some(meant.as_str())
        }
        _ => match error.get(ContextKind::SuggestedValue)? {
            ContextValue::String(meant) => Some(meant.as_str()),
            _ => None,
        },
    }
}

fn one_line(paragraph: &str) -> String {
    paragraph.split_whitespace().collect::<Vec<_>>().join(" ")
}
