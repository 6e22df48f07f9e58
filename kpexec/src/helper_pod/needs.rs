//! What the helper's container must be given for the session asked for: one can
//! only give what one holds, and only be without a filter if one has none.

use k8s_openapi::api::core::v1::{Capabilities, SeccompProfile};
use kpexec_protocol::Seccomp;

use crate::capability::{Capability, CapabilitySet};
use crate::identity::Identity;
use crate::target::Rights;

/// What every helper may do, in full, because the runtimes' defaults differ:
/// CRI-O's lack SYS_CHROOT, without which setns(2) refuses mount namespaces.
const FIXED: [&str; 18] = [
    // To enter: setns(2), and the mounts of the view.
    "SYS_ADMIN",
    // To open /proc/PID/ns of processes that hold capabilities we lack.
    "SYS_PTRACE",
    // To join a mount namespace, with SYS_ADMIN: setns(2).
    "SYS_CHROOT",
    // To become the session's user.
    "SETUID",
    "SETGID",
    // To shrink the bounding set to the session's.
    "SETPCAP",
    // To end a session after it changed its user.
    "KILL",
    // To open the files and folders of other owners on the way in.
    "DAC_OVERRIDE",
    // To keep the folders that something is mounted on from being removed, in a
    // root that the session can write: docs/threat-model.md, A5.
    "LINUX_IMMUTABLE",
    // The shield, a session the target cannot trace: docs/threat-model.md, A8.
    "BLOCK_SUSPEND",
    // The rest of the profile `general`: one can only give what one holds.
    "CHOWN",
    "FSETID",
    "FOWNER",
    "NET_BIND_SERVICE",
    "NET_RAW",
    "MKNOD",
    "AUDIT_WRITE",
    "SETFCAP",
];

/// The fixed list and what the session holds beyond it.
pub fn capabilities(identity: &Identity, rights: Rights) -> Capabilities {
    let session = identity.capabilities(rights.added);
    if session.is_open_ended() {
        // By name it would fail on a node that lacks one of them. Nothing may be
        // dropped beside it: containerd and CRI-O let `drop: [ALL]` win.
        return Capabilities { add: Some(vec!["ALL".into()]), drop: None };
    }
    let fixed: CapabilitySet =
        FIXED.iter().filter_map(|name| Capability::from_name(name)).collect();
    let more = session.difference(fixed);
    let names = FIXED.into_iter().chain(more.iter().map(Capability::name));
    Capabilities { add: Some(names.map(str::to_owned).collect()), drop: Some(vec!["ALL".into()]) }
}

/// A filter cannot be taken off again (seccomp(2)), so a session can be without
/// one only if its helper is.
pub fn seccomp(identity: &Identity, rights: Rights) -> SeccompProfile {
    let unconfined = match identity.filter() {
        Seccomp::Unconfined => true,
        // Under a filter of the helper's, parity would be stricter than the target.
        Seccomp::Target => rights.unconfined,
        Seccomp::Runtime | Seccomp::Unspecified => false,
    };
    let type_ = if unconfined { "Unconfined" } else { "RuntimeDefault" };
    SeccompProfile { type_: type_.into(), ..SeccompProfile::default() }
}

#[cfg(test)]
mod tests {
    use kpexec_protocol::profile::{GENERAL, SHIELD};

    use super::*;
    use crate::cli::{IdentityFlags, Profile, Seccomp as Filter};

    const PLAIN: Rights = Rights { added: CapabilitySet::EMPTY, unconfined: false };
    const PRIVILEGED: Rights = Rights { added: CapabilitySet::ALL, unconfined: true };

    fn identity(flags: &IdentityFlags) -> Identity {
        Identity::from_flags(flags).unwrap()
    }

    fn profile(profile: Profile) -> IdentityFlags {
        IdentityFlags { profile: Some(profile), ..IdentityFlags::default() }
    }

    fn caps(add: &str, drop: &str) -> IdentityFlags {
        let owned = |names: &str| names.split_whitespace().map(str::to_owned).collect();
        IdentityFlags { cap_add: owned(add), cap_drop: owned(drop), ..IdentityFlags::default() }
    }

    /// What is added beyond the fixed list; `ALL` if that is all there is.
    fn beyond(flags: &IdentityFlags, rights: Rights) -> Vec<String> {
        let Capabilities { add, drop } = capabilities(&identity(flags), rights);
        let add = add.unwrap();
        if drop.is_none() {
            return add;
        }
        assert_eq!(drop.unwrap(), ["ALL"]);
        assert_eq!(add[..FIXED.len()], FIXED);
        add[FIXED.len()..].to_vec()
    }

    #[test]
    fn the_fixed_list_suffices_for_general_and_the_shield() {
        let fixed = FIXED.map(|name| Capability::from_name(name).unwrap());
        let fixed: CapabilitySet = fixed.into_iter().collect();
        assert_eq!((GENERAL | SHIELD) & !fixed.bits(), 0);
    }

    #[test]
    fn a_session_gets_just_what_it_asks_beyond_the_fixed_list() {
        for flags in [
            IdentityFlags::default(),
            profile(Profile::Baseline),
            profile(Profile::Restricted),
            caps("KILL SYS_ADMIN", "ALL"),
            caps("", "ALL"),
        ] {
            assert_eq!(beyond(&flags, PLAIN), [""; 0], "{flags:?}");
        }
        assert_eq!(beyond(&profile(Profile::Netadmin), PLAIN), ["NET_ADMIN"]);
        assert_eq!(beyond(&caps("SYS_TIME BPF", "NET_RAW"), PLAIN), ["SYS_TIME", "BPF"]);
    }

    #[test]
    fn everything_is_asked_for_by_that_name() {
        let mut sysadmin = profile(Profile::Sysadmin);
        assert_eq!(beyond(&sysadmin, PLAIN), ["ALL"]);
        sysadmin.cap_drop = vec!["SYS_MODULE".into()];
        assert_eq!(beyond(&sysadmin, PLAIN), ["ALL"]);
        assert_eq!(beyond(&caps("ALL", "ALL"), PLAIN), ["ALL"]);
        // Of which nothing is left.
        sysadmin.cap_drop = vec!["ALL".into()];
        assert_eq!(beyond(&sysadmin, PLAIN), [""; 0]);
    }

    #[test]
    fn a_session_without_a_filter_has_a_helper_without_one() {
        let type_of = |flags: &IdentityFlags| seccomp(&identity(flags), PLAIN).type_;
        let asked = |seccomp| IdentityFlags { seccomp: Some(seccomp), ..IdentityFlags::default() };
        assert_eq!(type_of(&asked(Filter::Unconfined)), "Unconfined");
        assert_eq!(type_of(&profile(Profile::Sysadmin)), "Unconfined");
        let kept = IdentityFlags { seccomp: Some(Filter::Runtime), ..profile(Profile::Sysadmin) };
        for flags in [IdentityFlags::default(), profile(Profile::Restricted), kept] {
            assert_eq!(type_of(&flags), "RuntimeDefault", "{flags:?}");
        }
    }

    #[test]
    fn parity_gets_what_the_target_was_given_by_name() {
        let mut parity = profile(Profile::Target);
        assert_eq!(beyond(&parity, PLAIN), [""; 0]);
        let added = CapabilitySet::from_name("SYS_TIME").unwrap();
        let more = Rights { added, unconfined: false };
        assert_eq!(beyond(&parity, more), ["SYS_TIME"]);
        assert_eq!(beyond(&parity, PRIVILEGED), ["ALL"]);
        parity.cap_add = vec!["BPF".into()];
        parity.cap_drop = vec!["SYS_TIME".into()];
        assert_eq!(beyond(&parity, more), ["BPF"]);
        // Only parity looks at the target.
        assert_eq!(beyond(&IdentityFlags::default(), PRIVILEGED), [""; 0]);
    }

    #[test]
    fn the_targets_lack_of_a_filter_matters_to_those_who_want_its_filter() {
        let asked = IdentityFlags { seccomp: Some(Filter::Target), ..IdentityFlags::default() };
        for (flags, wants_it) in [
            (profile(Profile::Target), true),
            (asked, true),
            (IdentityFlags::default(), false),
            (profile(Profile::Restricted), false),
        ] {
            assert_eq!(seccomp(&identity(&flags), PLAIN).type_, "RuntimeDefault", "{flags:?}");
            let type_ = seccomp(&identity(&flags), PRIVILEGED).type_;
            assert_eq!(type_ == "Unconfined", wants_it, "{flags:?}");
        }
    }
}
