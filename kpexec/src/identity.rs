//! Who the command will be: `-u`, `--cap-add` and `--cap-drop`, validated.

use thiserror::Error;

use crate::capability::{Capability, CapabilitySet, nearest_name};

/// containerd's default set, which the profile `general` starts from, so that a
/// session is the same on every runtime: CRI-O's own default lacks five of them.
const RUNTIME_DEFAULT: [&str; 14] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "FSETID",
    "FOWNER",
    "MKNOD",
    "NET_RAW",
    "SETGID",
    "SETUID",
    "SETFCAP",
    "SETPCAP",
    "NET_BIND_SERVICE",
    "SYS_CHROOT",
    "KILL",
    "AUDIT_WRITE",
];

/// A user ID as seen inside the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Uid(pub u32);

/// A group ID as seen inside the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gid(pub u32);

/// The identity of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// User of the command.
    pub uid: Uid,
    /// Group of the command; there are no supplementary groups.
    pub gid: Gid,
    /// Everything the command and its children can ever hold.
    pub capabilities: CapabilitySet,
}

/// What is wrong with the identity that was asked for.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum IdentityError {
    /// `-u` holds something else than numbers.
    #[error("cannot run as {0:?}: -u takes UID or UID:GID, in numbers")]
    NotNumeric(String),
    /// 4294967295 means "leave unchanged" in setresuid(2); larger ones do not fit.
    #[error("cannot run as {0:?}: IDs go from 0 to 4294967294")]
    OutOfRange(String),
    /// A name that capabilities(7) does not have.
    #[error("unknown capability {name:?}")]
    UnknownCapability {
        /// As it was given.
        name: String,
        /// What was probably meant.
        nearest: Option<&'static str>,
    },
}

impl IdentityError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NotNumeric(_) => Some("user names are not looked up yet; give numbers".into()),
            Self::OutOfRange(_) => None,
            Self::UnknownCapability { name, .. } if name.contains(',') => {
                Some("one capability a flag: --cap-add A --cap-add B".into())
            }
            Self::UnknownCapability { nearest: Some(nearest), .. } => {
                Some(format!("did you mean {nearest}?"))
            }
            Self::UnknownCapability { .. } => Some("capabilities(7) lists them all".into()),
        }
    }
}

impl Identity {
    /// Turns the flags into an identity.
    ///
    /// Root starts with the profile `general`: containerd's 14 defaults and
    /// `SYS_PTRACE`. Any other user starts with none, as with `docker exec -u`,
    /// and has only what `--cap-add` gives it. Drops come before adds, as in
    /// Kubernetes: `--cap-drop ALL --cap-add X` is exactly X.
    pub fn from_flags(
        run_as: Option<&str>,
        add: &[String],
        drop: &[String],
    ) -> Result<Self, IdentityError> {
        let (uid, gid) = run_as.map_or(Ok((Uid(0), Gid(0))), parse_run_as)?;
        let start = if uid == Uid(0) { general() } else { CapabilitySet::EMPTY };
        let capabilities = start.difference(parse_set(drop)?).union(parse_set(add)?);
        Ok(Self { uid, gid, capabilities })
    }

    /// As it travels to the helper.
    pub fn to_protocol(&self) -> kpexec_protocol::Identity {
        kpexec_protocol::Identity {
            uid: self.uid.0,
            gid: self.gid.0,
            groups: Vec::new(),
            capabilities: self.capabilities.bits(),
        }
    }
}

/// The capabilities of the default profile.
fn general() -> CapabilitySet {
    runtime_default().union(Capability::from_name("SYS_PTRACE").into_iter().collect())
}

/// containerd's default capabilities.
fn runtime_default() -> CapabilitySet {
    RUNTIME_DEFAULT.iter().filter_map(|name| Capability::from_name(name)).collect()
}

/// `UID` or `UID:GID`. Without a GID it is 0: the target's passwd file, which
/// docker would ask, may be missing or hostile, and Kubernetes does the same.
fn parse_run_as(text: &str) -> Result<(Uid, Gid), IdentityError> {
    let (uid, gid) = text.split_once(':').unwrap_or((text, "0"));
    Ok((Uid(parse_id(uid, text)?), Gid(parse_id(gid, text)?)))
}

fn parse_id(digits: &str, whole: &str) -> Result<u32, IdentityError> {
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(IdentityError::NotNumeric(whole.to_owned()));
    }
    match digits.parse::<u32>() {
        Ok(id) if id != u32::MAX => Ok(id),
        _ => Err(IdentityError::OutOfRange(whole.to_owned())),
    }
}

fn parse_set(names: &[String]) -> Result<CapabilitySet, IdentityError> {
    names.iter().try_fold(CapabilitySet::EMPTY, |set, name| {
        if name.eq_ignore_ascii_case("all") || name.eq_ignore_ascii_case("cap_all") {
            return Ok(CapabilitySet::ALL);
        }
        let capability = Capability::from_name(name).ok_or_else(|| {
            IdentityError::UnknownCapability { name: name.clone(), nearest: nearest_name(name) }
        })?;
        Ok(set.union(capability.into()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(
        run_as: Option<&str>,
        add: &[&str],
        drop: &[&str],
    ) -> Result<Identity, IdentityError> {
        let owned = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        Identity::from_flags(run_as, &owned(add), &owned(drop))
    }

    #[test]
    fn the_default_is_root_with_the_general_profile() {
        let got = identity(None, &[], &[]).unwrap();
        assert_eq!((got.uid, got.gid), (Uid(0), Gid(0)));
        // 0xa80425fb is `CapEff` of a root shell in a plain containerd pod;
        // bit 19 is SYS_PTRACE.
        assert_eq!(got.capabilities.bits(), 0xa804_25fb | 1 << 19);
    }

    #[test]
    fn another_user_has_only_what_is_added() {
        let got = identity(Some("1000:100"), &[], &[]).unwrap();
        assert_eq!((got.uid, got.gid, got.capabilities.bits()), (Uid(1000), Gid(100), 0));
        let got = identity(Some("1000"), &["cap_kill"], &["ALL"]).unwrap();
        assert_eq!((got.uid, got.gid, got.capabilities.bits()), (Uid(1000), Gid(0), 1 << 5));
    }

    #[test]
    fn adds_come_after_drops() {
        assert_eq!(identity(None, &["SYS_TIME"], &["all"]).unwrap().capabilities.bits(), 1 << 25);
        let got = identity(None, &["KILL"], &["KILL", "CAP_CHOWN"]).unwrap();
        assert_eq!(got.capabilities.bits(), (0xa804_25fb | 1 << 19) & !1);
        let got = identity(Some("0"), &["ALL"], &[]).unwrap();
        assert_eq!(got.capabilities, CapabilitySet::ALL);
    }

    #[test]
    fn bad_ids_are_named() {
        for text in ["", "alice", "1000:", ":5", "-1", "+1", "1:2:3", " 1", "0x10"] {
            let error = identity(Some(text), &[], &[]).unwrap_err();
            assert_eq!(error, IdentityError::NotNumeric(text.into()), "{text:?}");
        }
        for text in ["4294967295", "1:4294967296"] {
            let error = identity(Some(text), &[], &[]).unwrap_err();
            assert_eq!(error, IdentityError::OutOfRange(text.into()), "{text:?}");
        }
    }

    #[test]
    fn an_unknown_capability_is_named_with_the_likely_one() {
        let error = identity(None, &["NET_ADMN"], &[]).unwrap_err();
        assert_eq!(error.to_string(), "unknown capability \"NET_ADMN\"");
        assert_eq!(error.hint().unwrap(), "did you mean NET_ADMIN?");
    }
}
