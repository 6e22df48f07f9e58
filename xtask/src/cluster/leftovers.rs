//! Whether there is a cluster, whose it is, and taking it away. The same code
//! serves a cluster that runs, one that was killed half-way through `up`, and
//! what is left of one whose processes are gone.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::cgroup::Cgroups;
use super::process::Record;
use super::{host, layout, network};

/// What was found on the machine.
#[derive(Debug, PartialEq, Eq)]
pub enum Found {
    /// Nothing.
    Nothing,
    /// A cluster of this checkout that works.
    Ours,
    /// A cluster of another checkout that works.
    Theirs(PathBuf),
    /// Something that does not work, nobody's any more.
    Leftovers,
}

/// The facts that [`judge`] decides on.
#[derive(Debug, Clone, Default)]
struct Facts {
    /// The checkout that started it, if that is known.
    owner: Option<PathBuf>,
    /// Whether that checkout still exists.
    owner_exists: bool,
    /// Whether `up` had finished.
    was_ready: bool,
    /// Whether every recorded process runs.
    all_alive: bool,
    /// Whether the API server runs.
    api_alive: bool,
    /// Whether a file or a process is there at all.
    anything: bool,
}

/// Looks at the machine. The caller holds the lock: otherwise an `up` that is
/// under way would be taken for leftovers.
pub fn look(cgroups: &Cgroups) -> Found {
    let owner = fs::read_to_string(layout::owner()).ok().map(|path| PathBuf::from(path.trim()));
    let records = Record::all();
    let api = records.iter().find(|record| record.name == "kube-apiserver");
    let facts = Facts {
        owner_exists: owner.as_ref().is_some_and(|path| path.join("xtask").is_dir()),
        owner,
        was_ready: layout::ready().exists(),
        all_alive: !records.is_empty() && records.iter().all(Record::alive),
        api_alive: api.is_some_and(Record::alive),
        anything: Path::new(layout::STATE).exists() || !cgroups.members().is_empty(),
    };
    judge(&facts, &layout::checkout())
}

fn judge(facts: &Facts, checkout: &Path) -> Found {
    if !facts.anything {
        return Found::Nothing;
    }
    match &facts.owner {
        Some(owner) if owner == checkout && facts.was_ready && facts.all_alive => Found::Ours,
        Some(owner) if owner == checkout => Found::Leftovers,
        // Of another's cluster the API server decides: somebody may be at work
        // on a node of it. A checkout that was deleted wants nothing any more.
        Some(owner) if facts.was_ready && facts.api_alive && facts.owner_exists => {
            Found::Theirs(owner.clone())
        }
        _ => Found::Leftovers,
    }
}

/// Takes everything away. Harmless when nothing is there.
pub fn remove_all(cgroups: &Cgroups) -> Result<()> {
    // First of all: whoever looks now must not take it for a working cluster.
    remove_file(&layout::ready())?;
    // All at once and hard. Trap: an API server that is asked politely drains
    // its connections and holds the port for a minute.
    for record in Record::all() {
        record.kill()?;
    }
    cgroups.kill_members()?;
    network::remove()?;
    cgroups.remove()?;
    host::restore()?;
    // The owner's name goes last, with the folder: what is left by a `down`
    // that is itself killed is still known to be leftovers.
    remove_folder(layout::STATE.as_ref())
}

/// Removes a folder with everything in it, if it is there.
pub fn remove_folder(path: &Path) -> Result<()> {
    removed(path, fs::remove_dir_all(path))
}

fn remove_file(path: &Path) -> Result<()> {
    removed(path, fs::remove_file(path))
}

fn removed(path: &Path, result: io::Result<()>) -> Result<()> {
    match result {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn working(owner: &str) -> Facts {
        Facts {
            owner: Some(owner.into()),
            owner_exists: true,
            was_ready: true,
            all_alive: true,
            api_alive: true,
            anything: true,
        }
    }

    fn judged(facts: Facts) -> Found {
        judge(&facts, Path::new("/ours"))
    }

    #[test]
    fn a_working_cluster_is_told_by_its_owner() {
        assert_eq!(judged(working("/ours")), Found::Ours);
        assert_eq!(judged(working("/theirs")), Found::Theirs("/theirs".into()));
        assert_eq!(judged(Facts::default()), Found::Nothing);
    }

    #[test]
    fn our_cluster_with_a_dead_process_is_leftovers() {
        assert_eq!(judged(Facts { all_alive: false, ..working("/ours") }), Found::Leftovers);
    }

    #[test]
    fn an_up_that_was_killed_is_leftovers_whoever_called_it() {
        for owner in ["/ours", "/theirs"] {
            assert_eq!(judged(Facts { was_ready: false, ..working(owner) }), Found::Leftovers);
        }
        assert_eq!(judged(Facts { owner: None, ..working("") }), Found::Leftovers);
    }

    #[test]
    fn another_checkouts_cluster_is_left_alone_while_it_works() {
        let broken = Facts { all_alive: false, ..working("/theirs") };
        assert_eq!(judged(broken), Found::Theirs("/theirs".into()));
        let dead = Facts { api_alive: false, all_alive: false, ..working("/theirs") };
        assert_eq!(judged(dead), Found::Leftovers);
        let deleted = Facts { owner_exists: false, ..working("/theirs") };
        assert_eq!(judged(deleted), Found::Leftovers);
    }
}
