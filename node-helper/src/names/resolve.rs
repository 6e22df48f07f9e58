//! Names to numbers: which files that takes, and what they decide.

use rustix::fd::BorrowedFd;

use super::database::{self, File, group_id, memberships, passwd_entry};
use super::read;
use crate::enter::seal::SealedBinary;

/// A user or a group, as the operator wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Id {
    /// Taken as it is; whether it exists is for the user namespace to say.
    Number(u32),
    /// To be looked up in the target.
    Name(String),
}

/// What was asked for; `None` is what nothing was said about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// User of the command.
    pub user: Option<Id>,
    /// Its group.
    pub group: Option<Id>,
    /// Its supplementary groups.
    pub groups: Option<Vec<Id>>,
}

/// The same in numbers; `None` is what neither the operator nor a user's entry
/// said anything about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resolved {
    /// User of the command.
    pub uid: Option<u32>,
    /// Its group.
    pub gid: Option<u32>,
    /// Its supplementary groups.
    pub groups: Option<Vec<u32>>,
    /// Home directory of a user given by name: an absolute path.
    pub home: Option<Vec<u8>>,
}

/// Why a name has no number.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file could not be had.
    #[error(transparent)]
    Read(#[from] read::Error),
    /// The file does not tell.
    #[error(transparent)]
    Database(#[from] database::Error),
}

impl Error {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        use database::Error::{BadName, Malformed, Unknown};
        match self {
            Self::Read(read::Error::TimedOut(_)) => {
                "a file system of the container may hang: give numbers instead of names"
            }
            Self::Read(read::Error::Process(..) | read::Error::Silent) => "",
            Self::Read(_) => "give numbers instead of names",
            Self::Database(
                BadName { file, .. } | Unknown { file, .. } | Malformed { file, .. },
            ) => match file {
                File::Passwd => "give the number instead: -u UID",
                File::Group => "give the number instead: -u UID:GID, --groups GID",
            },
        }
    }
}

impl Wanted {
    fn names_user(&self) -> bool {
        matches!(self.user, Some(Id::Name(_)))
    }

    fn names_group(&self) -> bool {
        self.group.iter().chain(self.groups.iter().flatten()).any(|id| matches!(id, Id::Name(_)))
    }

    /// Whether the user's memberships are its supplementary groups: as with
    /// docker and runc, not beside a group that was named.
    fn takes_memberships(&self) -> bool {
        self.names_user() && self.groups.is_none() && self.group.is_none()
    }
}

/// Looks up what is given by name, in the files below `root`. Numbers read
/// nothing; no file is read twice.
///
/// # Errors
/// When a file that is needed cannot be had, or a name in it.
pub async fn resolve(
    binary: &SealedBinary,
    root: BorrowedFd<'_>,
    wanted: &Wanted,
) -> Result<Resolved, Error> {
    let passwd = match wanted.names_user() {
        true => read::file(binary, root, File::Passwd).await?,
        false => Vec::new(),
    };
    let group = match wanted.names_group() || wanted.takes_memberships() {
        true => read::file(binary, root, File::Group).await,
        false => Ok(Vec::new()),
    };
    let group = match group {
        // Who asks for no group by name loses nothing: there are no members.
        Err(read::Error::Missing(_)) if !wanted.names_group() => Vec::new(),
        other => other?,
    };
    Ok(decide(wanted, &passwd, &group)?)
}

/// The decision; a file that was not read is empty.
fn decide(wanted: &Wanted, passwd: &[u8], group: &[u8]) -> Result<Resolved, database::Error> {
    let mut resolved = Resolved::default();
    match &wanted.user {
        Some(Id::Name(name)) => {
            let user = passwd_entry(passwd, name)?;
            resolved.uid = Some(user.uid);
            resolved.gid = Some(user.gid);
            resolved.home = Some(user.home).filter(|home| home.starts_with(b"/"));
            resolved.groups = wanted.takes_memberships().then(|| memberships(group, name));
        }
        Some(Id::Number(uid)) => resolved.uid = Some(*uid),
        None => {}
    }
    let number = |id: &Id| match id {
        Id::Number(gid) => Ok(*gid),
        Id::Name(name) => group_id(group, name),
    };
    if let Some(id) = &wanted.group {
        resolved.gid = Some(number(id)?);
    }
    if let Some(ids) = &wanted.groups {
        resolved.groups = Some(ids.iter().map(number).collect::<Result<_, _>>()?);
    }
    Ok(resolved)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &[u8] = b"root:x:0:0::/root:/bin/sh\n\
        alice:x:1000:100::/home/alice:/bin/sh\n\
        bob:x:1001:101::home:/bin/sh\n";
    const GROUP: &[u8] = b"root:x:0:\nusers:x:100:\nstaff:x:50:alice\nadm:x:4:bob,alice\n";

    fn name(name: &str) -> Option<Id> {
        Some(Id::Name(name.into()))
    }

    fn decided(wanted: &Wanted) -> Resolved {
        decide(wanted, PASSWD, GROUP).unwrap()
    }

    #[test]
    fn a_named_user_brings_what_was_not_asked_for() {
        let alice = decided(&Wanted { user: name("alice"), ..Wanted::default() });
        let wanted = Resolved {
            uid: Some(1000),
            gid: Some(100),
            groups: Some(vec![4, 50]),
            home: Some(b"/home/alice".into()),
        };
        assert_eq!(alice, wanted);
    }

    #[test]
    fn what_was_asked_for_goes_first() {
        let groups = Some(vec![Id::Name("users".into()), Id::Number(7)]);
        let alice = decided(&Wanted { user: name("alice"), group: name("staff"), groups });
        assert_eq!(
            (alice.uid, alice.gid, alice.groups),
            (Some(1000), Some(50), Some(vec![100, 7]))
        );
        let none = Some(Vec::new());
        let alice = decided(&Wanted { user: name("alice"), groups: none, ..Wanted::default() });
        assert_eq!((alice.gid, alice.groups), (Some(100), Some(vec![])));
    }

    #[test]
    fn a_number_brings_nothing() {
        let uid = decided(&Wanted { user: Some(Id::Number(1000)), ..Wanted::default() });
        assert_eq!(uid, Resolved { uid: Some(1000), ..Resolved::default() });
        assert_eq!(decided(&Wanted::default()), Resolved::default());
        let group = decided(&Wanted { group: name("adm"), ..Wanted::default() });
        assert_eq!(group, Resolved { gid: Some(4), ..Resolved::default() });
    }

    #[test]
    fn a_home_that_is_no_absolute_path_is_none() {
        let bob = decided(&Wanted { user: name("bob"), ..Wanted::default() });
        assert_eq!((bob.uid, bob.home), (Some(1001), None));
    }

    #[test]
    fn files_are_needed_for_names_only() {
        let number = Some(Id::Number(5));
        let needs = |wanted: Wanted| {
            (wanted.names_user(), wanted.names_group(), wanted.takes_memberships())
        };
        let numbers = Wanted { user: number.clone(), group: number.clone(), groups: None };
        assert_eq!(needs(numbers), (false, false, false));
        let user = Wanted { user: name("alice"), ..Wanted::default() };
        assert_eq!(needs(user), (true, false, true));
        let grouped = Wanted { user: name("alice"), group: number.clone(), groups: None };
        assert_eq!(needs(grouped), (true, false, false));
        let alone = Wanted { user: name("alice"), group: number.clone(), groups: Some(vec![]) };
        assert_eq!(needs(alone), (true, false, false));
        let groups = Some(vec![Id::Number(1), Id::Name("adm".into())]);
        assert_eq!(needs(Wanted { user: number, group: None, groups }), (false, true, false));
        assert_eq!(needs(Wanted { group: name("adm"), ..Wanted::default() }), (false, true, false));
    }

    #[test]
    fn an_unknown_name_is_told_with_the_way_out() {
        let wanted = Wanted { user: name("eve"), ..Wanted::default() };
        let error = Error::from(decide(&wanted, PASSWD, GROUP).unwrap_err());
        assert_eq!(error.to_string(), "the container's /etc/passwd has no user \"eve\"");
        assert_eq!(error.hint(), "give the number instead: -u UID");
        for wanted in [
            Wanted { user: name("alice"), group: name("eve"), groups: None },
            Wanted { groups: Some(vec![Id::Name("eve".into())]), ..Wanted::default() },
        ] {
            let error = Error::from(decide(&wanted, PASSWD, GROUP).unwrap_err());
            assert_eq!(error.to_string(), "the container's /etc/group has no group \"eve\"");
            assert!(error.hint().contains("GID"), "{}", error.hint());
        }
    }
}
