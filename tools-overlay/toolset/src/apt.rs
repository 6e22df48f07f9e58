//! apt with a state of its own: which packages a list needs on an empty
//! system, and where they are.
//!
//! Nothing of the machine's apt is changed, and what is installed on it does
//! not matter: the status file and the archive folder are empty.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::Profile;
use crate::lock::Package;
use crate::program::output;

/// The Debian release the toolset is made of.
const RELEASE: &str = "bookworm";
const KEYS: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// One of the machine's own sources.
#[derive(Debug, PartialEq, Eq)]
struct Source {
    uri: String,
    suite: String,
}

/// The base URIs of the machine's Debian sources, each once.
pub fn mirrors() -> Result<Vec<String>> {
    let mut seen = BTreeSet::new();
    let uris = sources()?.into_iter().map(|source| source.uri);
    Ok(uris.filter(|uri| seen.insert(uri.clone())).collect())
}

fn sources() -> Result<Vec<Source>> {
    let mut list = Command::new("apt-get");
    list.args(["indextargets", "--format", "$(REPO_URI) $(RELEASE) $(COMPONENT) $(ORIGIN)"]);
    let sources = sources_in(&output(list.arg("Created-By: Packages"))?);
    if sources.is_empty() {
        bail!("apt knows no source of Debian {RELEASE}; is `apt-get update` due?");
    }
    Ok(sources)
}

/// Main first: where a version is in main and in security, main keeps it longer.
fn sources_in(listing: &str) -> Vec<Source> {
    let mut sources = Vec::new();
    for line in listing.lines() {
        let fields: Vec<&str> = line.split(' ').collect();
        if let [uri, suite, "main", "Debian"] = fields[..]
            && suite.split('-').next() == Some(RELEASE)
        {
            sources.push(Source { uri: uri.to_owned(), suite: suite.to_owned() });
        }
    }
    sources.sort_by(|a, b| (a.suite != RELEASE, &a.suite).cmp(&(b.suite != RELEASE, &b.suite)));
    sources
}

/// The private apt.
pub struct Apt {
    folder: PathBuf,
}

impl Apt {
    /// Prepares it in an empty folder and fetches the indexes.
    pub fn new(folder: &Path) -> Result<Self> {
        for part in ["state/lists/partial", "cache/archives/partial", "etc"] {
            fs::create_dir_all(folder.join(part))?;
        }
        fs::write(folder.join("status"), "")?;
        let lines: Vec<String> = sources()?
            .iter()
            .map(|source| format!("deb [signed-by={KEYS}] {} {} main\n", source.uri, source.suite))
            .collect();
        fs::write(folder.join("etc/sources.list"), lines.concat())?;
        fs::write(folder.join("apt.conf"), configuration(folder))?;
        let apt = Self { folder: folder.to_owned() };
        output(apt.command("apt-get").args(["-q", "update"]))?;
        Ok(apt)
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("APT_CONFIG", self.folder.join("apt.conf"));
        command
    }

    /// What each profile needs, a package once, at the smallest.
    pub fn resolve(&self) -> Result<Vec<Package>> {
        let mut found: BTreeMap<String, Package> = BTreeMap::new();
        for profile in Profile::ALL {
            let mut simulate = self.command("apt-get");
            simulate.args(["-q", "-s", "install"]).args(profile.packages());
            let plan = output(&mut simulate)?;
            let new: Vec<String> = planned(&plan)?
                .into_iter()
                .filter(|(name, _)| !found.contains_key(name))
                .map(|(name, version)| format!("{name}={version}"))
                .collect();
            let records = output(self.command("apt-cache").arg("show").args(&new))?;
            for record in records.split("\n\n").filter(|record| !record.trim().is_empty()) {
                let package = package_in(record, profile)?;
                // The first record is of the first source: main.
                found.entry(package.name.clone()).or_insert(package);
            }
        }
        Ok(found.into_values().collect())
    }
}

fn configuration(folder: &Path) -> String {
    let folder = folder.display();
    format!(
        "Dir::State \"{folder}/state\";\n\
         Dir::State::status \"{folder}/status\";\n\
         Dir::Cache \"{folder}/cache\";\n\
         Dir::Etc::sourcelist \"{folder}/etc/sources.list\";\n\
         Dir::Etc::sourceparts \"-\";\n\
         Dir::Etc::preferences \"-\";\n\
         Dir::Etc::preferencesparts \"-\";\n\
         APT::Architecture \"amd64\";\n\
         APT::Architectures {{ \"amd64\"; }};\n\
         APT::Install-Recommends \"false\";\n\
         APT::Sandbox::User \"root\";\n\
         Acquire::Languages \"none\";\n"
    )
}

/// Name and version of every package of a simulated installation:
/// `Inst libc6 (2.36-9 Debian:12.15/oldstable [amd64])`.
fn planned(plan: &str) -> Result<Vec<(String, String)>> {
    let lines = plan.lines().filter_map(|line| line.strip_prefix("Inst "));
    let mut planned = Vec::new();
    for line in lines {
        let (name, rest) = line.split_once(" (").context("apt-get speaks otherwise")?;
        let (version, _) = rest.split_once(' ').context("apt-get speaks otherwise")?;
        planned.push((name.to_owned(), version.to_owned()));
    }
    ensure!(!planned.is_empty(), "apt-get would install nothing");
    Ok(planned)
}

fn package_in(record: &str, profile: Profile) -> Result<Package> {
    let field = |name: &str| -> Option<&str> {
        let start = format!("{name}: ");
        record.lines().find_map(|line| line.strip_prefix(&start))
    };
    let need = |name: &str| -> Result<String> {
        let found = field(name).with_context(|| format!("a package without {name}"))?;
        Ok(found.to_owned())
    };
    let (name, version) = (need("Package")?, need("Version")?);
    // `Source: bash (5.2.15-2)`, without what is the same as the package's.
    let (source, source_version) = match field("Source").and_then(|text| text.split_once(" (")) {
        Some((source, version)) => (source.to_owned(), version.trim_end_matches(')').to_owned()),
        None => (field("Source").unwrap_or(&name).to_owned(), version.clone()),
    };
    Ok(Package {
        profile,
        architecture: need("Architecture")?,
        size: need("Size")?.parse()?,
        sha256: need("SHA256")?,
        path: need("Filename")?,
        name,
        version,
        source,
        source_version,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_debians_own_sources_count_and_main_comes_first() {
        let listing = "\
http://s/debian-security/ bookworm-security main Debian
http://m/debian/ bookworm-updates main Debian
http://m/debian/ bookworm main Debian
http://m/debian/ bookworm contrib Debian
http://m/debian/ trixie main Debian
http://other/ nodistro main $(ORIGIN)
http://other/ bookworm main Other
";
        let suites: Vec<_> = sources_in(listing).into_iter().map(|s| s.suite).collect();
        assert_eq!(suites, ["bookworm", "bookworm-security", "bookworm-updates"]);
    }

    #[test]
    fn a_plan_names_packages_and_versions() {
        let plan = "Reading...\n\
            Inst libc6 (2.36-9+deb12u14 Debian:12.15/oldstable [amd64]) []\n\
            Inst dash (0.5.12-2 Debian:12.15/oldstable, Debian-Security:12 [amd64])\n\
            Conf dash (0.5.12-2 Debian:12.15/oldstable [amd64])\n";
        let expected = [("libc6", "2.36-9+deb12u14"), ("dash", "0.5.12-2")];
        assert_eq!(planned(plan).unwrap(), expected.map(|(n, v)| (n.to_owned(), v.to_owned())));
        assert!(planned("nothing\n").is_err());
    }

    #[test]
    fn a_record_gives_source_and_version() {
        let hash = "a".repeat(64);
        let record = |source: &str| {
            format!(
                "Package: bash\n{source}Version: 5-2+b13\nArchitecture: amd64\n\
                 Filename: pool/main/b/bash/x.deb\nSize: 7\nSHA256: {hash}\n"
            )
        };
        let of = |source: &str| {
            let package = package_in(&record(source), Profile::Minimal).unwrap();
            (package.source, package.source_version)
        };
        assert_eq!(of("Source: bash (5-2)\n"), ("bash".to_owned(), "5-2".to_owned()));
        assert_eq!(of("Source: shells\n"), ("shells".to_owned(), "5-2+b13".to_owned()));
        assert_eq!(of(""), ("bash".to_owned(), "5-2+b13".to_owned()));
        assert!(package_in("Package: x\n", Profile::Full).is_err());
    }
}
