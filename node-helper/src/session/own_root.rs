//! What a session makes, changes and removes directly under `/`. That folder is
//! the view's own, whatever becomes of writes elsewhere.

use std::collections::BTreeMap;
use std::ffi::CString;

use rustix::fd::OwnedFd;
use rustix::fs::{Dir, Mode, OFlags, openat, readlinkat};
use rustix::io;

/// How many entries are named before the rest is counted.
const NAMED: usize = 8;

/// The entries by name; of links what they say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Names(BTreeMap<CString, Option<CString>>);

/// How the entries differ from those at the start.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Difference {
    /// There is none by that name, or another link.
    pub made: Vec<CString>,
    /// There was one by that name.
    pub removed: Vec<CString>,
}

impl Names {
    /// Reads a folder.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn of(root: &OwnedFd) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = openat(root, c".", flags, Mode::empty())?;
        let mut names = BTreeMap::new();
        for entry in Dir::read_from(&folder)? {
            let name = entry?.file_name().to_owned();
            if name.as_c_str() != c"." && name.as_c_str() != c".." {
                // The error is that it is no link.
                let text = readlinkat(&folder, &name, Vec::new()).ok();
                names.insert(name, text);
            }
        }
        Ok(Self(names))
    }

    /// What has changed since.
    pub fn changed_to(&self, now: &Self) -> Difference {
        let made = now.0.iter().filter(|(name, text)| self.0.get(*name) != Some(text));
        let removed = self.0.keys().filter(|name| !now.0.contains_key(*name));
        Difference {
            made: made.map(|(name, _)| name.clone()).collect(),
            removed: removed.cloned().collect(),
        }
    }
}

impl Difference {
    /// What the operator must know where writes elsewhere have reached the
    /// target.
    pub fn notices(&self) -> Vec<String> {
        let of = |names: &[CString], what| {
            let paths = names.iter().map(|name| format!("/{}", name.to_string_lossy()));
            list(paths).map(|paths| format!("{paths}: {what}"))
        };
        let made = of(&self.made, "made in the session's own root, and gone with it");
        let removed = of(&self.removed, "removed from the session's own root only");
        made.into_iter().chain(removed).collect()
    }
}

/// Names a few, and counts the rest; `None` if there is nothing to name.
pub(super) fn list(mut items: impl Iterator<Item = String>) -> Option<String> {
    let named: Vec<String> = items.by_ref().take(NAMED).collect();
    let more = match items.count() {
        0 => String::new(),
        count => format!(" and {count} more"),
    };
    (!named.is_empty()).then(|| named.join(", ") + &more)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn what_is_new_other_or_gone_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let look = || Names::of(&fs::File::open(folder.path()).unwrap().into()).unwrap();
        fs::create_dir(at("etc")).unwrap();
        for (link, text) in [("bin", "usr/bin"), ("lib", "usr/lib"), ("sbin", "usr/sbin")] {
            symlink(text, at(link)).unwrap();
        }
        let before = look();
        assert_eq!(before.changed_to(&look()), Difference::default());
        assert!(before.changed_to(&look()).notices().is_empty());

        fs::write(at("etc/inside"), "").unwrap();
        fs::write(at("new"), "").unwrap();
        fs::remove_file(at("lib")).unwrap();
        fs::remove_file(at("bin")).unwrap();
        symlink("elsewhere", at("bin")).unwrap();
        let difference = before.changed_to(&look());
        assert_eq!(
            difference.notices(),
            [
                "/bin, /new: made in the session's own root, and gone with it",
                "/lib: removed from the session's own root only",
            ]
        );
    }

    #[test]
    fn a_long_list_is_cut() {
        let names = |count: usize| list((0..count).map(|number| number.to_string()));
        assert_eq!(names(0), None);
        assert_eq!(names(8).unwrap(), "0, 1, 2, 3, 4, 5, 6, 7");
        assert_eq!(names(10).unwrap(), "0, 1, 2, 3, 4, 5, 6, 7 and 2 more");
    }
}
