//! The label a Linux security module has given a process: apparmor(7),
//! selinux(8), and `/proc/PID/attr` of proc_pid_attr(5).

use std::ffi::CStr;

use rustix::fd::OwnedFd;
use rustix::io::Errno;

use super::Procfs;

/// Which module's label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Module {
    /// A profile's name.
    AppArmor,
    /// A context, `user:role:type:level`.
    SeLinux,
}

/// A process's label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// Whose it is.
    pub module: Module,
    /// Profile or context, without the mode.
    pub name: String,
}

impl Label {
    /// The label of the process whose folder this is; `None` where the kernel
    /// has neither module, or the process is not confined by it.
    ///
    /// # Errors
    /// When the process has ended.
    pub fn of(process: &OwnedFd) -> rustix::io::Result<Option<Self>> {
        // Linux 5.8; where it is missing the older file is any module's.
        if let Some(text) = read(process, c"attr/apparmor/current")? {
            return Ok(app_armor(&text));
        }
        Ok(read(process, c"attr/current")?.and_then(|text| either(&text)))
    }

    /// The file of one's own `/proc/thread-self` to write for it, and the text:
    /// the label is taken with the next execve(2).
    pub fn on_exec(&self) -> (&'static str, String) {
        match self.module {
            Module::AppArmor => ("attr/apparmor/exec", format!("exec {}", self.name)),
            Module::SeLinux => ("attr/exec", self.name.clone()),
        }
    }
}

/// A file that this kernel has and that says something.
fn read(process: &OwnedFd, name: &CStr) -> rustix::io::Result<Option<String>> {
    match Procfs::read(process, name) {
        Ok(text) => Ok(Some(String::from_utf8_lossy(&text).into_owned())),
        // No such file, or no module behind it.
        Err(Errno::NOENT | Errno::INVAL | Errno::OPNOTSUPP) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// `NAME (enforce)`, or `unconfined`.
fn app_armor(text: &str) -> Option<Label> {
    let text = text.trim_end_matches(['\n', '\0']);
    let name = text.rsplit_once(" (").map_or(text, |(name, _)| name);
    let confined = !name.is_empty() && name != "unconfined";
    confined.then(|| Label { module: Module::AppArmor, name: name.to_owned() })
}

/// Contexts have four parts; profiles have no colons but in namespaces'
/// `:ns://name`.
fn either(text: &str) -> Option<Label> {
    let trimmed = text.trim_end_matches(['\n', '\0']);
    if trimmed.splitn(4, ':').filter(|part| !part.is_empty()).count() >= 3 {
        return Some(Label { module: Module::SeLinux, name: trimmed.to_owned() });
    }
    app_armor(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn label(module: Module, name: &str) -> Option<Label> {
        Some(Label { module, name: name.to_owned() })
    }

    #[test]
    fn profiles_lose_their_mode() {
        let found = app_armor("cri-containerd.apparmor.d (enforce)\n");
        assert_eq!(found, label(Module::AppArmor, "cri-containerd.apparmor.d"));
        assert_eq!(app_armor("unconfined\n"), None);
        assert_eq!(app_armor("\n"), None);
    }

    #[test]
    fn the_older_file_tells_by_its_form() {
        let context = "system_u:system_r:container_t:s0:c1,c2";
        assert_eq!(either(&format!("{context}\0")), label(Module::SeLinux, context));
        assert_eq!(either("docker-default (enforce)\n"), label(Module::AppArmor, "docker-default"));
        assert_eq!(either("unconfined\n"), None);
    }

    #[test]
    fn what_is_written_is_what_each_module_reads() {
        let label = |module| Label { module, name: "x".into() };
        assert_eq!(label(Module::AppArmor).on_exec(), ("attr/apparmor/exec", "exec x".into()));
        assert_eq!(label(Module::SeLinux).on_exec(), ("attr/exec", "x".into()));
    }
}
