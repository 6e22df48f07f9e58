//! What kpexec is asked for: a session, or one of the words that are none.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Command, CommandFactory as _};

use super::program::Program;
use super::share::{self, BACKGROUND};
use super::words::{Completion, Help, Shell, Version};
use super::{Attach, Cli, CliError, Config, Gc, Sessions, Settings, Verbosity, parse};

/// The words that are no pod's name where they come first.
pub const WORDS: [&str; 7] =
    ["attach", "completion", "config", "gc", "help", "sessions", "version"];

/// The first argument of who asks what may follow: no pod can have that name.
/// cobra's, so that what knows kubectl's completion knows ours.
const COMPLETE: &str = "__complete";

/// The first argument of `cargo xtask dist`.
const REFERENCE: &str = "__reference";

/// What is asked for.
#[derive(Debug)]
pub enum Invocation {
    /// A command or a shell in a container.
    Session(Box<Cli>),
    /// `gc`, for which a pod of that name has to be called pod/gc.
    Gc(Gc),
    /// `attach`, likewise.
    Attach(Box<Attach>),
    /// `sessions`, likewise.
    Sessions(Sessions),
    /// `config`, likewise, and what it is about.
    Config(Config, Settings),
    /// `completion`, likewise.
    Completion(Shell),
    /// What may follow these words, of which the last is not finished.
    Complete(Vec<OsString>),
    /// To write man pages and the like into this folder.
    Reference(PathBuf),
    /// To be the background process of `--share`.
    Background(share::Background),
}

/// What a word takes; without one, what a session takes.
pub fn command(word: Option<&str>) -> Option<Command> {
    Some(match word {
        None => Cli::command(),
        Some("attach") => Attach::command(),
        Some("completion") => Completion::command(),
        Some("config") => Config::command(),
        Some("gc") => Gc::command(),
        Some("help") => Help::command(),
        Some("sessions") => Sessions::command(),
        Some("version") => Version::command(),
        Some(_) => return None,
    })
}

impl Invocation {
    /// Parses the arguments, `argv[0]` included, by what the user has set.
    pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Self, CliError> {
        let mut args: Vec<OsString> = args.into_iter().collect();
        if Program::called(args.first().map(OsString::as_os_str)) == Program::PluginCompletion {
            return Ok(Self::Complete(args.split_off(1)));
        }
        match args.get(1).and_then(|word| word.to_str()).unwrap_or_default() {
            COMPLETE => return Ok(Self::Complete(args.split_off(2))),
            REFERENCE => return Ok(Self::Reference(args.pop().unwrap_or_default().into())),
            // The background process is told by each command what is set for it.
            BACKGROUND => return Self::parse_with(args, &Settings::default()),
            _ => {}
        }
        match Settings::read() {
            Ok(settings) => Self::parse_with(args, &settings),
            // Help is to be had whatever the file says, and so is what the shell's own
            // start reads.
            Err(error) => match Self::parse_with(args, &Settings::default()) {
                Ok(script @ Self::Completion(_)) => Ok(script),
                Err(text @ CliError::Information(_)) => Err(text),
                _ => Err(error.into()),
            },
        }
    }

    /// The same, by these settings.
    pub fn parse_with(mut args: Vec<OsString>, settings: &Settings) -> Result<Self, CliError> {
        let word = args.get(1).and_then(|word| word.to_str()).unwrap_or_default().to_owned();
        if !WORDS.contains(&&*word) && word != BACKGROUND {
            return Cli::parse_with(args, settings).map(|cli| Self::Session(Box::new(cli)));
        }
        args.remove(1);
        match &*word {
            "attach" => parse(args, settings).map(Box::new).map(Self::Attach),
            "completion" => {
                parse::<Completion>(args, settings).map(|asked| Self::Completion(asked.shell))
            }
            "config" => parse(args, settings).map(|it| Self::Config(it, settings.clone())),
            "gc" => parse(args, settings).map(Self::Gc),
            "help" => Err(help(args, settings)),
            "sessions" => parse(args, settings).map(Self::Sessions),
            "version" => Err(version(args, settings)),
            _ => parse(args, settings).map(Self::Background),
        }
    }

    /// How much to say.
    pub fn verbosity(&self) -> Verbosity {
        match self {
            Self::Session(cli) => cli.verbosity,
            Self::Gc(gc) => gc.verbosity,
            Self::Attach(attach) => attach.verbosity,
            Self::Sessions(sessions) => sessions.verbosity,
            Self::Config(..)
            | Self::Completion(_)
            | Self::Complete(_)
            | Self::Reference(_)
            | Self::Background(_) => Verbosity::default(),
        }
    }
}

fn help(args: Vec<OsString>, settings: &Settings) -> CliError {
    let asked = match parse::<Help>(args, settings) {
        Ok(help) => command(help.word.as_deref()),
        Err(error) => return error,
    };
    let text = asked.map(|asked| settings.apply(asked).render_long_help().to_string());
    CliError::Information(text.unwrap_or_default())
}

fn version(args: Vec<OsString>, settings: &Settings) -> CliError {
    match parse::<Version>(args, settings) {
        Ok(_) => CliError::Information(Cli::command().render_version()),
        Err(error) => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &str) -> Result<Invocation, CliError> {
        Invocation::parse(args.split(' ').map(OsString::from))
    }

    fn information(args: &str) -> String {
        match parse(args) {
            Err(CliError::Information(text)) => text,
            other => panic!("{args}: {other:?}"),
        }
    }

    #[test]
    fn a_word_is_one_in_the_first_place_only() {
        let Invocation::Gc(gc) = parse("kpexec gc --helper-namespace h -v").unwrap() else {
            panic!("a session");
        };
        assert!(gc.verbosity.is_on() && gc.cluster.helper_namespace == "h");
        for session in ["kpexec pod/gc -- id", "kpexec -n x gc -- id", "kpexec web -- gc"] {
            assert!(matches!(parse(session).unwrap(), Invocation::Session(_)), "{session}");
        }
        assert!(parse("kpexec gc web").unwrap_err().to_string().contains("unexpected argument"));
        let Invocation::Attach(attach) = parse("kpexec attach 3f9c-7 -v").unwrap() else {
            panic!("a session");
        };
        assert!(attach.verbosity.is_on() && attach.session.pod == "kpexec-3f9c");
        assert!(matches!(parse("kpexec sessions").unwrap(), Invocation::Sessions(_)));
        let Invocation::Completion(shell) = parse("kpexec completion fish").unwrap() else {
            panic!("a session");
        };
        assert_eq!(shell, Shell::Fish);
    }

    #[test]
    fn every_word_is_defined_without_contradiction() {
        for word in WORDS {
            command(Some(word)).unwrap_or_else(|| panic!("{word}: nothing")).debug_assert();
        }
        assert!(command(Some("web")).is_none());
    }

    #[test]
    fn help_and_version_are_words_too() {
        assert_eq!(information("kpexec help"), information("kpexec --help"));
        assert_eq!(information("kpexec help attach"), information("kpexec attach --help"));
        let version = information("kpexec version");
        assert_eq!(version, format!("kpexec {}\n", env!("CARGO_PKG_VERSION")));
        assert_eq!(version, information("kpexec --version"));
        let error = parse("kpexec help atach").unwrap_err().to_string();
        assert!(error.starts_with("invalid value 'atach'"), "{error}");
    }

    #[test]
    fn what_may_follow_is_asked_under_two_names() {
        for asked in ["kpexec __complete -n x web", "/x/kubectl_complete-pexec -n x web"] {
            let Invocation::Complete(words) = parse(asked).unwrap() else { panic!("{asked}") };
            assert_eq!(words, ["-n", "x", "web"], "{asked}");
        }
    }
}
