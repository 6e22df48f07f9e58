//! Overwriting strings in place.
//!
//! Linkers let a short string be the end of a longer one (`htop` of
//! `/.config/htop`): what is overwritten must not be used by half.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use anyhow::{Result, ensure};
use memchr::memmem::{Finder, find_iter};

use super::rules::{How, Rule};
use crate::elf;

/// Files, and ends of overwritten strings that something else in them uses,
/// where that was looked at and does no harm.
const SHARED: &[(&str, &str)] = &[
    // The same file in XDG's folders.
    ("bin/curl", "curlrc"),
    ("bin/htop", "/htop/htoprc"),
    ("bin/less", "less"),
    ("bin/less", "lesshst"),
    ("bin/less", "lesskey"),
    ("bin/nano", "/nano/nanorc"),
    // The same file in the working folder.
    ("bin/inetutils-telnet", "/.telnetrc"),
    // Only where it is told to nscd, which is no part of this.
    ("lib/libc.so.6", "nsswitch.conf"),
];

/// Applies every rule that is for this file; gives how often each applied.
pub fn apply_all(binary: &mut [u8], path: &str, rules: &[Rule]) -> Result<BTreeMap<String, usize>> {
    let mut counts = BTreeMap::new();
    let mut missing = Vec::new();
    let mut overwritten = Vec::new();
    for rule in rules.iter().filter(|rule| rule.is_for(path)) {
        let places = apply(binary, rule)?;
        if !places.is_empty() {
            counts.insert(rule.name(), places.len());
            overwritten.extend(places.into_iter().map(|place| (place, *rule)));
        } else if rule.must_apply(path) {
            missing.push(rule.name());
        }
    }
    ensure!(missing.is_empty(), "not in it: {}", missing.join(", "));
    check_not_shared(binary, path, &overwritten)?;
    Ok(counts)
}

/// Fails if anything leads to the middle of what was overwritten.
fn check_not_shared(binary: &[u8], path: &str, overwritten: &[(usize, Rule)]) -> Result<()> {
    if overwritten.is_empty() {
        return Ok(());
    }
    let segments = elf::segments(binary)?;
    let mut inner = HashMap::new();
    for (place, rule) in overwritten {
        for start in 1..rule.from.len() {
            // Where a string begins, and ends that stay as they are, are fine.
            let begins = rule.from.as_bytes()[start - 1] == 0;
            let stays = binary[place + start..].starts_with(&rule.from.as_bytes()[start..]);
            if let Some(address) = elf::address_of(&segments, place + start)
                && !begins
                && !stays
            {
                inner.insert(address, (rule.from, start));
            }
        }
    }
    let mut shared = BTreeSet::new();
    elf::references(binary, |address, _| {
        if let Some((from, start)) = inner.get(&address) {
            shared.insert(from[*start..].escape_default().to_string());
        }
    })?;
    shared.retain(|end| !SHARED.contains(&(path, end.as_str())));
    ensure!(shared.is_empty(), "also used as strings of their own: {shared:?}");
    Ok(())
}

/// Gives where it was.
fn apply(binary: &mut [u8], rule: &Rule) -> Result<Vec<usize>> {
    let (from, to) = (rule.from.as_bytes(), rule.to.as_bytes());
    let places: Vec<usize> = match rule.how {
        How::Whole => {
            ensure!(to.len() <= from.len(), "{} is too long", rule.to);
            whole_strings(binary, from)
        }
        How::Part => {
            ensure!(to.len() == from.len(), "{} is not as long as {}", rule.to, rule.from);
            let followed = |at: &usize| {
                let rest = &binary[at + from.len()..];
                !rule.unless.iter().any(|word| rest.starts_with(word.as_bytes()))
            };
            find_iter(binary, from).filter(followed).collect()
        }
    };
    for place in &places {
        let (new, rest) = binary[*place..place + from.len()].split_at_mut(to.len());
        new.copy_from_slice(to);
        rest.fill(0);
    }
    Ok(places)
}

/// Strings may share the NUL between them, so the search goes on at it.
fn whole_strings(binary: &[u8], from: &[u8]) -> Vec<usize> {
    let wanted = [b"\0", from, b"\0"].concat();
    let finder = Finder::new(&wanted);
    let mut places = Vec::new();
    let mut at = 0;
    while let Some(offset) = finder.find(&binary[at..]) {
        let place = at + offset + 1;
        places.push(place);
        at = place + from.len();
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(from: &'static str, to: &'static str, how: How) -> Rule {
        Rule { files: &["*"], from, to, how, unless: &["zone"], why: "test" }
    }

    fn patched(binary: &[u8], rule: &Rule) -> (Vec<u8>, usize) {
        let mut copy = binary.to_vec();
        let count = apply(&mut copy, rule).unwrap().len();
        assert_eq!(copy.len(), binary.len());
        (copy, count)
    }

    #[test]
    fn whole_strings_are_overwritten_and_nothing_else() {
        let binary = b"\0/etc/profile\0/etc/profile\0x/etc/profile\0/etc/profiles\0";
        let (new, count) = patched(binary, &rule("/etc/profile", "/dev/null", How::Whole));
        assert_eq!(count, 2);
        let expected =
            b"\0/dev/null\0\0\0\0/dev/null\0\0\0\0x/etc/profile\0/etc/profiles\0".to_vec();
        assert_eq!(new, expected);
    }

    #[test]
    fn parts_are_overwritten_unless_something_follows() {
        let binary = b"\0/usr/share/awk\0x/usr/share/zoneinfo\0";
        let (new, count) = patched(binary, &rule("/usr/share/", "/.kpexec/s/", How::Part));
        assert_eq!((new.as_slice(), count), (&b"\0/.kpexec/s/awk\0x/usr/share/zoneinfo\0"[..], 1));
    }

    #[test]
    fn lengths_are_checked() {
        let too_long = rule("/a", "/.kpexec", How::Whole);
        assert!(apply(&mut b"\0/a\0".to_vec(), &too_long).is_err());
        let shorter = rule("/etc/x", "/x", How::Part);
        assert!(apply(&mut b"\0/etc/x\0".to_vec(), &shorter).is_err());
    }

    #[test]
    fn a_file_that_is_named_must_have_the_string() {
        let named = Rule { files: &["bin/x"], ..rule("/etc/x", "/dev/y", How::Part) };
        assert!(apply_all(&mut b"\0/etc/z\0".to_vec(), "bin/x", &[named]).is_err());
        assert!(apply_all(&mut b"\0/etc/z\0".to_vec(), "bin/y", &[named]).unwrap().is_empty());
    }
}
