//! What the view is made of: decisions only, no system calls.

use rustix::fs::FileType;
use rustix::mount::MountAttrFlags;

use crate::sys::MountAttr;

/// What becomes of one top-level entry of the target's root.
#[derive(Debug, PartialEq, Eq)]
pub enum Entry {
    /// Cloned with everything mounted below it.
    Directory,
    /// Cloned onto an empty file.
    File,
    /// Copied as text: a clone would follow or refuse it.
    Symlink,
    /// Left out.
    Skipped,
}

/// Decides on the entry `name`. `dev` and `proc` are the view's own, because
/// the target chooses what its own ones show (CVE-2015-1334); a name of ours
/// that the target uses too is hidden rather than believed. Devices, sockets
/// and FIFOs directly below `/` are left out: `/` of the view is `nodev`, and
/// nothing of use lies there.
pub fn entry(name: &[u8], kind: FileType, own_proc: bool) -> Entry {
    match name {
        b"dev" | b".kpexec" => return Entry::Skipped,
        b"proc" if own_proc => return Entry::Skipped,
        _ => {}
    }
    match kind {
        FileType::Directory => Entry::Directory,
        FileType::RegularFile => Entry::File,
        FileType::Symlink => Entry::Symlink,
        _ => Entry::Skipped,
    }
}

/// The device nodes of every container: OCI runtime specification,
/// config-linux.md, "Default Devices".
pub const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];

/// Links in `/dev`, link and destination; same source as [`DEVICES`].
pub const DEV_LINKS: [(&str, &str); 5] = [
    ("fd", "/proc/self/fd"),
    ("ptmx", "pts/ptmx"),
    ("stderr", "/proc/self/fd/2"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
];

/// Paths below our own `/proc` that file permissions alone would let uid 0
/// write: a write to `sys/kernel/core_pattern` or `sysrq-trigger` takes over
/// the node. Container runtimes make the same ones read-only.
pub const PROC_READ_ONLY: [&str; 5] = ["bus", "fs", "irq", "sys", "sysrq-trigger"];

/// Files below our own `/proc` that tell of the node's memory or other
/// containers' keys; runtimes hide the same ones.
pub const PROC_HIDDEN_FILES: [&str; 6] =
    ["kcore", "keys", "latency_stats", "sched_debug", "timer_list", "timer_stats"];

/// Folders hidden for the same reason.
pub const PROC_HIDDEN_FOLDERS: [&str; 3] = ["acpi", "asound", "scsi"];

/// For the target's files: a set-uid file of the target must not raise anyone
/// (A26 of the threat model), its device nodes must not open, and what happens
/// to our clone must not propagate to the target's mounts.
pub(crate) fn target_attr() -> MountAttr {
    MountAttr {
        set: (MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV).bits().into(),
        propagation: libc::MS_PRIVATE,
        ..MountAttr::default()
    }
}

/// For the toolset: set before it is attached, so that it is never visible
/// writable, not even for a moment.
pub(crate) fn toolset_attr() -> MountAttr {
    let set = MountAttrFlags::MOUNT_ATTR_RDONLY
        | MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV;
    MountAttr { set: set.bits().into(), propagation: libc::MS_PRIVATE, ..MountAttr::default() }
}

/// For the folder structure that is ours: nobody writes to it.
pub(crate) fn read_only() -> MountAttr {
    MountAttr { set: MountAttrFlags::MOUNT_ATTR_RDONLY.bits().into(), ..MountAttr::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_targets_dev_is_never_shown() {
        assert_eq!(entry(b"dev", FileType::Directory, true), Entry::Skipped);
        assert_eq!(entry(b"dev", FileType::Symlink, false), Entry::Skipped);
    }

    #[test]
    fn a_planted_toolset_is_hidden() {
        for kind in [FileType::Directory, FileType::Symlink, FileType::RegularFile] {
            assert_eq!(entry(b".kpexec", kind, true), Entry::Skipped);
        }
    }

    #[test]
    fn the_targets_proc_is_shown_only_when_we_have_none() {
        assert_eq!(entry(b"proc", FileType::Directory, true), Entry::Skipped);
        assert_eq!(entry(b"proc", FileType::Directory, false), Entry::Directory);
    }

    #[test]
    fn files_links_and_odd_nodes() {
        assert_eq!(entry(b"etc", FileType::Directory, true), Entry::Directory);
        assert_eq!(entry(b"lib", FileType::Symlink, true), Entry::Symlink);
        assert_eq!(entry(b"app", FileType::RegularFile, true), Entry::File);
        assert_eq!(entry(b"sda", FileType::BlockDevice, true), Entry::Skipped);
        assert_eq!(entry(b"socket", FileType::Socket, true), Entry::Skipped);
    }

    #[test]
    fn clones_of_the_target_honour_neither_suid_nor_devices() {
        // Values of linux/mount.h.
        assert_eq!(target_attr().set, 0x2 | 0x4);
        assert_eq!(target_attr().propagation, 1 << 18);
        assert_eq!(toolset_attr().set, 0x1 | 0x2 | 0x4);
    }
}
