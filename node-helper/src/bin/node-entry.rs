//! What there is one of for each session, and so is small: what a program holds
//! for itself alone is what is relocated at its start, a kilobyte for each forty
//! of its size.
//!
//! * `connect` is started by exec into the helper pod, one per client: it hands its
//!   stdin and stdout to the main process, whose copy speaks the session protocol
//!   on them. `list` asks it for its sessions.
//! * `enter` is started by `serve`, from a sealed copy of this program, once per
//!   session: single-threaded, it enters the target and becomes the command.
//! * `read` is started in the same way: it reads one file of the target's, and
//!   may hang on it.

use std::process::ExitCode;

use kpexec_protocol::pod;
use node_helper::failure::chain;
use node_helper::{connect, enter, names};

fn main() -> ExitCode {
    let mut args = std::env::args_os();
    // The entry process has one argument and it says nothing: the target can
    // read its command line (threat model, A11).
    let name = args.next().unwrap_or_default();
    if name == enter::PROCESS_NAME {
        return enter::main();
    }
    if name == names::PROCESS_NAME {
        return names::read::main(args);
    }
    let role = args.next();
    let errand = match role.as_deref().and_then(std::ffi::OsStr::to_str) {
        Some(pod::CONNECT) => Ok(connect::errand(args)),
        Some(pod::LIST) => Ok(connect::list()),
        _ => Err("usage: node-entry connect | list".to_owned()),
    };
    match errand.and_then(|errand| connect::main(&errand).map_err(|error| chain(&error))) {
        Ok(code) => ExitCode::from(code),
        Err(message) => {
            eprintln!("node-entry: {message}");
            ExitCode::from(125)
        }
    }
}
