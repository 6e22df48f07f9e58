//! Fetching the packages of the lock file, by hash, into the cache.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use sha2::{Digest as _, Sha256};

use crate::apt;
use crate::key::hexadecimal;
use crate::lock::Package;
use crate::program::output;

const HELPER: &str = "/usr/lib/apt/apt-helper";

/// Brings every package into the folder that is not there yet, with apt's own
/// transport, so that the machine's proxies and mirrors are used.
pub fn fetch(packages: &[Package], folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let mut missing = Vec::new();
    for package in packages {
        if !is_there(package, folder)? {
            missing.push(package);
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    eprintln!("toolset: fetching {} packages", missing.len());
    let mut errors = Vec::new();
    for mirror in apt::mirrors()? {
        // It fails if one of them fails, which another mirror may have.
        if let Err(error) = output(&mut download(&missing, &mirror, folder)) {
            errors.push(format!("{error:#}"));
        }
        let mut still = Vec::new();
        for package in missing {
            if !is_there(package, folder)? {
                still.push(package);
            }
        }
        missing = still;
        if missing.is_empty() {
            return Ok(());
        }
    }
    let names: Vec<String> =
        missing.iter().map(|package| format!("{} {}", package.name, package.version)).collect();
    bail!("{}", failure(&names.join(", "), &errors));
}

/// Only if every mirror said so is a package gone: a network that is down, or a
/// full disk, is no reason for other versions.
fn failure(names: &str, errors: &[String]) -> String {
    let gone = !errors.is_empty() && errors.iter().all(|error| error.contains("404 "));
    let last = errors.last().map_or("apt said nothing", String::as_str);
    if gone {
        format!(
            "Debian no longer serves {names}: `cargo xtask toolset --update` takes what it serves \
             now ({last})"
        )
    } else {
        format!("cannot fetch {names}: {last}")
    }
}

/// Whether the file is there; one that is not what the lock file says is
/// removed.
fn is_there(package: &Package, folder: &Path) -> Result<bool> {
    let file = folder.join(package.file_name());
    let Ok(content) = fs::read(&file) else {
        return Ok(false);
    };
    if hexadecimal(&Sha256::digest(&content)) == package.sha256 {
        return Ok(true);
    }
    fs::remove_file(&file).with_context(|| format!("cannot remove {}", file.display()))?;
    Ok(false)
}

fn download(packages: &[&Package], mirror: &str, folder: &Path) -> Command {
    let mut command = Command::new(HELPER);
    // As root it would drop to a user who cannot write here.
    command.args(["-q", "-o", "APT::Sandbox::User=root", "download-file"]);
    for package in packages {
        command.arg(format!("{}/{}", mirror.trim_end_matches('/'), package.path));
        command.arg(folder.join(package.file_name()));
        command.arg(format!("SHA256:{}", package.sha256));
    }
    command
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lock;

    #[test]
    fn only_what_no_mirror_has_is_gone() {
        let not_found = "E: Failed to fetch x  404  Not Found".to_owned();
        let no_network = "E: Could not resolve 'x'".to_owned();
        let gone = failure("a 1", &[not_found.clone(), not_found.clone()]);
        assert!(gone.contains("no longer serves a 1") && gone.contains("Not Found"), "{gone}");
        let broken = failure("a 1", &[not_found, no_network]);
        assert!(broken.starts_with("cannot fetch a 1: E: Could not resolve"), "{broken}");
    }

    #[test]
    fn only_the_very_file_counts_as_fetched() {
        let folder = tempfile::tempdir().unwrap();
        let line = "minimal a 1 all a 1 5 \
            2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824 pool/a.deb";
        let package = &lock::parse(line).unwrap()[0];
        let file = folder.path().join(package.file_name());
        assert!(!is_there(package, folder.path()).unwrap());
        fs::write(&file, "hello").unwrap();
        assert!(is_there(package, folder.path()).unwrap());
        fs::write(&file, "hell").unwrap();
        assert!(!is_there(package, folder.path()).unwrap());
        assert!(!file.exists());
    }
}
