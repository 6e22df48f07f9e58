//! The privileged end of kpexec. It runs in a helper pod on the target's node,
//! in roles that are a process each:
//!
//! * `wait` is the pod's main process: it does nothing, and ends when no
//!   session has been there for a while, so that a lost client leaves no pod
//!   running.
//! * `serve` is started by exec into that pod, one per client: it speaks the
//!   session protocol on stdin and stdout.
//! * `sweep` is started by kpexec on a node where `serve` has no pod, when that
//!   was killed.
//! * `enter` is started by `serve`, from a sealed copy of this binary, once per
//!   session: single-threaded, it enters the target and becomes the command.
//! * `read` is started in the same way: it reads one file of the target's, and
//!   may hang on it.
//! * `prepare` and `hold` are for a pod that has its tools from another image:
//!   the one leaves this program where the tools container runs it as the other.

use std::process::ExitCode;

use kpexec_protocol::pod;
use node_helper::failure::chain;
use node_helper::{enter, hold, names, serve, sweep, wait};

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
    let result = match args.next().as_deref().and_then(std::ffi::OsStr::to_str) {
        Some(pod::SERVE) => serve::main().map_err(|error| error.to_string()),
        Some(pod::SWEEP) => sweep::main().map_err(|error| chain(&error)),
        Some(pod::WAIT) => wait::main().map_err(|error| error.to_string()),
        Some(pod::PREPARE) => hold::main(hold::prepare).map_err(|error| error.to_string()),
        Some(pod::HOLD) => hold::main(hold::hold).map_err(|error| error.to_string()),
        _ => Err("usage: node-helper wait | serve | sweep | prepare | hold".to_owned()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("node-helper: {message}");
            ExitCode::from(125)
        }
    }
}
