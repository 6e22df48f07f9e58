//! The toolset of the helper image: Debian's static bash and busybox, made not
//! to look for anything of theirs in the target.
//!
//! Both are static, but glibc loads NSS modules all the same, from wherever
//! `/etc/nsswitch.conf` says; and bash runs start files. In the view those
//! paths are the target's (CVE-2019-14271). The paths are strings in the
//! binaries; each is overwritten by one of the toolset that is no longer.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use anyhow::{Context, Result, ensure};

use crate::cluster::images::install_busybox;

/// A path in a binary and what takes its place.
type Patch = (&'static str, &'static str);

const NSSWITCH: Patch = ("/etc/nsswitch.conf", "/.kpexec/nssw.conf");

const BASH: &[Patch] = &[
    NSSWITCH,
    ("/etc/bash.bashrc", "/.kpexec/bash.rc"),
    ("/etc/profile", "/dev/null"),
    ("/etc/bash.bash_logout", "/dev/null"),
    ("/etc/inputrc", "/dev/null"),
    ("/etc/terminfo", "/.kpexec/term"),
    ("/etc/terminfo:/lib/terminfo:/usr/share/terminfo", "/.kpexec/term"),
    ("~/.bashrc", "/dev/null"),
    ("~/.profile", "/dev/null"),
    ("~/.bash_profile", "/dev/null"),
    ("~/.bash_login", "/dev/null"),
    ("~/.bash_logout", "/dev/null"),
    ("~/.bash_history", "/dev/null"),
    ("~/.inputrc", "/dev/null"),
];

const BUSYBOX: &[Patch] = &[NSSWITCH];

/// Modules that are part of every static glibc; nothing is loaded for them.
const NSSWITCH_TEXT: &str = "passwd: files\ngroup: files\nhosts: files dns\n";

/// Read by every interactive bash of ours.
const BASH_RC: &str = "PS1='\\h:\\w\\$ '\n";

/// Lays out the toolset in an empty folder.
pub fn lay_out(toolset: &Path) -> Result<()> {
    let bin = toolset.join("bin");
    fs::create_dir_all(&bin)?;
    install(Path::new("/bin/bash-static"), BASH, &bin.join("bash"))?;
    symlink("bash", bin.join("sh"))?;
    // After bash: busybox takes every name that is still free.
    install_busybox(&bin)?;
    let busybox = bin.join("busybox");
    fs::remove_file(&busybox)?;
    install(Path::new("/bin/busybox"), BUSYBOX, &busybox)?;
    fs::write(toolset.join("nssw.conf"), NSSWITCH_TEXT)?;
    fs::write(toolset.join("bash.rc"), BASH_RC)?;
    copy_terminals(&toolset.join("term"))
}

/// The descriptions of the common terminals, of Debian's ncurses-base.
fn copy_terminals(to: &Path) -> Result<()> {
    let from = Path::new("/lib/terminfo");
    for letter in fs::read_dir(from).context("cannot read /lib/terminfo")? {
        let letter = letter?;
        let folder = to.join(letter.file_name());
        fs::create_dir_all(&folder)?;
        for terminal in fs::read_dir(letter.path())? {
            let terminal = terminal?;
            // Some are links to others; a copy is as good, and small.
            let copy = folder.join(terminal.file_name());
            fs::write(copy, fs::read(terminal.path())?)?;
        }
    }
    Ok(())
}

fn install(from: &Path, patches: &[Patch], to: &Path) -> Result<()> {
    let mut binary = fs::read(from).with_context(|| format!("cannot read {}", from.display()))?;
    for patch in patches {
        apply(&mut binary, *patch).with_context(|| format!("cannot patch {}", from.display()))?;
    }
    fs::write(to, binary)?;
    Ok(fs::set_permissions(to, fs::Permissions::from_mode(0o755))?)
}

/// Overwrites every string that is exactly `from`. That there is none any more
/// is an error: the path may now be spelt in another way.
fn apply(binary: &mut [u8], (from, to): Patch) -> Result<()> {
    ensure!(to.len() <= from.len(), "{to} is longer than {from}");
    let wanted: Vec<u8> = [b"\0", from.as_bytes(), b"\0"].concat();
    let mut found = 0;
    let mut at = 0;
    while let Some(offset) = find(&binary[at..], &wanted) {
        let start = at + offset + 1;
        binary[start..start + from.len()].fill(0);
        binary[start..start + to.len()].copy_from_slice(to.as_bytes());
        found += 1;
        at = start;
    }
    ensure!(found > 0, "{from} is not in it");
    Ok(())
}

fn find(binary: &[u8], wanted: &[u8]) -> Option<usize> {
    binary.windows(wanted.len()).position(|window| window == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_strings_are_overwritten_and_nothing_else() {
        let mut binary = b"\0/etc/profile\0x/etc/profile\0/etc/profiles\0/etc/profile\0".to_vec();
        let length = binary.len();
        apply(&mut binary, ("/etc/profile", "/dev/null")).unwrap();
        assert_eq!(
            binary,
            b"\0/dev/null\0\0\0\0x/etc/profile\0/etc/profiles\0/dev/null\0\0\0\0".to_vec()
        );
        assert_eq!(binary.len(), length);
    }

    #[test]
    fn a_path_that_is_gone_is_an_error() {
        let mut binary = b"\0/etc/other\0".to_vec();
        assert!(apply(&mut binary, ("/etc/profile", "/dev/null")).is_err());
    }

    #[test]
    fn no_replacement_is_too_long() {
        for (from, to) in BASH.iter().chain(BUSYBOX) {
            assert!(to.len() <= from.len(), "{from} {to}");
        }
    }
}
