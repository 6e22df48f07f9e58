//! House rules for Rust files: where `unsafe` may be, how long a file may be,
//! and that its first line says what it is about.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::cluster::layout;

const MOST_LINES: usize = 400;
/// Folders that hold no source of ours.
const SKIPPED: &[&str] = &["target", ".git"];

/// Checks every Rust file of the checkout.
pub fn check() -> Result<Option<String>> {
    let checkout = layout::checkout();
    let mut broken = Vec::new();
    for file in rust_files(&checkout)? {
        let text =
            fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let name = file.strip_prefix(&checkout).unwrap_or(&file);
        broken.extend(broken_rules(name, &text));
    }
    if !broken.is_empty() {
        bail!("\n  {}", broken.join("\n  "));
    }
    Ok(None)
}

fn rust_files(top: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut folders = vec![top.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            let (path, kind) = (entry.path(), entry.file_type()?);
            let name = entry.file_name();
            if kind.is_dir() && !SKIPPED.iter().any(|skipped| name == *skipped) {
                folders.push(path);
            } else if kind.is_file() && path.extension().is_some_and(|ending| ending == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

fn broken_rules(file: &Path, text: &str) -> Vec<String> {
    let mut broken = Vec::new();
    let name = file.display();
    let lines = text.lines().count();
    if lines > MOST_LINES {
        broken.push(format!("{name}: {lines} lines; split it ({MOST_LINES} at most)"));
    }
    if !text.starts_with("//!") {
        broken.push(format!("{name}:1: the first line is not a `//!` that says the subject"));
    }
    if !may_hold_unsafe(file) {
        for (number, line) in text.lines().enumerate() {
            if has_unsafe(line) {
                let number = number + 1;
                broken.push(format!("{name}:{number}: `unsafe` outside of a `sys` module"));
            }
        }
    }
    broken
}

fn may_hold_unsafe(file: &Path) -> bool {
    file.ends_with("sys.rs") || file.parent().is_some_and(|p| p.iter().any(|part| part == "sys"))
}

/// Whether the keyword is in the line, outside of a comment or a string. A
/// line at a time is enough: the compiler's own lint is the strict check.
fn has_unsafe(line: &str) -> bool {
    let mut code = String::new();
    let mut in_string = false;
    let mut previous = ' ';
    for c in line.chars() {
        match c {
            '"' if previous != '\\' => in_string = !in_string,
            '/' if previous == '/' && !in_string => break,
            c if !in_string => code.push(c),
            _ => {}
        }
        previous = c;
    }
    code.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == "unsafe")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keyword_is_found_in_code_only() {
        for line in ["unsafe { f() }", "pub unsafe fn f() {}", "let x = unsafe{1};"] {
            assert!(has_unsafe(line), "{line}");
        }
        for line in ["// unsafe", "/// an unsafe thing", "#![deny(unsafe_code)]", "f(\"unsafe\")"] {
            assert!(!has_unsafe(line), "{line}");
        }
    }

    #[test]
    fn the_keyword_belongs_to_sys_modules() {
        for file in ["node-helper/src/sys/fork.rs", "tools-overlay/src/sys.rs"] {
            assert!(broken_rules(Path::new(file), "//! X.\nunsafe {}\n").is_empty(), "{file}");
        }
        let broken = broken_rules(Path::new("kpexec/src/system.rs"), "//! X.\nunsafe {}\n");
        assert_eq!(broken, ["kpexec/src/system.rs:2: `unsafe` outside of a `sys` module"]);
    }

    #[test]
    fn long_and_unexplained_files_are_named() {
        let long = "//! X.\n".to_owned() + &"\n".repeat(MOST_LINES);
        assert_eq!(broken_rules(Path::new("a.rs"), &long).len(), 1);
        assert_eq!(broken_rules(Path::new("a.rs"), "fn f() {}\n").len(), 1);
    }
}
