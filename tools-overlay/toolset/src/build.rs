//! A build, in order, and the cache of built trees.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail, ensure};

use crate::apt::Apt;
use crate::layout::{self, Role};
use crate::lock;
use crate::patch::record::{self, Counts};
use crate::stage::{self, Unpacked};
use crate::tree::Tree;
use crate::{Profile, fetch, key, libraries, licences, own_files, patch, update};

/// Beside each tree: its digest, size and number of packages.
const FACTS: &str = "facts";
/// How long a tree is kept that nobody asks for; only for that of a day is no
/// limit to how many of a profile there are.
const KEPT: Duration = Duration::from_secs(7 * 24 * 60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// How many trees of a profile are kept that were not used today.
const OLDER: usize = 2;

/// A tree that is ready for use.
#[derive(Debug, PartialEq, Eq)]
pub struct Built {
    /// Where it is.
    pub root: PathBuf,
    /// What it is made of, as a short digest.
    pub key: String,
    /// The digest of all that is in it.
    pub digest: String,
    /// Bytes of its files.
    pub size: u64,
    /// How many packages something of it is from.
    pub packages: usize,
}

/// The builder, and the cache of what it has built.
pub struct Toolset {
    cache: PathBuf,
}

impl Toolset {
    /// With that folder as its cache.
    pub fn new(cache: &Path) -> Self {
        Self { cache: cache.to_owned() }
    }

    /// The tree of a profile, if it was built before.
    pub fn find(&self, profile: Profile) -> Result<Option<Built>> {
        let key = key::key(profile)?;
        let folder = self.folder(profile, &key);
        let built = read(&folder, &key).ok();
        if built.is_some() {
            // Tells from those that nobody uses any more.
            File::open(folder.join(FACTS))?.set_modified(SystemTime::now())?;
        }
        Ok(built)
    }

    fn folder(&self, profile: Profile, key: &str) -> PathBuf {
        self.cache.join("toolset").join(format!("{profile}-{key}"))
    }

    /// The tree of a profile, built if it is not there.
    pub fn build(&self, profile: Profile) -> Result<Built> {
        if let Some(built) = self.find(profile)? {
            return Ok(built);
        }
        let key = key::key(profile)?;
        let folder = self.folder(profile, &key);
        let new = self.unfinished(profile.name())?;
        let (tree, counts) = self.build_in(&new, profile)?;
        record::compare(&update::patches()?, &counts, profile == Profile::Full)?;
        write(&tree, profile, &new)?;
        // Whoever is killed before this line leaves nothing that counts.
        if let Err(error) = fs::rename(&new, &folder) {
            // Another build may have been faster.
            ensure!(folder.exists(), "cannot move {}: {error}", new.display());
            remove(&new)?;
        }
        read(&folder, &key)
    }

    /// Builds it anew, and fails if that gives another tree.
    pub fn build_again(&self, profile: Profile) -> Result<Built> {
        let first = self.build(profile)?;
        // Another folder name, which must not show in the tree.
        let folder = self.unfinished(&format!("{profile}-again"))?;
        let (tree, _) = self.build_in(&folder, profile)?;
        let (digest, _) = tree.digest()?;
        if digest != first.digest {
            bail!(
                "a second build differs: compare {} and {}",
                first.root.display(),
                tree.at("").display()
            );
        }
        remove(&folder)?;
        Ok(first)
    }

    /// Writes `packages.lock` anew: what Debian serves now.
    pub fn update(&self) -> Result<()> {
        let folder = self.unfinished("apt")?;
        update::write_packages(&Apt::new(&folder)?.resolve()?)?;
        remove(&folder)
    }

    /// Writes `patches.lock` anew: how the patches apply.
    pub fn record(&self) -> Result<()> {
        let folder = self.unfinished("record")?;
        let packages = self.unpack(Profile::Full, &folder)?;
        let mut counts = Counts::new();
        // The full one has every file but vim.tiny.
        for profile in [Profile::Full, Profile::Minimal] {
            counts.extend(lay_out(profile, &packages, &folder.join(profile.name()))?.1);
        }
        patch::check_all_used(&counts)?;
        check_left_out(&packages)?;
        update::write_patches(&counts)?;
        remove(&folder)
    }

    /// A folder for a build, which no other uses. What killed builds have left
    /// is removed, and so are trees that nobody has asked for in a while.
    fn unfinished(&self, purpose: &str) -> Result<PathBuf> {
        let top = self.cache.join("toolset");
        fs::create_dir_all(&top).with_context(|| format!("cannot make {}", top.display()))?;
        let mut trees = Vec::new();
        for entry in fs::read_dir(&top)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let builder = name.strip_prefix("unfinished-").and_then(|rest| rest.split('-').next());
            if builder.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
                remove(&entry.path())?;
            }
            let used = fs::metadata(entry.path().join(FACTS)).and_then(|facts| facts.modified());
            if let Ok(used) = used {
                trees.push((name, used.elapsed().unwrap_or_default()));
            }
        }
        for name in unused(trees) {
            remove(&top.join(name))?;
        }
        let folder = top.join(format!("unfinished-{}-{purpose}", std::process::id()));
        if folder.exists() {
            remove(&folder)?;
        }
        fs::create_dir(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        Ok(folder)
    }

    /// Fetches and unpacks the packages of a profile.
    fn unpack(&self, profile: Profile, folder: &Path) -> Result<Vec<Unpacked>> {
        let debs = self.cache.join("debs");
        let packages = lock::of(&update::packages()?, profile);
        fetch::fetch(&packages, &debs)?;
        stage::unpack(&packages, &debs, &folder.join("stage"))
    }

    /// Builds in that folder: `root` in it is the tree.
    fn build_in(&self, folder: &Path, profile: Profile) -> Result<(Tree, Counts)> {
        let built = lay_out(profile, &self.unpack(profile, folder)?, &folder.join("root"))?;
        remove(&folder.join("stage"))?;
        Ok(built)
    }
}

/// Which of these trees, each with the time since it was asked for, have to go.
fn unused(mut trees: Vec<(String, Duration)>) -> Vec<String> {
    trees.sort_by_key(|(_, age)| *age);
    let mut kept: BTreeMap<String, usize> = BTreeMap::new();
    trees.retain(|(name, age)| {
        let profile = name.split('-').next().unwrap_or_default().to_owned();
        let newer = kept.entry(profile).or_default();
        *newer += 1;
        *age > KEPT || (*age > DAY && *newer > OLDER)
    });
    trees.into_iter().map(|(name, _)| name).collect()
}

/// The steps of a build. Each is explained where it is.
fn lay_out(profile: Profile, packages: &[Unpacked], root: &Path) -> Result<(Tree, Counts)> {
    let packages: Vec<&Unpacked> =
        packages.iter().filter(|unpacked| unpacked.package.profile <= profile).collect();
    let mut tree = Tree::new(root)?;
    place(&mut tree, &packages, profile)?;
    own_files::add(&mut tree, &packages)?;
    libraries::add(&mut tree, &packages)?;
    let counts = patch::all(&tree)?;
    remove_dangling(&tree)?;
    licences::add(&tree, &packages, &counts)?;
    tree.check_links()?;
    tree.normalise()?;
    Ok((tree, counts))
}

/// Fails unless everything that [`layout`] leaves out by name is there.
fn check_left_out(packages: &[Unpacked]) -> Result<()> {
    let mut paths = Vec::new();
    for package in packages {
        paths.extend(package.files()?);
    }
    let unknown = layout::left_out_of_none(&paths);
    ensure!(unknown.is_empty(), "left out, but in no package: {}", unknown.join(", "));
    Ok(())
}

fn remove(folder: &Path) -> Result<()> {
    fs::remove_dir_all(folder).with_context(|| format!("cannot remove {}", folder.display()))
}

/// Puts the packages' files where [`layout`] says.
fn place(tree: &mut Tree, packages: &[&Unpacked], profile: Profile) -> Result<()> {
    let wanted = profile.packages();
    for package in packages {
        let name = package.package.name.as_str();
        let role = if wanted.contains(&name) { Role::Wanted } else { Role::Needed };
        for path in package.files()? {
            let Some(to) = layout::place(&path, role) else {
                continue;
            };
            // vim-tiny is for who has no other.
            if tree.has(&to) || (to == "bin/vim.tiny" && profile > Profile::Minimal) {
                continue;
            }
            let from = package.folder.join(&path);
            if fs::symlink_metadata(&from)?.is_symlink() {
                let target = fs::read_link(&from)?;
                let target = target.to_str().context("a link that is no text")?;
                let target = layout::link_target(&path, target);
                if let Some(target) = target.and_then(|target| layout::place(&target, role))
                    && target != to
                {
                    tree.link(&to, &target)?;
                }
                continue;
            }
            tree.copy(&from, &to)?;
            tree.packages.insert(name.to_owned());
        }
    }
    Ok(())
}

/// Links to what was left out.
fn remove_dangling(tree: &Tree) -> Result<()> {
    // A link may lead to a link.
    loop {
        let files = tree.files()?;
        let mut dangling = files.iter().filter(|path| !tree.at(path).exists()).peekable();
        if dangling.peek().is_none() {
            return Ok(());
        }
        dangling.try_for_each(|path| tree.remove(path))?;
    }
}

/// Writes what is known of a tree beside it, and fails if it is too large.
fn write(tree: &Tree, profile: Profile, folder: &Path) -> Result<()> {
    let (digest, size) = tree.digest()?;
    let limit = profile.limit();
    ensure!(size <= limit, "{profile} is {size} bytes, and {limit} are the most it may have");
    Ok(fs::write(folder.join(FACTS), format!("{digest} {size} {}\n", tree.packages.len()))?)
}

fn read(folder: &Path, key: &str) -> Result<Built> {
    let facts = fs::read_to_string(folder.join(FACTS))?;
    let fields: Vec<&str> = facts.split_whitespace().collect();
    let [digest, size, packages] = fields[..] else {
        bail!("{}: not three fields", folder.join(FACTS).display());
    };
    Ok(Built {
        root: folder.join("root"),
        key: key.to_owned(),
        digest: digest.to_owned(),
        size: size.parse()?,
        packages: packages.parse()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_two_of_a_profile_stay_for_a_week_and_all_for_a_day() {
        let hours = |count: u64| Duration::from_secs(count * 60 * 60);
        let tree = |name: &str, age| (name.to_owned(), hours(age));
        let trees = vec![
            tree("full-d", 50),
            tree("full-a", 1),
            tree("full-c", 30),
            tree("full-b", 23),
            tree("minimal-a", 100),
            tree("minimal-b", 200),
        ];
        assert_eq!(unused(trees), ["full-c", "full-d", "minimal-b"]);
    }
}
