//! The C programs of these tests: a container's first process, and attacks.
//! Most are static, so that they run in a container that has no libraries.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::SystemTime;

use anyhow::{Context, Result, anyhow, bail, ensure};

const SOURCES: [&str; 2] = ["tests/isolated", "tests/attacks/programs"];

/// The folder of all programs, compiled once for each test process and only
/// where a source has changed since.
pub fn programs() -> Result<&'static Path> {
    static FOLDER: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| compile_all().map_err(|error| format!("{error:#}")));
    folder.as_deref().map_err(|error| anyhow!("{error}"))
}

/// Puts all programs into a folder that exists.
pub fn link_into(folder: &Path) -> Result<()> {
    for program in fs::read_dir(programs()?)? {
        let program = program?;
        let here = folder.join(program.file_name());
        // Quick, unless it is another file system or another user's.
        if fs::hard_link(program.path(), &here).is_err() {
            install(&program.path(), &here)?;
        }
    }
    Ok(())
}

/// Copies a program that is executed soon, by another process: a fork of another
/// test would keep it open for writing, and what is open so cannot be executed
/// (ETXTBSY).
pub fn install(from: &Path, to: &Path) -> Result<()> {
    let installed = Command::new("install").arg(from).arg(to).status().context("run install(1)")?;
    ensure!(installed.success(), "{} cannot be copied to {}", from.display(), to.display());
    Ok(())
}

/// The same, of a program that is this text.
pub fn install_text(text: &str, to: &Path) -> Result<()> {
    let file = tempfile::NamedTempFile::new()?;
    fs::write(file.path(), text)?;
    install(file.path(), to)
}

fn compile_all() -> Result<PathBuf> {
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("programs");
    fs::create_dir_all(&folder)?;
    let mut sources = Vec::new();
    for folder in SOURCES {
        for entry in fs::read_dir(checkout.join(folder))? {
            sources.push(entry?.path());
        }
    }
    let ends_in = |wanted: &str| {
        let wanted = wanted.to_owned();
        move |path: &&PathBuf| path.extension().is_some_and(|ending| *ending == *wanted)
    };
    let headers = sources.iter().filter(ends_in("h")).map(|path| changed(path));
    let headers = headers.max().unwrap_or(SystemTime::UNIX_EPOCH);
    for source in sources.iter().filter(ends_in("c")) {
        let program = folder.join(source.file_stem().context("a source without a name")?);
        if changed(&program) <= changed(source).max(headers) {
            compile(source, &program)?;
        }
    }
    Ok(folder)
}

/// When a file was written; before all others if it is not there.
fn changed(path: &Path) -> SystemTime {
    fs::metadata(path).and_then(|found| found.modified()).unwrap_or(SystemTime::UNIX_EPOCH)
}

fn compile(source: &Path, program: &Path) -> Result<()> {
    // Another test process may run the old one, or compile the same: renaming
    // disturbs neither.
    let new = program.with_extension(std::process::id().to_string());
    let compiled = Command::new("gcc")
        .args(["-Wall", "-Wextra", "-Werror", "-o"])
        .args([&new, source])
        .args(options(&fs::read_to_string(source)?))
        .output()
        .context("run gcc (`cargo xtask setup` installs it)")?;
    if !compiled.status.success() {
        bail!("{}: {}", source.display(), String::from_utf8_lossy(&compiled.stderr));
    }
    fs::rename(new, program)?;
    Ok(())
}

/// How to compile a source: statically, unless it says otherwise in a line
/// `// gcc: OPTIONS`.
fn options(source: &str) -> Vec<&str> {
    let line = source.lines().find_map(|line| line.strip_prefix("// gcc: "));
    line.unwrap_or("-O1 -static").split_ascii_whitespace().collect()
}
