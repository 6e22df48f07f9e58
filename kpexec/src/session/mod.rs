//! The client's side of the session protocol: start a command, see it through.

mod connect;
mod own_helper;
mod progress;
mod relay;
mod shared;
mod taken;
#[cfg(test)]
mod tests;

use kpexec_protocol::{Failure, Reason};
use thiserror::Error;

use crate::changes::SaveError;
use crate::exit_code;
use crate::transport::{End, TransportError};

pub use connect::{Call, Connection, Load, Session, reach};
pub use own_helper::OwnHelper;
pub use progress::Progress;
pub use relay::{Control, Ended, Local, Output, relay};
pub use shared::{Answers, Background, SharedFault, pass_on, say};

/// Why a session did not start, or did not end as sessions do.
#[derive(Debug, Error)]
pub enum SessionError {
    /// There is no way to the helper.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// The helper did not run the command, and says why.
    #[error("{}", .0.message)]
    Refused(Failure),
    /// The stream ended before the helper said how the command did.
    #[error("lost the session, and with it the command's result: {0}")]
    Lost(End),
    /// The helper speaks another protocol than we do.
    #[error("the helper broke the protocol: {0}")]
    Protocol(&'static str),
    /// The command ended, but what it changed cannot be saved.
    #[error("the command ended with exit code {code}, but its changes are lost")]
    Unsaved {
        /// Its exit code, as kpexec would have given it.
        code: u8,
        /// Why they are lost.
        source: SaveError,
    },
    /// Our own stdout or stderr is closed or full.
    #[error("cannot write the command's output")]
    Output(#[source] std::io::Error),
}

impl SessionError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Transport(error) => error.hint(),
            Self::Refused(failure) => Some(failure.hint.clone()).filter(|hint| !hint.is_empty()),
            Self::Protocol(_) | Self::Unsaved { source: SaveError::Nothing, .. } => {
                Some("are kpexec and the helper image of one version?".into())
            }
            Self::Lost(_) | Self::Unsaved { .. } | Self::Output(_) => None,
        }
    }

    /// The exit code it is worth.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Refused(failure) => {
                let reason = Reason::try_from(failure.reason).unwrap_or(Reason::Unspecified);
                exit_code::of_failure(reason)
            }
            _ => exit_code::OURS,
        }
    }
}
