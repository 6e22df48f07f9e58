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

/// A row that the libc of Alpine's kind cannot have: it tells a debugger neither
/// names nor how to unwind.
const OF_GLIBC: &str = "gdb of the target's process: threads and backtrace";

/// For every user of a root, with nothing but the default identity.
pub fn everyday(root: &str) -> Vec<Row> {
    let mut rows = [
        shell::ROWS,
        terminal::ROWS,
        processes::ROWS,
        debug::ROWS,
        network::ROWS,
        tls::ROWS,
        languages::ROWS,
        own::rows(root),
    ]
    .concat();
    rows.retain(|row| root != "musl" || row.name != OF_GLIBC);
    // The only pod whose process has the user and all groups of the matrix.
    if root == "distroless" {
        rows = rows.into_iter().map(Row::for_the_targets_user).collect();
    }
    rows
}

/// For root with the capabilities that these tools are for.
pub fn privileged() -> Vec<Row> {
    privileged::ROWS.to_vec()
}
