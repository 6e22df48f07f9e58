//! `cargo xtask setup`: the Debian packages everything else needs.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::run;

/// Package → why it is here.
const PACKAGES: &[(&str, &str)] = &[
    ("bash-static", "a shell that falls into the traps of a test, so that they are known to work"),
    ("buildah", "builds images without a daemon"),
    ("busybox-static", "the test images"),
    ("ca-certificates", "cargo and go fetch over TLS"),
    ("conmon", "CRI-O's container monitor"),
    ("containernetworking-plugins", "the pods' network"),
    ("debootstrap", "makes the test root with an old glibc"),
    ("dnsmasq-base", "the cluster's DNS server"),
    ("docker-registry", "the cluster's own registry"),
    ("fish", "a shell whose completion is tested"),
    ("gcc", "links Rust and cgo, builds pinns, pause and the pods' app"),
    ("groff-base", "renders the man pages"),
    ("iproute2", "the nodes' links"),
    ("iptables", "used by the CNI plugins"),
    ("libc6-dev", "static glibc for the node helper"),
    ("libgpgme-dev", "CRI-O is built against it"),
    ("libseccomp-dev", "runc and CRI-O are built against it"),
    ("musl-tools", "the test root without glibc"),
    ("openssl", "the cluster's certificates"),
    ("patchelf", "relocates the toolset"),
    ("pkg-config", "finds the libraries above"),
    ("protobuf-compiler", "generates the session protocol"),
    ("skopeo", "reads and copies images"),
    ("strace", "holds an entry up at its last instruction, for an attack"),
    ("time", "what a client costs"),
    ("tmux", "a terminal that can be asked what a session did to it"),
    ("zsh", "a shell whose completion is tested"),
];

/// Installs what is missing; does nothing if nothing is.
pub fn setup() -> Result<()> {
    let missing = missing_packages()?;
    if missing.is_empty() {
        println!("setup: all {} Debian packages are installed", PACKAGES.len());
        return fetch_indexes();
    }
    println!("setup: installing {} Debian packages:", missing.len());
    for (package, reason) in PACKAGES.iter().filter(|(package, _)| missing.contains(package)) {
        println!("  {package}: {reason}");
    }
    if !rustix::process::geteuid().is_root() {
        bail!("installing packages needs root: run `apt-get install {}`", missing.join(" "));
    }
    run::visibly_or_fail(apt_get().args(["-qq", "update"]))?;
    run::visibly_or_fail(
        apt_get().args(["-qq", "install", "-y", "--no-install-recommends"]).args(&missing),
    )?;
    if missing.contains(&"docker-registry") {
        keep_registry_service_off()?;
    }
    println!("setup: done");
    Ok(())
}

/// The toolset is fetched from where apt's indexes say; a new machine, or an
/// image whose lists were deleted, may have none.
fn fetch_indexes() -> Result<()> {
    let targets = Command::new("apt-get")
        .args(["indextargets", "Created-By: Packages"])
        .output()
        .context("apt-get cannot be started: this is not a Debian machine")?;
    if !is_blank(&targets.stdout) {
        return Ok(());
    }
    println!("setup: fetching apt's indexes");
    if !rustix::process::geteuid().is_root() {
        bail!("fetching apt's indexes needs root: run `apt-get update`");
    }
    run::visibly_or_fail(apt_get().args(["-qq", "update"]))
}

fn is_blank(said: &[u8]) -> bool {
    said.trim_ascii().is_empty()
}

/// The packages of the list that dpkg does not know as installed.
pub fn missing_packages() -> Result<Vec<&'static str>> {
    let known = Command::new("dpkg-query")
        .args(["-W", "-f", "${Package} ${db:Status-Status}\n"])
        .output()
        .context("dpkg-query cannot be started: this is not a Debian machine")?;
    Ok(missing_in(&String::from_utf8_lossy(&known.stdout)))
}

fn missing_in(listing: &str) -> Vec<&'static str> {
    let installed: Vec<&str> =
        listing.lines().filter_map(|line| line.strip_suffix(" installed")).collect();
    PACKAGES
        .iter()
        .map(|(package, _)| *package)
        .filter(|package| !installed.contains(package))
        .collect()
}

fn apt_get() -> Command {
    let mut command = Command::new("apt-get");
    command.env("DEBIAN_FRONTEND", "noninteractive");
    // Without this its progress bar fills a log.
    command.args(["-o", "Dpkg::Use-Pty=0"]);
    command
}

/// Under systemd the package starts a registry on port 5000 of every address,
/// which is the port of the cluster's own. Only a service that came with our
/// own installation is switched off: one that was there before is the user's.
fn keep_registry_service_off() -> Result<()> {
    if !Path::new("/run/systemd/system").exists() {
        return Ok(());
    }
    println!("setup: switching off the docker-registry service (the cluster starts its own)");
    run::quietly(Command::new("systemctl").args(["disable", "--now", "docker-registry"]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_listing_with_an_index_is_one() {
        assert!(is_blank(b"") && is_blank(b"\n"));
        assert!(!is_blank(b"MetaKey: main/binary-amd64/Packages\n"));
    }

    #[test]
    fn a_removed_package_counts_as_missing() {
        let mut listing: String =
            PACKAGES.iter().map(|(package, _)| format!("{package} installed\n")).collect();
        assert!(missing_in(&listing).is_empty());
        listing = listing.replace("skopeo installed", "skopeo config-files");
        assert_eq!(missing_in(&listing), ["skopeo"]);
    }
}
