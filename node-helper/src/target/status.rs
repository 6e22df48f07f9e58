//! Who a process is and how it is confined, from `/proc/PID/status`:
//! proc_pid_status(5).

/// What `/proc/PID/status` tells of one process. Users and groups are numbered
/// as the reader's user namespace has them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Effective user.
    pub uid: u32,
    /// Effective group.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
    /// Capabilities it may use, bit n for number n.
    pub permitted: u64,
    /// Capabilities it can regain by execve(2) of a set-uid program.
    pub bounding: u64,
    /// PR_SET_NO_NEW_PRIVS.
    pub no_new_privs: bool,
    /// Whether a filter is on its system calls: seccomp(2), mode 2.
    pub filtered: bool,
}

/// Reads `/proc/PID/status`; `None` if a line is missing that every kernel
/// since 4.10 has. The name in the first line is the process's own choice; the
/// kernel escapes line ends in it.
pub fn status(text: &str) -> Option<Status> {
    let line = |name: &str| {
        let lines = text.lines().filter_map(|line| line.split_once(':'));
        lines.skip(1).find(|(key, _)| *key == name).map(|(_, value)| value.trim())
    };
    let numbers = |name| -> Option<Vec<u32>> {
        line(name)?.split_ascii_whitespace().map(|number| number.parse().ok()).collect()
    };
    let set = |name| u64::from_str_radix(line(name)?, 16).ok();
    Some(Status {
        uid: *numbers("Uid")?.get(1)?,
        gid: *numbers("Gid")?.get(1)?,
        groups: numbers("Groups")?,
        permitted: set("CapPrm")?,
        bounding: set("CapBnd")?,
        no_new_privs: line("NoNewPrivs")? == "1",
        // A kernel without seccomp has no such line, and filters nothing.
        filtered: line("Seccomp") == Some("2"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A process of the pod `distroless`, shortened.
    const TEXT: &str = "Name:\tapp\nUmask:\t0022\nState:\tS (sleeping)\nPid:\t4711\n\
        Uid:\t65532\t65533\t65534\t65535\nGid:\t100\t101\t102\t103\nGroups:\t7 42 \n\
        CapInh:\t0000000000000000\nCapPrm:\t0000000000000400\nCapEff:\t0000000000000000\n\
        CapBnd:\t00000000a80425fb\nCapAmb:\t0000000000000000\nNoNewPrivs:\t1\nSeccomp:\t2\n";

    #[test]
    fn every_line_of_interest_is_read() {
        let wanted = Status {
            uid: 65533,
            gid: 101,
            groups: vec![7, 42],
            permitted: 0x400,
            bounding: 0xa804_25fb,
            no_new_privs: true,
            filtered: true,
        };
        assert_eq!(status(TEXT), Some(wanted));
    }

    #[test]
    fn no_filter_and_no_groups() {
        let text = TEXT.replace("Seccomp:\t2", "Seccomp:\t0").replace("7 42 ", "");
        let read = status(&text).unwrap();
        assert!(!read.filtered && read.groups.is_empty());
        let without = TEXT.replace("Seccomp:\t2\n", "");
        assert!(!status(&without).unwrap().filtered);
    }

    #[test]
    fn a_name_cannot_pose_as_a_line() {
        let text = TEXT.replacen("Name:\tapp", "Name:\tUid:\t0\t0\t0\t0", 1);
        assert_eq!(status(&text).unwrap().uid, 65533);
        let text = TEXT.replacen("Name:\tapp", "Uid:\t0\t0\t0\t0", 1);
        assert_eq!(status(&text).unwrap().uid, 65533);
    }

    #[test]
    fn a_cut_status_is_refused() {
        assert_eq!(status("Name:\tapp\nUid:\t0\t0\t0\t0\n"), None);
        assert_eq!(status(&TEXT.replace("CapBnd:\t00", "CapBnd:\tx")), None);
    }
}
