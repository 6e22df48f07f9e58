//! A process's resource limits, from `/proc/PID/limits`: proc_pid_limits(5).

use nix::sys::resource::{RLIM_INFINITY, Resource};

/// One limit: soft and hard, in the resource's own unit (getrlimit(2)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// What is limited.
    pub resource: Resource,
    /// What is enforced.
    pub soft: u64,
    /// How far the process may raise it.
    pub hard: u64,
}

/// The resources whose limits a session can take over, as the kernel names them
/// (fs/proc/base.c). Core dumps are not among them: a session's are always off.
pub const RESOURCES: [(&str, Resource); 11] = [
    ("Max cpu time", Resource::RLIMIT_CPU),
    ("Max file size", Resource::RLIMIT_FSIZE),
    ("Max data size", Resource::RLIMIT_DATA),
    ("Max stack size", Resource::RLIMIT_STACK),
    ("Max resident set", Resource::RLIMIT_RSS),
    ("Max processes", Resource::RLIMIT_NPROC),
    ("Max open files", Resource::RLIMIT_NOFILE),
    ("Max locked memory", Resource::RLIMIT_MEMLOCK),
    ("Max address space", Resource::RLIMIT_AS),
    ("Max file locks", Resource::RLIMIT_LOCKS),
    ("Max pending signals", Resource::RLIMIT_SIGPENDING),
];

/// Reads `/proc/PID/limits`; what it does not name is left out.
pub fn limits(text: &str) -> Vec<Limit> {
    let value = |word: &str| match word {
        "unlimited" => Some(RLIM_INFINITY),
        number => number.parse().ok(),
    };
    let read = |line: &str| {
        let (name, resource) = RESOURCES.iter().find(|(name, _)| line.starts_with(name))?;
        let mut words = line[name.len()..].split_ascii_whitespace();
        let (soft, hard) = (value(words.next()?)?, value(words.next()?)?);
        Some(Limit { resource: *resource, soft, hard })
    };
    text.lines().filter_map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_with_their_spaces() {
        let text = "Limit                     Soft Limit           Hard Limit           Units     \n\
            Max cpu time              unlimited            unlimited            seconds   \n\
            Max core file size        1                    1                    bytes     \n\
            Max open files            1024                 524288               files     \n";
        let open = Limit { resource: Resource::RLIMIT_NOFILE, soft: 1024, hard: 524_288 };
        let cpu =
            Limit { resource: Resource::RLIMIT_CPU, soft: RLIM_INFINITY, hard: RLIM_INFINITY };
        assert_eq!(limits(text), [cpu, open]);
        assert!(limits("Max open files 12").is_empty());
    }
}
