//! The images of the test pods. Recipes and C sources are in
//! `tests/cluster/images`.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::layout::{self, REGISTRY};
use super::{old_glibc, roots};
use crate::buildah::{Buildah, Layers};
use crate::run;

/// Builds the context folder of an image.
type Stage = fn(&Path) -> Result<()>;
/// Image name, folder of its recipe, context.
const IMAGES: &[(&str, &str, Stage)] = &[
    ("pause", "pause", stage_pause),
    ("busybox", "busybox", stage_busybox),
    ("distroless", "roots", stage_distroless),
    ("scratch", "roots", roots::stage_scratch),
    ("musl", "roots", roots::stage_musl),
    ("broken-libc", "roots", roots::stage_broken_libc),
];

/// Builds all images and pushes them to the cluster's registry. This has to be
/// done before the nodes start: no pod runs without the pause image.
pub fn build_and_push() -> Result<()> {
    let buildah = Buildah::in_folder(&layout::state("images"))?;
    for (name, recipe, stage) in IMAGES {
        let context = layout::state("images").join(name);
        fs::create_dir_all(&context)?;
        stage(&context).with_context(|| format!("cannot prepare the image {name}"))?;
        let reference = format!("{REGISTRY}/{name}:1");
        buildah.build(&source(recipe).join("Containerfile"), &context, &reference, Layers::One)?;
        buildah.push(&reference)?;
    }
    old_glibc::push()
}

fn source(name: &str) -> PathBuf {
    layout::checkout().join("tests/cluster/images").join(name)
}

fn stage_pause(context: &Path) -> Result<()> {
    let mut gcc = Command::new("gcc");
    gcc.args(["-std=c11", "-D_GNU_SOURCE", "-Os", "-Wall", "-Werror", "-static", "-s", "-o"]);
    run::quietly(gcc.arg(context.join("pause")).arg(source("pause").join("pause.c")))
}

fn stage_distroless(context: &Path) -> Result<()> {
    let root = context.join("root");
    stage_root(&root)?;
    fs::write(
        root.join("etc/passwd"),
        "root:x:0:0:root:/root:/sbin/nologin\n\
         nonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin\n",
    )?;
    fs::write(root.join("etc/group"), "root:x:0:\nnonroot:x:65532:\n")?;
    roots::compile(&["gcc", "-static"], &root)
}

fn stage_busybox(context: &Path) -> Result<()> {
    let root = context.join("root");
    stage_root(&root)?;
    fs::create_dir_all(root.join("bin"))?;
    fs::write(
        root.join("etc/passwd"),
        "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n",
    )?;
    fs::write(root.join("etc/group"), "root:x:0:\nnogroup:x:65534:\n")?;
    install_busybox(&root.join("bin"))
}

/// Copies Debian's static busybox and links each of its applets to it.
pub fn install_busybox(bin: &Path) -> Result<()> {
    let busybox = bin.join("busybox");
    fs::copy("/bin/busybox", &busybox).context("busybox-static is not installed")?;
    fs::set_permissions(&busybox, fs::Permissions::from_mode(0o755))?;
    let applets = run::output(Command::new("/bin/busybox").arg("--list"))?;
    for applet in applets.lines().filter(|applet| *applet != "busybox") {
        let link = bin.join(applet);
        if !link.exists() {
            symlink("busybox", link)?;
        }
    }
    Ok(())
}

/// Folders that every image with a file system has.
pub fn stage_root(root: &Path) -> Result<()> {
    for folder in ["etc", "tmp", "root", "home/nonroot", "proc", "sys", "dev", "run"] {
        fs::create_dir_all(root.join(folder))?;
    }
    fs::set_permissions(root.join("tmp"), fs::Permissions::from_mode(0o1777))?;
    Ok(())
}
