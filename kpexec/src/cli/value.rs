//! Values of flags that are more than text.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use thiserror::Error;

/// A variable for the command's environment. Bytes: Linux demands no UTF-8.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnvVar {
    /// What stands before the first `=`.
    pub name: Vec<u8>,
    /// What stands after it.
    pub value: Vec<u8>,
}

/// The key that begins an escape sequence, if any.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Escape(pub Option<u8>);

/// The keys that leave a session, one after another; empty: none do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DetachKeys(pub Vec<u8>);

impl fmt::Display for DetachKeys {
    /// As they are typed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = |key: &u8| match key {
            0x20.. => char::from(*key).to_string(),
            _ => format!("ctrl-{}", char::from(key | 0x40).to_ascii_lowercase()),
        };
        f.write_str(&self.0.iter().map(key).collect::<Vec<_>>().join(" "))
    }
}

/// What a session is called: `HELPER-NUMBER`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionName {
    /// The helper pod's name.
    pub pod: String,
    /// The session's in it.
    pub session: String,
}

/// Why a value is none.
#[derive(Debug, Error)]
pub enum ValueError {
    /// A variable without a name, or without a `=`.
    #[error("not of the form NAME=VALUE")]
    NotAnAssignment,
    /// A path whose meaning depends on who reads it.
    #[error("not an absolute path")]
    NotAbsolute,
    /// Not a number with a unit we know.
    #[error("not a duration such as 60, 90s, 2m or 1h")]
    NotADuration,
    /// Neither a duration nor yes or no.
    #[error("not a duration such as 60, 90s, 2m or 1h; 1 or 0")]
    NotAShare,
    /// Neither a character nor `none`.
    #[error("not a character, one with ^ before it, or none")]
    NotACharacter,
    /// No key, or not one that a terminal sends.
    #[error("not keys such as ctrl-p,ctrl-q, or none")]
    NotKeys,
    /// Not of the form that `kpexec sessions` lists.
    #[error("not a session's name, such as 3f9c2a41d07be865-7")]
    NotASession,
    /// No time at all.
    #[error("must be longer than zero")]
    Zero,
    /// Neither yes nor no.
    #[error("not true or false")]
    NotABool,
    /// No time at all, in kubectl's words.
    #[error("must be higher than zero")]
    NotHigher,
    /// So short that a hiccup of the network would end sessions.
    #[error("must not be shorter than 5s")]
    TooShort,
    /// More than a day.
    #[error("must not be longer than 24h")]
    TooLong,
}

/// `NAME=VALUE`, with a name.
pub fn parse_env(text: OsString) -> Result<EnvVar, ValueError> {
    let bytes = OsStr::as_bytes(&text);
    match bytes.iter().position(|byte| *byte == b'=') {
        None | Some(0) => Err(ValueError::NotAnAssignment),
        Some(at) => Ok(EnvVar { name: bytes[..at].to_vec(), value: bytes[at + 1..].to_vec() }),
    }
}

/// A key: `~`, `^]`, or `none`.
pub fn parse_escape(text: &str) -> Result<Escape, ValueError> {
    match *text.as_bytes() {
        [key] if key.is_ascii_graphic() => Ok(Escape(Some(key))),
        // As terminals make control characters: of @, A to Z and [ to _.
        [b'^', key] if (b'@'..=b'_').contains(&key.to_ascii_uppercase()) => {
            Ok(Escape(Some(key.to_ascii_uppercase() & 0x1f)))
        }
        _ if text == "none" => Ok(Escape(None)),
        _ => Err(ValueError::NotACharacter),
    }
}

/// Keys as docker has them: `ctrl-p,ctrl-q`, or `none`.
pub fn parse_detach_keys(text: &str) -> Result<DetachKeys, ValueError> {
    if text == "none" {
        return Ok(DetachKeys(Vec::new()));
    }
    let keys = text.split(',').map(|key| match *key.as_bytes() {
        [key] if key.is_ascii_graphic() => Ok(key),
        [b'c', b't', b'r', b'l', b'-', key]
            if (b'@'..=b'_').contains(&key.to_ascii_uppercase()) =>
        {
            Ok(key.to_ascii_uppercase() & 0x1f)
        }
        _ => Err(ValueError::NotKeys),
    });
    keys.collect::<Result<_, _>>().map(DetachKeys)
}

/// A session's name, as it is listed.
pub fn parse_session(text: &str) -> Result<SessionName, ValueError> {
    let is_hash =
        |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let is_number = |text: &str| {
        text.starts_with(|first: char| first.is_ascii_digit())
            && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
    };
    match text.rsplit_once('-') {
        Some((helper, session)) if is_hash(helper) && is_number(session) => {
            Ok(SessionName { pod: format!("kpexec-{helper}"), session: session.to_owned() })
        }
        _ => Err(ValueError::NotASession),
    }
}

/// What a session is called that this helper pod calls so.
pub fn session_name(pod: &str, session: &str) -> String {
    format!("{}-{session}", pod.strip_prefix("kpexec-").unwrap_or(pod))
}

/// A path from the root of the container.
pub fn parse_workdir(path: OsString) -> Result<OsString, ValueError> {
    if path.as_bytes().first() == Some(&b'/') { Ok(path) } else { Err(ValueError::NotAbsolute) }
}

/// What kubectl takes for yes and no: Go's strconv.ParseBool.
pub fn parse_bool(text: &str) -> Result<bool, ValueError> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(ValueError::NotABool),
    }
}

/// Seconds, or a number with its unit; a day at most.
pub fn parse_duration(text: &str) -> Result<Duration, ValueError> {
    let (digits, scale) = match text.as_bytes().last() {
        Some(b's') => (&text[..text.len() - 1], 1),
        Some(b'm') => (&text[..text.len() - 1], 60),
        Some(b'h') => (&text[..text.len() - 1], 3600),
        _ => (text, 1),
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(ValueError::NotADuration);
    }
    let seconds = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(scale));
    match seconds {
        Some(0) => Err(ValueError::Zero),
        Some(seconds) if seconds <= 24 * 3600 => Ok(Duration::from_secs(seconds)),
        _ => Err(ValueError::TooLong),
    }
}

/// The same, or 0 for none.
pub fn parse_linger(text: &str) -> Result<Duration, ValueError> {
    if text == "0" { Ok(Duration::ZERO) } else { parse_duration(text) }
}

/// The same, and long enough for the network to recover from a hiccup.
pub fn parse_keepalive(text: &str) -> Result<Duration, ValueError> {
    match parse_duration(text)? {
        duration if duration < Duration::from_secs(5) => Err(ValueError::TooShort),
        duration => Ok(duration),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt;

    use super::*;

    #[test]
    fn an_escape_character_is_one_key() {
        for (text, key) in [("~", Some(b'~')), ("^]", Some(0x1d)), ("^a", Some(1)), ("none", None)]
        {
            assert_eq!(parse_escape(text).unwrap(), Escape(key), "{text}");
        }
        for text in ["", "~~", "^", "^1", "\u{e9}", " ", "off"] {
            assert_eq!(parse_escape(text).is_ok(), text == "^", "{text}");
        }
    }

    #[test]
    fn keys_that_leave_are_written_as_docker_has_them() {
        let keys = |text| parse_detach_keys(text).map(|keys| keys.0).ok();
        assert_eq!(keys("ctrl-p,ctrl-q"), Some(vec![0x10, 0x11]));
        assert_eq!(keys("a,ctrl-],Z"), Some(vec![b'a', 0x1d, b'Z']));
        assert_eq!(keys("none"), Some(Vec::new()));
        let shown = |text| parse_detach_keys(text).unwrap().to_string();
        assert_eq!(shown("ctrl-P,ctrl-q,a,ctrl-]"), "ctrl-p ctrl-q a ctrl-]");
        for text in ["", ",", "ctrl-", "ctrl-pp", "ab", "ctrl-p,", "\u{e9}"] {
            assert_eq!(keys(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_session_is_named_after_its_helper() {
        let name = session_name("kpexec-3f9c2a41", "7.2");
        let (pod, session) = ("kpexec-3f9c2a41".to_owned(), "7.2".to_owned());
        assert_eq!(parse_session(&name).unwrap(), SessionName { pod, session });
        for text in ["", "-", "7", "3f9c-", "-7", "3f9c-x", "../x-7", "a/b-7", "3f9c-.7"] {
            assert!(parse_session(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_working_directory_starts_at_the_root() {
        let latin1 = OsString::from_vec(b"/caf\xe9".to_vec());
        assert_eq!(parse_workdir(latin1.clone()).unwrap(), latin1);
        for text in ["", "app", "./app", "~", "\\app"] {
            assert!(parse_workdir(text.into()).is_err(), "{text:?}");
        }
    }

    #[test]
    fn durations_are_seconds_unless_they_say_otherwise() {
        for (text, seconds) in [("60", 60), ("60s", 60), ("2m", 120), ("1h", 3600), ("24h", 86400)]
        {
            assert_eq!(parse_duration(text).unwrap(), Duration::from_secs(seconds), "{text}");
        }
        for text in ["", "s", "1.5s", "-1", "0", "0m", "1d", "25h", "99999999999999999999m", "é"] {
            assert!(parse_duration(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_keepalive_outlasts_a_hiccup() {
        for (text, seconds) in [("5", 5), ("6s", 6), ("24h", 86400)] {
            assert_eq!(parse_keepalive(text).unwrap(), Duration::from_secs(seconds), "{text}");
        }
        for text in ["0", "4s", "25h", "never", ""] {
            assert!(parse_keepalive(text).is_err(), "{text:?}");
        }
    }
}
