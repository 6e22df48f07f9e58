//! Building and pushing images without a container engine, reproducibly.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::run;

/// What becomes of the instructions of a recipe.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Layers {
    /// One layer of all: least to pull.
    One,
    /// A layer each: what did not change is neither pushed nor pulled again.
    Kept,
}

/// buildah with a storage of its own, so that nothing goes to the machine's.
pub struct Buildah {
    folder: PathBuf,
}

impl Buildah {
    /// Keeps the storage below that folder.
    pub fn in_folder(folder: &Path) -> Result<Self> {
        let folder = folder.join("buildah");
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        // The machine's own policy may be stricter, or missing.
        fs::write(
            folder.join("policy.json"),
            r#"{"default":[{"type":"insecureAcceptAnything"}]}"#,
        )?;
        Ok(Self { folder })
    }

    /// Builds an image. With a fixed timestamp, and a recipe that runs nothing,
    /// the same input gives the same digest.
    pub fn build(
        &self,
        recipe: &Path,
        context: &Path,
        reference: &str,
        layers: Layers,
    ) -> Result<()> {
        let mut command = self.command("build");
        // chroot: needs no runtime and no mounts.
        command.args(["--isolation", "chroot", "--timestamp", "0"]);
        command.arg(format!("--layers={}", layers == Layers::Kept));
        command.arg("-f").arg(recipe).args(["-t", reference]).arg(context);
        run::quietly(&mut command)
    }

    /// Pushes an image over plain HTTP and returns its digest. Its layers are
    /// compressed with zstd, which is smaller and faster than gzip; containerd
    /// takes it since 1.5.
    pub fn push(&self, reference: &str) -> Result<String> {
        let digest = self.folder.join("digest");
        let mut command = self.command("push");
        command
            .args(["--tls-verify=false", "--compression-format", "zstd", "--digestfile"])
            .arg(&digest);
        run::quietly(command.args([reference, &format!("docker://{reference}")]))?;
        Ok(fs::read_to_string(&digest)?.trim().to_owned())
    }

    /// Writes an image to a folder, as an OCI layout.
    pub fn keep(&self, reference: &str, folder: &Path) -> Result<()> {
        let mut command = self.command("push");
        run::quietly(command.arg(reference).arg(format!("oci:{}:kept", folder.display())))
    }

    /// Removes the storage with everything in it.
    pub fn remove_storage(self) -> Result<()> {
        fs::remove_dir_all(&self.folder)
            .with_context(|| format!("cannot remove {}", self.folder.display()))
    }

    fn command(&self, verb: &str) -> Command {
        let mut command = run::tool("buildah");
        command.arg("--root").arg(self.folder.join("root"));
        command.arg("--runroot").arg(self.folder.join("run"));
        command.args(["--storage-driver", "vfs", verb]);
        command.arg("--signature-policy").arg(self.folder.join("policy.json"));
        command
    }
}

/// Copies an image that was [kept](Buildah::keep) to a registry over plain HTTP.
pub fn copy_kept(folder: &Path, reference: &str) -> Result<()> {
    let mut command = run::tool("skopeo");
    command.args(["--insecure-policy", "copy", "--quiet", "--dest-tls-verify=false"]);
    let from = format!("oci:{}:kept", folder.display());
    run::quietly(command.arg(from).arg(format!("docker://{reference}")))
}
