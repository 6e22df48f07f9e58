//! `packages.lock`: every package of the toolset, by version and hash.
//!
//! A build takes what is listed here and never resolves dependencies;
//! `cargo xtask toolset --update` writes the list anew.

use std::fmt::Write as _;

use anyhow::{Context, Result, ensure};

use crate::Profile;

const HEADER: &str = "\
# The Debian packages of the toolset. Written by `cargo xtask toolset --update`.
# profile package version architecture source source-version size sha256 path
";

/// One package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Package {
    /// The smallest profile it belongs to.
    pub profile: Profile,
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// `amd64` or `all`.
    pub architecture: String,
    /// The source package it was built from.
    pub source: String,
    /// That source's version.
    pub source_version: String,
    /// Bytes of the file.
    pub size: u64,
    /// Its SHA-256, in hexadecimal.
    pub sha256: String,
    /// Where it is below a mirror.
    pub path: String,
}

impl Package {
    /// The name of its file in the cache: the hash, so that two versions, or a
    /// file that was cut short, cannot be mistaken.
    pub fn file_name(&self) -> String {
        format!("{}_{}.deb", self.name, &self.sha256[..16])
    }
}

/// The packages of a profile.
pub fn of(packages: &[Package], profile: Profile) -> Vec<Package> {
    packages.iter().filter(|package| package.profile <= profile).cloned().collect()
}

/// Reads a lock file.
pub fn parse(text: &str) -> Result<Vec<Package>> {
    let lines = text.lines().enumerate().filter(|(_, line)| !line.starts_with('#'));
    lines
        .map(|(number, line)| {
            parse_line(line).with_context(|| format!("packages.lock, line {}", number + 1))
        })
        .collect()
}

fn parse_line(line: &str) -> Result<Package> {
    let fields: Vec<&str> = line.split(' ').collect();
    let [profile, name, version, architecture, source, source_version, size, sha256, path] =
        fields.as_slice()
    else {
        anyhow::bail!("it has {} fields, not 9", fields.len());
    };
    let hexadecimal = sha256.bytes().all(|byte| byte.is_ascii_hexdigit());
    ensure!(sha256.len() == 64 && hexadecimal, "{sha256}: not a SHA-256");
    let plain = |text: &str| !text.is_empty() && !text.split('/').any(|part| part == "..");
    ensure!(plain(path) && path.starts_with("pool/"), "{path}: not a path in a pool");
    ensure!(plain(name) && !name.contains('/'), "{name}: not a package");
    Ok(Package {
        profile: profile.parse()?,
        name: (*name).to_owned(),
        version: (*version).to_owned(),
        architecture: (*architecture).to_owned(),
        source: (*source).to_owned(),
        source_version: (*source_version).to_owned(),
        size: size.parse().context("the size is no number")?,
        sha256: (*sha256).to_owned(),
        path: (*path).to_owned(),
    })
}

/// Writes a lock file, in an order of its own.
pub fn format(packages: &[Package]) -> String {
    let mut sorted: Vec<&Package> = packages.iter().collect();
    sorted.sort_by_key(|package| (package.profile, &package.name));
    let mut text = HEADER.to_owned();
    for p in sorted {
        let line = writeln!(
            text,
            "{} {} {} {} {} {} {} {} {}",
            p.profile,
            p.name,
            p.version,
            p.architecture,
            p.source,
            p.source_version,
            p.size,
            p.sha256,
            p.path
        );
        line.expect("a string takes everything");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(profile: Profile, name: &str) -> Package {
        Package {
            profile,
            name: name.to_owned(),
            version: "1:2.3-4+deb12u1".to_owned(),
            architecture: "amd64".to_owned(),
            source: "src".to_owned(),
            source_version: "1:2.3-4".to_owned(),
            size: 17,
            sha256: "0123456789abcdef".repeat(4),
            path: format!("pool/main/s/src/{name}_2.3-4_amd64.deb"),
        }
    }

    #[test]
    fn what_is_written_is_read_back_in_order() {
        let (a, b) = (package(Profile::Full, "a"), package(Profile::Minimal, "b"));
        let text = format(&[a.clone(), b.clone()]);
        assert_eq!(parse(&text).unwrap(), [b, a]);
    }

    #[test]
    fn a_larger_profile_holds_the_smaller_ones_packages() {
        let all = [package(Profile::Full, "a"), package(Profile::Minimal, "b")];
        assert_eq!(of(&all, Profile::Standard), [all[1].clone()]);
        assert_eq!(of(&all, Profile::Full).len(), 2);
    }

    #[test]
    fn a_line_that_leads_elsewhere_is_refused() {
        let good = format(&[package(Profile::Minimal, "a")]);
        for (from, to) in
            [("pool/", "../pool/"), ("pool/main", "pool/.."), ("0123", "012"), (" 17 ", " x ")]
        {
            let error = parse(&good.replacen(from, to, 1)).unwrap_err();
            assert!(error.to_string().contains("line 3"), "{error:#}");
        }
    }

    #[test]
    fn the_checked_in_list_holds_what_the_profiles_ask_for() {
        let all = parse(include_str!("../packages.lock")).unwrap();
        for profile in Profile::ALL {
            let listed = of(&all, profile);
            for wanted in profile.packages() {
                assert!(listed.iter().any(|p| p.name == wanted), "{profile}: {wanted}");
            }
        }
    }
}
