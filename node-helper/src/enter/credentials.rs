//! Taking the session's identity, and proving that it was taken.

use nix::unistd::{Gid, Uid, getgroups, getresgid, getresuid, setgroups, setresgid, setresuid};
use rustix::io::Errno;
use rustix::thread::{
    CapabilitySet, CapabilitySets, clear_ambient_capability_set,
    configure_capability_in_ambient_set, remove_capability_from_bounding_set, set_capabilities,
    set_keep_capabilities,
};

use crate::target::facts::OVERFLOW_ID;

/// Who the session is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// Real, effective and saved user.
    pub uid: u32,
    /// Real, effective and saved group.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
    /// Capabilities, bit n for number n of capabilities(7).
    pub capabilities: u64,
}

/// The five capability sets of capabilities(7).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sets {
    /// What is in force.
    pub effective: u64,
    /// What may be made effective.
    pub permitted: u64,
    /// What execve(2) may pass on to a file that says so.
    pub inheritable: u64,
    /// What execve(2) can never exceed.
    pub bounding: u64,
    /// What execve(2) passes on by itself.
    pub ambient: u64,
}

/// Why the identity was not taken.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A system call failed.
    #[error("{action}")]
    Call {
        /// What was tried.
        action: &'static str,
        /// What the kernel answered.
        #[source]
        errno: Errno,
    },
    /// The identity read back is not the one asked for.
    #[error("compare the identity taken with the one asked for ({0} differ)")]
    Differs(&'static str),
}

impl Credentials {
    /// The sets a session has from its first instruction on.
    ///
    /// The bounding set equals the rest, always: a set-uid program of the target
    /// must not regain what the session was not given. uid 0 gets its sets back
    /// at execve(2) by being root; another user keeps them through the ambient
    /// set, which needs them inheritable (capabilities(7), "Transformation of
    /// capabilities during execve()").
    pub fn sets(&self) -> Sets {
        let all = self.capabilities;
        let passed_on = if self.uid == 0 { 0 } else { all };
        Sets {
            effective: all,
            permitted: all,
            inheritable: passed_on,
            bounding: all,
            ambient: passed_on,
        }
    }

    /// Takes the identity. Needs CAP_SETPCAP, CAP_SETGID and CAP_SETUID, and
    /// every capability that is to remain.
    ///
    /// # Errors
    /// At the first step that fails; the caller must then end.
    pub fn take(&self) -> Result<(), Error> {
        let sets = self.sets();
        drop_bounding(sets.bounding).map_err(call("drop the bounding set"))?;
        clear_ambient_capability_set().map_err(call("clear the ambient set"))?;
        set_keep_capabilities(true).map_err(call("keep capabilities"))?;
        match set_groups(&self.groups) {
            // The target's user namespace forbids it; `verify` decides.
            Err(nix::errno::Errno::EPERM) if self.groups.is_empty() => {}
            other => other.map_err(nix_call("set the supplementary groups"))?,
        }
        let gid = Gid::from_raw(self.gid);
        setresgid(gid, gid, gid).map_err(nix_call("set the group"))?;
        let uid = Uid::from_raw(self.uid);
        setresuid(uid, uid, uid).map_err(nix_call("set the user"))?;
        let wanted = CapabilitySets {
            effective: CapabilitySet::from_bits_retain(sets.effective),
            permitted: CapabilitySet::from_bits_retain(sets.permitted),
            inheritable: CapabilitySet::from_bits_retain(sets.inheritable),
        };
        set_capabilities(None, wanted).map_err(call("set the capabilities"))?;
        for capability in bits(sets.ambient) {
            configure_capability_in_ambient_set(capability, true)
                .map_err(call("raise an ambient capability"))?;
        }
        set_keep_capabilities(false).map_err(call("stop keeping capabilities"))
    }

    /// Whether these groups are the wanted ones. Where the user namespace
    /// forbids setgroups(2) some cannot be given up: one that is the session's
    /// own anyway, or that the namespace does not know, gives it nothing.
    fn groups_are(&self, found: &[u32]) -> bool {
        let sorted = |groups: &[u32]| {
            let mut groups = groups.to_vec();
            groups.sort_unstable();
            groups
        };
        let nothing = |group: &u32| [self.gid, OVERFLOW_ID].contains(group);
        sorted(found) == sorted(&self.groups) || self.groups.is_empty() && found.iter().all(nothing)
    }

    /// Reads the identity back, by another library than the one that set it,
    /// and compares.
    ///
    /// # Errors
    /// When anything differs or cannot be read.
    pub fn verify(&self) -> Result<(), Error> {
        let users = getresuid().map_err(nix_call("read the user back"))?;
        let uid = Uid::from_raw(self.uid);
        if (users.real, users.effective, users.saved) != (uid, uid, uid) {
            return Err(Error::Differs("users"));
        }
        let gid = Gid::from_raw(self.gid);
        let found = getresgid().map_err(nix_call("read the group back"))?;
        if (found.real, found.effective, found.saved) != (gid, gid, gid) {
            return Err(Error::Differs("groups"));
        }
        if !self.groups_are(&read_groups()?) {
            return Err(Error::Differs("supplementary groups"));
        }
        if read_sets()? != self.sets() {
            return Err(Error::Differs("capabilities"));
        }
        Ok(())
    }
}

/// Sets the supplementary groups, in whatever order.
fn set_groups(groups: &[u32]) -> nix::Result<()> {
    let groups: Vec<_> = groups.iter().copied().map(Gid::from_raw).collect();
    setgroups(&groups)
}

fn read_groups() -> Result<Vec<u32>, Error> {
    let groups = getgroups().map_err(nix_call("read the groups back"))?;
    Ok(groups.iter().map(|group| group.as_raw()).collect())
}

/// Gives up the helper's own groups, before any namespace is joined in which
/// that may be forbidden.
///
/// # Errors
/// When setgroups(2) fails; `EPERM` is no error: an ordinary user's namespace
/// (user_namespaces(7), "The /proc/pid/setgroups file") can only be a test's.
pub fn leave_groups() -> Result<(), Error> {
    match set_groups(&[]) {
        Err(nix::errno::Errno::EPERM) => Ok(()),
        other => other.map_err(nix_call("leave the helper's groups")),
    }
}

/// Gives up every capability, in all sets, and confirms it. An ordinary user,
/// who holds none, cannot empty the bounding set; no_new_privs stands for it.
///
/// # Errors
/// When any capability is left.
pub fn drop_capabilities() -> Result<(), Error> {
    let held = read_sets()?;
    let mut wanted = Sets::default();
    match drop_bounding(0) {
        Err(Errno::PERM) if held.permitted == 0 => wanted.bounding = held.bounding,
        other => other.map_err(call("drop the bounding set"))?,
    }
    clear_ambient_capability_set().map_err(call("clear the ambient set"))?;
    let none = CapabilitySet::empty();
    let none = CapabilitySets { effective: none, permitted: none, inheritable: none };
    set_capabilities(None, none).map_err(call("set the capabilities"))?;
    nix::sys::prctl::set_no_new_privs().map_err(nix_call("forbid new ones"))?;
    if read_sets()? == wanted { Ok(()) } else { Err(Error::Differs("capabilities")) }
}

/// Drops from the bounding set whatever is not in `keep`, up to the last
/// capability this kernel knows: it answers `EINVAL` beyond.
fn drop_bounding(keep: u64) -> Result<(), Errno> {
    for number in 0..u64::BITS {
        let bit = CapabilitySet::from_bits_retain(1 << number);
        if keep & bit.bits() != 0 {
            continue;
        }
        match remove_capability_from_bounding_set(bit) {
            Err(Errno::INVAL) => break,
            other => other?,
        }
    }
    Ok(())
}

/// The capability sets of this process.
///
/// # Errors
/// When one cannot be read.
pub fn read_sets() -> Result<Sets, Error> {
    let read = |set| {
        caps::read(None, set)
            .map(|found| found.iter().map(caps::Capability::bitmask).sum())
            .map_err(|_| Error::Differs("capabilities that cannot be read"))
    };
    Ok(Sets {
        effective: read(caps::CapSet::Effective)?,
        permitted: read(caps::CapSet::Permitted)?,
        inheritable: read(caps::CapSet::Inheritable)?,
        bounding: read(caps::CapSet::Bounding)?,
        ambient: read(caps::CapSet::Ambient)?,
    })
}

fn bits(set: u64) -> impl Iterator<Item = CapabilitySet> {
    (0..u64::BITS)
        .map(|number| 1 << number)
        .filter(move |bit| set & bit != 0)
        .map(CapabilitySet::from_bits_retain)
}

fn call(action: &'static str) -> impl Fn(Errno) -> Error {
    move |errno| Error::Call { action, errno }
}

fn nix_call(action: &'static str) -> impl Fn(nix::errno::Errno) -> Error {
    move |errno| Error::Call { action, errno: Errno::from_raw_os_error(errno as i32) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credentials(uid: u32, capabilities: u64) -> Credentials {
        Credentials { uid, gid: 0, groups: Vec::new(), capabilities }
    }

    #[test]
    fn the_bounding_set_is_the_sessions_set() {
        for uid in [0, 1000] {
            for capabilities in [0, 1 << 19, 0xa804_25fb] {
                assert_eq!(credentials(uid, capabilities).sets().bounding, capabilities);
            }
        }
    }

    #[test]
    fn root_needs_no_ambient_set_and_others_do() {
        let root = credentials(0, 0b110).sets();
        assert_eq!((root.ambient, root.inheritable), (0, 0));
        let user = credentials(1000, 0b110).sets();
        assert_eq!((user.ambient, user.inheritable), (0b110, 0b110));
        assert_eq!((user.effective, user.permitted), (0b110, 0b110));
    }

    #[test]
    fn groups_that_give_more_are_noticed() {
        let own = Credentials { gid: 5, ..credentials(0, 0) };
        for harmless in [&[][..], &[5], &[OVERFLOW_ID, 5]] {
            assert!(own.groups_are(harmless), "{harmless:?}");
        }
        assert!(!own.groups_are(&[5, 6]));
        let asked = Credentials { groups: vec![7, 8], ..own };
        assert!(asked.groups_are(&[8, 7]));
        assert!(!asked.groups_are(&[7]));
        assert!(!asked.groups_are(&[5]));
    }

    #[test]
    fn an_identity_that_was_not_taken_is_noticed() {
        let mut own = Credentials {
            uid: Uid::current().as_raw(),
            gid: Gid::current().as_raw(),
            groups: getgroups().unwrap().iter().map(|gid| gid.as_raw()).collect(),
            capabilities: 0,
        };
        own.uid += 1;
        assert!(matches!(own.verify(), Err(Error::Differs("users"))));
        own.uid -= 1;
        own.groups.push(4242);
        assert!(matches!(own.verify(), Err(Error::Differs("supplementary groups"))));
        own.groups.pop();
        // Tests run with a full bounding set, which is not what this asks for.
        assert!(matches!(own.verify(), Err(Error::Differs("capabilities"))));
    }
}
