//! The matrix: what each tool is asked to do.

mod debug;
mod languages;
mod network;
mod own;
mod privileged;
mod processes;
mod shell;
mod terminal;
mod tls;

use crate::row::Row;

/// Rows about the target's process as the test roots have it: with threads,
/// symbols, and another group than the session's. The distroless pod has not.
const OF_THE_APP: &[&str] = &[
    "ls of /proc and of the target's root",
    "ps",
    "pgrep, pkill, killall, pstree",
    "lsof of the target's process",
    "memory map of the target",
    "pidstat and mpstat",
    "readelf, nm, objdump",
    "strace of the target's process",
    "strace counts",
    "gdb of the target's process: threads and backtrace",
    "gdb writes a core of the target",
];

/// A row that the libc of Alpine's kind cannot have: it tells a debugger neither
/// names nor how to unwind.
const OF_GLIBC: &str = "gdb of the target's process: threads and backtrace";

/// For every user of a root, with nothing but the default identity.
pub fn everyday(root: &str) -> Vec<Row> {
    let possible = |row: &Row| match root {
        "distroless" => !OF_THE_APP.contains(&row.name),
        "musl" => row.name != OF_GLIBC,
        _ => true,
    };
    let mut rows = all(root);
    rows.retain(possible);
    rows
}

fn all(root: &str) -> Vec<Row> {
    [
        shell::ROWS,
        terminal::ROWS,
        processes::ROWS,
        debug::ROWS,
        network::ROWS,
        tls::ROWS,
        languages::ROWS,
        own::rows(root),
    ]
    .concat()
}

/// For root with the capabilities that these tools are for.
pub fn privileged() -> Vec<Row> {
    privileged::ROWS.to_vec()
}
