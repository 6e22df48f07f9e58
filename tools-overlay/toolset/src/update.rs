//! The two lock files of the checkout.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::key;
use crate::lock::{self, Package};
use crate::patch::record::{self, Counts};

const PACKAGES: &str = "packages.lock";
const PATCHES: &str = "patches.lock";

/// Which packages.
pub fn packages() -> Result<Vec<Package>> {
    lock::parse(&read(PACKAGES)?)
}

/// How the patches apply.
pub fn patches() -> Result<Counts> {
    record::parse(&read(PATCHES)?)
}

/// Writes the list of packages.
pub fn write_packages(packages: &[Package]) -> Result<()> {
    write(PACKAGES, &lock::format(packages))
}

/// Writes how the patches apply.
pub fn write_patches(counts: &Counts) -> Result<()> {
    write(PATCHES, &record::format(counts))
}

fn path(name: &str) -> PathBuf {
    key::source().join(name)
}

fn read(name: &str) -> Result<String> {
    fs::read_to_string(path(name)).with_context(|| format!("cannot read {}", path(name).display()))
}

fn write(name: &str, text: &str) -> Result<()> {
    fs::write(path(name), text).with_context(|| format!("cannot write {}", path(name).display()))
}
