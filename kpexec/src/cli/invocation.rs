//! What kpexec is asked for: a session, or one of the words that are none.

use std::ffi::OsString;

use clap::Parser;

use super::share::{self, BACKGROUND};
use super::{Cli, CliError, Gc, from_clap};

/// What is asked for.
#[derive(Debug)]
pub enum Invocation {
    /// A command or a shell in a container.
    Session(Box<Cli>),
    /// `gc`, for which a pod of that name has to be called pod/gc.
    Gc(Gc),
    /// To be the background process of `--share`.
    Background(share::Background),
}

impl Invocation {
    /// Parses the arguments, `argv[0]` included.
    pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Self, CliError> {
        let mut args: Vec<OsString> = args.into_iter().collect();
        let word = args.get(1).and_then(|first| first.to_str());
        let parsed = match word {
            Some("gc") => {
                args.remove(1);
                Gc::try_parse_from(args).map(Self::Gc)
            }
            Some(BACKGROUND) => {
                args.remove(1);
                share::Background::try_parse_from(args).map(Self::Background)
            }
            _ => return Cli::parse_args(args).map(|cli| Self::Session(Box::new(cli))),
        };
        parsed.map_err(|error| from_clap(&error))
    }

    /// Whether to say more.
    pub fn is_verbose(&self) -> bool {
        match self {
            Self::Session(cli) => cli.verbose,
            Self::Gc(gc) => gc.verbose,
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
        Gc::command().debug_assert();
    }
}
