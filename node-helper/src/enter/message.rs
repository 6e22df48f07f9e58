//! What `serve` and the entry process say to each other, over one Unix socket:
//! one [`Order`] with its descriptors there, and if it fails one [`Report`]
//! back.

use rustix::fd::OwnedFd;
use tools_overlay::Part;

use crate::program::Program;
use crate::target::Namespace;

/// What the entry process is to become.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Order {
    /// What follows `argv[0]` of the command, which is its program's name.
    #[prost(bytes = "vec", repeated, tag = "1")]
    pub arguments: Vec<Vec<u8>>,
    /// Its environment, each `NAME=value`.
    #[prost(bytes = "vec", repeated, tag = "2")]
    pub env: Vec<Vec<u8>>,
    /// Its working directory; `/` is taken where it cannot be entered.
    #[prost(bytes = "vec", tag = "3")]
    pub workdir: Vec<u8>,
    /// Its user.
    #[prost(uint32, tag = "4")]
    pub uid: u32,
    /// Its group.
    #[prost(uint32, tag = "5")]
    pub gid: u32,
    /// Its supplementary groups.
    #[prost(uint32, repeated, tag = "6")]
    pub groups: Vec<u32>,
    /// Its capabilities, bit n for number n.
    #[prost(uint64, tag = "7")]
    pub capabilities: u64,
    /// Whether its stdin is the terminal it is to be controlled by.
    #[prost(bool, tag = "8")]
    pub terminal: bool,
    /// The roles of the descriptors, in the order they are sent.
    #[prost(uint32, repeated, tag = "9")]
    pub roles: Vec<u32>,
    /// Whether PR_SET_NO_NEW_PRIVS is set.
    #[prost(bool, tag = "10")]
    pub no_new_privs: bool,
    /// Filters to put on its system calls: programs of seccomp(2).
    #[prost(bytes = "vec", repeated, tag = "11")]
    pub filters: Vec<Vec<u8>>,
    /// The label it takes with execve(2).
    #[prost(message, optional, tag = "12")]
    pub label: Option<Label>,
    /// Whether programs of the target can be executed.
    #[prost(bool, tag = "13")]
    pub target_programs: bool,
    /// Whether a working directory that cannot be entered is a failure.
    #[prost(bool, tag = "14")]
    pub workdir_required: bool,
    /// The target's resource limits, where it takes them over.
    #[prost(message, repeated, tag = "15")]
    pub limits: Vec<Limit>,
    /// What becomes of what it writes, where it has a view: [`Writes`] of the
    /// session protocol.
    ///
    /// [`Writes`]: kpexec_protocol::Writes
    #[prost(enumeration = "kpexec_protocol::Writes", tag = "16")]
    pub writes: i32,
    /// Whether it can write the target's root file system in any case.
    #[prost(bool, tag = "17")]
    pub writable: bool,
    /// What is mounted below the target's root, where writes are discarded.
    #[prost(bytes = "vec", repeated, tag = "18")]
    pub volumes: Vec<Vec<u8>>,
    /// Whether its root is that of the tools image.
    #[prost(bool, tag = "19")]
    pub tools_root: bool,
    /// The files that the command stands for, to be tried in turn.
    #[prost(message, repeated, tag = "20")]
    pub programs: Vec<Program>,
    /// Whether they are shells of which any will do. Otherwise one of ours that is
    /// there and cannot be executed is the last that is tried: what the target has
    /// of the same name is another program.
    #[prost(bool, tag = "21")]
    pub any_shell: bool,
}

/// A label of a Linux security module.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Label {
    /// The file below `/proc/thread-self` that takes it.
    #[prost(string, tag = "1")]
    pub file: String,
    /// What is written there.
    #[prost(string, tag = "2")]
    pub text: String,
}

/// A resource limit: getrlimit(2).
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct Limit {
    /// Index in [`RESOURCES`].
    ///
    /// [`RESOURCES`]: crate::target::limits::RESOURCES
    #[prost(uint32, tag = "1")]
    pub resource: u32,
    /// What is enforced.
    #[prost(uint64, tag = "2")]
    pub soft: u64,
    /// How far it may be raised.
    #[prost(uint64, tag = "3")]
    pub hard: u64,
}

/// What there is to say of an order: why it was not performed, or what the
/// operator should know. Several are read as one.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Report {
    /// The step that failed, in words; empty if none has.
    #[prost(string, tag = "1")]
    pub failed: String,
    /// What the kernel answered.
    #[prost(int32, tag = "2")]
    pub errno: i32,
    /// What to do about it; may be empty.
    #[prost(string, tag = "3")]
    pub hint: String,
    /// How the view is not as one would expect, a line each.
    #[prost(string, repeated, tag = "4")]
    pub notes: Vec<String>,
}

/// What a descriptor is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The target's root directory.
    Root,
    /// A namespace to join.
    Namespace(Namespace),
    /// A mount of the view.
    Part(Part),
    /// The command's stdin.
    Stdin,
    /// The command's stdout.
    Stdout,
    /// The command's stderr.
    Stderr,
    /// Where the command's process says why it could not be executed.
    ExecError,
    /// Where the shim says how the command ended.
    ExitStatus,
    /// Where the shim is told to go on; its end tells it to end.
    Go,
    /// The helper's `/dev/null`: the target chooses what its own one is.
    Null,
    /// A page in memory for the shim's PID, or what the kernel answered instead
    /// of forking, negative.
    Report,
}

/// A descriptor and what it is for.
pub type Descriptor = (Role, OwnedFd);

impl Role {
    /// The number that stands for the role in [`Order::roles`].
    pub fn code(self) -> u32 {
        match self {
            Self::Root => 0,
            Self::Stdin => 1,
            Self::Stdout => 2,
            Self::Stderr => 3,
            Self::ExecError => 4,
            Self::ExitStatus => 5,
            Self::Go => 10,
            Self::Null => 11,
            Self::Report => 12,
            Self::Part(Part::Root) => 6,
            Self::Part(Part::Toolset) => 7,
            Self::Part(Part::Proc) => 8,
            Self::Part(Part::Devpts) => 9,
            Self::Part(Part::Scratch) => 13,
            Self::Namespace(kind) => 100 + kind as u32,
            Self::Part(Part::Device(index)) => 200 + u32::from(index),
        }
    }

    /// The role a number stands for.
    pub fn from_code(code: u32) -> Option<Self> {
        let role = match code {
            0 => Self::Root,
            1 => Self::Stdin,
            2 => Self::Stdout,
            3 => Self::Stderr,
            4 => Self::ExecError,
            5 => Self::ExitStatus,
            10 => Self::Go,
            11 => Self::Null,
            12 => Self::Report,
            6 => Self::Part(Part::Root),
            7 => Self::Part(Part::Toolset),
            8 => Self::Part(Part::Proc),
            9 => Self::Part(Part::Devpts),
            13 => Self::Part(Part::Scratch),
            100..200 => {
                Self::Namespace(Namespace::ALL.into_iter().find(|kind| 100 + *kind as u32 == code)?)
            }
            200..=255 => Self::Part(Part::Device(u8::try_from(code - 200).ok()?)),
            _ => return None,
        };
        Some(role)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_role_survives_its_code() {
        let mut roles = vec![
            Role::Root,
            Role::Stdin,
            Role::Stdout,
            Role::Stderr,
            Role::ExecError,
            Role::ExitStatus,
            Role::Go,
            Role::Null,
            Role::Report,
            Role::Part(Part::Root),
            Role::Part(Part::Toolset),
            Role::Part(Part::Proc),
            Role::Part(Part::Devpts),
            Role::Part(Part::Scratch),
        ];
        roles.extend(Namespace::ALL.map(Role::Namespace));
        roles.extend((0..6).map(|index| Role::Part(Part::Device(index))));
        for role in &roles {
            assert_eq!(Role::from_code(role.code()), Some(*role));
        }
        let mut codes: Vec<_> = roles.iter().map(|role| role.code()).collect();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), roles.len());
    }

    #[test]
    fn unknown_codes_are_refused() {
        for code in [14, 99, 150, 256, u32::MAX] {
            assert_eq!(Role::from_code(code), None);
        }
    }
}
