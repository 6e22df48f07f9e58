//! What `cargo xtask dist` makes of the definition of the command line: man pages,
//! the shells' scripts, and the README's reference. A hidden word of kpexec itself,
//! so that the definition is compiled once and in one place.

mod markdown;

use std::fs;
use std::path::Path;

use clap::ValueEnum as _;
use thiserror::Error;

use crate::cli::{self, Shell, WORDS};
use crate::completion::script;

/// Which file could not be written.
#[derive(Debug, Error)]
#[error("cannot write {file}")]
pub struct ReferenceError {
    /// Its path.
    file: String,
    /// Why.
    source: std::io::Error,
}

/// Writes all of it into this folder: `man1`, `completions`, `reference.md`.
pub fn write(folder: &Path) -> Result<u8, ReferenceError> {
    for word in std::iter::once(None).chain(WORDS.into_iter().map(Some)) {
        let Some(command) = cli::command(word) else { continue };
        let name = word.map_or("kpexec".to_owned(), |word| format!("kpexec-{word}"));
        let manual = clap_mangen::Man::new(command.display_name(&name))
            .title(&name)
            .source(concat!("kpexec ", env!("CARGO_PKG_VERSION")))
            .manual("kpexec");
        let mut page = Vec::new();
        let file = folder.join("man1").join(format!("{name}.1"));
        manual.render(&mut page).map_err(|source| failed(&file, source))?;
        put(&file, &page)?;
    }
    for shell in Shell::value_variants() {
        let name = match shell {
            Shell::Bash => "kpexec.bash",
            // Where zsh looks for functions by their names.
            Shell::Zsh => "_kpexec",
            Shell::Fish => "kpexec.fish",
            Shell::Powershell => "kpexec.ps1",
        };
        put(&folder.join("completions").join(name), script(*shell).as_bytes())?;
    }
    let command = cli::command(None).map(|command| markdown::flags(&command));
    put(&folder.join("reference.md"), command.unwrap_or_default().as_bytes())?;
    Ok(0)
}

fn put(file: &Path, text: &[u8]) -> Result<(), ReferenceError> {
    let folder = file.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder).map_err(|source| failed(folder, source))?;
    fs::write(file, text).map_err(|source| failed(file, source))
}

fn failed(file: &Path, source: std::io::Error) -> ReferenceError {
    ReferenceError { file: file.display().to_string(), source }
}
