//! Where on this node the helper, the toolset and the CRI socket are.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use kpexec_protocol::pod::ENTRY;

use super::LocalError;
use crate::cri_socket;
use crate::run::RunError;

/// The variable that names the helper.
const NODE_HELPER: &str = "KPEXEC_NODE_HELPER";

/// Name of the helper's program, here as in its image.
const PROGRAM: &str = "node-helper";

/// Where sessions see the toolset, and a node may have it.
const TOOLSET: &str = "/.kpexec";

/// Its name beside the helper, as in the helper's image.
const TOOLSET_BESIDE: &str = "toolset";

/// What a session on this node needs.
#[derive(Debug)]
pub(super) struct Place {
    /// The helper's program.
    pub helper: PathBuf,
    /// The toolset's folder. A node need not have one.
    pub toolset: Option<PathBuf>,
    /// The container runtime's socket.
    pub cri_socket: String,
}

impl Place {
    /// Looks around on this machine.
    pub fn find(helper: Option<&Path>, cri_socket: Option<&str>) -> Result<Self, RunError> {
        let own_folder = std::env::current_exe().ok();
        let own_folder = own_folder.as_deref().and_then(Path::parent).map(Path::to_owned);
        let machine = Machine {
            own_folder,
            variable: &|name| std::env::var_os(name),
            exists: &|path| path.exists(),
        };
        let helper = machine.helper(helper)?;
        // As the helper itself will see it.
        machine.check_entry(&helper.canonicalize().unwrap_or_else(|_| helper.clone()))?;
        let toolset = machine.toolset(&helper);
        let cri_socket = cri_socket::here(cri_socket, |path| (machine.exists)(Path::new(path)))?;
        Ok(Self { helper, toolset, cri_socket })
    }
}

/// What is looked at.
struct Machine<'a> {
    /// Where kpexec itself is.
    own_folder: Option<PathBuf>,
    variable: &'a dyn Fn(&str) -> Option<OsString>,
    exists: &'a dyn Fn(&Path) -> bool,
}

impl Machine<'_> {
    /// The one that is named, else the one beside kpexec, else the first in PATH.
    fn helper(&self, named: Option<&Path>) -> Result<PathBuf, LocalError> {
        let named = named.map(Path::to_owned).or_else(|| self.path(NODE_HELPER));
        if let Some(path) = named {
            return if (self.exists)(&path) {
                Ok(path)
            } else {
                Err(LocalError::NoHelper(vec![path.display().to_string()]))
            };
        }
        let beside = self.own_folder.iter().map(|folder| folder.join(PROGRAM));
        let path = (self.variable)("PATH").unwrap_or_default();
        let in_path = std::env::split_paths(&path).map(|folder| folder.join(PROGRAM));
        // A relative folder in PATH is anybody's.
        let mut all = beside.clone().chain(in_path).filter(|path| path.is_absolute());
        all.find(|path| (self.exists)(path)).ok_or_else(|| {
            let beside = beside.map(|path| path.display().to_string());
            LocalError::NoHelper(beside.chain([format!("{PROGRAM} in PATH")]).collect())
        })
    }

    /// What the helper starts for each session lies beside it.
    fn check_entry(&self, helper: &Path) -> Result<(), LocalError> {
        let entry = helper.with_file_name(ENTRY);
        if (self.exists)(&entry) { Ok(()) } else { Err(LocalError::NoEntry(entry)) }
    }

    /// The one that is named, whether it is there or not, else one that is there.
    fn toolset(&self, helper: &Path) -> Option<PathBuf> {
        let beside = helper.parent().map(|folder| folder.join(TOOLSET_BESIDE));
        self.path(kpexec_protocol::pod::TOOLSET).or_else(|| {
            let mut usual = std::iter::once(PathBuf::from(TOOLSET)).chain(beside);
            usual.find(|folder| (self.exists)(&folder.join("bin")))
        })
    }

    fn path(&self, variable: &str) -> Option<PathBuf> {
        (self.variable)(variable).filter(|value| !value.is_empty()).map(PathBuf::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine<T>(
        variables: &[(&str, &str)],
        there: &[&str],
        ask: impl FnOnce(&Machine<'_>) -> T,
    ) -> T {
        ask(&Machine {
            own_folder: Some("/opt/kpexec".into()),
            variable: &|wanted| {
                let found = variables.iter().find(|(name, _)| *name == wanted);
                found.map(|(_, value)| OsString::from(value))
            },
            exists: &|path| there.iter().any(|known| Path::new(known) == path),
        })
    }

    const PATH: (&str, &str) = ("PATH", "rel:/bin:/usr/bin");

    #[test]
    fn the_helper_is_the_one_named_else_the_nearest() {
        let all = ["/flag", "/variable", "/opt/kpexec/node-helper", "/usr/bin/node-helper"];
        let variables = [(NODE_HELPER, "/variable"), PATH];
        let helper = |variables: &[_], there: &[&str], flag: Option<&str>| {
            machine(variables, there, |machine| machine.helper(flag.map(Path::new)))
        };
        assert_eq!(helper(&variables, &all, Some("/flag")).unwrap(), Path::new("/flag"));
        assert_eq!(helper(&variables, &all, None).unwrap(), Path::new("/variable"));
        assert_eq!(helper(&[PATH], &all, None).unwrap(), Path::new(all[2]));
        assert_eq!(helper(&[PATH], &all[3..], None).unwrap(), Path::new(all[3]));
        // What was named and is not there is not replaced by another.
        let error = helper(&[PATH], &all[1..], Some("/flag")).unwrap_err().to_string();
        assert_eq!(error, "there is no node-helper: neither /flag");
        let error = helper(&[PATH], &["rel/node-helper"], None).unwrap_err().to_string();
        let tried = "neither /opt/kpexec/node-helper nor node-helper in PATH";
        assert_eq!(error, format!("there is no node-helper: {tried}"));
    }

    #[test]
    fn the_helper_is_two_programs() {
        let check = |there: &[&str]| {
            machine(&[], there, |machine| machine.check_entry(Path::new("/x/node-helper")))
        };
        assert!(check(&["/x/node-entry"]).is_ok());
        let error = check(&["/opt/kpexec/node-entry"]).unwrap_err();
        assert_eq!(error.to_string(), "there is no /x/node-entry");
        assert!(error.hint().is_some_and(|hint| hint.contains("helper image")));
    }

    #[test]
    fn the_toolset_may_be_missing() {
        let helper = Path::new("/opt/node-helper");
        let toolset = |variables: &[_], there: &[&str]| {
            machine(variables, there, |machine| machine.toolset(helper))
        };
        let beside = "/opt/toolset/bin";
        assert_eq!(toolset(&[], &[]), None);
        assert_eq!(toolset(&[], &[beside]).unwrap(), Path::new("/opt/toolset"));
        assert_eq!(toolset(&[], &[beside, "/.kpexec/bin"]).unwrap(), Path::new("/.kpexec"));
        let named = [(kpexec_protocol::pod::TOOLSET, "/mine")];
        assert_eq!(toolset(&named, &["/.kpexec/bin"]).unwrap(), Path::new("/mine"));
    }
}
