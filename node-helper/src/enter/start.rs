//! The last step: what must be known before the fork, made ready.

use std::ffi::CString;

use rustix::io::{self, Errno};

use super::message::Order;
use crate::program::Program;
use crate::sys::start::{Candidate, Command, Descriptors, Refused, SingleThreaded, spawn_shim};

/// Starts the shim and the command. Returns the shim's PID on the node.
///
/// # Errors
/// When an argument holds a NUL byte, or the kernel refuses to fork.
pub(super) fn start(
    alone: &SingleThreaded,
    order: &Order,
    descriptors: Descriptors<'_>,
) -> io::Result<i32> {
    let candidate = |program: &Program| {
        let refused = match (program.ours, order.any_shell) {
            (false, _) => Refused::GoOn,
            (true, true) => Refused::Tell,
            (true, false) => Refused::Stop,
        };
        let (path, name) = (c_string(&program.path)?, c_string(&program.name)?);
        Ok(Candidate { path, name, refused })
    };
    let command = Command {
        candidates: &order.programs.iter().map(candidate).collect::<io::Result<Vec<_>>>()?,
        arguments: &c_strings(&order.arguments)?,
        env: &c_strings(&order.env)?,
        terminal: order.terminal,
        descriptors,
    };
    spawn_shim(alone, &command)
}

fn c_strings(texts: &[Vec<u8>]) -> io::Result<Vec<CString>> {
    texts.iter().map(|text| c_string(text)).collect()
}

fn c_string(text: &[u8]) -> io::Result<CString> {
    CString::new(text).map_err(|_| Errno::INVAL)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nul_byte_is_refused() {
        assert_eq!(c_strings(&[b"a\0b".to_vec()]), Err(Errno::INVAL));
    }
}
