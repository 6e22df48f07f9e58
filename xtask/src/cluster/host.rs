//! What the cluster changes on the host outside of its own folder, written
//! down before it is changed and put back by `down`.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::{layout, mounts};

/// Kernel settings of the whole machine that a kubelet sets to its own liking.
const SYSCTLS: &[&str] = &[
    "kernel/keys/root_maxbytes",
    "kernel/keys/root_maxkeys",
    "kernel/panic",
    "kernel/panic_on_oops",
    "vm/overcommit_memory",
    "vm/panic_on_oom",
];

/// How the machine was before.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Before {
    /// Setting → value.
    sysctls: Vec<(String, String)>,
    /// Folders that we made only to mount something over them.
    folders: Vec<String>,
}

/// Writes down how the machine is, then makes the mount points of the nodes.
pub fn prepare() -> Result<()> {
    let mut before = Before::default();
    for name in SYSCTLS {
        if let Ok(value) = fs::read_to_string(Path::new("/proc/sys").join(name)) {
            before.sysctls.push(((*name).to_owned(), value.trim().to_owned()));
        }
    }
    let missing = mounts::PRIVATE_FOLDERS.iter().filter(|folder| !Path::new(folder).exists());
    before.folders = missing.map(|folder| (*folder).to_owned()).collect();
    fs::write(layout::state("host.json"), serde_json::to_string(&before)?)?;
    for folder in &before.folders {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {folder}"))?;
    }
    Ok(())
}

/// Puts the machine back to what was written down, if anything was.
pub fn restore() -> Result<()> {
    let Ok(text) = fs::read_to_string(layout::state("host.json")) else { return Ok(()) };
    let before: Before = serde_json::from_str(&text).unwrap_or_default();
    for (name, value) in &before.sysctls {
        let path = Path::new("/proc/sys").join(name);
        if fs::read_to_string(&path).is_ok_and(|now| now.trim() != value) {
            fs::write(&path, value).with_context(|| format!("cannot restore {name}"))?;
        }
    }
    for folder in &before.folders {
        // Stays if somebody has put something into it since.
        let _ = fs::remove_dir(folder);
    }
    Ok(())
}
