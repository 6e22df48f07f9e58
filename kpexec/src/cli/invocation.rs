//! What kpexec is asked for: a session, or one of the words that are none.

use std::ffi::OsString;

use clap::Parser;

use super::share::{self, BACKGROUND};
use super::{Attach, Cli, CliError, Gc, Sessions, from_clap};

/// The words that are no pod's name where they come first.
pub const WORDS: [&str; 3] = ["gc", "attach", "sessions"];

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
    /// To be the background process of `--share`.
    Background(share::Background),
}

impl Invocation {
    /// Parses the arguments, `argv[0]` included.
    pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Self, CliError> {
        let mut args: Vec<OsString> = args.into_iter().collect();
        let word = args.get(1).and_then(|word| word.to_str()).unwrap_or_default().to_owned();
        if !WORDS.contains(&&*word) && word != BACKGROUND {
            return Cli::parse_args(args).map(|cli| Self::Session(Box::new(cli)));
        }
        args.remove(1);
        let parsed = match &*word {
            "gc" => Gc::try_parse_from(args).map(Self::Gc),
            "attach" => Attach::try_parse_from(args).map(Box::new).map(Self::Attach),
            "sessions" => Sessions::try_parse_from(args).map(Self::Sessions),
            _ => share::Background::try_parse_from(args).map(Self::Background),
        };
        parsed.map_err(|error| from_clap(&error))
    }

    /// Whether to say more.
    pub fn is_verbose(&self) -> bool {
        match self {
            Self::Session(cli) => cli.verbose,
            Self::Gc(gc) => gc.verbose,
            Self::Attach(attach) => attach.verbose,
            Self::Sessions(sessions) => sessions.verbose,
            Self::Background(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn gc_is_a_word_of_its_own_in_the_first_place_only() {
        let parse = |args: &str| Invocation::parse(args.split(' ').map(OsString::from));
        let Invocation::Gc(gc) = parse("kpexec gc --helper-namespace h -v").unwrap() else {
            panic!("a session");
        };
        assert!(gc.verbose && gc.cluster.helper_namespace == "h");
        for session in ["kpexec pod/gc -- id", "kpexec -n x gc -- id", "kpexec web -- gc"] {
            assert!(matches!(parse(session).unwrap(), Invocation::Session(_)), "{session}");
        }
        assert!(parse("kpexec gc web").unwrap_err().to_string().contains("unexpected argument"));
        for command in [Gc::command(), Attach::command(), Sessions::command()] {
            command.debug_assert();
        }
        let Invocation::Attach(attach) = parse("kpexec attach 3f9c-7 -v").unwrap() else {
            panic!("a session");
        };
        assert!(attach.verbose && attach.session.pod == "kpexec-3f9c");
        assert!(matches!(parse("kpexec sessions").unwrap(), Invocation::Sessions(_)));
    }
}
