//! A built tree in an otherwise empty root: that its programs work there, and
//! that they ask for nothing of the root that could be the target's.
//!
//! `cargo xtask test` builds the trees and says in `KPEXEC_TOOLSET_TREES` where they
//! are, separated by colons, the largest last.

mod checks;
mod hostile;
mod root;
mod trace;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

use checks::{CHECKS, Check, FULL, STANDARD};
use root::Root;

/// The trees to look at, each with the checks for it.
fn trees() -> Result<Vec<(PathBuf, Vec<Check>)>> {
    let trees =
        std::env::var("KPEXEC_TOOLSET_TREES").context("KPEXEC_TOOLSET_TREES names no tree")?;
    let checks = |tree: &Path| {
        let has = |program: &str| tree.join("bin").join(program).exists();
        let mut checks = CHECKS.to_vec();
        checks.extend_from_slice(if has("strace") { STANDARD } else { &[] });
        checks.extend_from_slice(if has("gdb") { FULL } else { &[] });
        checks
    };
    Ok(trees.split(':').map(|tree| (PathBuf::from(tree), checks(Path::new(tree)))).collect())
}

#[test]
#[ignore = "needs root and the trees that `cargo xtask test` builds"]
fn every_program_works_in_an_empty_root() -> Result<()> {
    let mut failed = Vec::new();
    for (tree, checks) in trees()? {
        for (program, text, expected) in checks {
            let output = Root::new(&tree)?.run("", text)?;
            let said = String::from_utf8_lossy(&output.stdout);
            if !said.contains(expected) {
                let error = String::from_utf8_lossy(&output.stderr);
                failed.push(format!("{}: {program}: {said}{error}", tree.display()));
            }
        }
    }
    ensure!(failed.is_empty(), "\n{}", failed.join("\n"));
    Ok(())
}
