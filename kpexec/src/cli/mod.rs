//! The command line: kubectl exec's grammar, who to be, what becomes of writes.

mod attach;
mod cluster;
mod config;
mod connection;
mod examples;
mod gc;
mod go_duration;
mod habits;
mod identity;
mod invocation;
mod keep;
mod life;
mod local;
mod object;
mod plan;
pub mod program;
mod refused;
mod settings;
mod share;
#[cfg(test)]
mod tests;
mod tools;
mod value;
mod verbosity;
mod view;
mod words;

use std::ffi::OsString;
use std::time::Duration;

use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{ArgAction, Parser};
use thiserror::Error;

pub use attach::{Attach, Sessions};
use cluster::CLUSTER;
pub use cluster::ClusterFlags;
pub use config::{Action, Config};
pub use connection::{ConnectionFlags, has_user};
use examples::{EXAMPLES, SHORT_EXAMPLES};
pub use gc::Gc;
pub use identity::IdentityFlags;
#[cfg(test)]
pub use identity::Profile;
pub use identity::Seccomp;
pub use invocation::{Invocation, WORDS, command};
use keep::{DetachFlags, KeepFlags};
pub use life::LifeFlags;
pub use local::LocalFlags;
pub use object::ObjectFlags;
pub use plan::{DryRun, Format, PlanFlags};
use program::as_typed;
use refused::{by_habit, from_clap, usage};
pub use settings::{KEYS, Setting, Settings, SettingsError, flag_id, variable};
pub use share::{Background, ShareFlags, background_arguments};
pub use tools::{ToolsFlags, Toolset};
use value::Escape;
pub use value::parse_session;
pub use value::{EnvVar, SessionName, session_name};
use value::{parse_bool, parse_duration, parse_env, parse_escape, parse_workdir};
pub use verbosity::Verbosity;
pub use view::{ViewFlags, Writes};
pub use words::Shell;

use crate::nearest::nearest;

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
    override_usage = as_typed("kpexec [FLAGS] POD|TYPE/NAME [-- CMD [ARG]...]"),
    after_help = as_typed(SHORT_EXAMPLES),
    after_long_help = as_typed(EXAMPLES)
)]
pub struct Cli {
    /// The pod to enter, or TYPE/NAME of what has pods: deployment/web, svc/web
    ///
    /// Of its pods the one is entered that kubectl exec would take: ready ones come
    /// first, and of these the one that is so for the longest time.
    #[arg(value_name = "POD")]
    pub pod: Option<String>,

    #[command(flatten)]
    pub object: ObjectFlags,

    /// The command and its arguments; no shell reads them
    #[arg(last = true, value_name = "CMD", value_parser = OsStringValueParser::new())]
    pub command: Vec<OsString>,

    /// Pass stdin to the command
    #[arg(
        short = 'i',
        long,
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_value = "false",
        default_missing_value = "true",
        hide_default_value = true,
        overrides_with = "stdin",
        action = ArgAction::Set,
        value_parser = parse_bool,
    )]
    pub stdin: bool,

    /// Give the command a terminal; needs -i
    ///
    /// kpexec's own stdin and stdout have to be terminals, too; -tt gives it one even
    /// if they are none.
    #[arg(
        short,
        long,
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        action = ArgAction::Append,
        value_parser = parse_bool,
    )]
    tty: Vec<bool>,

    /// Show what the command writes to its terminal unfiltered
    ///
    /// It may then set the clipboard, draw images, and have your terminal type.
    #[arg(long, hide_short_help = true)]
    pub raw_terminal: bool,

    /// Key that, at the start of a line, begins what is for kpexec
    ///
    /// ~. ends a session that hangs, ~? tells the rest. A key, ^KEY, or none.
    #[arg(long, hide_short_help = true, value_name = "KEY", default_value = "~", value_parser = parse_escape)]
    pub escape_char: Escape,

    /// Namespace of the pod [default: that of the context]
    // As with kubectl the last one counts: an alias may have the first.
    #[arg(short, long, value_name = "NS", overrides_with = "namespace")]
    pub namespace: Option<String>,

    /// Container to enter [default: as kubectl chooses]
    #[arg(short, long, overrides_with = "container")]
    pub container: Option<String>,

    /// Add a variable to the environment; may be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = OsStringValueParser::new().try_map(parse_env))]
    pub env: Vec<EnvVar>,

    /// Directory to run in [default: the container's own]
    #[arg(long, value_name = "DIR", value_parser = OsStringValueParser::new().try_map(parse_workdir))]
    pub workdir: Option<OsString>,

    /// Print the command's output, errors and losses only
    #[arg(
        short,
        long,
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_value = "false",
        default_missing_value = "true",
        hide_default_value = true,
        overrides_with = "quiet",
        conflicts_with = "verbose",
        action = ArgAction::Set,
        value_parser = parse_bool,
    )]
    pub quiet: bool,

    #[command(flatten)]
    pub verbosity: Verbosity,

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
    pub plan: PlanFlags,

    #[command(flatten)]
    pub local: LocalFlags,

    #[command(flatten)]
    pub cluster: ClusterFlags,

    /// Path of the CRI socket on the pod's node [default: by the node's runtime]
    #[arg(long, hide_short_help = true, help_heading = CLUSTER, value_name = "PATH")]
    pub cri_socket: Option<String>,

    /// Image of the helper pod
    #[arg(long, hide_short_help = true, help_heading = CLUSTER, value_name = "REF")]
    pub helper_image: Option<String>,

    /// How long the helper pod may take to start: seconds, or 90s, 2m, 1h
    #[arg(long, hide_short_help = true, help_heading = CLUSTER, value_name = "DURATION", default_value = "60s", value_parser = parse_duration)]
    pub helper_timeout: Duration,

    /// How long a helper pod made now stays without a session, for your next one
    ///
    /// All your sessions of a node that need a helper of the same kind share one.
    /// It ends by itself, and is offered for six hours at most.
    #[arg(long, hide_short_help = true, help_heading = CLUSTER, value_name = "DURATION", default_value = "5m", value_parser = parse_duration)]
    pub helper_ttl: Duration,

    #[command(flatten)]
    pub share: ShareFlags,

    /// Take a helper pod of its own, and delete it at the end
    #[arg(long, help_heading = CLUSTER)]
    pub rm: bool,

    /// What the defaults are, where the user has set them.
    #[arg(skip)]
    pub settings: Settings,
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
    /// What is set for all commands makes no sense.
    #[error(transparent)]
    Settings(#[from] SettingsError),
}

const LOCAL_EXAMPLE: &str = "for example: kpexec --local -it POD/NAMESPACE";
const EXAMPLE: &str = "for example: kpexec -it POD -- bash";
const SHELL: &str = "kpexec -it POD opens a shell";

impl Cli {
    /// Parses the arguments, `argv[0]` included, with nothing set.
    #[cfg(test)]
    pub fn parse_args(args: impl IntoIterator<Item = OsString>) -> Result<Self, CliError> {
        Self::parse_with(args, &Settings::default())
    }

    /// Parses the arguments, `argv[0]` included.
    pub fn parse_with(
        args: impl IntoIterator<Item = OsString>,
        settings: &Settings,
    ) -> Result<Self, CliError> {
        let mut cli: Self = parse(args, settings)?;
        cli.take_filed();
        cli.give_way();
        cli.settings = settings.clone();
        match (&cli.pod, cli.local.local) {
            (Some(_), true) => cli.check_local()?,
            (Some(_), false) => {}
            (None, false) if cli.object.is_given() => {}
            (None, true) => return Err(usage("which container? None was named", LOCAL_EXAMPLE)),
            (None, false) => return Err(usage("which pod? None was named", EXAMPLE)),
        }
        // A shell whose stdin is empty ends before anybody has seen it.
        if cli.is_shell() && !cli.stdin && !cli.plan.is_dry() {
            return Err(match cli.pod.as_deref() {
                // With -- behind it, it is a pod of that name.
                Some(name) if WORDS.contains(&name) => {
                    let hint = format!("{name} comes first otherwise: kpexec {name} [FLAGS]");
                    usage(&format!("no command for pod {name} is named"), &hint)
                }
                name => {
                    let meant = name.and_then(|name| nearest(name, WORDS));
                    let meant = meant.map(|word| format!("; or did you mean kpexec {word}?"));
                    let hint = format!("{SHELL}{}", meant.unwrap_or_default());
                    usage("a command is required after --", &hint)
                }
            });
        }
        if cli.stdin && cli.object.filename.as_deref().is_some_and(|file| file == "-") {
            return Err(usage("-i and -f - would both read stdin", "give -f a file"));
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

    /// What a file says was found out by who has it.
    fn take_filed(&mut self) {
        let filed = self.object.filed.as_deref().and_then(|filed| filed.split_once('/'));
        if let Some((namespace, object)) = filed {
            self.pod = Some(object.to_owned());
            if !namespace.is_empty() {
                self.namespace = Some(namespace.to_owned());
            }
        }
    }

    /// How long the background process that is to be used stays, if one is. What
    /// has a helper of its own has nothing to share, and what is told beforehand is
    /// not for another process to do.
    pub fn shares(&self) -> Option<Duration> {
        let alone = self.rm || self.tools.tools_root || self.plan.comes_first();
        self.share.share.and_then(|share| share.0).filter(|_| !alone)
    }

    /// What is set for all commands gives way to flags that clap lets nobody type
    /// beside it.
    fn give_way(&mut self) {
        let alone = self.rm || self.tools.tools_root || self.view.save_changes.is_some();
        self.keep.linger =
            self.keep.linger.filter(|time| !time.is_zero() && !alone && !self.local.local);
        if self.tools.tools_image.is_some() {
            self.tools.toolset = Toolset::default();
        }
        if self.view.writable {
            self.view.writes = Writes::Through;
        }
        self.quiet &= !self.verbosity.is_on();
    }

    /// clap knows no conflicts with one value of a flag.
    fn check_local(&self) -> Result<(), CliError> {
        if self.identity.seccomp == Some(Seccomp::Runtime) {
            let what = "--seccomp=runtime cannot be used with --local: no runtime filters it here";
            return Err(usage(what, "--seccomp=target is the container's filter"));
        }
        Ok(())
    }

    /// How often a terminal is asked for since it was last said that none is wanted.
    pub fn tty(&self) -> usize {
        self.tty.iter().rev().take_while(|wanted| **wanted).count()
    }

    /// Whether a shell is wanted, whichever there is.
    pub fn is_shell(&self) -> bool {
        self.command.is_empty()
    }
}

/// Parses the arguments of any of our commands.
fn parse<T: Parser>(
    args: impl IntoIterator<Item = OsString>,
    settings: &Settings,
) -> Result<T, CliError> {
    let args: Vec<OsString> = args.into_iter().collect();
    let matches = settings.apply(T::command()).try_get_matches_from(&args);
    matches.and_then(|matches| T::from_arg_matches(&matches)).map_err(|error| {
        // clap names the flag, which nobody has typed.
        let blamed = settings.blame(&error).map(CliError::from);
        let blamed = blamed.or_else(|| by_habit(&args, &error));
        blamed.unwrap_or_else(|| from_clap(&error, T::command().get_name()))
    })
}
