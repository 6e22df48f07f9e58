//! `/proc/PID/status`, as the kernel writes it: proc_pid_status(5).

use anyhow::{Context, Result};

/// containerd's default capabilities, by their numbers in capabilities(7):
/// CHOWN, DAC_OVERRIDE, FOWNER, FSETID, KILL, SETGID, SETUID, SETPCAP,
/// NET_BIND_SERVICE, NET_RAW, SYS_CHROOT, MKNOD, AUDIT_WRITE, SETFCAP.
pub const DEFAULT_CAPABILITIES: [u32; 14] = [0, 1, 3, 4, 5, 6, 7, 8, 10, 13, 18, 27, 29, 31];
/// CAP_KILL.
pub const KILL: u32 = 5;
/// CAP_NET_ADMIN.
pub const NET_ADMIN: u32 = 12;
/// CAP_SYS_PTRACE.
pub const SYS_PTRACE: u32 = 19;
/// CAP_BLOCK_SUSPEND, which a session has when nothing else shields it.
pub const BLOCK_SUSPEND: u32 = 36;

/// The set that holds these capabilities.
pub fn set(numbers: impl IntoIterator<Item = u32>) -> u64 {
    numbers.into_iter().map(|number| 1 << number).sum()
}

/// What profile `general` grants.
pub fn general() -> u64 {
    set(DEFAULT_CAPABILITIES.into_iter().chain([SYS_PTRACE]))
}

/// One line of it, its values.
///
/// # Errors
/// When there is no such line.
pub fn status(text: &str, key: &str) -> Result<Vec<String>> {
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
    let line = line.with_context(|| format!("no {key} in {text}"))?;
    Ok(line.split_ascii_whitespace().map(str::to_owned).collect())
}

/// Inheritable, permitted, effective, bounding, ambient.
///
/// # Errors
/// When one is missing.
pub fn sets(text: &str) -> Result<[u64; 5]> {
    let mut found = [0; 5];
    for (set, key) in found.iter_mut().zip(["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"]) {
        *set = u64::from_str_radix(&status(text, key)?[0], 16)?;
    }
    Ok(found)
}
