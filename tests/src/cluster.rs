//! The cluster the tests run against, and what they run.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context, Result, bail};

/// What a test needs to run kpexec on the cluster.
#[derive(Debug)]
pub struct Cluster {
    /// The administrator's kubeconfig.
    pub kubeconfig: PathBuf,
    /// The helper image of this checkout, by digest.
    pub helper_image: String,
    /// The binary of this checkout.
    pub kpexec: PathBuf,
}

impl Cluster {
    /// The running cluster. The first call builds kpexec and the helper image
    /// where they are not up to date, so that a test never runs an old one.
    ///
    /// # Panics
    /// When there is no cluster: tests against nothing must not pass.
    pub fn get() -> &'static Self {
        static CLUSTER: OnceLock<Cluster> = OnceLock::new();
        CLUSTER.get_or_init(|| Self::find().expect("a running cluster: `cargo xtask cluster up`"))
    }

    /// The helper image with the full toolset; built where it is not up to date.
    ///
    /// # Errors
    /// When it cannot be built.
    pub fn full_helper_image() -> Result<String> {
        last_line(&["xtask", "image", "--quiet", "--toolset", "full"])
    }

    fn find() -> Result<Self> {
        let kubeconfig = last_line(&["xtask", "cluster", "kubeconfig"])?;
        let helper_image = last_line(&["xtask", "image", "--quiet"])?;
        last_line(&["build", "--quiet", "--release", "--package", "kpexec"])?;
        let kpexec = checkout().join("target/release/kpexec");
        Ok(Self { kubeconfig: kubeconfig.into(), helper_image, kpexec })
    }
}

fn checkout() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the checkout")
}

pub(crate) fn last_line(arguments: &[&str]) -> Result<String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut cargo = Command::new(cargo);
    // What the cargo that runs this test says of this package: build scripts look
    // at it (that of ring does), and a release build would begin anew.
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
            cargo.env_remove(&*name);
        }
    }
    let output = cargo.args(arguments).current_dir(checkout()).output()?;
    if !output.status.success() {
        bail!("cargo {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr));
    }
    let text = String::from_utf8(output.stdout)?;
    Ok(text.lines().last().unwrap_or_default().to_owned())
}

/// Runs kubectl as the administrator and gives its stdout.
///
/// # Errors
/// When kubectl fails; with what it said.
pub fn kubectl(arguments: &[&str]) -> Result<String> {
    let cluster = Cluster::get();
    let kubectl = cluster.kubeconfig.with_file_name("bin").join("kubectl");
    let output = Command::new(kubectl)
        .arg("--kubeconfig")
        .arg(&cluster.kubeconfig)
        .args(arguments)
        .output()
        .context("run kubectl")?;
    if !output.status.success() {
        bail!("kubectl {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// Applies a manifest given as text.
///
/// # Errors
/// When kubectl refuses it.
pub fn apply(manifest: &str) -> Result<()> {
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(&file, manifest)?;
    let path = file.path().to_str().context("a temporary path is text")?;
    kubectl(&["apply", "-f", path]).map(drop)
}
