//! Who a session is: what was asked, and what the target is, made into one
//! identity; decisions only, no system calls.
//!
//! Two kinds of session are safe. One is confined as the target is (*parity*):
//! whoever of the target takes it over gains nothing. The other holds more
//! (*elevated*), and is *shielded*: it holds a capability that no process of the
//! target can hold, so none of them can trace it. A session between the two
//! would hand the target what it lacks, and is refused (threat model, A8).

mod decide;
mod describe;
#[cfg(test)]
mod tests;

pub use decide::decide;

use kpexec_protocol::profile::Capabilities;
use kpexec_protocol::{Profile, Seccomp};

use crate::enter::credentials::Credentials;

/// What the client asked for, names resolved. Values are as seen inside the
/// target.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// Where the identity starts from.
    pub profile: Profile,
    /// `-u`.
    pub user: Option<u32>,
    /// The group of `-u`.
    pub group: Option<u32>,
    /// `--groups`, or those of a user given by name.
    pub groups: Option<Vec<u32>>,
    /// `--cap-add`.
    pub add: Capabilities,
    /// `--cap-drop`.
    pub drop: Capabilities,
    /// `--no-new-privs`.
    pub no_new_privs: bool,
    /// `--seccomp`.
    pub seccomp: Seccomp,
    /// `--trust-target`.
    pub trust_target: bool,
}

/// What the target is, as far as it bears on the identity.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// User of its first process.
    pub uid: u32,
    /// Group of its first process.
    pub gid: u32,
    /// Supplementary groups of its first process.
    pub groups: Vec<u32>,
    /// Permitted capabilities of its first process.
    pub permitted: Capabilities,
    /// What any of its processes holds or can regain.
    pub reach: Capabilities,
    /// PR_SET_NO_NEW_PRIVS of its first process.
    pub no_new_privs: bool,
    /// Whether it has a seccomp filter.
    pub filtered: bool,
    /// Whether that filter is known, so that a session can be given it.
    pub filter_known: bool,
    /// Whether a Linux security module has given it a label.
    pub labelled: bool,
    /// Whether it has a user namespace of its own, in which whoever joins it
    /// holds every capability.
    pub own_users: bool,
}

/// What the helper is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Helper {
    /// Capabilities it can give.
    pub permitted: Capabilities,
    /// Capabilities this kernel has.
    pub known: Capabilities,
    /// Whether it has a seccomp filter, which every session inherits.
    pub filtered: bool,
    /// Whether sessions get a keyring of their own: keyctl(2) may be forbidden.
    pub own_keyring: bool,
}

/// The identity of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// User, groups and capabilities, the shield among them.
    pub credentials: Credentials,
    /// What keeps the target from gaining by the session.
    pub guard: Guard,
    /// PR_SET_NO_NEW_PRIVS.
    pub no_new_privs: bool,
    /// Whether the target's seccomp filter is put on top of the helper's.
    pub target_filter: bool,
    /// Whether it gets the target's label; else it has the helper's.
    pub target_label: bool,
    /// Whether programs of the target can be executed.
    pub target_programs: bool,
    /// Whether it takes over the target's resource limits.
    pub target_limits: bool,
    /// What was asked for as part of "all", and this node does not have.
    pub withheld: Capabilities,
}

/// What keeps the target from gaining by a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guard {
    /// It is confined as the target is.
    Parity,
    /// It was asked to hold a capability that the target cannot have.
    OwnCapabilities,
    /// It was given one.
    Shield,
    /// Nothing: the operator trusts the target, or nothing confines that either.
    None,
}

/// Why there is no such identity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// One can only give what one holds.
    #[error("the helper pod lacks capabilities that were asked for: {0}")]
    Lacking(String),
    /// Inherited filters cannot be taken off.
    #[error("the helper pod has a seccomp filter itself, so no session of it can be without")]
    HelperFiltered,
    /// The runtime does not tell the filter.
    #[error("the container runtime does not tell the container's seccomp filter")]
    FilterUnknown,
    /// Neither confined as the target is, nor shielded.
    #[error("the container could take this session over, and gain by it: {0}")]
    Between(Gain),
}

/// Why the target would gain by taking the session over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Gain {
    /// No capability is a shield.
    #[error("its processes may trace any other (SYS_PTRACE)")]
    Traceable,
    /// The shield is within its reach, or the helper lacks it.
    #[error("no capability is left that would shield the session")]
    NoShield,
    /// The profile promises parity, and a flag takes that away.
    #[error("the session would be more than the container is, without being shielded from it")]
    LessConfined,
}

impl Refusal {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Lacking(_) => "the node's runtime withholds them, or the helper was made without",
            Self::HelperFiltered => "are kpexec and the helper image of one version?",
            Self::FilterUnknown => "--profile general needs no filter of the container's",
            Self::Between(Gain::LessConfined) => {
                "leave out what goes beyond the container, or take an elevated profile such as general"
            }
            Self::Between(_) => {
                "--profile target confines the session as the container is; --trust-target accepts \
                 the risk"
            }
        }
    }
}
