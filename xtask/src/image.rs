//! `cargo xtask image`: the helper image, from this checkout to the cluster's
//! registry.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::buildah::Buildah;
use crate::cluster::layout::{self, REGISTRY};
use crate::cluster::lock;
use crate::digest::Inputs;
use crate::{run, toolset};

const REPOSITORY: &str = "kpexec-helper";
const TARGET: &str = "x86_64-unknown-linux-gnu";

/// How to build it.
#[derive(clap::Args, Default)]
pub struct Options {
    /// Print the image reference only
    #[arg(long)]
    quiet: bool,
    /// Only prepare the build context, for podman or docker, and print its path
    #[arg(long)]
    context: bool,
}

/// Builds and pushes the image, or prepares its context.
pub fn perform(options: &Options) -> Result<()> {
    if options.context {
        let _lock = lock::wait_silently(&target().join("helper-image.lock"))?;
        println!("{}", prepare_context()?.display());
        return Ok(());
    }
    let reference = build_and_push(options.quiet)?;
    println!("{reference}");
    Ok(())
}

/// Builds the image, if anything in it has changed, and returns its reference
/// with the digest.
pub fn build_and_push(quiet: bool) -> Result<String> {
    if !layout::ready().exists() {
        bail!("the cluster, whose registry takes the image, is not up: `cargo xtask cluster up`");
    }
    // Tests in several processes ask for the image at once.
    let _lock = lock::wait_silently(&target().join("helper-image.lock"))?;
    if !quiet {
        eprintln!("image: building the helper (about 1 min the first time)");
    }
    let context = prepare_context()?;
    let recipe = layout::checkout().join("tools-overlay/Containerfile");
    let key = key_of(&context, &recipe)?;
    let record = target().join("helper-image.key");
    if let Some(reference) = pushed_before(&record, &key) {
        return Ok(reference);
    }
    if !quiet {
        eprintln!("image: building and pushing");
    }
    let tag = format!("{REGISTRY}/{REPOSITORY}:dev");
    let buildah = Buildah::in_folder(&layout::state("images"))?;
    buildah.build(&recipe, &context, &tag)?;
    let reference = format!("{REGISTRY}/{REPOSITORY}@{}", buildah.push(&tag)?);
    fs::write(target().join("helper-image"), format!("{reference}\n"))?;
    fs::write(&record, format!("{key} {reference}\n"))?;
    Ok(reference)
}

/// Cargo's folder of this checkout.
pub fn target() -> PathBuf {
    layout::checkout().join("target")
}

/// The reference of the image with that key, if the registry (new with every
/// cluster) still has it.
fn pushed_before(record: &Path, key: &str) -> Option<String> {
    let recorded = fs::read_to_string(record).ok()?;
    let reference = reference_of(&recorded, key)?;
    let digest = reference.split_once("@sha256:")?.1;
    let revisions = format!("docker/registry/v2/repositories/{REPOSITORY}/_manifests/revisions");
    let manifest = layout::state("registry").join(revisions).join("sha256").join(digest);
    manifest.exists().then(|| reference.to_owned())
}

fn reference_of<'a>(recorded: &'a str, key: &str) -> Option<&'a str> {
    recorded.trim().strip_prefix(key)?.strip_prefix(' ')
}

/// Everything the image depends on.
fn key_of(context: &Path, recipe: &Path) -> Result<String> {
    let mut inputs = Inputs::default();
    inputs.add_file(recipe)?;
    let mut folders = vec![context.join("root")];
    while let Some(folder) = folders.pop() {
        let mut entries: Vec<_> = fs::read_dir(&folder)?.collect::<Result<_, _>>()?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let path = entry.path();
            let metadata = entry.metadata()?;
            let name = format!("{} {:o}", path.display(), metadata.permissions().mode());
            if metadata.is_symlink() {
                inputs.add(&name, fs::read_link(&path)?.as_os_str().as_encoded_bytes());
            } else if metadata.is_dir() {
                inputs.add(&name, b"");
                folders.push(path);
            } else {
                inputs.add(&name, &fs::read(&path)?);
            }
        }
    }
    Ok(inputs.finish())
}

/// Lays out the files of the image in `target/helper-context`.
fn prepare_context() -> Result<PathBuf> {
    let helper = build_helper()?;
    let context = target().join("helper-context");
    lay_out(&helper, &context.join("root"))
        .with_context(|| format!("cannot lay out {}", context.display()))?;
    Ok(context)
}

fn lay_out(helper: &Path, root: &Path) -> Result<()> {
    if root.exists() {
        fs::remove_dir_all(root)?;
    }
    for folder in ["dev", "proc", "run", "sys", "tmp", "toolset"] {
        fs::create_dir_all(root.join(folder))?;
    }
    fs::copy(helper, root.join("node-helper"))?;
    toolset::lay_out(&root.join("toolset"))?;
    normalize(root)?;
    Ok(fs::set_permissions(root.join("tmp"), fs::Permissions::from_mode(0o1777))?)
}

/// Whatever the umask was: the image must not depend on it.
fn normalize(path: &Path) -> Result<()> {
    let metadata = fs::symlink_metadata(path)?;
    if metadata.is_symlink() {
        return Ok(());
    }
    let program = metadata.permissions().mode() & 0o100 != 0;
    let mode = if metadata.is_dir() || program { 0o755 } else { 0o644 };
    fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    if metadata.is_dir() {
        for entry in fs::read_dir(path)? {
            normalize(&entry?.path())?;
        }
    }
    Ok(())
}

/// The helper, without a dynamic linker: the image has none.
fn build_helper() -> Result<PathBuf> {
    run::visibly_or_fail(&mut helper_cargo("build"))?;
    Ok(target().join("helper").join(TARGET).join("dist/node-helper"))
}

/// `cargo build` or `bench` of the helper, as nodes run it.
pub fn helper_cargo(subcommand: &str) -> Command {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(layout::checkout());
    cargo.args([subcommand, "--quiet", "--profile", "dist", "-p", "node-helper"]);
    cargo.args(["--target", TARGET, "--target-dir"]).arg(target().join("helper"));
    cargo.env("RUSTFLAGS", rust_flags());
    cargo
}

/// Static, and without the names of this machine's folders, so that two
/// checkouts build the same bytes.
fn rust_flags() -> String {
    let home = std::env::var("CARGO_HOME")
        .or_else(|_| std::env::var("HOME").map(|home| format!("{home}/.cargo")))
        .unwrap_or_default();
    format!(
        "-C target-feature=+crt-static --remap-path-prefix={}=/kpexec --remap-path-prefix={home}=/cargo",
        layout::checkout().display()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_counts_for_its_own_key_only() {
        assert_eq!(reference_of("abc r/i@sha256:1\n", "abc"), Some("r/i@sha256:1"));
        assert_eq!(reference_of("abcd r/i@sha256:1\n", "abc"), None);
        assert_eq!(reference_of("", "abc"), None);
    }

    #[test]
    fn the_helper_is_linked_statically() {
        assert!(rust_flags().contains("+crt-static"));
    }
}
