//! The matrix: what each tool is asked to do.

mod debug;
mod languages;
mod network;
mod privileged;
mod processes;
mod shell;
mod terminal;
mod tls;

use crate::row::Row;

/// For every user, with nothing but the default identity.
pub fn everyday() -> Vec<Row> {
    [
        shell::ROWS,
        terminal::ROWS,
        processes::ROWS,
        debug::ROWS,
        network::ROWS,
        tls::ROWS,
        languages::ROWS,
    ]
    .concat()
}

/// For root with the capabilities that these tools are for.
pub fn privileged() -> Vec<Row> {
    privileged::ROWS.to_vec()
}
