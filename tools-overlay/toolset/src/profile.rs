//! The three sizes of the toolset, and the packages each is made of.

use std::fmt;
use std::str::FromStr;

use anyhow::{Error, bail};

/// How much the toolset holds. Each holds all of the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Profile {
    /// A shell and what every Debian has.
    Minimal,
    /// What one looks into processes, networks and files with.
    Standard,
    /// Debuggers, python, git, profilers, scanners.
    Full,
}

/// Packages whose programs and data are taken; of what they depend on, only
/// libraries are.
const MINIMAL: &str = "bash dash coreutils procps util-linux mount bsdutils bsdextrautils iproute2 \
    curl less vim-tiny vim-common grep sed mawk findutils gzip tar hostname ca-certificates \
    ncurses-base ncurses-bin libc-bin libc6 iputils-ping diffutils netbase debianutils";
const STANDARD: &str = "strace tcpdump bind9-dnsutils bind9-host jq lsof openssl socat ncat \
    netcat-openbsd file libmagic-mgc htop psmisc rsync xxd wget inetutils-telnet net-tools ethtool \
    iperf3 tree tmux xz-utils bzip2 zstd unzip ltrace nano iputils-tracepath gawk vim vim-runtime \
    ncurses-term iotop-c bash-completion";
const FULL: &str = "gdb gdbserver python3 python3-minimal python3.11 python3.11-minimal \
    libpython3.11-minimal libpython3.11-stdlib git mtr-tiny nmap nmap-common linux-perf bpftool \
    bpftrace sysstat binutils binutils-common binutils-x86-64-linux-gnu zsh zsh-common iptables \
    nftables conntrack";

impl Profile {
    /// All of them, the smallest first.
    pub const ALL: [Self; 3] = [Self::Minimal, Self::Standard, Self::Full];

    /// As it is written on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Minimal => "minimal",
            Self::Standard => "standard",
            Self::Full => "full",
        }
    }

    /// The packages asked for, those of the smaller profiles included.
    pub fn packages(self) -> Vec<&'static str> {
        let lists = [(Self::Minimal, MINIMAL), (Self::Standard, STANDARD), (Self::Full, FULL)];
        let mine = lists.iter().filter(|(profile, _)| *profile <= self);
        mine.flat_map(|(_, list)| list.split_whitespace()).collect()
    }

    /// The most bytes its files may have together.
    pub fn limit(self) -> u64 {
        let megabytes = match self {
            Self::Minimal => 60,
            Self::Standard => 140,
            Self::Full => 450,
        };
        megabytes * 1_000_000
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Profile {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        match Self::ALL.into_iter().find(|profile| profile.name() == name) {
            Some(profile) => Ok(profile),
            None => bail!("{name}: it is minimal, standard or full"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_profile_holds_the_one_before() {
        for pair in Profile::ALL.windows(2) {
            let (small, large) = (pair[0].packages(), pair[1].packages());
            assert!(small.len() < large.len());
            assert!(small.iter().all(|package| large.contains(package)));
        }
    }

    #[test]
    fn no_package_is_named_twice() {
        let mut all = Profile::Full.packages();
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count);
    }

    #[test]
    fn names_are_read_back() {
        for profile in Profile::ALL {
            assert_eq!(profile.to_string().parse::<Profile>().unwrap(), profile);
        }
        assert!("huge".parse::<Profile>().is_err());
    }
}
