//! The messages between kpexec and its node helper, and between kpexec and its
//! background process, generated from `proto/session.proto` and
//! `proto/share.proto`, which document them. No I/O happens here.

pub mod pod;
pub mod profile;

pub use generated::*;

#[allow(missing_docs, reason = "generated code; the .proto files document it")]
#[allow(clippy::all, reason = "generated code")]
mod generated {
    tonic::include_proto!("kpexec.v1");
}

/// The largest piece of stdin, stdout or stderr in one message, in bytes.
pub const CHUNK: usize = 64 * 1024;

/// How much stdin a client sends ahead of what the command has taken, in bytes.
/// It bounds what the helper holds, so that resizes and signals, which come
/// behind it, are never held up by a command that reads nothing.
pub const STDIN_WINDOW: usize = 2 * 1024 * 1024;
