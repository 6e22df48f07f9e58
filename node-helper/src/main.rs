//! The privileged end of kpexec. It runs in a helper pod on the target's node,
//! in roles that are a process each:
//!
//! * `supervise` is the pod's main process: it makes a copy of itself for each
//!   client, and ends when no session has been there for a while, so that a lost
//!   client leaves no pod running.
//! * `connect` is started by exec into that pod, one per client: it hands its
//!   stdin and stdout to the main process, whose copy speaks the session protocol
//!   on them. `list` asks it for its sessions.
//! * `serve` does without a main process: it speaks the protocol itself. kpexec
//!   starts it on a node, and `sweep` if it was killed there.
//! * `enter` is started by `serve`, from a sealed copy of this binary, once per
//!   session: single-threaded, it enters the target and becomes the command.
//! * `read` is started in the same way: it reads one file of the target's, and
//!   may hang on it.
//! * `prepare` and `hold` are for a pod that has its tools from another image:
//!   the one leaves this program where the tools container runs it as the other.

use std::process::ExitCode;

use kpexec_protocol::pod;
use node_helper::failure::chain;
use node_helper::{connect, enter, hold, names, serve, supervise, sweep};

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
    let result = match role.as_deref().and_then(std::ffi::OsStr::to_str) {
        Some(pod::SUPERVISE) => supervise::main().map_err(|error| chain(&error)),
        Some(pod::CONNECT) => match connect::main(&connect::errand(args)) {
            Ok(code) => return ExitCode::from(code),
            Err(error) => Err(chain(&error)),
        },
        Some(pod::LIST) => match connect::main(&connect::list()) {
            Ok(code) => return ExitCode::from(code),
            Err(error) => Err(chain(&error)),
        },
        Some(pod::SERVE) => serve::main(args.next().as_deref()).map_err(|error| chain(&error)),
        Some(pod::SWEEP) => sweep::main().map_err(|error| chain(&error)),
        Some(pod::PREPARE) => hold::main(hold::prepare).map_err(|error| error.to_string()),
        Some(pod::HOLD) => hold::main(hold::hold).map_err(|error| error.to_string()),
        _ => {
            Err("usage: node-helper supervise | connect | list | serve [SECONDS] | sweep | prepare | hold"
                .into())
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("node-helper: {message}");
            ExitCode::from(125)
        }
    }
}
