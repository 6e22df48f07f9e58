//! What each profile grants: known to both ends, because the client makes the
//! helper with the capabilities that the session will need.

use crate::Profile;

/// A set of capabilities; bit n is capability number n of capabilities(7).
pub type Capabilities = u64;

/// containerd's default set. Every profile starts from it, on every runtime:
/// CRI-O's own default lacks five of them.
pub const RUNTIME_DEFAULT: Capabilities = CHOWN
    | DAC_OVERRIDE
    | FOWNER
    | FSETID
    | KILL
    | SETGID
    | SETUID
    | SETPCAP
    | NET_BIND_SERVICE
    | NET_RAW
    | SYS_CHROOT
    | MKNOD
    | AUDIT_WRITE
    | SETFCAP;

/// The capabilities of profile `general`.
pub const GENERAL: Capabilities = RUNTIME_DEFAULT | SYS_PTRACE;

/// Every capability there is or will be; the node gives what it has.
pub const ALL: Capabilities = u64::MAX;

/// The shield: a capability that does nothing on a server (epoll(7),
/// `EPOLLWAKEUP`). A process that lacks it can neither trace a session that
/// holds it nor open what `/proc` offers of it: capabilities(7) and ptrace(2),
/// "Ptrace access mode checking".
pub const SHIELD: Capabilities = 1 << 36;

/// `CAP_SYS_PTRACE`: whoever holds it can trace any process it sees.
pub const SYS_PTRACE: Capabilities = 1 << 19;

const CHOWN: Capabilities = 1;
const DAC_OVERRIDE: Capabilities = 1 << 1;
const FOWNER: Capabilities = 1 << 3;
const FSETID: Capabilities = 1 << 4;
const KILL: Capabilities = 1 << 5;
const SETGID: Capabilities = 1 << 6;
const SETUID: Capabilities = 1 << 7;
const SETPCAP: Capabilities = 1 << 8;
const NET_BIND_SERVICE: Capabilities = 1 << 10;
const NET_ADMIN: Capabilities = 1 << 12;
const NET_RAW: Capabilities = 1 << 13;
const SYS_CHROOT: Capabilities = 1 << 18;
const MKNOD: Capabilities = 1 << 27;
const AUDIT_WRITE: Capabilities = 1 << 29;
const SETFCAP: Capabilities = 1 << 31;

impl Profile {
    /// The profile's capabilities; `None` where they are the target's own.
    pub fn capabilities(self) -> Option<Capabilities> {
        match self {
            Self::Unspecified | Self::General => Some(GENERAL),
            Self::Baseline => Some(RUNTIME_DEFAULT),
            Self::Restricted => Some(0),
            Self::Netadmin => Some(GENERAL | NET_ADMIN | NET_RAW),
            Self::Sysadmin => Some(ALL),
            Self::Target => None,
        }
    }

    /// Whether the profile promises no more than the target has.
    pub fn is_parity(self) -> bool {
        matches!(self, Self::Restricted | Self::Target)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `CapEff` of a root shell in a plain containerd pod, as the kernel wrote
    /// it.
    #[test]
    fn the_default_set_is_containerds() {
        assert_eq!(RUNTIME_DEFAULT, 0xa804_25fb);
    }

    #[test]
    fn no_profile_holds_the_shield_unless_it_holds_everything() {
        for profile in [Profile::General, Profile::Baseline, Profile::Netadmin] {
            assert_eq!(profile.capabilities().map(|all| all & SHIELD), Some(0));
        }
    }
}
