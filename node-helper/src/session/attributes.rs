//! Extended attributes of a file, as a layer holds them: xattr(7).

use std::ffi::CString;

use rustix::fd::OwnedFd;
use rustix::fs::{fgetxattr, fgetxattr_query, flistxattr, flistxattr_query};
use rustix::io::Errno;

/// The size of a value of `security.capability` that names no user namespace:
/// linux/capability.h, `XATTR_CAPS_SZ_2`.
const CAPABILITY_SIZE: usize = 20;

/// What a file has.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Attributes {
    /// Records of pax(1), as tar(1) names them.
    pub records: Vec<(String, Vec<u8>)>,
    /// Whether there are some that would mean something else elsewhere, as an
    /// access control list, which numbers users as the node does.
    pub has_others: bool,
}

impl Attributes {
    /// Reads those of a file.
    ///
    /// # Errors
    /// When they cannot be listed.
    pub fn of(file: &OwnedFd) -> rustix::io::Result<Self> {
        let size = match flistxattr_query(file) {
            Ok(0) | Err(Errno::NOTSUP) => return Ok(Self::default()),
            size => size?,
        };
        let mut list = vec![0; size];
        let length = flistxattr(file, &mut list[..])?;
        let mut found = Self::default();
        for name in list[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
            let value = || value(file, name);
            found.add(name, value);
        }
        Ok(found)
    }

    fn add(&mut self, name: &[u8], value: impl FnOnce() -> Option<Vec<u8>>) {
        // The overlay's own marks, and a label that the node gives every file.
        if name.starts_with(b"trusted.overlay.") || name == b"security.selinux" {
            return;
        }
        let text = std::str::from_utf8(name).ok().filter(|text| !text.contains('='));
        let is_whole = |value: &Vec<u8>| {
            name.starts_with(b"user.")
                || name == b"security.capability" && value.len() == CAPABILITY_SIZE
        };
        match text.and_then(|text| Some((text, value().filter(is_whole)?))) {
            Some((text, value)) => self.records.push((format!("SCHILY.xattr.{text}"), value)),
            None => self.has_others = true,
        }
    }
}

fn value(file: &OwnedFd, name: &[u8]) -> Option<Vec<u8>> {
    let name = CString::new(name).ok()?;
    let size = fgetxattr_query(file, &*name).ok()?;
    let mut value = vec![0; size];
    let length = fgetxattr(file, &*name, &mut value[..]).ok()?;
    value.truncate(length);
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(name: &[u8], value: &[u8]) -> Attributes {
        let mut found = Attributes::default();
        found.add(name, || Some(value.to_vec()));
        found
    }

    #[test]
    fn what_means_the_same_elsewhere_is_kept_and_the_rest_is_told() {
        for (name, value) in [(&b"user.note"[..], &b"a\0b"[..]), (b"security.capability", &[1; 20])]
        {
            let key = format!("SCHILY.xattr.{}", String::from_utf8_lossy(name));
            let records = vec![(key, value.to_vec())];
            assert_eq!(of(name, value), Attributes { records, has_others: false });
        }
        let others = Attributes { records: Vec::new(), has_others: true };
        for name in [&b"system.posix_acl_access"[..], b"user.a=b", b"user.\xff", b"trusted.x"] {
            assert_eq!(of(name, b"x"), others, "{}", String::from_utf8_lossy(name));
        }
        // It names a user namespace by what the node calls its root.
        assert_eq!(of(b"security.capability", &[1; 24]), others);
        for name in [&b"trusted.overlay.origin"[..], b"security.selinux"] {
            assert_eq!(of(name, b"x"), Attributes::default());
        }
    }
}
