//! The test root with an old glibc: Debian bullseye, of 2021, by debootstrap(8),
//! and a program linked with its libc. Making it takes a minute, so the image
//! is kept in the cache and only copied to the registry of each cluster.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::layout::{self, REGISTRY};
use super::leftovers::remove_folder;
use super::{decoys, roots};
use crate::buildah::{self, Buildah, Layers};
use crate::digest::Inputs;
use crate::run;

/// Its name in the registry.
const NAME: &str = "old-glibc";
const SUITE: &str = "bullseye";
/// What it has.
const LIBC: &str = "glibc 2.31";

/// What programs do not need at run time, and what only the compiler did.
const LEFT_OUT: &[&str] = &[
    "usr/include",
    "usr/share/doc",
    "usr/share/i18n",
    "usr/share/info",
    "usr/share/locale",
    "usr/share/man",
    "var/cache/apt",
    "var/lib/apt/lists",
    "var/log",
];

/// Builds the image if the cache lacks it.
pub fn build_missing() -> Result<()> {
    let folder = cached()?;
    if folder.exists() {
        return Ok(());
    }
    println!("image {NAME}: building (the first time ~1 min)");
    let unfinished = folder.with_extension("unfinished");
    remove_folder(&unfinished)?;
    fs::create_dir_all(&unfinished)?;
    let context = unfinished.join("context");
    let root = context.join("root");
    bootstrap(&root)?;
    compile_with_its_libc(&root).with_context(|| format!("cannot compile for {NAME}"))?;
    slim(&root)?;
    decoys::lay(&root)?;
    let buildah = Buildah::in_folder(&unfinished)?;
    buildah.build(&recipe(), &context, NAME, Layers::One)?;
    buildah.keep(NAME, &unfinished.join("image"))?;
    buildah.remove_storage()?;
    remove_folder(&context)?;
    // Only a complete folder ever has the final name.
    Ok(fs::rename(&unfinished, &folder)?)
}

/// Copies it from the cache to the cluster's registry.
pub fn push() -> Result<()> {
    buildah::copy_kept(&cached()?.join("image"), &format!("{REGISTRY}/{NAME}:1"))
}

/// Its folder in the cache, named after everything that makes it.
fn cached() -> Result<PathBuf> {
    let mut inputs = Inputs::default();
    inputs.add_file(&roots::app())?;
    inputs.add_file(&recipe())?;
    for (name, source) in [
        ("old_glibc", include_str!("old_glibc.rs")),
        ("decoys", include_str!("decoys.rs")),
        ("roots", include_str!("roots.rs")),
    ] {
        inputs.add(name, source.as_bytes());
    }
    Ok(layout::cache().join(format!("{NAME}-{}", inputs.finish_short())))
}

fn recipe() -> PathBuf {
    roots::app().with_file_name("Containerfile")
}

fn bootstrap(root: &Path) -> Result<()> {
    let mirror = mirror()?;
    // In a mount namespace: what it mounts in there while it works, and leaves
    // if it is killed, is gone with it.
    let mut command = run::tool("unshare");
    command.args(["--mount", "--propagation=private", "debootstrap", "--variant=minbase"]);
    command.args(["--include=libc6-dev", SUITE]).arg(root).arg(mirror);
    run::quietly(&mut command)
}

/// Links the program with the root's own libc, while its headers and start
/// files are still there, and makes sure of it.
fn compile_with_its_libc(root: &Path) -> Result<()> {
    let shown = root.display();
    let libraries = format!("{shown}/usr/lib/x86_64-linux-gnu");
    // Trap: a sysroot is not enough. gcc finds the machine's libraries beside
    // itself before it looks there, and links with absolute targets lead out
    // of it.
    let loader = root.join("lib64/ld-linux-x86-64.so.2");
    fs::remove_file(&loader)?;
    symlink("../lib/x86_64-linux-gnu/ld-2.31.so", loader)?;
    let libc = [
        format!("--sysroot={shown}"),
        format!("-B{libraries}"),
        format!("-L{libraries}"),
        "-l:libpthread.so.0".to_owned(),
    ];
    let libc = libc.iter().map(String::as_str);
    roots::compile(&["gcc"].into_iter().chain(libc).collect::<Vec<_>>(), root)?;
    let said = run::output(run::tool("chroot").arg(root).args(["/app", "--libc"]))?;
    ensure!(said.contains(LIBC), "the program says: {said}");
    Ok(())
}

/// Where this machine's apt gets Debian from; the old release is served there,
/// too.
fn mirror() -> Result<String> {
    let mut apt = Command::new("apt-get");
    let format = "$(LABEL) $(REPO_URI)";
    let targets = run::output(apt.args(["indextargets", "--format", format]))?;
    let mirror = debian_in(&targets).context("apt has no source of Debian")?;
    Ok(mirror.to_owned())
}

fn debian_in(targets: &str) -> Option<&str> {
    targets.lines().find_map(|line| line.strip_prefix("Debian "))
}

fn slim(root: &Path) -> Result<()> {
    for folder in LEFT_OUT {
        remove_folder(&root.join(folder))?;
    }
    for entry in fs::read_dir(root.join("usr/lib/x86_64-linux-gnu"))? {
        let path = entry?.path();
        if path.extension().is_some_and(|ending| ending == "a" || ending == "o") {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn security_updates_and_strangers_are_no_mirror() {
        let targets = "Debian-Security http://s/\nother http://o/\nDebian http://d/debian/\n";
        assert_eq!(debian_in(targets), Some("http://d/debian/"));
        assert_eq!(debian_in("other http://o/\n"), None);
    }
}
