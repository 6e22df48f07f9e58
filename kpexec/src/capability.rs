//! The capabilities of capabilities(7): their names, numbers, and sets of them.
//!
//! An own table rather than the `caps` crate, which builds on Linux only: this
//! end also runs on the workstations people have.

use std::fmt;

use kpexec_protocol::profile;

use crate::nearest::nearest;

/// Index = number in `<linux/capability.h>`. Append only: the numbers are ABI.
const NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// One capability. Only numbers of the table exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capability(u8);

impl Capability {
    /// Finds a capability by its name, with or without `CAP_`, in any case.
    pub fn from_name(name: &str) -> Option<Self> {
        let wanted = normalised(name);
        let index = NAMES.iter().position(|known| *known == wanted)?;
        u8::try_from(index).ok().map(Self)
    }

    /// Its number in capabilities(7).
    pub fn number(self) -> u8 {
        self.0
    }

    /// Its name as Kubernetes writes it, so without `CAP_`.
    pub fn name(self) -> &'static str {
        NAMES[usize::from(self.0)]
    }
}

/// The known name that looks most like a mistyped one, if any looks like it.
pub fn nearest_name(mistyped: &str) -> Option<&'static str> {
    nearest(&normalised(mistyped), NAMES.iter().copied())
}

fn normalised(name: &str) -> String {
    let upper = name.to_ascii_uppercase();
    upper.strip_prefix("CAP_").map(str::to_owned).unwrap_or(upper)
}

/// A set of capabilities; bit n is capability number n, as in `/proc/PID/status`.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct CapabilitySet(u64);

impl CapabilitySet {
    /// None at all.
    pub const EMPTY: Self = Self(0);
    /// Every capability there is or will be, those without a name included.
    pub const ALL: Self = Self(profile::ALL);

    /// The set of this mask.
    pub fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// The capability of this name, or all of them by the name ALL.
    pub fn from_name(name: &str) -> Option<Self> {
        match normalised(name).as_str() {
            "ALL" => Some(Self::ALL),
            name => Capability::from_name(name).map(Self::from),
        }
    }

    /// The mask as the kernel writes it.
    pub fn bits(self) -> u64 {
        self.0
    }

    /// This set and `other`.
    pub fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// This set without those of `other`.
    pub fn difference(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether it has more than can be told by name.
    pub fn is_open_ended(self) -> bool {
        self.0 >> NAMES.len() != 0
    }

    /// Its members that have a name, in the order of their numbers.
    pub fn iter(self) -> impl Iterator<Item = Capability> {
        (0u8..).take(NAMES.len()).filter(move |number| self.0 & (1 << number) != 0).map(Capability)
    }
}

impl From<Capability> for CapabilitySet {
    fn from(capability: Capability) -> Self {
        Self(1 << capability.number())
    }
}

impl FromIterator<Capability> for CapabilitySet {
    fn from_iter<I: IntoIterator<Item = Capability>>(capabilities: I) -> Self {
        capabilities.into_iter().fold(Self::EMPTY, |set, one| set.union(one.into()))
    }
}

impl fmt::Debug for CapabilitySet {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::ALL {
            return formatter.write_str("ALL");
        }
        formatter.debug_set().entries(self.iter().map(Capability::name)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers copied from `<linux/capability.h>`, one from each stretch of it.
    #[test]
    fn numbers_are_the_kernels() {
        for (name, number) in [
            ("CHOWN", 0),
            ("KILL", 5),
            ("SETPCAP", 8),
            ("NET_ADMIN", 12),
            ("SYS_CHROOT", 18),
            ("SYS_ADMIN", 21),
            ("SYS_TIME", 25),
            ("MKNOD", 27),
            ("SETFCAP", 31),
            ("SYSLOG", 34),
            ("AUDIT_READ", 37),
            ("BPF", 39),
            ("CHECKPOINT_RESTORE", 40),
        ] {
            assert_eq!(Capability::from_name(name).unwrap().number(), number, "{name}");
        }
        // A full root on Linux 5.9 and later has 0x1ff_ffff_ffff: bits 0 to 40.
        assert_eq!(CapabilitySet::ALL.iter().count(), 41);
    }

    /// Names copied from containerd's `defaultUnixCaps`.
    #[test]
    fn the_profiles_number_them_as_this_table_does() {
        let names = |bits| {
            CapabilitySet::from_bits(bits)
                .iter()
                .map(Capability::name)
                .collect::<Vec<_>>()
                .join(" ")
        };
        assert_eq!(
            names(profile::RUNTIME_DEFAULT),
            "CHOWN DAC_OVERRIDE FOWNER FSETID KILL SETGID SETUID SETPCAP NET_BIND_SERVICE NET_RAW \
             SYS_CHROOT MKNOD AUDIT_WRITE SETFCAP"
        );
        assert_eq!(names(profile::SYS_PTRACE), "SYS_PTRACE");
        assert_eq!(names(profile::SHIELD), "BLOCK_SUSPEND");
    }

    #[test]
    fn all_is_a_set_and_more_than_has_names() {
        for name in ["ALL", "all", "CAP_ALL"] {
            assert_eq!(CapabilitySet::from_name(name), Some(CapabilitySet::ALL), "{name}");
        }
        let one = CapabilitySet::from_name("CHECKPOINT_RESTORE").unwrap();
        assert!(!one.is_open_ended());
        assert!(CapabilitySet::ALL.difference(one).is_open_ended());
        assert_eq!(CapabilitySet::from_name("SYS"), None);
    }

    #[test]
    fn names_are_found_with_prefix_and_in_any_case() {
        for name in ["SYS_TIME", "sys_time", "CAP_SYS_TIME", "cap_sys_time", "Cap_Sys_Time"] {
            assert_eq!(Capability::from_name(name).unwrap().number(), 25, "{name}");
        }
        for name in ["", "CAP_", "SYS", "SYS-TIME", "SYS_TIME ", "ALL"] {
            assert_eq!(Capability::from_name(name), None, "{name:?}");
        }
    }

    #[test]
    fn a_typo_gets_the_name_that_was_meant() {
        assert_eq!(nearest_name("NETADMIN"), Some("NET_ADMIN"));
        assert_eq!(nearest_name("cap_sys_ptrce"), Some("SYS_PTRACE"));
        assert_eq!(nearest_name("zzzzzzzzzzzz"), None);
    }

    #[test]
    fn sets_list_their_members_in_order() {
        let set: CapabilitySet =
            ["SYS_PTRACE", "CHOWN"].iter().filter_map(|n| Capability::from_name(n)).collect();
        assert_eq!(set.iter().map(Capability::name).collect::<Vec<_>>(), ["CHOWN", "SYS_PTRACE"]);
        assert_eq!(set.bits(), 1 | 1 << 19);
        assert_eq!(set.difference(set), CapabilitySet::EMPTY);
    }
}
