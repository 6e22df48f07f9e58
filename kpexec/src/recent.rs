//! Which helper the last session like this one had. It is a guess: the exec in it is
//! asked for while the API server is still asked which helper is the right one, and
//! is dropped if it is another.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use crate::cli::Cli;
use crate::cluster::Cluster;
use crate::target::check_name;
use crate::user::hash;

/// More sessions than one comes back to. Each is a line of 42 bytes.
const KEPT: usize = 100;

/// What is remembered of the sessions like this one.
pub struct Recent {
    file: PathBuf,
    key: String,
    /// The helper's name.
    pub helper: Option<String>,
}

impl Recent {
    /// Reads it. None where nothing can be remembered, or must not: a session with a
    /// helper of its own has no last one, and what is told first is not begun.
    pub fn read(cli: &Cli, image: &str, cluster: &Cluster) -> Option<Self> {
        if cli.rm || cli.tools.tools_root || cli.plan.comes_first() {
            return None;
        }
        let file = place(|name| std::env::var_os(name))?;
        let key = key(cli, image, cluster);
        let text = fs::read_to_string(&file).unwrap_or_default();
        // It becomes part of a URL.
        let helper = helper_of(&text, &key).filter(|name| check_name(name, "pod").is_ok());
        let helper = helper.map(str::to_owned);
        Some(Self { file, key, helper })
    }

    /// Remembers the right one, if it is another.
    pub fn correct(&self, helper: &str) {
        if self.helper.as_deref() != Some(helper)
            && let Err(error) = write(&self.file, &self.key, helper)
        {
            tracing::debug!(%error, "cannot remember the helper");
        }
    }
}

/// By the XDG Base Directory Specification.
fn place(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let absolute = |name| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let cache = absolute("XDG_CACHE_HOME");
    let cache = cache.or_else(|| absolute("HOME").map(|home| home.join(".cache")))?;
    Some(cache.join("kpexec/helpers"))
}

/// What makes the choice of the helper, as far as it is known at this end.
fn key(cli: &Cli, image: &str, cluster: &Cluster) -> String {
    let who =
        format!("{:?} {:?} {:?} {}", cli.identity, cli.tools, cli.cri_socket, cli.cluster.typed());
    let namespace = cli.namespace.as_deref().unwrap_or(&cluster.namespace);
    let pod = cli.pod.as_deref().unwrap_or_default();
    let parts = [&cluster.url, &cli.cluster.helper_namespace, namespace, pod, image, &who]
        .map(str::as_bytes);
    hash(&parts)
}

fn helper_of<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let mut lines = text.lines().filter_map(|line| line.split_once(' '));
    lines.find_map(|(of, helper)| (of == key).then_some(helper))
}

/// The latest comes first, and the oldest goes.
fn with(text: &str, key: &str, helper: &str) -> String {
    let others = text.lines().filter(|line| line.split_once(' ').is_some_and(|(of, _)| of != key));
    let latest = format!("{key} {helper}");
    let lines = std::iter::once(latest.as_str()).chain(others).take(KEPT);
    lines.map(|line| format!("{line}\n")).collect()
}

/// In one step: two that write at once lose a guess, and no line is half of each.
fn write(file: &Path, key: &str, helper: &str) -> io::Result<()> {
    let folder = file.parent().unwrap_or(file);
    fs::create_dir_all(folder)?;
    let text = with(&fs::read_to_string(file).unwrap_or_default(), key, helper);
    let mut new = tempfile::NamedTempFile::new_in(folder)?;
    new.write_all(text.as_bytes())?;
    new.persist(file)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_helper_is_remembered_for_each_kind_of_session() {
        let top = tempfile::tempdir().unwrap();
        let file = top.path().join("kpexec/helpers");
        write(&file, "aa", "kpexec-1").unwrap();
        write(&file, "bb", "kpexec-2").unwrap();
        write(&file, "aa", "kpexec-3").unwrap();
        let text = fs::read_to_string(&file).unwrap();
        assert_eq!(text, "aa kpexec-3\nbb kpexec-2\n");
        assert_eq!(helper_of(&text, "bb"), Some("kpexec-2"));
        assert_eq!(helper_of(&text, "b"), None);
    }

    #[test]
    fn the_file_does_not_grow_and_what_is_no_line_of_ours_goes() {
        let mut text = String::from("nonsense\n");
        for number in 0..2 * KEPT {
            text = with(&text, &format!("{number:x}"), "kpexec-1");
        }
        assert_eq!(text.lines().count(), KEPT);
        assert!(!text.contains("nonsense"));
        assert_eq!(helper_of(&text, "0"), None);
        assert_eq!(helper_of(&text, &format!("{:x}", 2 * KEPT - 1)), Some("kpexec-1"));
    }

    #[test]
    fn the_file_is_where_xdg_says() {
        let place = |variables: &[(&str, &str)]| {
            let found = place(|name| {
                variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into())
            });
            found.map(|path| path.to_str().unwrap().to_owned())
        };
        let all = [("XDG_CACHE_HOME", "/c"), ("HOME", "/home/x")];
        assert_eq!(place(&all).unwrap(), "/c/kpexec/helpers");
        assert_eq!(place(&all[1..]).unwrap(), "/home/x/.cache/kpexec/helpers");
        assert_eq!(place(&[("XDG_CACHE_HOME", "c")]), None);
    }
}
