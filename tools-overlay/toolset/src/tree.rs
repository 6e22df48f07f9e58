//! The tree being built: what is put into it, and how it is made independent of
//! when, where and by whom.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};
use sha2::{Digest as _, Sha256};

use crate::key::hexadecimal;
use crate::stage::files_below;

/// The time of every file: any would do, and this is none that looks broken.
const TIME: i64 = 1_700_000_000;

/// A tree in a folder.
pub struct Tree {
    root: PathBuf,
    /// The packages something in it is from.
    pub packages: BTreeSet<String>,
}

impl Tree {
    /// An empty one.
    pub fn new(root: &Path) -> Result<Self> {
        fs::create_dir_all(root).with_context(|| format!("cannot make {}", root.display()))?;
        Ok(Self { root: root.to_owned(), packages: BTreeSet::new() })
    }

    /// Where a path of the tree is on disk.
    pub fn at(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    /// Whether there is anything at that path.
    pub fn has(&self, path: &str) -> bool {
        fs::symlink_metadata(self.at(path)).is_ok()
    }

    /// Every file and link, in order.
    pub fn files(&self) -> Result<Vec<String>> {
        files_below(&self.root)
    }

    /// Writes a file that nobody executes.
    pub fn write(&self, path: &str, content: &[u8]) -> Result<()> {
        let file = self.make_room(path)?;
        fs::write(&file, content).with_context(|| format!("cannot write {}", file.display()))
    }

    /// Copies a file; it can be executed if the original can. Setuid bits stay
    /// behind.
    pub fn copy(&self, from: &Path, path: &str) -> Result<()> {
        let content = fs::read(from).with_context(|| format!("cannot read {}", from.display()))?;
        self.write(path, &content)?;
        let mode =
            if fs::metadata(from)?.permissions().mode() & 0o111 == 0 { 0o644 } else { 0o755 };
        Ok(fs::set_permissions(self.at(path), fs::Permissions::from_mode(mode))?)
    }

    /// Makes a link to another path of the tree. It is relative, so that it
    /// also leads there before the tree is at its place.
    pub fn link(&self, path: &str, target: &str) -> Result<()> {
        let file = self.make_room(path)?;
        let up = "../".repeat(path.matches('/').count());
        // Links within a folder need not leave it.
        let target = match (path.rsplit_once('/'), target.rsplit_once('/')) {
            (Some((folder, _)), Some((other, name))) if folder == other => name.to_owned(),
            _ => format!("{up}{target}"),
        };
        symlink(&target, &file).with_context(|| format!("cannot link {}", file.display()))
    }

    fn make_room(&self, path: &str) -> Result<PathBuf> {
        let file = self.at(path);
        if let Some(folder) = file.parent() {
            fs::create_dir_all(folder)
                .with_context(|| format!("cannot make {}", folder.display()))?;
        }
        Ok(file)
    }

    /// Removes a file or link.
    pub fn remove(&self, path: &str) -> Result<()> {
        fs::remove_file(self.at(path)).with_context(|| format!("cannot remove {path}"))
    }

    /// Fails if a link leads nowhere.
    pub fn check_links(&self) -> Result<()> {
        let dangling: Vec<String> =
            self.files()?.into_iter().filter(|path| !self.at(path).exists()).collect();
        ensure!(dangling.is_empty(), "links that lead nowhere: {}", dangling.join(", "));
        Ok(())
    }

    /// Gives everything one time and one of two modes.
    pub fn normalise(&self) -> Result<()> {
        normalise(&self.root)
    }

    /// The digest of everything in it, and the bytes of its files.
    pub fn digest(&self) -> Result<(String, u64)> {
        let mut all = Sha256::new();
        let mut size = 0;
        for path in self.files()? {
            let file = self.at(&path);
            let metadata = fs::symlink_metadata(&file)?;
            let (kind, content) = if metadata.is_symlink() {
                ("link".to_owned(), fs::read_link(&file)?.into_os_string().into_encoded_bytes())
            } else {
                size += metadata.len();
                (format!("{:o}", metadata.mode()), fs::read(&file)?)
            };
            // The time is part of a layer of the image.
            let time = metadata.mtime();
            all.update(format!("{kind} {} {time} {path}\n", content.len()));
            all.update(&content);
        }
        Ok((hexadecimal(&all.finalize()), size))
    }
}

fn normalise(path: &Path) -> Result<()> {
    let metadata = fs::symlink_metadata(path)?;
    if metadata.is_dir() {
        for entry in fs::read_dir(path)? {
            normalise(&entry?.path())?;
        }
    }
    if !metadata.is_symlink() {
        let program = metadata.permissions().mode() & 0o111 != 0;
        let mode = if metadata.is_dir() || program { 0o755 } else { 0o644 };
        fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    }
    let time = Timespec { tv_sec: TIME, tv_nsec: 0 };
    let times = Timestamps { last_access: time, last_modification: time };
    utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)
        .with_context(|| format!("cannot set the time of {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree() -> (tempfile::TempDir, Tree) {
        let folder = tempfile::tempdir().unwrap();
        let tree = Tree::new(&folder.path().join("root")).unwrap();
        (folder, tree)
    }

    #[test]
    fn setuid_and_odd_modes_are_dropped() {
        let (folder, tree) = tree();
        let from = folder.path().join("su");
        fs::write(&from, "x").unwrap();
        fs::set_permissions(&from, fs::Permissions::from_mode(0o4711)).unwrap();
        tree.copy(&from, "bin/su").unwrap();
        tree.normalise().unwrap();
        let mode = fs::metadata(tree.at("bin/su")).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o755);
    }

    #[test]
    fn the_digest_is_of_names_contents_modes_times_and_links() {
        let (_folder, new) = tree();
        new.write("a", b"").unwrap();
        let before = new.digest().unwrap();
        new.normalise().unwrap();
        assert_ne!(before, new.digest().unwrap(), "the time counts");
        let build = |name: &str, content: &str, mode: u32, target: &str| {
            let (_folder, tree) = tree();
            tree.write(name, content.as_bytes()).unwrap();
            fs::set_permissions(tree.at(name), fs::Permissions::from_mode(mode)).unwrap();
            tree.link("link", target).unwrap();
            tree.normalise().unwrap();
            tree.digest().unwrap()
        };
        let first = build("a", "1", 0o600, "a");
        assert_eq!(first, build("a", "1", 0o640, "a"), "modes are made one of two");
        assert_eq!(first.1, 1);
        for other in [
            build("b", "1", 0o600, "b"),
            build("a", "2", 0o600, "a"),
            build("a", "1", 0o700, "a"),
            build("a", "1", 0o600, "b"),
        ] {
            assert_ne!(first.0, other.0);
        }
    }

    #[test]
    fn links_are_relative_and_checked() {
        let (_folder, tree) = tree();
        tree.write("bin/dash", b"").unwrap();
        tree.write("share/x", b"").unwrap();
        tree.link("bin/sh", "bin/dash").unwrap();
        tree.link("bin/x", "share/x").unwrap();
        assert_eq!(fs::read_link(tree.at("bin/sh")).unwrap(), Path::new("dash"));
        assert_eq!(fs::read_link(tree.at("bin/x")).unwrap(), Path::new("../share/x"));
        tree.check_links().unwrap();
        tree.link("bin/y", "bin/z").unwrap();
        assert!(tree.check_links().unwrap_err().to_string().contains("bin/y"));
    }
}
