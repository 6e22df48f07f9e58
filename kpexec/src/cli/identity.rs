//! The flags that say who the command is to be.

use clap::{Args, ValueEnum};

/// Who the command is to be, as typed.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Identity")]
pub struct IdentityFlags {
    /// User and group, by name or number [default: the profile's]
    ///
    /// Digits are a number as seen in the container; names are looked up in its
    /// own /etc/passwd and /etc/group. Without GROUP the group is that of the
    /// named user, else the profile's. Without --profile any user but root
    /// starts without capabilities, as with docker exec -u.
    #[arg(short = 'u', long, value_name = "USER[:GROUP]", allow_hyphen_values = true)]
    pub run_as: Option<String>,

    /// Supplementary groups, by name or number; '' for none
    ///
    /// Without it they are those of the named user, else the profile's.
    #[arg(
        long,
        hide_short_help = true,
        value_name = "GROUP,...",
        value_delimiter = ',',
        allow_hyphen_values = true
    )]
    pub groups: Option<Vec<String>>,

    /// A ready-made identity, which the other flags change
    ///
    /// Without it: general for root, no capabilities for anybody else.
    #[arg(long, value_name = "NAME")]
    pub profile: Option<Profile>,

    /// Add capabilities of capabilities(7), or ALL
    ///
    /// With or without CAP_, in any case. Adds come after drops, so --cap-drop ALL
    /// --cap-add KILL is KILL alone.
    #[arg(long, value_name = "CAP,...", value_delimiter = ',')]
    pub cap_add: Vec<String>,

    /// Drop capabilities, or ALL
    #[arg(long, value_name = "CAP,...", value_delimiter = ',')]
    pub cap_drop: Vec<String>,

    /// Keep programs such as sudo from gaining privileges
    #[arg(long, hide_short_help = true)]
    pub no_new_privs: bool,

    /// Filter on the command's system calls [default: the profile's]
    #[arg(long, hide_short_help = true, value_name = "FILTER")]
    pub seccomp: Option<Seccomp>,

    /// Run the container's own programs with any capabilities
    ///
    /// Above profile general only programs of the toolset can be run, because
    /// the container's may be hostile, and a session that the container could
    /// trace is refused. This flag lifts both.
    #[arg(long, hide_short_help = true)]
    pub trust_target: bool,
}

/// The profiles, as kubectl debug calls them, and parity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Profile {
    /// Root with containerd's default capabilities and SYS_PTRACE
    General,
    /// Root with containerd's default capabilities
    Baseline,
    /// The container's user, no capabilities, no new privileges
    Restricted,
    /// General and NET_ADMIN
    Netadmin,
    /// Root with every capability the node can give, no seccomp filter
    Sysadmin,
    /// What the container itself is, and no more
    Target,
}

/// The filters there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Seccomp {
    /// The container runtime's default
    Runtime,
    /// The container's own
    Target,
    /// None
    Unconfined,
}

impl From<Profile> for kpexec_protocol::Profile {
    fn from(profile: Profile) -> Self {
        match profile {
            Profile::General => Self::General,
            Profile::Baseline => Self::Baseline,
            Profile::Restricted => Self::Restricted,
            Profile::Netadmin => Self::Netadmin,
            Profile::Sysadmin => Self::Sysadmin,
            Profile::Target => Self::Target,
        }
    }
}

impl From<Seccomp> for kpexec_protocol::Seccomp {
    fn from(seccomp: Seccomp) -> Self {
        match seccomp {
            Seccomp::Runtime => Self::Runtime,
            Seccomp::Target => Self::Target,
            Seccomp::Unconfined => Self::Unconfined,
        }
    }
}
