//! What the view is made of: decisions only, no system calls.

use rustix::fs::FileType;
use rustix::mount::MountAttrFlags;

use crate::sys::MountAttr;

/// What becomes of what a session writes to the target's files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Writes {
    /// It reaches the target, as far as the target itself could write.
    #[default]
    Through,
    /// Nothing of the target's can be written.
    Deny,
    /// It goes to memory, and with the session.
    Discard,
}

/// How a view is to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wishes {
    /// Whether the target's programs can be executed.
    pub programs: bool,
    /// What becomes of what is written.
    pub writes: Writes,
    /// Whether the target's root file system can be written through even where
    /// it is mounted read-only.
    pub writable: bool,
    /// Whether `/` is the root of the tools image, and the target's is below it.
    /// Not with [`Writes::Discard`].
    pub tools_root: bool,
    /// With [`Writes::Discard`]: paths of the mounts below the target's root, as
    /// it names them. No mount among them is below another.
    pub volumes: Vec<Vec<u8>>,
}

/// Whether entries can be made directly under `/`: where the target could make
/// one itself, or nothing is meant to last.
pub fn root_is_writable(wishes: &Wishes, target_is_read_only: bool) -> bool {
    if wishes.tools_root {
        return true;
    }
    match wishes.writes {
        Writes::Through => wishes.writable || !target_is_read_only,
        Writes::Deny => false,
        Writes::Discard => true,
    }
}

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

/// The most entries of the target's root that are taken. Each costs a
/// descriptor until all are placed, and a hostile root may have any number.
pub const MOST_ENTRIES: usize = 512;

/// Decides on the entry `name`. `dev` and `proc` are the view's own, because
/// the target chooses what its own ones show (CVE-2015-1334); a name of ours
/// that the target uses too is hidden rather than believed. Devices, sockets
/// and FIFOs directly below `/` are left out: `/` of the view is `nodev`, and
/// nothing of use lies there.
pub fn entry(name: &[u8], kind: FileType, wishes: &Wishes) -> Entry {
    if is_ours(name) || wishes.tools_root && name == b"target" {
        return Entry::Skipped;
    }
    match kind {
        FileType::Directory => Entry::Directory,
        FileType::RegularFile => Entry::File,
        FileType::Symlink => Entry::Symlink,
        _ => Entry::Skipped,
    }
}

/// Whether every view has something of its own by this name directly under `/`.
pub fn is_ours(name: &[u8]) -> bool {
    matches!(name, b"dev" | b"proc" | b".kpexec")
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
/// to our clone must not propagate to the target's mounts. Without `programs`
/// nothing of it can be executed, nor loaded as a library.
pub(crate) fn target_attr(programs: bool, read_only: bool) -> MountAttr {
    let mut set = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    set.set(MountAttrFlags::MOUNT_ATTR_NOEXEC, !programs);
    set.set(MountAttrFlags::MOUNT_ATTR_RDONLY, read_only);
    MountAttr { set: set.bits().into(), propagation: libc::MS_PRIVATE, ..MountAttr::default() }
}

/// For the toolset: set before it is attached, so that it is never visible
/// writable, not even for a moment.
pub(crate) fn toolset_attr() -> MountAttr {
    let set = MountAttrFlags::MOUNT_ATTR_RDONLY
        | MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV;
    MountAttr { set: set.bits().into(), propagation: libc::MS_PRIVATE, ..MountAttr::default() }
}

/// For device nodes, which are the helper's own inodes: writing to the device
/// needs no writable mount, changing its mode for all sessions does.
pub(crate) fn device_attr() -> MountAttr {
    let set = MountAttrFlags::MOUNT_ATTR_RDONLY
        | MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    MountAttr { set: set.bits().into(), propagation: libc::MS_PRIVATE, ..MountAttr::default() }
}

/// For the folder structure that is ours, where nobody is to write to it.
pub(crate) fn read_only() -> MountAttr {
    MountAttr { set: MountAttrFlags::MOUNT_ATTR_RDONLY.bits().into(), ..MountAttr::default() }
}

/// For the entries of a tools image that are the session's root: clones of what
/// [`toolset_attr`] has been applied to.
pub(crate) fn image_attr() -> MountAttr {
    let set = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    MountAttr { set: set.bits().into(), ..writable() }
}

/// For what the target has mounted read-only.
pub(crate) fn writable() -> MountAttr {
    MountAttr { clear: MountAttrFlags::MOUNT_ATTR_RDONLY.bits().into(), ..MountAttr::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_target_has_under_our_names_is_hidden() {
        for name in [&b"dev"[..], b"proc", b".kpexec"] {
            for kind in [FileType::Directory, FileType::Symlink, FileType::RegularFile] {
                assert_eq!(entry(name, kind, &Wishes::default()), Entry::Skipped);
            }
        }
        let below = Wishes { tools_root: true, ..Wishes::default() };
        assert_eq!(entry(b"target", FileType::Directory, &below), Entry::Skipped);
    }

    #[test]
    fn files_links_and_odd_nodes() {
        let entry = |name, kind| entry(name, kind, &Wishes::default());
        assert_eq!(entry(b"etc", FileType::Directory), Entry::Directory);
        assert_eq!(entry(b"target", FileType::Directory), Entry::Directory);
        assert_eq!(entry(b"lib", FileType::Symlink), Entry::Symlink);
        assert_eq!(entry(b"app", FileType::RegularFile), Entry::File);
        assert_eq!(entry(b"sda", FileType::BlockDevice), Entry::Skipped);
        assert_eq!(entry(b"socket", FileType::Socket), Entry::Skipped);
    }

    #[test]
    fn clones_of_the_target_honour_neither_suid_nor_devices() {
        // Values of linux/mount.h.
        assert_eq!(target_attr(true, false).set, 0x2 | 0x4);
        assert_eq!(target_attr(false, false).set, 0x2 | 0x4 | 0x8);
        assert_eq!(target_attr(true, true).set, 0x2 | 0x4 | 0x1);
        assert_eq!(target_attr(true, false).propagation, 1 << 18);
        assert_eq!(toolset_attr().set, 0x1 | 0x2 | 0x4);
        assert_eq!((image_attr().set, image_attr().clear), (0x2 | 0x4, 0x1));
    }

    #[test]
    fn entries_under_the_root_follow_the_target_unless_told_otherwise() {
        let wishes = |writes, writable| Wishes { writes, writable, ..Wishes::default() };
        for (writes, writable, of_read_only, of_writable) in [
            (Writes::Through, false, false, true),
            (Writes::Through, true, true, true),
            (Writes::Deny, false, false, false),
            (Writes::Discard, false, true, true),
        ] {
            let wishes = wishes(writes, writable);
            assert_eq!(root_is_writable(&wishes, true), of_read_only, "{wishes:?}");
            assert_eq!(root_is_writable(&wishes, false), of_writable, "{wishes:?}");
            // It is not the target's then.
            assert!(root_is_writable(&Wishes { tools_root: true, ..wishes }, true));
        }
    }
}
