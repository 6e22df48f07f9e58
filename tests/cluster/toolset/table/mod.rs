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

/// For every user of a root, with nothing but the default identity.
pub fn everyday(root: &str) -> Vec<Row> {
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
