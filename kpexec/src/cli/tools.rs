//! The flags that say which tools the session has.

use clap::{Args, ValueEnum};

/// The tools, as chosen.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Tools")]
pub struct ToolsFlags {
    /// How many tools there are at /.kpexec
    ///
    /// Each set is a helper image. Of a helper image REPO:TAG the others are REPO:TAG-minimal and
    /// REPO:TAG-full. KPEXEC_HELPER_IMAGE_MINIMAL and KPEXEC_HELPER_IMAGE_FULL
    /// name them otherwise, by digest for one.
    #[arg(long, value_name = "NAME", default_value_t, value_enum)]
    pub toolset: Toolset,

    /// Take the tools from this image instead
    ///
    /// Its root is at /.kpexec. It is started beside the helper for the sake of its files, and none of its
    /// programs runs before you say so. To pull it counts as the helper's start:
    /// --helper-timeout. Static programs run as they are; what looks for files of
    /// its own, its loader for one, finds the container's at /.
    #[arg(long, value_name = "IMAGE", conflicts_with = "toolset")]
    pub tools_image: Option<String>,

    /// Make the root of that image the session's own
    ///
    /// The container's is at /target then.
    /// For tools that need libraries and files of their own. What is written
    /// outside /target goes with the helper. Processes, network and names of users
    /// to run as are the container's as always.
    #[arg(long, hide_short_help = true, requires = "tools_image", conflicts_with = "save_changes")]
    pub tools_root: bool,
}

impl Toolset {
    /// As the flag takes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Minimal => "minimal",
            Self::Standard => "standard",
            Self::Full => "full",
        }
    }
}

/// The sets of tools there are.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Toolset {
    /// A shell, and what one looks around with: ps, ss, curl, vim
    Minimal,
    /// And what one looks for faults with: strace, tcpdump, dig, lsof
    #[default]
    Standard,
    /// And gdb, python3, git, perf, bpftrace, nmap
    Full,
}
