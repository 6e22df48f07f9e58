//! `kpexec config view`: what is set, and where.

use clap::{Parser, ValueEnum};

use super::program::as_typed;

/// Show the defaults that you have set, and where each comes from
///
/// The file is ~/.config/kpexec/config.toml (or in XDG_CONFIG_HOME), with lines such
/// as profile = "restricted"; KPEXEC_CONFIG names another one, or none if it is
/// empty. Its keys are the names of flags: profile, writes, toolset, share, linger,
/// keepalive, detach-keys, escape-char, quiet, cri-socket, helper-namespace,
/// helper-ttl, helper-timeout, helper-image; and helper-image-minimal and
/// helper-image-full. A variable comes before the file: KPEXEC_PROFILE,
/// KPEXEC_HELPER_TTL and so on. A flag comes before both. A pod of the name config is
/// entered as pod/config.
#[derive(Debug, Parser)]
#[command(name = "kpexec config", version, override_usage = as_typed("kpexec config view"))]
pub struct Config {
    /// What to do
    #[arg(value_name = "ACTION")]
    pub action: Action,
}

/// What can be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Action {
    /// Show key, value and source of each
    View,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;
    use crate::cli::settings::KEYS;

    #[test]
    fn the_help_lists_the_keys() {
        let mut command = Config::command();
        command.clone().debug_assert();
        let help = command.render_long_help().to_string();
        let words: Vec<_> = help.split(|c: char| c.is_whitespace() || ".,:;".contains(c)).collect();
        for key in KEYS {
            assert!(words.contains(&key), "{key} is missing in: {help}");
        }
    }
}
