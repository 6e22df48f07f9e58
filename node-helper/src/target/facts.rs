//! Reads what `/proc/PID` says of a process: text in, facts out. Formats:
//! proc_pid_stat(5), proc_pid_cgroup(5), user_namespaces(7).

/// What `/proc/PID/stat` tells of one process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// Field 3: `R`, `S`, `Z`, `T`, ….
    pub state: u8,
    /// Field 4: the parent.
    pub parent: i32,
    /// Field 6: the session it belongs to.
    pub session: i32,
    /// Field 22: start, in clock ticks since boot. With the PID it names a
    /// process for good.
    pub start_time: u64,
}

/// Reads `/proc/PID/stat`. The name in field 2 is the process's own choice and
/// may hold anything, `)` included: fields are counted from the last one.
pub fn stat(text: &[u8]) -> Option<Stat> {
    let end = text.iter().rposition(|byte| *byte == b')')?;
    let rest = std::str::from_utf8(&text[end + 1..]).ok()?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    Some(Stat {
        state: *fields.first()?.as_bytes().first()?,
        parent: fields.get(1)?.parse().ok()?,
        session: fields.get(3)?.parse().ok()?,
        start_time: fields.get(19)?.parse().ok()?,
    })
}

/// Reads from `/proc/PID/stat` whether the process has ever reaped a child that
/// executed a program: field 11, the page faults of the children it waited for.
/// No execve(2) comes without one.
pub fn has_reaped(text: &[u8]) -> Option<bool> {
    let end = text.iter().rposition(|byte| *byte == b')')?;
    let rest = std::str::from_utf8(&text[end + 1..]).ok()?;
    Some(rest.split_ascii_whitespace().nth(8)? != "0")
}

/// Whether `/proc/PID/cgroup` names the container in the last part of one of
/// its paths, as every runtime has it: `…/ID`, `…/crio-ID`,
/// `…/cri-containerd-ID.scope`.
pub fn cgroup_names(text: &str, container_id: &str) -> bool {
    !container_id.is_empty()
        && text
            .lines()
            .filter_map(|line| line.splitn(3, ':').nth(2))
            .any(|path| path.split('/').any(|part| part.contains(container_id)))
}

/// The cgroup of a container's pod, by which the pod's processes are known: no
/// container can leave it without the node's own cgroup file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodCgroup {
    /// Hierarchy and controllers, as each line of `/proc/PID/cgroup` begins.
    hierarchy: String,
    /// Without `/` at its end.
    path: String,
}

impl PodCgroup {
    /// The one that the container is directly below, from its own
    /// `/proc/PID/cgroup`. A container at the top has no pod: there it is its own
    /// cgroup.
    pub fn of(text: &str, container_id: &str) -> Option<Self> {
        let (hierarchy, path) = text.lines().find_map(|line| {
            let (hierarchy, path) = split_cgroup(line)?;
            cgroup_names(line, container_id).then_some((hierarchy, path))
        })?;
        let parts: Vec<&str> = path.split('/').collect();
        let own = parts.iter().position(|part| part.contains(container_id))?;
        let pod = parts[..own].join("/");
        let path = if pod.is_empty() { parts[..=own].join("/") } else { pod };
        Some(Self { hierarchy: hierarchy.to_owned(), path })
    }

    /// Whether a process with this `/proc/PID/cgroup` is in it.
    pub fn holds(&self, text: &str) -> bool {
        let own = text.lines().find_map(|line| {
            line.strip_prefix(&self.hierarchy)?.strip_prefix(':')?.strip_prefix(&self.path)
        });
        own.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

/// `ID:CONTROLLERS` and the path of one line, which may hold colons itself.
fn split_cgroup(line: &str) -> Option<(&str, &str)> {
    let second = line.match_indices(':').nth(1)?.0;
    Some((&line[..second], &line[second + 1..]))
}

/// How a user namespace shows an id that it does not map: user_namespaces(7),
/// "Unmapped user and group IDs".
pub const OVERFLOW_ID: u32 = 65534;

/// A user namespace's map, `/proc/PID/uid_map` or `gid_map`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdMap(Vec<Range>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Range {
    inside: u32,
    outside: u32,
    count: u32,
}

impl IdMap {
    /// The map of one's own user namespace: every id stands for itself, but for
    /// -1, which is none.
    pub fn identity() -> Self {
        Self(vec![Range { inside: 0, outside: 0, count: u32::MAX }])
    }

    /// Reads a map; `None` if a line is not three numbers.
    pub fn parse(text: &str) -> Option<Self> {
        text.lines()
            .map(|line| {
                let mut numbers = line.split_ascii_whitespace().map(str::parse);
                let mut next = || numbers.next()?.ok();
                Some(Range { inside: next()?, outside: next()?, count: next()? })
            })
            .collect::<Option<Vec<_>>>()
            .map(Self)
    }

    /// The id outside that `id` inside stands for; `None` if it stands for
    /// nothing.
    pub fn outside(&self, id: u32) -> Option<u32> {
        self.0.iter().find_map(|range| {
            let offset = id.checked_sub(range.inside).filter(|offset| *offset < range.count)?;
            range.outside.checked_add(offset)
        })
    }

    /// The id inside that `id` outside stands for; `None` if it stands for
    /// nothing.
    pub fn inside(&self, id: u32) -> Option<u32> {
        self.0.iter().find_map(|range| {
            let offset = id.checked_sub(range.outside).filter(|offset| *offset < range.count)?;
            range.inside.checked_add(offset)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_does_not_confuse() {
        let text = b"4711 (a) S 1 (x) R 12 4711 4700 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 9876 1";
        let read = stat(text).unwrap();
        assert_eq!(read, Stat { state: b'R', parent: 12, session: 4700, start_time: 9876 });
    }

    #[test]
    fn the_faults_of_children_tell_that_one_was_reaped() {
        let with = |own: u32, of_children: u32| {
            format!("47 (a) S 1 47 47 0 -1 4194560 {own} {of_children} 3 4 5 6 7 8 20 0 1 0 9 1")
        };
        assert_eq!(has_reaped(with(5, 0).as_bytes()), Some(false));
        assert_eq!(has_reaped(with(0, 12).as_bytes()), Some(true));
        assert_eq!(has_reaped(b"47 (a) S 1"), None);
    }

    #[test]
    fn a_cut_stat_is_refused() {
        assert_eq!(stat(b"4711 (a) S 1"), None);
        assert_eq!(stat(b""), None);
    }

    #[test]
    fn cgroups_of_all_runtimes_name_the_container() {
        let v1 = "9:pids:/kubepods/burstable/pod12/abc123\n8:cpu:/kubepods/burstable/pod12/abc123";
        let scope = "0::/kubepods.slice/kubepods-pod12.slice/cri-containerd-abc123.scope";
        let crio = "0::/../../pod12/crio-abc123";
        for text in [v1, scope, crio] {
            assert!(cgroup_names(text, "abc123"), "{text}");
            assert!(!cgroup_names(text, "def456"), "{text}");
        }
        assert!(!cgroup_names(v1, ""));
        // A controller's name is not a path.
        assert!(!cgroup_names("3:name=abc123:/", "abc123"));
    }

    #[test]
    fn a_pods_processes_are_known_by_its_cgroup() {
        let of = |text: &str| PodCgroup::of(text, "abc123").unwrap();
        let v1 = of("9:pids:/kubepods/burstable/pod12/abc123\n8:cpu,cpuacct:/elsewhere");
        assert!(v1.holds("9:pids:/kubepods/burstable/pod12/def456"), "a sidecar");
        assert!(v1.holds("8:cpu,cpuacct:/x\n9:pids:/kubepods/burstable/pod12"));
        assert!(!v1.holds("9:pids:/kubepods/burstable/pod123/def456"), "another pod");
        assert!(!v1.holds("8:cpu,cpuacct:/kubepods/burstable/pod12/def456"));
        let v2 = of("0::/../../kubepods-pod12.slice/cri-containerd-abc123.scope/init");
        assert!(v2.holds("0::/../../kubepods-pod12.slice/cri-containerd-def456.scope"));
        assert!(!v2.holds("0::/"), "a session of ours");
        let colons = of("0::/pods/pod12.slice:cri-containerd:abc123");
        assert!(colons.holds("0::/pods/pod12.slice:cri-containerd:def456"));
        let alone = of("0::/abc123");
        assert!(alone.holds("0::/abc123") && alone.holds("0::/abc123/below"));
        assert!(!alone.holds("0::/") && !alone.holds("0::/other"));
    }

    #[test]
    fn maps_translate() {
        let map = IdMap::parse("         0     100000      65536\n 70000 5 1\n").unwrap();
        assert_eq!(map.outside(0), Some(100_000));
        assert_eq!(map.outside(65535), Some(165_535));
        assert_eq!(map.outside(65536), None);
        assert_eq!(map.outside(70000), Some(5));
        assert_eq!(map.inside(100_001), Some(1));
        assert_eq!(map.inside(5), Some(70000));
        assert_eq!(map.inside(165_536), None);
        assert_eq!(IdMap::parse("0 1"), None);
    }

    #[test]
    fn the_initial_map_is_the_identity() {
        let map = IdMap::parse("         0          0 4294967295\n").unwrap();
        assert_eq!(map, IdMap::identity());
        assert_eq!(map.outside(1000), Some(1000));
        assert_eq!(map.outside(u32::MAX), None);
    }
}
