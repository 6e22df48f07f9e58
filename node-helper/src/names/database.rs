//! `/etc/passwd` and `/etc/group` as text: passwd(5), group(5). Strict, because
//! whoever writes them wants to be taken for somebody else: what is not exactly
//! as the manual has it is an error, and never uid 0 (CVE-2016-3697).

use std::collections::BTreeSet;
use std::fmt;

/// Longer than any name useradd(8) or a directory service gives.
const LONGEST_NAME: usize = 256;

/// The two files, and what an entry of each is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum File {
    /// `/etc/passwd`: users.
    Passwd,
    /// `/etc/group`: groups.
    Group,
}

impl File {
    /// Where it is, seen from the root.
    pub fn path(self) -> &'static str {
        match self {
            Self::Passwd => "etc/passwd",
            Self::Group => "etc/group",
        }
    }

    fn subject(self) -> &'static str {
        match self {
            Self::Passwd => "user",
            Self::Group => "group",
        }
    }
}

impl fmt::Display for File {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "/{}", self.path())
    }
}

/// Why a name has no number. What the files hold is not repeated: it is the
/// target's, and the reader is a terminal.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No entry of this name is looked for.
    #[error("no {} can have that name: it {fault}", .file.subject())]
    BadName {
        /// Where it would be looked up.
        file: File,
        /// What is wrong, in words.
        fault: &'static str,
    },
    /// No entry has the name.
    #[error("the container's {file} has no {} {name:?}", .file.subject())]
    Unknown {
        /// Where it was looked up.
        file: File,
        /// The name asked for.
        name: String,
    },
    /// The entry is not as the manual has it.
    #[error("the container's {file} is malformed at {} {name:?}: {fault}", .file.subject())]
    Malformed {
        /// Where it is.
        file: File,
        /// The name asked for.
        name: String,
        /// What is wrong.
        fault: Fault,
    },
}

/// What is wrong with an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// passwd(5) has seven fields, group(5) four.
    #[error("it has {found} fields instead of {wanted}")]
    Fields {
        /// How many there are.
        found: usize,
        /// How many there must be.
        wanted: usize,
    },
    /// C programs end the line there.
    #[error("it holds a NUL byte")]
    Nul,
    /// Not digits only, or too large; -1 is "leave unchanged" to setresuid(2).
    #[error("its {0} is not a number from 0 to 4294967294")]
    Id(&'static str),
}

/// What `/etc/passwd` says of a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The user's number.
    pub uid: u32,
    /// The number of the user's own group.
    pub gid: u32,
    /// The home directory, whatever it may be.
    pub home: Vec<u8>,
}

/// Looks up a user. The first entry of the name counts, as everywhere.
///
/// # Errors
/// When the name is none, is not there, or its entry is malformed.
pub fn passwd_entry(text: &[u8], name: &str) -> Result<User, Error> {
    let file = File::Passwd;
    let line = find(text, file, name)?;
    let entry = fields::<7>(line).and_then(|[_, _, uid, gid, _, home, _]| {
        Ok(User { uid: id(uid, "uid")?, gid: id(gid, "gid")?, home: home.to_vec() })
    });
    entry.map_err(|fault| Error::Malformed { file, name: name.to_owned(), fault })
}

/// Looks up a group's number. The first entry of the name counts.
///
/// # Errors
/// When the name is none, is not there, or its entry is malformed.
pub fn group_id(text: &[u8], name: &str) -> Result<u32, Error> {
    let file = File::Group;
    let line = find(text, file, name)?;
    let entry = fields::<4>(line).and_then(|[_, _, gid, _]| id(gid, "gid"));
    entry.map_err(|fault| Error::Malformed { file, name: name.to_owned(), fault })
}

/// The groups that name a user as a member, in ascending order. A malformed
/// entry makes nobody a member.
pub fn memberships(text: &[u8], name: &str) -> Vec<u32> {
    let group = |line| {
        let [_, _, gid, members] = fields::<4>(line).ok()?;
        let member = members.split(|byte| *byte == b',').any(|one| one == name.as_bytes());
        id(gid, "gid").ok().filter(|_| member)
    };
    // A set, because a megabyte holds 100,000 of them.
    entries(text).filter_map(group).collect::<BTreeSet<_>>().into_iter().collect()
}

/// The lines that stand for somebody: not comments, which the C library skips,
/// nor the NIS lines of nsswitch.conf(5), "compat mode".
fn entries(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|byte| *byte == b'\n')
        .filter(|line| !matches!(line.first(), Some(b'#' | b'+' | b'-')))
}

fn find<'a>(text: &'a [u8], file: File, name: &str) -> Result<&'a [u8], Error> {
    if let Some(fault) = name_fault(name) {
        return Err(Error::BadName { file, fault });
    }
    let named = |line: &&[u8]| line.split(|byte| *byte == b':').next() == Some(name.as_bytes());
    entries(text).find(named).ok_or_else(|| Error::Unknown { file, name: name.to_owned() })
}

fn name_fault(name: &str) -> Option<&'static str> {
    if name.is_empty() {
        Some("is empty")
    } else if name.bytes().all(|byte| byte.is_ascii_digit()) {
        // An entry called 1000 would turn a user's number into another.
        Some("is a number")
    } else if name.len() > LONGEST_NAME {
        Some("is longer than 256 bytes")
    } else if name.contains([':', '\n', '\0']) {
        Some("holds a colon, a line break or a NUL byte")
    } else {
        None
    }
}

fn fields<const WANTED: usize>(line: &[u8]) -> Result<[&[u8]; WANTED], Fault> {
    if line.contains(&0) {
        return Err(Fault::Nul);
    }
    let fields: Vec<&[u8]> = line.split(|byte| *byte == b':').collect();
    let found = fields.len();
    fields.try_into().map_err(|_| Fault::Fields { found, wanted: WANTED })
}

fn id(digits: &[u8], field: &'static str) -> Result<u32, Fault> {
    // Rust's own parser takes a sign; the C library's takes blanks as well.
    let number = std::str::from_utf8(digits)
        .ok()
        .filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))
        .and_then(|digits| digits.parse().ok());
    number.filter(|id| *id != u32::MAX).ok_or(Fault::Id(field))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &[u8] = b"root:x:0:0:root:/root:/bin/sh\n\
        # alice:x:0:0::/:/bin/sh\n\
        #alice:x:0:0::/:/bin/sh\n\
        \n\
        +::::::\n\
        +bob:x:0:0::/:/bin/sh\n\
        -bob:x:0:0::/:/bin/sh\n\
        alice:x:1000:100:Alice:/home/alice:/bin/sh\n\
        alice:x:0:0:again:/root:/bin/sh\n\
        0:x:7:7::/:/bin/sh\n\
        1000:x:0:0::/:/bin/sh\n\
        last:x:4294967294:4294967294:::";

    fn user(uid: u32, gid: u32, home: &str) -> User {
        User { uid, gid, home: home.into() }
    }

    /// What is wrong with an entry for `bob`.
    fn passwd_fault(line: &[u8]) -> Fault {
        match passwd_entry(&[line, b"\nbob:x:1:1::/:/bin/sh\n"].concat(), "bob") {
            Err(Error::Malformed { file: File::Passwd, fault, .. }) => fault,
            other => panic!("{} gave {other:?}", line.escape_ascii()),
        }
    }

    #[test]
    fn t28_the_first_entry_of_a_user_counts() {
        assert_eq!(passwd_entry(PASSWD, "root"), Ok(user(0, 0, "/root")));
        assert_eq!(passwd_entry(PASSWD, "alice"), Ok(user(1000, 100, "/home/alice")));
    }

    #[test]
    fn t28_the_last_line_needs_no_end_and_home_may_be_empty() {
        assert_eq!(passwd_entry(PASSWD, "last"), Ok(user(u32::MAX - 1, u32::MAX - 1, "")));
    }

    #[test]
    fn t28_comments_and_nis_lines_are_nobody() {
        for name in ["bob", "#alice", "# alice", "+", "+bob", "-bob", "ali", "alice2", "Alice"] {
            let unknown = Error::Unknown { file: File::Passwd, name: name.into() };
            assert_eq!(passwd_entry(PASSWD, name), Err(unknown), "{name}");
        }
    }

    #[test]
    fn t28_names_that_are_none_are_not_looked_up() {
        let long = "a".repeat(257);
        let text = [PASSWD, b"\n:x:5:5::/:\n", long.as_bytes(), b":x:5:5::/:"].concat();
        for name in ["", "0", "1000", "x:0", "a\nb", "a\0", &long] {
            let found = passwd_entry(&text, name);
            assert!(matches!(found, Err(Error::BadName { .. })), "{name:?} gave {found:?}");
            let found = group_id(b"0:x:5:\n1000:x:5:\n:x:5:", name);
            assert!(matches!(found, Err(Error::BadName { .. })), "{name:?} gave {found:?}");
        }
        assert!(passwd_entry(&text[..text.len() - 9], &long[1..]).is_err());
        let longest = &long[1..];
        let line = format!("{longest}:x:5:5::/:/bin/sh");
        assert_eq!(passwd_entry(line.as_bytes(), longest), Ok(user(5, 5, "/")));
    }

    #[test]
    fn t28_an_entry_has_exactly_its_fields() {
        for (line, found) in [
            ("bob", 1),
            ("bob:0", 2),
            ("bob:x:0:0:/root:/bin/sh", 6),
            ("bob:x:0:0::/root:/bin/sh:", 8),
        ] {
            assert_eq!(passwd_fault(line.as_bytes()), Fault::Fields { found, wanted: 7 }, "{line}");
        }
        let fault = Fault::Fields { found: 3, wanted: 4 };
        let malformed = Error::Malformed { file: File::Group, name: "bob".into(), fault };
        assert_eq!(group_id(b"bob:x:0\nbob:x:5:", "bob"), Err(malformed));
    }

    #[test]
    fn t28_an_id_is_digits_below_the_largest() {
        for id in [
            "",
            "-1",
            "+0",
            " 0",
            "0 ",
            "0x0",
            "1e3",
            "zero",
            "4294967295",
            "4294967296",
            "18446744073709551616",
            "\u{0660}",
        ] {
            let uid = format!("bob:x:{id}:0::/:/bin/sh");
            assert_eq!(passwd_fault(uid.as_bytes()), Fault::Id("uid"), "{id:?}");
            let gid = format!("bob:x:0:{id}::/:/bin/sh");
            assert_eq!(passwd_fault(gid.as_bytes()), Fault::Id("gid"), "{id:?}");
            let malformed =
                Error::Malformed { file: File::Group, name: "bob".into(), fault: Fault::Id("gid") };
            assert_eq!(group_id(format!("bob:x:{id}:").as_bytes(), "bob"), Err(malformed));
        }
        assert_eq!(passwd_fault(b"bob:x:\xff:0::/:/bin/sh"), Fault::Id("uid"));
    }

    #[test]
    fn t28_nul_bytes_are_refused_in_the_entry_only() {
        assert_eq!(passwd_fault(b"bob:x:0:0::/:/bin/sh\0"), Fault::Nul);
        assert_eq!(passwd_fault(b"bob:x\0:0:0::/:/bin/sh"), Fault::Nul);
        let text = b"eve\0:x:0:0::/:\nbob\0:x:0:0::/:/bin/sh\nbob:x:8:9::/:/bin/sh";
        assert_eq!(passwd_entry(text, "bob"), Ok(user(8, 9, "/")));
    }

    #[test]
    fn t28_carriage_returns_belong_to_the_last_field() {
        let text = b"root:x:0:0::/root:/bin/sh\r\nbob:x:8:9::/home:/bin/sh\r\n";
        assert_eq!(passwd_entry(text, "bob"), Ok(user(8, 9, "/home")));
        assert_eq!(memberships(b"staff:x:50:bob\r\n", "bob"), [0; 0]);
    }

    #[test]
    fn t28_groups_have_numbers() {
        let text = b"#staff:x:0:\nstaff:x:50:a,b\nstaff:x:0:\nlast:x:51:";
        assert_eq!(group_id(text, "staff"), Ok(50));
        assert_eq!(group_id(text, "last"), Ok(51));
        let unknown = Error::Unknown { file: File::Group, name: "b".into() };
        assert_eq!(group_id(text, "b"), Err(unknown));
    }

    #[test]
    fn t28_members_are_named_in_full_and_by_sound_entries() {
        let text = b"root:x:0:root\n#wheel:x:1:bob\n+wheel:x:2:bob\nz:x:90:bob\n\
            short:3:bob\nlong:x:4:bob:\nnul\0:x:5:bob\nid:x:4294967295:bob\n\
            other:x:6:bobby,bo\na:x:10:alice,bob\nagain:x:90:bob,bob\n\n";
        assert_eq!(memberships(text, "bob"), [10, 90]);
        assert_eq!(memberships(text, "eve"), [0; 0]);
    }

    #[test]
    fn t28_errors_are_one_line_a_user_understands() {
        let says = |text, name| passwd_entry(text, name).unwrap_err().to_string();
        assert_eq!(says(b"", "alice"), "the container's /etc/passwd has no user \"alice\"");
        assert_eq!(
            says(b"alice:\x1b[2J", "alice"),
            "the container's /etc/passwd is malformed at user \"alice\": \
             it has 2 fields instead of 7"
        );
        assert_eq!(
            says(b"", "a\x1b\n"),
            "no user can have that name: \
             it holds a colon, a line break or a NUL byte"
        );
    }
}
