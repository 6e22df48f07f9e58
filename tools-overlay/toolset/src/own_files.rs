//! Files of the tree that are in no package: settings of ours, the CA bundle,
//! the NSS module, and names that Debian makes at installation.

use std::fs;

use anyhow::{Context, Result};

use crate::nss;
use crate::stage::{Unpacked, files_below};
use crate::tree::Tree;

/// Settings, each read only by the program that the path was patched into.
/// Those of programs that are not in the profile stay out.
const SETTINGS: &[(&str, &str, Option<&str>)] = &[
    ("bash.rc", include_str!("../files/bash.rc"), None),
    ("bpf", include_str!("../files/bash.profile"), None),
    ("irc", include_str!("../files/irc"), None),
    ("nssw.conf", include_str!("../files/nssw.conf"), None),
    ("vimrc", include_str!("../files/vimrc"), None),
    ("vimrc.tiny", include_str!("../files/vimrc"), Some("bin/vim.tiny")),
    ("tmux.conf", include_str!("../files/tmux.conf"), Some("bin/tmux")),
    ("gdbinit", include_str!("../files/gdbinit"), Some("bin/gdb")),
    ("perfrc", include_str!("../files/perfrc"), Some("bin/perf")),
    ("zshenv", include_str!("../files/zshenv"), Some("bin/zsh")),
];

/// A name, and what it leads to: the first of these that is there. Debian's
/// alternatives are links into `/etc`, made at installation.
const NAMES: &[(&str, &[&str])] = &[
    ("bin/awk", &["bin/gawk", "bin/mawk"]),
    ("bin/ex", &["bin/vim.basic", "bin/vim.tiny"]),
    ("bin/vi", &["bin/vim.basic", "bin/vim.tiny"]),
    ("bin/view", &["bin/vim.basic", "bin/vim.tiny"]),
    ("bin/vim", &["bin/vim.basic", "bin/vim.tiny"]),
    ("bin/nc", &["bin/nc.openbsd"]),
    ("bin/netcat", &["bin/nc.openbsd"]),
    ("bin/telnet", &["bin/inetutils-telnet"]),
    ("bin/which", &["bin/which.debianutils"]),
    ("bin/editor", &["bin/nano", "bin/vim.basic", "bin/vim.tiny"]),
    ("bin/pager", &["bin/less"]),
    ("bin/rename", &["bin/rename.ul"]),
    ("bin/sar", &["bin/sar.sysstat"]),
    ("bin/iotop", &["bin/iotop-c"]),
    ("bin/iptables", &["bin/xtables-nft-multi"]),
    ("bin/iptables-save", &["bin/xtables-nft-multi"]),
    ("bin/iptables-restore", &["bin/xtables-nft-multi"]),
    ("bin/ip6tables", &["bin/xtables-nft-multi"]),
    ("bin/ip6tables-save", &["bin/xtables-nft-multi"]),
    ("bin/ip6tables-restore", &["bin/xtables-nft-multi"]),
    ("bin/arptables", &["bin/xtables-nft-multi"]),
    ("bin/ebtables", &["bin/xtables-nft-multi"]),
    // Short, for the paths that are patched (crate::patch::rules).
    ("editor", &["bin/nano", "bin/vim.basic", "bin/vim.tiny"]),
    ("less", &["bin/less"]),
    ("pager", &["bin/less"]),
    ("pr", &["bin/pr"]),
    ("vi", &["bin/vim.basic", "bin/vim.tiny"]),
    ("s", &["share"]),
    ("term", &["share/terminfo"]),
    ("ssl/certs", &["certs"]),
    ("ssl/cert.pem", &["certs/ca-certificates.crt"]),
];

/// Adds them all.
pub fn add(tree: &mut Tree, packages: &[&Unpacked]) -> Result<()> {
    certificates(tree, packages)?;
    for (path, text, of) in SETTINGS {
        if of.is_none_or(|program| tree.has(program)) {
            tree.write(path, text.as_bytes())?;
        }
    }
    for (name, targets) in NAMES {
        if let Some(target) = targets.iter().find(|target| tree.has(target))
            && !tree.has(name)
        {
            tree.link(name, target)?;
        }
    }
    nss::compile(&tree.at("lib/libnss_kpexec.so.2"))
}

/// One file of every certificate that Debian trusts.
fn certificates(tree: &mut Tree, packages: &[&Unpacked]) -> Result<()> {
    const NAME: &str = "ca-certificates";
    let package = packages.iter().find(|package| package.package.name == NAME);
    let folder = package.context("no ca-certificates")?.folder.join("usr/share/ca-certificates");
    let mut bundle = Vec::new();
    for path in files_below(&folder)? {
        bundle.extend_from_slice(fs::read(folder.join(path))?.trim_ascii());
        bundle.push(b'\n');
    }
    tree.packages.insert(NAME.to_owned());
    tree.write("certs/ca-certificates.crt", &bundle)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_is_given_twice() {
        let mut names: Vec<_> = NAMES.iter().map(|(name, _)| name).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }

    #[test]
    fn the_patched_paths_are_made() {
        let rules = crate::patch::rules::OF_SOME.iter();
        for (path, ..) in
            SETTINGS.iter().filter(|(path, ..)| *path != "irc" && *path != "nssw.conf")
        {
            let path = format!("/.kpexec/{}", path.trim_end_matches(".tiny"));
            assert!(rules.clone().any(|rule| rule.to == path), "nothing reads {path}");
        }
    }
}
