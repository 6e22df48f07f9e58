//! What the user has set for all commands, in variables and in a file: defaults of
//! flags, in place of the built-in ones.

mod file;
mod problem;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::error::{ContextKind, ContextValue};
use clap::{Command, CommandFactory as _};

use super::Cli;
pub use problem::SettingsError;

/// What can be set. A key is its flag's name; the last two have no flag.
pub const KEYS: [&str; 16] = [
    "profile",
    "writes",
    "toolset",
    "share",
    "linger",
    "keepalive",
    "detach-keys",
    "escape-char",
    "quiet",
    "cri-socket",
    "helper-namespace",
    "helper-ttl",
    "helper-timeout",
    "helper-image",
    "helper-image-minimal",
    "helper-image-full",
];

/// One value, and where it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// One of [`KEYS`].
    pub key: &'static str,
    /// As the flag takes it.
    pub value: String,
    /// Where it is set.
    pub source: Source,
}

/// Where a value is set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// In the variable that belongs to the key.
    Variable,
    /// In the file.
    File {
        /// Its path.
        path: PathBuf,
        /// The line of the value.
        line: usize,
    },
}

impl Setting {
    /// Where it is set, as a person looks for it.
    pub fn place(&self) -> String {
        match &self.source {
            Source::Variable => variable(self.key),
            Source::File { path, line } => format!("{}:{line}", path.display()),
        }
    }
}

/// All that is set, in no order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings(Vec<Setting>);

impl Settings {
    /// Reads the variables, and the file if there is one.
    pub fn read() -> Result<Self, SettingsError> {
        let variable = |name: &str| std::env::var_os(name);
        Self::merge(file::read(&variable)?, &variable)
    }

    /// A variable comes before the file; an empty one is none.
    fn merge(
        file: Vec<Setting>,
        get: &dyn Fn(&str) -> Option<OsString>,
    ) -> Result<Self, SettingsError> {
        let mut settings = file;
        for key in KEYS {
            let name = variable(key);
            let Some(value) = get(&name).filter(|value| !value.is_empty()) else { continue };
            let value = value.into_string().map_err(|_| SettingsError::NotText(name))?;
            settings.retain(|setting| setting.key != key);
            settings.push(Setting { key, value, source: Source::Variable });
        }
        Ok(Self(settings))
    }

    /// Those that another kpexec, whose command this is, has read.
    pub fn from_client(pairs: impl IntoIterator<Item = (String, String)>) -> Self {
        let known = |(key, value): (String, String)| {
            let key = KEYS.into_iter().find(|known| *known == key)?;
            Some(Setting { key, value, source: Source::Variable })
        };
        Self(pairs.into_iter().filter_map(known).collect())
    }

    /// Key and value of each.
    pub fn pairs(&self) -> impl Iterator<Item = (String, String)> {
        self.0.iter().map(|setting| (setting.key.to_owned(), setting.value.clone()))
    }

    /// The one of this key.
    pub fn get(&self, key: &str) -> Option<&Setting> {
        self.0.iter().find(|setting| setting.key == key)
    }

    /// Makes them the defaults of the flags that the command has. A default is not
    /// taken for typed: it gives way to flags that the same flag could not stand
    /// beside.
    pub fn apply(&self, command: Command) -> Command {
        self.0.iter().fold(command, |command, Setting { key, value, .. }| {
            let id = flag_id(key);
            if command.get_arguments().all(|arg| arg.get_id() != id.as_str()) {
                return command;
            }
            command.mut_arg(id, |arg| arg.default_value(value))
        })
    }

    /// What it is that clap refuses as the value of a flag, if it is one of these.
    pub fn blame(&self, error: &clap::Error) -> Option<SettingsError> {
        let context = |kind| match error.get(kind) {
            Some(ContextValue::String(text)) => Some(text.as_str()),
            _ => None,
        };
        let flag = context(ContextKind::InvalidArg)?.strip_prefix("--")?;
        let (key, _) = flag.split_once([' ', '[', '=']).unwrap_or((flag, ""));
        let value = context(ContextKind::InvalidValue)?;
        let setting = self.get(key).filter(|setting| setting.value == value)?;
        Some(SettingsError::value(setting, error))
    }

    /// Refuses a value that its flag does not take, by having clap read it.
    pub fn check(&self) -> Result<(), SettingsError> {
        let parsed = self.apply(Cli::command()).try_get_matches_from(["kpexec"]);
        parsed.err().and_then(|error| self.blame(&error)).map_or(Ok(()), Err)
    }
}

/// The variable that belongs to a key.
pub fn variable(key: &str) -> String {
    format!("KPEXEC_{}", key.to_ascii_uppercase().replace('-', "_"))
}

/// What clap calls the flag of a key.
pub fn flag_id(key: &str) -> String {
    key.replace('-', "_")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::cli::{CliError, Invocation, Profile, Toolset, Writes};

    fn in_file(pairs: &[(&'static str, &str)]) -> Vec<Setting> {
        let setting = |(line, (key, value)): (usize, &(&'static str, &str))| {
            let source = Source::File { path: "/f.toml".into(), line: line + 1 };
            Setting { key, value: (*value).to_owned(), source }
        };
        pairs.iter().enumerate().map(setting).collect()
    }

    fn settings(
        file: &[(&'static str, &str)],
        variables: &'static [(&str, &str)],
    ) -> Result<Settings, SettingsError> {
        Settings::merge(in_file(file), &|wanted| {
            let found = variables.iter().find(|(name, _)| *name == wanted);
            found.map(|(_, value)| OsString::from(value))
        })
    }

    fn parse(args: &str, settings: &Settings) -> Result<Cli, CliError> {
        Cli::parse_with(args.split_whitespace().map(Into::into), settings)
    }

    #[test]
    fn every_key_is_a_flag_but_two() {
        let command = Cli::command();
        let without: Vec<_> = KEYS
            .into_iter()
            .filter(|key| command.get_arguments().all(|arg| arg.get_long() != Some(key)))
            .collect();
        assert_eq!(without, ["helper-image-minimal", "helper-image-full"]);
        for key in KEYS.into_iter().filter(|key| !without.contains(key)) {
            assert!(command.get_arguments().any(|arg| arg.get_id() == flag_id(key).as_str()));
        }
        assert_eq!(variable("helper-image-full"), "KPEXEC_HELPER_IMAGE_FULL");
    }

    #[test]
    fn a_flag_comes_before_a_variable_before_the_file_before_what_is_built_in() {
        let all = settings(
            &[("profile", "restricted"), ("helper-ttl", "1h"), ("toolset", "full")],
            &[("KPEXEC_HELPER_TTL", "2h"), ("KPEXEC_TOOLSET", "")],
        )
        .unwrap();
        let cli = parse("kpexec --profile baseline -i web", &all).unwrap();
        assert_eq!(cli.identity.profile, Some(Profile::Baseline));
        assert_eq!(cli.helper_ttl, Duration::from_secs(7200));
        assert_eq!(cli.tools.toolset, Toolset::Full);
        assert_eq!(cli.helper_timeout, Duration::from_secs(60));
        let place = |key| all.get(key).map(Setting::place);
        assert_eq!(place("helper-ttl").as_deref(), Some("KPEXEC_HELPER_TTL"));
        assert_eq!(place("toolset").as_deref(), Some("/f.toml:3"));
    }

    #[test]
    fn the_folder_of_a_toolset_is_no_toolset() {
        let path = settings(&[], &[("KPEXEC_TOOLSET", "/opt/tools")]).unwrap();
        let hint = path.check().unwrap_err().hint().unwrap();
        assert_eq!(hint, "KPEXEC_TOOLSET_FOLDER names a toolset's folder, for --local");
    }

    #[test]
    fn what_is_set_gives_way_to_flags_that_cannot_stand_beside_it() {
        let all = settings(
            &[("linger", "5m"), ("toolset", "full"), ("writes", "deny"), ("helper-image", "h:1")],
            &[],
        )
        .unwrap();
        let plain = parse("kpexec -i web", &all).unwrap();
        assert_eq!(plain.keep.linger, Some(Duration::from_secs(300)));
        assert_eq!(plain.view.writes, Writes::Deny);
        for flags in ["--rm", "--save-changes f", "--tools-image x --tools-root", "--linger 0"] {
            let cli = parse(&format!("kpexec -i {flags} web"), &all).unwrap();
            assert_eq!(cli.keep.linger, None, "{flags}");
        }
        let tools = parse("kpexec -i --tools-image x web", &all).unwrap();
        assert_eq!(tools.tools.toolset, Toolset::Standard);
        assert_eq!(parse("kpexec -i --writable web", &all).unwrap().view.writes, Writes::Through);
        let saved = parse("kpexec -i --save-changes f web", &all).unwrap();
        assert_eq!(saved.view.writes, Writes::Discard);
        assert_eq!(parse("kpexec --local -i web/prod", &all).unwrap().keep.linger, None);
    }

    #[test]
    fn whoever_is_always_quiet_can_speak_once() {
        let all = settings(&[("quiet", "1")], &[]).unwrap();
        let quiet = |args: &str| parse(args, &all).unwrap().quiet;
        assert!(quiet("kpexec -i web"));
        assert!(!quiet("kpexec -i -q=false web") && !quiet("kpexec -i -v web"));
        let all = settings(&[("quiet", "1")], &[("KPEXEC_QUIET", "false")]).unwrap();
        assert!(!parse("kpexec -i web", &all).unwrap().quiet);
        let bad = settings(&[("quiet", "maybe")], &[]).unwrap().check().unwrap_err().to_string();
        assert_eq!(bad, "/f.toml:1: invalid value \"maybe\" for quiet: not true or false");
    }

    #[test]
    fn a_bad_value_is_told_by_its_place_unless_a_flag_replaces_it() {
        let bad = settings(&[("profile", "sysadmn")], &[("KPEXEC_SHARE", "yes")]).unwrap();
        let told = |args: &str| parse(args, &bad).map(drop).unwrap_err().to_string();
        let profile = "/f.toml:1: invalid value \"sysadmn\" for profile: not one of general, \
                       baseline, restricted, netadmin, sysadmin, target";
        assert_eq!(told("kpexec -i web"), profile);
        let share = "KPEXEC_SHARE: invalid value \"yes\" for share: not a duration such as 60, \
                     90s, 2m or 1h; 1 or 0";
        assert_eq!(told("kpexec -i --profile target web"), share);
        parse("kpexec -i --profile target --share=0 web", &bad).unwrap();
        assert_eq!(bad.check().unwrap_err().hint().as_deref(), Some("did you mean sysadmin?"));
    }

    #[test]
    fn what_a_client_has_read_is_what_its_background_process_takes() {
        let all = settings(&[("linger", "5m")], &[("KPEXEC_HELPER_NAMESPACE", "ops")]).unwrap();
        let sent = Settings::from_client(all.pairs().chain([("new".into(), "x".into())]));
        assert_eq!(sent.pairs().collect::<Vec<_>>(), all.pairs().collect::<Vec<_>>());
        assert_eq!(parse("kpexec -i web", &sent).unwrap().cluster.helper_namespace, "ops");
    }

    #[test]
    fn other_words_have_the_same_defaults() {
        let all = settings(&[("keepalive", "9s"), ("helper-namespace", "ops")], &[]).unwrap();
        let parse = |args: &str| {
            Invocation::parse_with(args.split(' ').map(Into::into).collect(), &all).unwrap()
        };
        let Invocation::Attach(attach) = parse("kpexec attach 3f9c-7") else { panic!("attach") };
        assert_eq!(attach.life.keepalive, Duration::from_secs(9));
        let Invocation::Gc(gc) = parse("kpexec gc") else { panic!("gc") };
        assert_eq!(gc.cluster.helper_namespace, "ops");
    }
}
