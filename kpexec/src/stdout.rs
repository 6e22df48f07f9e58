//! What is printed on stdout where there is no session to write to it.

use std::io::{ErrorKind, Write as _};

use crate::run::{RunError, local};

/// Prints all of it: a script must not take half an answer for a whole one.
pub fn print(text: &str) -> Result<(), RunError> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        // `| head -1` closes the pipe, and that is fine.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        result => result.map_err(|source| local("write to stdout", source)),
    }
}
