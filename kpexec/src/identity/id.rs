//! A user or group as people write it: a number or a name.

use kpexec_protocol::id;
use thiserror::Error;

/// Longer than any name that useradd(8) or a directory service makes.
const LONGEST_NAME: usize = 256;

/// A user or a group. Names are for the target's own files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Id {
    /// As seen inside the target.
    Number(u32),
    /// To be looked up.
    Name(String),
}

/// Why a text is neither a name nor a number.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum IdError {
    /// Nothing before or after a colon or comma.
    #[error("a name or number is missing")]
    Empty,
    /// 4294967295 means "leave unchanged" in setresuid(2); larger ones do not fit.
    #[error("IDs go from 0 to 4294967294")]
    OutOfRange,
    /// A number below zero, or an entry of the NIS compat mode of passwd(5).
    #[error("neither names nor numbers start with + or -")]
    Signed,
    /// What separates the fields and lines of passwd(5) and group(5).
    #[error("no name has a colon or a control character in it")]
    Separator,
    /// Longer than `LONGEST_NAME`.
    #[error("no name has more than {LONGEST_NAME} bytes")]
    TooLong,
}

impl Id {
    /// All digits are a number, as with docker and chown(1); else it is a name.
    pub fn parse(text: &str) -> Result<Self, IdError> {
        if text.is_empty() {
            return Err(IdError::Empty);
        }
        if text.bytes().all(|byte| byte.is_ascii_digit()) {
            let number = text.parse().ok().filter(|number| *number != u32::MAX);
            return number.map(Self::Number).ok_or(IdError::OutOfRange);
        }
        if text.starts_with(['+', '-']) {
            return Err(IdError::Signed);
        }
        if text.contains(|character: char| character == ':' || character.is_control()) {
            return Err(IdError::Separator);
        }
        if text.len() > LONGEST_NAME {
            return Err(IdError::TooLong);
        }
        Ok(Self::Name(text.to_owned()))
    }

    /// As it travels to the helper.
    pub fn to_protocol(&self) -> kpexec_protocol::Id {
        let kind = match self {
            Self::Number(number) => id::Kind::Number(*number),
            Self::Name(name) => id::Kind::Name(name.clone()),
        };
        kpexec_protocol::Id { kind: Some(kind) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_a_number_and_the_rest_a_name() {
        for (text, number) in [("0", 0), ("007", 7), ("4294967294", 4_294_967_294)] {
            assert_eq!(Id::parse(text), Ok(Id::Number(number)), "{text}");
        }
        let long = "x".repeat(LONGEST_NAME);
        for text in ["root", "_apt", "0x10", "1000a", "DOM\\jörg", "a b", "a-b+c", &long] {
            assert_eq!(Id::parse(text), Ok(Id::Name(text.into())), "{text:?}");
        }
    }

    #[test]
    fn what_can_be_neither_is_refused() {
        let (long, huge) = ("x".repeat(LONGEST_NAME + 1), "9".repeat(300));
        for (text, error) in [
            ("", IdError::Empty),
            ("4294967295", IdError::OutOfRange),
            ("4294967296", IdError::OutOfRange),
            (&huge, IdError::OutOfRange),
            ("-1", IdError::Signed),
            ("+1", IdError::Signed),
            ("+@staff", IdError::Signed),
            ("a:b", IdError::Separator),
            ("a\nb", IdError::Separator),
            ("a\0", IdError::Separator),
            (&long, IdError::TooLong),
        ] {
            assert_eq!(Id::parse(text), Err(error), "{text:?}");
        }
    }
}
