//! The shared libraries of the tree: what its programs are linked to, and what
//! they load by name.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};

use crate::stage::Unpacked;
use crate::tree::Tree;
use crate::{LOADER, TRIPLET, elf};

/// Folders of the packages that libraries are taken from. libblas, which nmap
/// needs, is in one of its own.
const FOLDERS: &[&str] = &["lib/TRIPLET", "usr/lib/TRIPLET", "usr/lib/TRIPLET/blas", "lib64"];

/// Loaded by name, so that no program is linked to them.
const LOADED: &[&str] = &[
    LOADER,
    // gdb, for threads; pthread_cancel(3) and backtrace(3).
    "libthread_db.so.1",
    "libgcc_s.so.1",
    // Empty since glibc 2.34, but linked to by older programs of the user's.
    "libdl.so.2",
    "libm.so.6",
    "libpthread.so.0",
    "libresolv.so.2",
    "librt.so.1",
    "libutil.so.1",
];

/// A library and the package it is from.
struct Library {
    file: PathBuf,
    package: String,
}

/// Copies every library into `lib` that something in the tree needs.
pub fn add(tree: &mut Tree, packages: &[&Unpacked]) -> Result<()> {
    let known = index(packages)?;
    let mut wanted: BTreeSet<String> = LOADED.iter().map(ToString::to_string).collect();
    for path in tree.files()? {
        let file = tree.at(&path);
        if fs::symlink_metadata(&file)?.is_file() {
            wanted.extend(needed(&fs::read(&file)?).with_context(|| path.clone())?);
        }
    }
    let mut missing = Vec::new();
    let mut done = BTreeSet::new();
    while let Some(name) = wanted.pop_first() {
        if !done.insert(name.clone()) {
            continue;
        }
        let Some(library) = known.get(&name) else {
            missing.push(name);
            continue;
        };
        let content = fs::read(&library.file)?;
        wanted.extend(needed(&content).with_context(|| name.clone())?);
        tree.copy(&library.file, &format!("lib/{name}"))?;
        tree.packages.insert(library.package.clone());
    }
    ensure!(missing.is_empty(), "libraries that no package has: {}", missing.join(", "));
    Ok(())
}

fn needed(content: &[u8]) -> Result<Vec<String>> {
    Ok(elf::facts(content)?.map(|facts| facts.needed).unwrap_or_default())
}

fn index(packages: &[&Unpacked]) -> Result<BTreeMap<String, Library>> {
    let mut known = BTreeMap::new();
    for package in packages {
        for folder in FOLDERS {
            let folder = package.folder.join(folder.replace("TRIPLET", TRIPLET));
            let Ok(entries) = fs::read_dir(&folder) else {
                continue;
            };
            for entry in entries {
                let entry = entry?;
                let name = entry.file_name().to_string_lossy().into_owned();
                // A link's own name is what programs are linked to.
                if name.contains(".so") && entry.path().is_file() {
                    let file = entry.path();
                    let package = package.package.name.clone();
                    known.entry(name).or_insert(Library { file, package });
                }
            }
        }
    }
    Ok(known)
}
