//! How a fake container can be made.

use std::path::Path;

use serde_json::Value;

/// Docker's and containerd's default capabilities.
pub const DEFAULT: u64 = 0xa804_25fb;
/// CAP_SYS_PTRACE, a common gift to containers that are to be debugged.
pub const SYS_PTRACE: u64 = 1 << 19;

/// Where a user namespace of [`Options::user_namespace`] begins outside.
pub const FIRST_ID: u32 = 100_000;

/// Where a container's filter is, for its first process.
pub const FILTER: &str = "/etc/seccomp";

/// What the container finds at `/proc`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proc {
    Real,
    Absent,
    /// A tmpfs with a few files, among them `1/comm` that says "fake".
    Fake,
    /// It shows the processes of others to root only.
    Hidden,
    /// A link to `/`.
    Linked,
}

/// Whether and how the container's root cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadOnly {
    No,
    /// As `readOnlyRootFilesystem` has it.
    Mount,
    /// It is in the nature of the file system.
    FileSystem,
}

/// How a container differs from the next.
#[derive(Clone, Debug)]
pub struct Options {
    /// Of the first process; without, it keeps all that the test has.
    pub capabilities: Option<u64>,
    /// User and group of the first process.
    pub uid: u32,
    /// Whether it lives in a user namespace that maps 0 to [`FIRST_ID`].
    pub user_namespace: bool,
    /// Whether setgroups(2) is forbidden in it.
    pub no_setgroups: bool,
    /// Whether `/dev` is a link to `/srv/dev`.
    pub linked_dev: bool,
    pub read_only: ReadOnly,
    /// Whether mounts below `/volume` propagate.
    pub shared_volume: bool,
    pub proc: Proc,
    /// A folder that the first process has as its root, inside the container's.
    pub chroot: Option<&'static str>,
    /// Whether the root is a change of root only, as runc has it with
    /// `--no-pivot`: below it lies the node's.
    pub no_pivot: bool,
    pub no_new_privs: bool,
    /// Whether the first process leaves orphans unreaped.
    pub never_waits: bool,
    /// Whether the root is an overlay on an overlay.
    pub overlaid: bool,
    /// Namespaces of the node that it does not leave, as unshare(1) calls them.
    pub shares: &'static [&'static str],
    /// Its filter, as the OCI runtime specification's `linux.seccomp`.
    pub seccomp: Option<Value>,
    /// An AppArmor profile that is loaded.
    pub profile: Option<&'static str>,
}

impl Options {
    /// As container runtimes make them, for root to attack from.
    pub fn hostile() -> Self {
        Self { capabilities: Some(DEFAULT), ..Self::own() }
    }

    /// With all that the test has, in a user namespace of its own where this
    /// test is not run by root.
    pub fn own() -> Self {
        Self {
            capabilities: None,
            uid: 0,
            user_namespace: false,
            no_setgroups: false,
            linked_dev: false,
            read_only: ReadOnly::No,
            shared_volume: false,
            proc: Proc::Real,
            chroot: None,
            no_pivot: false,
            no_new_privs: false,
            never_waits: false,
            overlaid: false,
            shares: &[],
            seccomp: None,
            profile: None,
        }
    }

    pub fn environment(&self, root: &Path) -> Vec<(&'static str, String)> {
        let flag = |set: bool| if set { "1".to_owned() } else { String::new() };
        let capabilities = self.capabilities.map_or("-".to_owned(), |set| format!("{set:x}"));
        let (no_new_privs, never_waits) = (self.no_new_privs as u8, self.never_waits as u8);
        let proc = match self.proc {
            Proc::Real => "real",
            Proc::Absent => "absent",
            Proc::Fake => "fake",
            Proc::Hidden => "hidden",
            Proc::Linked => "linked",
        };
        let read_only = match self.read_only {
            ReadOnly::No => "",
            ReadOnly::Mount => "mount",
            ReadOnly::FileSystem => "file system",
        };
        let filter = self.seccomp.as_ref().map_or("", |_| FILTER);
        vec![
            ("ROOT", root.display().to_string()),
            ("INIT", format!("{capabilities} {} {no_new_privs} {never_waits} {filter}", self.uid)),
            ("OVERLAID", flag(self.overlaid)),
            ("READ_ONLY", read_only.to_owned()),
            ("PROFILE", self.profile.unwrap_or_default().to_owned()),
            ("LINKED_DEV", flag(self.linked_dev)),
            ("SHARED", flag(self.shared_volume)),
            ("NO_PIVOT", flag(self.no_pivot)),
            ("CHROOT", self.chroot.unwrap_or_default().to_owned()),
            ("PROC", proc.to_owned()),
        ]
    }
}
