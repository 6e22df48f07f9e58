//! An error on its way from the background process to the user.

use std::error::Error;

use kpexec_protocol::Fault;
use thiserror::Error;

use crate::exit_code;
use crate::run::RunError;

/// What the background process said: it reads as if we had found it ourselves.
#[derive(Debug, Error)]
#[error("{what}")]
pub struct Told {
    what: String,
    #[source]
    source: Option<Box<Told>>,
    hint: Option<String>,
    exit_code: u8,
}

impl Told {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        self.hint.clone()
    }

    /// The exit code it is worth.
    pub fn exit_code(&self) -> u8 {
        self.exit_code
    }
}

/// As it is sent.
pub fn fault(error: &RunError) -> Fault {
    let causes = std::iter::successors(error.source(), |&cause| cause.source());
    Fault {
        chain: std::iter::once(error.to_string()).chain(causes.map(ToString::to_string)).collect(),
        hint: error.hint().unwrap_or_default(),
        exit_code: error.exit_code().into(),
    }
}

impl From<Fault> for Told {
    fn from(fault: Fault) -> Self {
        let Fault { chain, hint, exit_code } = fault;
        // Nothing it says makes an error a success.
        let exit_code = u8::try_from(exit_code).ok().filter(|code| *code != 0);
        let exit_code = exit_code.unwrap_or(exit_code::OURS);
        let mut told = None;
        for what in chain.into_iter().rev() {
            let source = told.take().map(Box::new);
            told = Some(Self { what, source, hint: None, exit_code });
        }
        let unknown = || Self { what: "it failed".into(), source: None, hint: None, exit_code };
        Self { hint: Some(hint).filter(|hint| !hint.is_empty()), ..told.unwrap_or_else(unknown) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::local;

    #[test]
    fn an_error_arrives_as_it_was() {
        let error = local("open the door", std::io::Error::other("the key broke"));
        let told = Told::from(fault(&error));
        assert_eq!(told.to_string(), "cannot open the door");
        assert_eq!(told.source().unwrap().to_string(), "the key broke");
        assert!(told.source().unwrap().source().is_none());
        assert_eq!((told.hint(), told.exit_code()), (error.hint(), 125));

        let failure = kpexec_protocol::Failure {
            reason: kpexec_protocol::Reason::NotFound.into(),
            message: "x: not found".into(),
            hint: "look elsewhere".into(),
        };
        let refused = RunError::from(crate::session::SessionError::Refused(failure));
        let told = Told::from(fault(&refused));
        assert_eq!(told.to_string(), "x: not found");
        assert_eq!((told.hint().as_deref(), told.exit_code()), (Some("look elsewhere"), 127));
    }

    #[test]
    fn no_error_is_a_success() {
        assert_eq!(Told::from(Fault::default()).exit_code(), 125);
        let fault = Fault { exit_code: 256, ..Fault::default() };
        assert_eq!(Told::from(fault).exit_code(), 125);
    }
}
