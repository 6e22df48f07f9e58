//! Builds what the cache lacks, with a progress line for each.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::parts::{Extra, PARTS, Part};
use super::{layout, old_glibc};
use crate::run;

/// The constant gVisor's shim sets its own OOM score to.
const OOM_SCORE_THEIRS: &str = "oomScoreMax = -999";
const OOM_SCORE_OURS: &str = "oomScoreMax = 0";
const SHIM: &str = "containerd-shim-runsc-v1";
/// Folder of the patched copy, removed after the build.
const COPY: &str = "copy";

/// Builds every part and image that is missing in the cache.
pub fn build_missing() -> Result<()> {
    fs::create_dir_all(layout::cache())
        .with_context(|| format!("cannot make the cache folder {}", layout::cache().display()))?;
    // Two checkouts must not build the same thing twice at once.
    let _lock = super::lock::wait(&layout::cache().join("lock"), "another build of the cluster")?;
    for part in PARTS {
        let folder = part.cached()?;
        if !folder.exists() {
            build_with_progress(part, &folder)?;
        }
    }
    old_glibc::build_missing()
}

/// Links every program into the cluster's folder of programs.
pub fn link_programs(bin: &Path) -> Result<()> {
    for part in PARTS {
        for (name, target) in part.links(&part.cached()?) {
            symlink(&target, bin.join(&name)).with_context(|| format!("cannot link {name}"))?;
        }
    }
    Ok(())
}

fn build_with_progress(part: &Part, folder: &Path) -> Result<()> {
    print!("{}: building (the first time ~{}) … ", part.title, part.first_build);
    std::io::stdout().flush()?;
    let start = Instant::now();
    let unfinished = part.unfinished(folder);
    build(part, &unfinished).with_context(|| format!("{} does not build", part.title))?;
    // Only a complete folder ever has the final name.
    fs::rename(&unfinished, folder)?;
    println!("done in {}", spoken(start.elapsed()));
    Ok(())
}

fn build(part: &Part, into: &Path) -> Result<()> {
    if run::find("go").is_none() {
        bail!("`go` (1.26 or newer) is not on PATH");
    }
    if into.exists() {
        fs::remove_dir_all(into)?;
    }
    fs::create_dir_all(into)?;
    for (package, program) in part.programs {
        let mut folder = part.source();
        if part.extra == Extra::OomScore && *program == SHIM {
            folder = patched_copy(part, into)?;
        }
        let mut go = go_in(part);
        go.current_dir(folder).args(["build", "-trimpath", "-buildvcs=false", "-ldflags"]);
        go.arg(format!("-s -w {}", part.link).trim());
        if !part.tags.is_empty() {
            go.args(["-tags", part.tags]);
        }
        run::quietly(go.arg("-o").arg(into.join(program)).arg(package))?;
    }
    let copy = into.join(COPY);
    if copy.exists() {
        fs::remove_dir_all(copy)?;
    }
    if part.extra == Extra::Pinns {
        build_pinns(part, into)?;
    }
    Ok(())
}

fn go_in(part: &Part) -> Command {
    let mut go = run::tool("go");
    go.current_dir(part.source()).env("CGO_ENABLED", if part.cgo { "1" } else { "0" });
    go
}

/// The folder of a module in Go's module cache.
fn module_folder(part: &Part, module: &str) -> Result<PathBuf> {
    run::quietly(go_in(part).args(["mod", "download", module]))?;
    let folder = run::output(go_in(part).args(["list", "-m", "-f", "{{.Dir}}", module]))?;
    Ok(folder.trim().into())
}

/// CRI-O's namespace pinner is C beside the Go code.
fn build_pinns(part: &Part, into: &Path) -> Result<()> {
    let source = module_folder(part, "github.com/cri-o/cri-o")?.join("pinns/src");
    let mut gcc = Command::new("gcc");
    gcc.args(["-std=c99", "-Os", "-static", "-s", "-o"]).arg(into.join("pinns"));
    for file in ["pinns.c", "sysctl.c"] {
        gcc.arg(source.join(file));
    }
    run::quietly(&mut gcc)
}

/// Trap: without CAP_SYS_RESOURCE nobody may lower an OOM score, and gVisor's
/// shim gives up when it cannot. So the shim is built from a vendored copy of
/// the packages it needs, with that one constant raised. (`go build -overlay`
/// would need no copy, but refuses to replace a file of the module cache.)
fn patched_copy(part: &Part, into: &Path) -> Result<PathBuf> {
    let copy = into.join(COPY);
    fs::create_dir_all(&copy)?;
    for file in ["go.mod", "go.sum"] {
        fs::copy(part.source().join(file), copy.join(file))?;
    }
    run::quietly(go_in(part).current_dir(&copy).args(["mod", "vendor"]))?;
    let file = copy.join("vendor/gvisor.dev/gvisor/pkg/shim/v1/manager.go");
    let code =
        fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    if !code.contains(OOM_SCORE_THEIRS) {
        bail!("gVisor's {} no longer holds `{OOM_SCORE_THEIRS}`", file.display());
    }
    fs::write(&file, code.replace(OOM_SCORE_THEIRS, OOM_SCORE_OURS))?;
    Ok(copy)
}

impl Part {
    fn unfinished(&self, folder: &Path) -> PathBuf {
        folder.with_extension("unfinished")
    }
}

/// `5 min 10 s`
fn spoken(time: Duration) -> String {
    match (time.as_secs() / 60, time.as_secs() % 60) {
        (0, seconds) => format!("{seconds} s"),
        (minutes, seconds) => format!("{minutes} min {seconds} s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_aloud() {
        assert_eq!(spoken(Duration::from_secs(9)), "9 s");
        assert_eq!(spoken(Duration::from_secs(310)), "5 min 10 s");
    }
}
