//! What is decided about cgroups, for both versions.

use super::*;

const HYBRID: &str = "\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
33 31 0:30 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
39 31 0:36 / /sys/fs/cgroup/pids rw,relatime - cgroup cgroup rw,pids
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
50 31 0:38 / /elsewhere/pids rw,relatime - cgroup cgroup rw,pids";
const TMPFS_MAGIC: i64 = 0x0102_1994;

#[test]
fn a_hybrid_machine_is_version_1_without_its_unified_tree() {
    let cgroups = Cgroups::from(TMPFS_MAGIC, HYBRID).unwrap();
    assert_eq!(cgroups.version(), Version::V1);
    let names = ["cpu,cpuacct", "pids", "systemd"].map(|name| Path::new(MOUNT).join(name));
    assert_eq!(cgroups.trees, names);
    assert_eq!(cgroups.procs("control"), Path::new("/sys/fs/cgroup/pids/kpx/control/cgroup.procs"));
}

#[test]
fn a_pure_version_2_machine_has_one_tree() {
    let cgroups = Cgroups::from(CGROUP2_SUPER_MAGIC, "").unwrap();
    assert_eq!(cgroups.version(), Version::V2);
    assert_eq!(
        cgroups.procs("node1/daemons"),
        Path::new("/sys/fs/cgroup/kpx/node1/daemons/cgroup.procs")
    );
}

#[test]
fn a_machine_without_a_usable_tree_is_refused() {
    assert!(Cgroups::from(TMPFS_MAGIC, "").is_err());
}

#[test]
fn processes_are_in_leaves_only() {
    // The "no internal processes" rule of cgroups(7).
    for inner in INNER_GROUPS {
        let prefix = if inner.is_empty() { String::new() } else { format!("{inner}/") };
        assert!(GROUPS.iter().any(|group| group.starts_with(&prefix) && group != inner));
    }
    for leaf in ["up", "control", "node1/daemons", "node2/daemons"] {
        assert!(GROUPS.contains(&leaf) && !INNER_GROUPS.contains(&leaf));
    }
}

#[test]
fn the_own_group_is_read_from_the_right_line() {
    let listing = "9:name=systemd:/s\n8:pids:/jobs/a:b\n0::/u\n";
    assert_eq!(group_in(Version::V1, listing), Some("/jobs/a:b"));
    assert_eq!(group_in(Version::V2, listing), Some("/u"));
    assert_eq!(group_in(Version::V1, "0::/u\n"), None);
}

#[test]
fn only_missing_controllers_are_enabled() {
    assert_eq!(
        controllers_to_enable("cpuset cpu io memory pids rdma misc", "cpu memory"),
        ["+cpuset", "+io", "+pids"]
    );
    assert!(controllers_to_enable("cpu", "cpu").is_empty());
}
