//! Files of the test roots that no program of the toolset may read: start files
//! and configuration, each of which says its name where it is believed.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::{Context, Result};

/// Homes of the test's users: root's, and `/` for a user who is not listed.
const HOMES: &[&str] = &["", "root"];

/// What a program may look for in its user's home.
const IN_HOMES: &[&str] = &[
    ".bash_profile",
    ".bashrc",
    ".curlrc",
    ".digrc",
    ".gdbinit",
    ".gitconfig",
    ".config/htop/htoprc",
    ".config/procps/toprc",
    ".inputrc",
    ".jq",
    ".lesskey",
    ".ltrace.conf",
    ".magic",
    ".mtrrc",
    ".nanorc",
    ".netrc",
    ".nmap/nmap-service-probes",
    ".pdbrc",
    ".perfconfig",
    ".profile",
    ".tmux.conf",
    ".toprc",
    ".vimrc",
    ".wgetrc",
    ".zshenv",
    ".zshrc",
];

/// What a program may look for in the whole machine's configuration, and
/// modules that interpreters load by name.
const OF_THE_MACHINE: &[&str] = &[
    "etc/bash.bashrc",
    "etc/bash_completion.d/decoy",
    "etc/gitconfig",
    "etc/inputrc",
    "etc/ltrace.conf",
    "etc/magic",
    "etc/nanorc",
    "etc/profile",
    "etc/python3.11/sitecustomize.py",
    "etc/ssl/certs/ca-certificates.crt",
    "etc/ssl/openssl.cnf",
    "etc/tmux.conf",
    "etc/vim/vimrc",
    "etc/wgetrc",
    "etc/zsh/zshenv",
    "etc/zsh/zshrc",
    "usr/lib/debug/app-gdb.gdb",
    "usr/lib/debug/app-gdb.py",
    "usr/lib/python3/dist-packages/sitecustomize.py",
    "usr/lib/ssl/openssl.cnf",
    "usr/lib/ssl/cert.pem",
    "usr/local/lib/python3.11/dist-packages/sitecustomize.py",
    "usr/share/gdb/auto-load/decoy.gdb",
    "usr/share/vim/vimrc",
];

/// Programs that others start by their full path.
const PROGRAMS: &[&str] = &["usr/bin/editor", "usr/bin/pager", "usr/bin/vi"];

/// A command in every shell, and no sense anywhere else.
const CONTENT: &str = "echo kpexec-decoy\n";

/// Lays them into a root, over what is there.
pub fn lay(root: &Path) -> Result<()> {
    for home in HOMES {
        for file in IN_HOMES {
            write(&root.join(home).join(file), CONTENT.as_bytes())?;
        }
    }
    for file in OF_THE_MACHINE {
        write(&root.join(file), CONTENT.as_bytes())?;
    }
    for file in PROGRAMS {
        write(&root.join(file), format!("#!/bin/sh\n{CONTENT}").as_bytes())?;
        fs::set_permissions(root.join(file), fs::Permissions::from_mode(0o755))?;
    }
    Ok(())
}

/// Writes a file and makes the folders above it.
pub fn write(file: &Path, content: &[u8]) -> Result<()> {
    fs::create_dir_all(file.parent().context("a file has a folder")?)?;
    fs::write(file, content).with_context(|| format!("cannot write {}", file.display()))
}
