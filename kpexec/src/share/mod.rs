//! Connection sharing, `--share`: a background process keeps the connections to
//! the API server and to the helpers, and commands are passed on by it.
//!
//! As ssh's ControlMaster and ControlPersist. The client finds the process by a
//! socket ([`name`], [`folder`]), starts it where there is none ([`start`]), and
//! asks it for a session ([`client`]); the process answers ([`background()`],
//! [`serve`]) on connections that it keeps ([`helpers`]).

mod activity;
mod background;
mod client;
mod folder;
mod helpers;
mod name;
mod serve;
mod start;
mod stop;
#[allow(unsafe_code, reason = "closing descriptors that nobody owns")]
mod sys;
mod told;

use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// How much may be on its way through the socket, each way, in bytes.
const WINDOW: u32 = 1 << 20;
/// The largest of HTTP/2's frames there: a message with its own header.
const FRAME: u32 = 2 * kpexec_protocol::CHUNK as u32;

pub use background::{background, leave_the_foreground};
pub use client::run;
pub use folder::Folder;
pub use stop::stop;
pub use told::Told;

/// Why there is no background process to share connections of.
#[derive(Debug, Error)]
pub enum ShareError {
    /// Neither variable names a place.
    #[error("there is no folder for the socket of --share: HOME is not set")]
    NoFolder,
    /// The folder cannot be made or used.
    #[error("cannot use {}, the folder for the socket of --share", .path.display())]
    Folder {
        /// Its path.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The folder is not ours alone.
    #[error("{} is not safe for the socket of --share: {why}", .path.display())]
    Unsafe {
        /// Its path.
        path: PathBuf,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Who listens is another user.
    #[error("the process behind the socket of --share is not ours, but user {0}'s")]
    Impostor(u32),
    /// The background process cannot be started.
    #[error("cannot start the background process of --share: cannot {what}")]
    Start {
        /// What was tried.
        what: &'static str,
        /// Why it did not work.
        source: io::Error,
    },
    /// It did start, and did not answer.
    #[error("the background process of --share does not answer")]
    Silent(#[source] io::Error),
    /// It is of another kpexec, for all we know.
    #[error("the background process of --share does not understand the command line: {0}")]
    Differs(String),
    /// It cannot go on.
    #[error("cannot answer on the socket of --share")]
    Serve(#[from] tonic::transport::Error),
    /// It ended while it made the session.
    #[error("the background process of --share ended before the session began")]
    Ended,
}

impl ShareError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Unsafe { .. } => Some("only you may have access to it: chmod 700".into()),
            _ => Some("KPEXEC_SHARE=0 does without it".into()),
        }
    }
}
