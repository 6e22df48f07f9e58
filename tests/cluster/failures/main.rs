//! Failures from real life, each against the real cluster or a real fault: a line that
//! says what and why, a line that says what to do, the exit code. One table; its parts
//! are by where the failure is.

mod access;
mod command_line;
mod container;
mod helper;
mod midway;
mod node;
mod row;
