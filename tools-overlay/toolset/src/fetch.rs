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
    for mirror in apt::mirrors()? {
        // It fails if one of them fails, which another mirror may have.
        let _some_are_not_here = output(&mut download(&missing, &mirror, folder));
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
    bail!(
        "Debian no longer serves {}: `cargo xtask toolset --update` takes what it serves now",
        names.join(", ")
    );
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
