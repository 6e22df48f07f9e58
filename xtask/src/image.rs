//! `cargo xtask image`: the helper image, from this checkout to the cluster's
//! registry.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use ::toolset::{Built, Profile};
use anyhow::{Context, Result, bail};

use crate::buildah::{Buildah, Layers};
use crate::cluster::layout::{self, REGISTRY};
use crate::cluster::lock;
use crate::digest::Inputs;
use crate::{run, toolset};

const REPOSITORY: &str = "kpexec-helper";
const TARGET: &str = "x86_64-unknown-linux-gnu";

/// How to build it.
#[derive(clap::Args)]
pub struct Options {
    /// Print the image reference only
    #[arg(long)]
    quiet: bool,
    /// Only prepare the build context, for podman or docker, and print its path
    #[arg(long)]
    context: bool,
    /// Which toolset is in it: minimal, standard, full or all
    #[arg(long, default_value = "standard", value_parser = profiles)]
    toolset: Profiles,
}

/// One image each.
#[derive(Clone)]
struct Profiles(Vec<Profile>);

fn profiles(name: &str) -> Result<Profiles> {
    Ok(Profiles(if name == "all" { Profile::ALL.to_vec() } else { vec![name.parse()?] }))
}

/// Builds and pushes the images, or prepares their contexts.
pub fn perform(options: &Options) -> Result<()> {
    for profile in &options.toolset.0 {
        if options.context {
            let _lock = wait()?;
            println!("{}", prepare_context(*profile)?.folder.display());
        } else {
            println!("{}", build_and_push(*profile, options.quiet)?);
        }
    }
    Ok(())
}

/// Builds the image, if anything in it has changed, and returns its reference
/// with the digest.
pub fn build_and_push(profile: Profile, quiet: bool) -> Result<String> {
    if !layout::ready().exists() {
        bail!("the cluster, whose registry takes the image, is not up: `cargo xtask cluster up`");
    }
    let _lock = wait()?;
    if !quiet {
        eprintln!("image: building the helper (about 1 min the first time)");
    }
    let context = prepare_context(profile)?;
    let record = target().join(format!("helper-image-{profile}.key"));
    if let Some(reference) = pushed_before(&record, &context.key) {
        return Ok(reference);
    }
    if !quiet {
        eprintln!("image: building and pushing, with the {profile} toolset");
    }
    let tag = format!("{REGISTRY}/{REPOSITORY}:{}", tag(profile));
    let buildah = Buildah::in_folder(&layout::state("images"))?;
    buildah.build(&recipe(), &context.folder, &tag, Layers::Kept)?;
    let reference = format!("{REGISTRY}/{REPOSITORY}@{}", buildah.push(&tag)?);
    fs::write(&record, format!("{} {reference}\n", context.key))?;
    Ok(reference)
}

/// The files of an image, in a folder: `root` and `toolset`.
pub fn files(profile: Profile) -> Result<PathBuf> {
    let _lock = wait()?;
    Ok(prepare_context(profile)?.folder)
}

fn tag(profile: Profile) -> String {
    match profile {
        Profile::Standard => "dev".to_owned(),
        other => format!("dev-{other}"),
    }
}

/// Tests in several processes ask for the image at once.
fn wait() -> Result<lock::Lock> {
    lock::wait_silently(&target().join("helper-image.lock"))
}

fn recipe() -> PathBuf {
    layout::checkout().join("tools-overlay/Containerfile")
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

/// The files of an image.
struct Prepared {
    folder: PathBuf,
    /// Everything the image depends on.
    key: String,
}

/// Lays out the files of the image in `target/helper-context`.
fn prepare_context(profile: Profile) -> Result<Prepared> {
    let helper = build_helper()?;
    let toolset = toolset::build(profile)?;
    let folder = target().join("helper-context").join(profile.name());
    lay_out(&helper, &toolset, &folder)
        .with_context(|| format!("cannot lay out {}", folder.display()))?;
    let mut inputs = Inputs::default();
    inputs.add_file(&recipe())?;
    for program in PROGRAMS {
        inputs.add_file(&helper.join(program))?;
    }
    // Reading 140 MB on each call would be slow; this stands for them.
    inputs.add("toolset", toolset.digest.as_bytes());
    Ok(Prepared { folder, key: inputs.finish() })
}

/// The helper's programs.
const PROGRAMS: [&str; 2] = ["node-helper", "node-entry"];

fn lay_out(helper: &Path, toolset: &Built, context: &Path) -> Result<()> {
    let root = context.join("root");
    if root.exists() {
        fs::remove_dir_all(&root)?;
    }
    // The toolset is a layer of its own, with its own folder.
    for folder in [".kpexec-run", "dev", "proc", "run", "sys", "tmp"] {
        fs::create_dir_all(root.join(folder))?;
    }
    for program in PROGRAMS {
        fs::copy(helper.join(program), root.join(program))?;
    }
    normalize(&root)?;
    fs::set_permissions(root.join("tmp"), fs::Permissions::from_mode(0o1777))?;
    let record = context.join("toolset.digest");
    if fs::read_to_string(&record).is_ok_and(|digest| digest == toolset.digest) {
        return Ok(());
    }
    let tree = context.join("toolset");
    if tree.exists() {
        fs::remove_dir_all(&tree)?;
    }
    let mut copy = Command::new("cp");
    run::quietly(copy.args(["-a", "--reflink=auto"]).arg(&toolset.root).arg(&tree))?;
    Ok(fs::write(&record, &toolset.digest)?)
}

/// Whatever the umask was: the image must not depend on it.
fn normalize(path: &Path) -> Result<()> {
    let metadata = fs::symlink_metadata(path)?;
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

/// The helper's programs, without a dynamic linker: the image has none. Gives
/// their folder.
fn build_helper() -> Result<PathBuf> {
    run::visibly_or_fail(&mut helper_cargo("build"))?;
    Ok(target().join("helper").join(TARGET).join("dist"))
}

/// `cargo build` or `bench` of the helper, as nodes run it.
pub fn helper_cargo(subcommand: &str) -> Command {
    let mut cargo = run::cargo();
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
    fn each_toolset_has_its_image() {
        let all = profiles("all").unwrap().0;
        let tags: Vec<String> = all.into_iter().map(tag).collect();
        assert_eq!(tags, ["dev-minimal", "dev", "dev-full"]);
        assert!(profiles("huge").is_err());
    }

    #[test]
    fn the_helper_is_linked_statically() {
        assert!(rust_flags().contains("+crt-static"));
    }
}
