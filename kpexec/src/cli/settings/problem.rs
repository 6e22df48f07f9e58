//! What is wrong with what is set.

use std::error::Error as _;
use std::io;
use std::path::PathBuf;

use clap::error::{ContextKind, ContextValue};
use thiserror::Error;

use super::{KEYS, Setting};

/// Why there are no settings.
#[derive(Debug, Error)]
pub enum SettingsError {
    /// The file is named, or there, and cannot be read.
    #[error("cannot read the configuration {}", .path.display())]
    Read {
        /// Its path.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It is no TOML.
    #[error("{}:{line}: {message}", .path.display())]
    Syntax {
        /// Its path.
        path: PathBuf,
        /// Where.
        line: usize,
        /// What the parser says.
        message: String,
    },
    /// Nothing of that name can be set.
    #[error("{}:{line}: unknown key {key:?}", .path.display())]
    UnknownKey {
        /// The file.
        path: PathBuf,
        /// Where.
        line: usize,
        /// What stands there.
        key: String,
    },
    /// A table, say.
    #[error("{}:{line}: {key} is one value: a text, a number, true or false", .path.display())]
    NotOne {
        /// The file.
        path: PathBuf,
        /// Where.
        line: usize,
        /// What is set.
        key: &'static str,
    },
    /// A variable that is no UTF-8.
    #[error("{0}: not UTF-8")]
    NotText(String),
    /// Its flag does not take it.
    #[error("{place}: invalid value {value:?} for {key}: {why}")]
    Value {
        /// The variable, or the line of the file.
        place: String,
        /// What is set.
        key: &'static str,
        /// To what.
        value: String,
        /// What is wrong with that.
        why: String,
        /// What is probably meant.
        meant: Option<String>,
    },
}

impl SettingsError {
    /// As clap found it.
    pub(super) fn value(setting: &Setting, error: &clap::Error) -> Self {
        let why = match (error.get(ContextKind::ValidValue), error.source()) {
            (Some(ContextValue::Strings(valid)), _) => format!("not one of {}", valid.join(", ")),
            (_, Some(source)) => source.to_string(),
            _ => "its flag does not take it".to_owned(),
        };
        let meant = match error.get(ContextKind::SuggestedValue) {
            Some(ContextValue::String(meant)) => Some(meant.clone()),
            _ => None,
        };
        let (place, value) = (setting.place(), setting.value.clone());
        Self::Value { place, key: setting.key, value, why, meant }
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::UnknownKey { key, .. } => Some(match nearest(key) {
                Some(meant) => format!("did you mean {meant}?"),
                None => "kpexec config --help lists the keys".to_owned(),
            }),
            Self::Value { key: "toolset", value, .. } if value.starts_with('/') => {
                Some("KPEXEC_TOOLSET_FOLDER names a toolset's folder, for --local".to_owned())
            }
            Self::Value { meant: Some(meant), .. } => Some(format!("did you mean {meant}?")),
            Self::Read { .. } => Some("KPEXEC_CONFIG names another one, or '' none".to_owned()),
            _ => None,
        }
    }
}

/// The key that is meant, if one is much like this.
fn nearest(word: &str) -> Option<&'static str> {
    let word = word.to_ascii_lowercase().replace('_', "-");
    crate::nearest::nearest(&word, KEYS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_key_is_meant() {
        for (word, meant) in [
            ("profil", Some("profile")),
            ("helper_image", Some("helper-image")),
            ("Helper-Image-Ful", Some("helper-image-full")),
            ("keep-alive", Some("keepalive")),
            ("ttl", None),
            ("", None),
            ("colour", None),
        ] {
            assert_eq!(nearest(word), meant, "{word}");
        }
    }
}
