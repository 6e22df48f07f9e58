//! Who the command is to be: what was asked for, validated. The helper, which
//! knows the target, makes an identity of it.

mod id;

use kpexec_protocol::{Groups, Profile, Seccomp};
use thiserror::Error;

use crate::capability::{CapabilitySet, nearest_name};
use crate::cli::IdentityFlags;

pub use id::{Id, IdError};

/// The user of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User(pub Id);

/// One of its groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group(pub Id);

/// What was asked for; `None` and `Unspecified` leave it to the profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// What the rest starts from.
    pub profile: Profile,
    /// User of the command.
    pub user: Option<User>,
    /// Its group.
    pub group: Option<Group>,
    /// Its supplementary groups.
    pub groups: Option<Vec<Group>>,
    /// Capabilities beyond those of the profile.
    pub add: CapabilitySet,
    /// Capabilities to leave out, before any are added.
    pub drop: CapabilitySet,
    /// Whether `PR_SET_NO_NEW_PRIVS` is wanted even where the profile lacks it.
    pub no_new_privs: bool,
    /// The filter on system calls.
    pub seccomp: Seccomp,
}

/// What is wrong with the identity that was asked for.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum IdentityError {
    /// `-u` names nobody.
    #[error("cannot run as {asked:?}")]
    User {
        /// All of it.
        asked: String,
        /// What is wrong with one part.
        source: IdError,
    },
    /// `--groups` names no group.
    #[error("cannot be in group {asked:?}")]
    Group {
        /// The one group.
        asked: String,
        /// What is wrong with it.
        source: IdError,
    },
    /// A name that capabilities(7) does not have.
    #[error("unknown capability {name:?}")]
    UnknownCapability {
        /// As it was given.
        name: String,
        /// What was probably meant.
        nearest: Option<&'static str>,
    },
    /// Neither parity nor elevated: the target could use such a session to shed
    /// its own confinement (docs/threat-model.md, A8).
    #[error(
        "{0} would be less confined than the container without being shielded \
         from it"
    )]
    Unshielded(&'static str),
}

impl IdentityError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::User { .. } => {
                Some("-u takes a name or number, and :GROUP after it if wanted".into())
            }
            Self::Group { .. } => {
                Some("--groups takes names and numbers with commas between; '' is none".into())
            }
            Self::UnknownCapability { nearest: Some(nearest), .. } => {
                Some(format!("did you mean {nearest}?"))
            }
            Self::UnknownCapability { .. } => Some("capabilities(7) lists them all".into()),
            Self::Unshielded(_) => {
                Some("leave out --seccomp, or take an elevated profile such as general".into())
            }
        }
    }
}

impl Identity {
    /// Turns the flags into what is asked of the helper.
    pub fn from_flags(flags: &IdentityFlags) -> Result<Self, IdentityError> {
        let (user, group) = match &flags.run_as {
            Some(text) => parse_run_as(text).map(|(user, group)| (Some(user), group))?,
            None => (None, None),
        };
        let identity = Self {
            profile: flags.profile.map_or(Profile::Unspecified, Profile::from),
            user,
            group,
            groups: flags.groups.as_deref().map(parse_groups).transpose()?,
            add: parse_set(&flags.cap_add)?,
            drop: parse_set(&flags.cap_drop)?,
            no_new_privs: flags.no_new_privs,
            seccomp: flags.seccomp.map_or(Seccomp::Unspecified, Seccomp::from),
        };
        identity.check_shield()?;
        Ok(identity)
    }

    /// The capabilities it comes to, given those that parity with the target
    /// means. Drops come before adds, as in Kubernetes: `--cap-drop ALL
    /// --cap-add X` is exactly X.
    pub fn capabilities(&self, of_target: CapabilitySet) -> CapabilitySet {
        let start = self.profile.capabilities().map_or(of_target, CapabilitySet::from_bits);
        start.difference(self.drop).union(self.add)
    }

    /// The filter it comes to; never `Unspecified`.
    pub fn filter(&self) -> Seccomp {
        match (self.seccomp, self.profile) {
            (Seccomp::Unspecified, Profile::Sysadmin) => Seccomp::Unconfined,
            (Seccomp::Unspecified, Profile::Target) => Seccomp::Target,
            (Seccomp::Unspecified, _) => Seccomp::Runtime,
            (asked, _) => asked,
        }
    }

    /// As it travels to the helper.
    pub fn to_protocol(&self) -> kpexec_protocol::Identity {
        let groups = self.groups.as_ref().map(|groups| Groups {
            ids: groups.iter().map(|Group(id)| id.to_protocol()).collect(),
        });
        kpexec_protocol::Identity {
            profile: self.profile.into(),
            user: self.user.as_ref().map(|User(id)| id.to_protocol()),
            group: self.group.as_ref().map(|Group(id)| id.to_protocol()),
            groups,
            add: self.add.bits(),
            drop: self.drop.bits(),
            no_new_privs: self.no_new_privs,
            seccomp: self.seccomp.into(),
        }
    }

    /// Refuses what is unsafe with any target. A capability that is added may
    /// lift the session above its target, and so shield it: the helper will know.
    fn check_shield(&self) -> Result<(), IdentityError> {
        let what = match (self.profile, self.seccomp) {
            (Profile::Target, Seccomp::Runtime) => "--profile target --seccomp runtime",
            (Profile::Target, Seccomp::Unconfined) => "--profile target --seccomp unconfined",
            (Profile::Restricted, Seccomp::Unconfined) => {
                "--profile restricted --seccomp unconfined"
            }
            _ => return Ok(()),
        };
        if self.add == CapabilitySet::EMPTY {
            return Err(IdentityError::Unshielded(what));
        }
        Ok(())
    }
}

/// `USER` or `USER:GROUP`.
fn parse_run_as(text: &str) -> Result<(User, Option<Group>), IdentityError> {
    let parse = |part| {
        Id::parse(part).map_err(|source| IdentityError::User { asked: text.to_owned(), source })
    };
    match text.split_once(':') {
        None => Ok((User(parse(text)?), None)),
        Some((user, group)) => Ok((User(parse(user)?), Some(Group(parse(group)?)))),
    }
}

/// clap makes one empty text of `--groups ''`, which means no groups.
fn parse_groups(texts: &[String]) -> Result<Vec<Group>, IdentityError> {
    if matches!(texts, [only] if only.is_empty()) {
        return Ok(Vec::new());
    }
    let parse = |text: &String| match Id::parse(text) {
        Ok(id) => Ok(Group(id)),
        Err(source) => Err(IdentityError::Group { asked: text.clone(), source }),
    };
    texts.iter().map(parse).collect()
}

fn parse_set(names: &[String]) -> Result<CapabilitySet, IdentityError> {
    names.iter().try_fold(CapabilitySet::EMPTY, |set, name| {
        let more = CapabilitySet::from_name(name).ok_or_else(|| {
            IdentityError::UnknownCapability { name: name.clone(), nearest: nearest_name(name) }
        })?;
        Ok(set.union(more))
    })
}

#[cfg(test)]
mod tests {
    use kpexec_protocol::id::Kind;

    use super::*;
    use crate::cli::{Profile as ProfileFlag, Seccomp as SeccompFlag};

    const ALL: CapabilitySet = CapabilitySet::ALL;
    const NONE: CapabilitySet = CapabilitySet::EMPTY;
    /// containerd's defaults, as `CapEff` of a root shell in a plain pod, and
    /// SYS_PTRACE.
    const GENERAL: u64 = 0xa804_25fb | 1 << 19;

    fn flags(profile: Option<ProfileFlag>, seccomp: Option<SeccompFlag>) -> IdentityFlags {
        IdentityFlags { profile, seccomp, ..IdentityFlags::default() }
    }

    fn with_caps(add: &[&str], drop: &[&str]) -> IdentityFlags {
        let owned = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        IdentityFlags { cap_add: owned(add), cap_drop: owned(drop), ..IdentityFlags::default() }
    }

    fn run_as(text: &str) -> Result<Identity, IdentityError> {
        let run_as = Some(text.to_owned());
        Identity::from_flags(&IdentityFlags { run_as, ..IdentityFlags::default() })
    }

    fn groups(texts: &[&str]) -> Result<Option<Vec<Group>>, IdentityError> {
        let groups = Some(texts.iter().map(ToString::to_string).collect());
        let identity = Identity::from_flags(&IdentityFlags { groups, ..IdentityFlags::default() });
        identity.map(|identity| identity.groups)
    }

    fn name(text: &str) -> Id {
        Id::Name(text.to_owned())
    }

    #[test]
    fn without_flags_all_is_left_to_the_helper() {
        let plain = Identity::from_flags(&IdentityFlags::default()).unwrap();
        assert_eq!(plain.to_protocol(), kpexec_protocol::Identity::default());
        assert_eq!(plain.capabilities(ALL).bits(), GENERAL);
        assert_eq!(plain.filter(), Seccomp::Runtime);
    }

    #[test]
    fn users_and_groups_are_numbers_or_names() {
        for (text, user, group) in [
            ("1000", Id::Number(1000), None),
            ("1000:100", Id::Number(1000), Some(Id::Number(100))),
            ("www-data", name("www-data"), None),
            ("www-data:0", name("www-data"), Some(Id::Number(0))),
            ("0:adm", Id::Number(0), Some(name("adm"))),
        ] {
            let got = run_as(text).unwrap();
            assert_eq!((got.user, got.group), (Some(User(user)), group.map(Group)), "{text}");
        }
        let sent = run_as("www-data:4").unwrap().to_protocol();
        assert_eq!(sent.user.unwrap().kind, Some(Kind::Name("www-data".into())));
        assert_eq!(sent.group.unwrap().kind, Some(Kind::Number(4)));
    }

    #[test]
    fn a_user_that_cannot_be_is_quoted_in_full() {
        for (text, source) in [
            ("", IdError::Empty),
            ("1000:", IdError::Empty),
            (":5", IdError::Empty),
            ("0:-1", IdError::Signed),
            ("1:2:3", IdError::Separator),
            ("1:4294967295", IdError::OutOfRange),
        ] {
            let expected = IdentityError::User { asked: text.into(), source };
            assert_eq!(run_as(text).unwrap_err(), expected);
        }
    }

    #[test]
    fn no_groups_are_something_else_than_no_flag() {
        assert_eq!(groups(&[""]).unwrap(), Some(Vec::new()));
        let two = vec![Group(name("adm")), Group(Id::Number(4))];
        assert_eq!(groups(&["adm", "4"]).unwrap(), Some(two));
        for (texts, asked) in [(["adm", ""], ""), (["", "4"], ""), (["a:b", "4"], "a:b")] {
            let error = groups(&texts).unwrap_err();
            assert!(matches!(&error, IdentityError::Group { asked: got, .. } if got == asked));
        }
        let flags = IdentityFlags { groups: Some(vec![String::new()]), ..Default::default() };
        let sent = Identity::from_flags(&flags).unwrap().to_protocol();
        assert_eq!(sent.groups, Some(Groups { ids: Vec::new() }));
    }

    #[test]
    fn adds_come_after_drops() {
        let bits = |add: &[&str], drop: &[&str]| {
            let identity = Identity::from_flags(&with_caps(add, drop)).unwrap();
            identity.capabilities(NONE).bits()
        };
        assert_eq!(bits(&["SYS_TIME"], &["all"]), 1 << 25);
        assert_eq!(bits(&["KILL"], &["KILL", "CAP_CHOWN"]), GENERAL & !1);
        assert_eq!(bits(&["cap_all"], &["ALL"]), u64::MAX);
        let sent = Identity::from_flags(&with_caps(&["KILL"], &["ALL"])).unwrap().to_protocol();
        assert_eq!((sent.add, sent.drop), (1 << 5, u64::MAX));
    }

    #[test]
    fn an_unknown_capability_is_named_with_the_likely_one() {
        let error = Identity::from_flags(&with_caps(&["NET_ADMN"], &[])).unwrap_err();
        assert_eq!(error.to_string(), "unknown capability \"NET_ADMN\"");
        assert_eq!(error.hint().unwrap(), "did you mean NET_ADMIN?");
    }

    #[test]
    fn a_profile_sets_what_no_flag_does() {
        use ProfileFlag::{Baseline, General, Netadmin, Restricted, Sysadmin, Target};
        let of_target = CapabilitySet::from_name("SYS_TIME").unwrap();
        for (profile, bits, filter) in [
            (General, GENERAL, Seccomp::Runtime),
            (Baseline, 0xa804_25fb, Seccomp::Runtime),
            (Restricted, 0, Seccomp::Runtime),
            (Netadmin, GENERAL | 1 << 12, Seccomp::Runtime),
            (Sysadmin, u64::MAX, Seccomp::Unconfined),
            (Target, 1 << 25, Seccomp::Target),
        ] {
            let got = Identity::from_flags(&flags(Some(profile), None)).unwrap();
            assert_eq!(got.capabilities(of_target).bits(), bits, "{profile:?}");
            assert_eq!(got.filter(), filter, "{profile:?}");
            assert_eq!(got.to_protocol().seccomp(), Seccomp::Unspecified, "{profile:?}");
        }
        let asked = flags(Some(Sysadmin), Some(SeccompFlag::Runtime));
        assert_eq!(Identity::from_flags(&asked).unwrap().filter(), Seccomp::Runtime);
    }

    #[test]
    fn less_confined_than_the_target_needs_a_shield() {
        use {ProfileFlag as P, SeccompFlag as S};
        for (profile, seccomp) in
            [(P::Target, S::Runtime), (P::Target, S::Unconfined), (P::Restricted, S::Unconfined)]
        {
            let mut flags = flags(Some(profile), Some(seccomp));
            let error = Identity::from_flags(&flags).unwrap_err();
            assert!(matches!(error, IdentityError::Unshielded(_)), "{profile:?} {seccomp:?}");
            // What the target may lack is for the helper to judge.
            flags.cap_add = vec!["SYS_TIME".into()];
            assert!(Identity::from_flags(&flags).is_ok(), "{profile:?} {seccomp:?}");
        }
        for (profile, seccomp) in [
            (Some(P::Target), S::Target),
            (Some(P::Restricted), S::Runtime),
            (Some(P::Restricted), S::Target),
            (Some(P::Sysadmin), S::Target),
            (Some(P::General), S::Unconfined),
            (None, S::Unconfined),
        ] {
            let flags = flags(profile, Some(seccomp));
            assert!(Identity::from_flags(&flags).is_ok(), "{profile:?} {seccomp:?}");
        }
    }
}
