//! A root for the tests: a folder, and what is mounted into it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context, Result};

/// An empty root with the tree in it.
pub struct Root {
    /// Where it is.
    pub folder: tempfile::TempDir,
    tree: PathBuf,
}

impl Root {
    /// Empty but for the tree and mount points.
    pub fn new(tree: &Path) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        for name in [".kpexec", "dev", "proc", "sys", "tmp", "root"] {
            fs::create_dir(folder.path().join(name))?;
        }
        Ok(Self { folder, tree: tree.to_owned() })
    }

    /// Runs a shell text of ours in it; under strace with these
    /// options if there are any.
    pub fn run(&self, tracer: &str, text: &str) -> Result<Output> {
        const ENTER: &str = r#"
            mount --bind "$TREE" "$ROOT/.kpexec" && mount -o remount,ro,bind "$ROOT/.kpexec" &&
            mount --rbind /dev "$ROOT/dev" && mount -t proc proc "$ROOT/proc" &&
            mount --rbind /sys "$ROOT/sys" && cd "$ROOT" && ip link set lo up &&
            TRACER=${TRACER:+$(command -v strace) $TRACER} &&
            exec env -i PATH=/.kpexec/bin HOME=/root LANG=C.UTF-8 \
                $TRACER "$(command -v chroot)" "$ROOT" /.kpexec/bin/bash -c "$TEXT"
        "#;
        let mut unshare = Command::new("unshare");
        // A network of its own: nothing leaves this machine.
        unshare.args(["--mount", "--net", "--pid", "--fork", "--kill-child"]);
        unshare.args(["timeout", "60", "bash", "-c", ENTER]);
        unshare.env("TREE", &self.tree).env("ROOT", self.folder.path());
        unshare.env("TRACER", tracer).env("TEXT", text);
        unshare.output().context("unshare cannot be started")
    }
}
