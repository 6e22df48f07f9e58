//! Licences and sources of what is in the tree.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::layout::link_target;
use crate::lock::Package;
use crate::patch::record::Counts;
use crate::stage::{Unpacked, files_below};
use crate::tree::Tree;

const FOLDER: &str = "share/licenses";
/// Many copyright files point there for the text of the GPL and others.
const COMMON: &str = "usr/share/common-licenses";
/// Where our own sources are.
const REPOSITORY: &str = env!("CARGO_PKG_REPOSITORY");
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Adds the licence of every package that something is from, the common texts,
/// and the list of sources.
pub fn add(tree: &Tree, packages: &[&Unpacked], patched: &Counts) -> Result<()> {
    let used = |package: &&&Unpacked| tree.packages.contains(&package.package.name);
    for package in packages.iter().filter(used) {
        let name = &package.package.name;
        let from = copyright(packages, name).with_context(|| format!("the licence of {name}"))?;
        tree.copy(&from, &format!("{FOLDER}/{name}"))?;
    }
    let base = packages.iter().find(|package| package.package.name == "base-files");
    let common = base.context("no base-files")?.folder.join(COMMON);
    for path in files_below(&common)? {
        // Some are links: GPL is the newest GPL.
        tree.copy(&common.join(&path), &format!("{FOLDER}/common/{path}"))?;
    }
    tree.write(&format!("{FOLDER}/kpexec"), include_bytes!("../../../LICENSE"))?;
    let packages: Vec<&Package> =
        packages.iter().filter(used).map(|package| &package.package).collect();
    tree.write("SOURCES", sources(&packages, patched).as_bytes())
}

/// The copyright file of a package. Its folder may be a link to another
/// package's.
fn copyright(packages: &[&Unpacked], name: &str) -> Result<PathBuf> {
    let mut path = format!("usr/share/doc/{name}");
    let mut seen = BTreeSet::new();
    while seen.insert(path.clone()) {
        let found = packages.iter().map(|package| package.folder.join(&path));
        let Some(found) = found.into_iter().find(|file| fs::symlink_metadata(file).is_ok()) else {
            bail!("no package has {path}");
        };
        let metadata = fs::symlink_metadata(&found)?;
        if metadata.is_symlink() {
            let target = fs::read_link(&found)?;
            let target = target.to_str().context("a link that is no text")?;
            path = link_target(&path, target).context("a link that leads out")?;
        } else if metadata.is_dir() {
            path.push_str("/copyright");
        } else {
            return Ok(found);
        }
    }
    bail!("links in a circle at {path}")
}

fn sources(packages: &[&Package], patched: &Counts) -> String {
    let mut text = format!(
        "\
The programs here are Debian's. Their sources have the names and versions below, and
Debian's archive of all its packages has them.
What was changed, and how, is part of kpexec's own source, version {VERSION}:
{REPOSITORY}, folder tools-overlay/toolset.
For three years from when you got this, whoever gave it to you gives you, or anyone, the
complete source of what is below on request, for no more than the cost of the copy; for
copies that kpexec itself gives out, ask at {REPOSITORY}.
Licences are in share/licenses.

package version, source version
"
    );
    for p in packages {
        text.push_str(&format!("{} {}, {} {}\n", p.name, p.version, p.source, p.source_version));
    }
    text.push_str("\nfiles that were changed\n");
    for (file, _) in patched.iter().filter(|(_, rules)| !rules.is_empty()) {
        text.push_str(file);
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lock;
    use std::os::unix::fs::symlink;

    fn unpacked(root: &std::path::Path, name: &str) -> Unpacked {
        let line = format!("minimal {name} 2 all src 1 5 {} pool/a.deb", "a".repeat(64));
        let folder = root.join(name);
        fs::create_dir_all(folder.join("usr/share/doc")).unwrap();
        Unpacked { package: lock::parse(&line).unwrap().remove(0), folder }
    }

    #[test]
    fn a_licence_is_found_through_links_of_other_packages() {
        let root = tempfile::tempdir().unwrap();
        let (a, b) = (unpacked(root.path(), "a"), unpacked(root.path(), "b"));
        symlink("b", a.folder.join("usr/share/doc/a")).unwrap();
        fs::create_dir(b.folder.join("usr/share/doc/b")).unwrap();
        fs::write(b.folder.join("usr/share/doc/b/copyright"), "GPL").unwrap();
        let packages = [&a, &b];
        let found = copyright(&packages, "a").unwrap();
        assert_eq!(fs::read_to_string(found).unwrap(), "GPL");
        assert!(copyright(&packages, "c").is_err());
    }

    #[test]
    fn sources_and_changes_are_named() {
        let root = tempfile::tempdir().unwrap();
        let a = unpacked(root.path(), "a");
        let changed = [("patchelf".to_owned(), 1)].into();
        let files = [("bin/x".to_owned(), changed), ("bin/y".to_owned(), [].into())];
        let text = sources(&[&a.package], &Counts::from(files));
        assert!(text.contains(REPOSITORY) && REPOSITORY.starts_with("https://"), "{text}");
        assert!(text.contains("a 2, src 1\n") && text.ends_with("\nbin/x\n"), "{text}");
    }
}
