//! How long programs take to start: the toolset's and this machine's own, in one
//! root, by turns. Prints a line for each: `TOOL ours|host MICROSECONDS`, and
//! the ratio of a round in thousandths; before that how large each tree is.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use rustix::mount::{MountFlags, mount, mount_bind, mount_bind_recursive};

use crate::image;

/// Name, arguments, Debian's package.
type Tool = (&'static str, &'static [&'static str], &'static str);

/// Those that one waits for, and that every Debian 12 has or can have.
pub const TOOLS: &[Tool] = &[
    ("bash", &["-c", ":"], "bash"),
    ("ls", &["/"], "coreutils"),
    ("ps", &["-p", "1"], "procps"),
    ("ip", &["link"], "iproute2"),
    ("curl", &["--version"], "curl"),
    ("openssl", &["version"], "openssl"),
    ("strace", &["-V"], "strace"),
    ("git", &["--version"], "git"),
    ("python3", &["-c", ""], "python3"),
    ("gdb", &["-nx", "-batch"], "gdb"),
];

/// Where Debian has them; another python may be first on PATH.
const HOST: &str = "/usr/bin";
const OURS: &str = "/.kpexec/bin";

/// Names of the tools this machine lacks.
pub fn check_host() -> Result<()> {
    let lacks = |(name, _, _): &&Tool| !Path::new(HOST).join(name).exists();
    let missing: Vec<&str> = TOOLS.iter().filter(lacks).map(|(_, _, package)| *package).collect();
    if missing.is_empty() {
        return Ok(());
    }
    bail!("nothing to compare with: `apt-get install {}`", missing.join(" "))
}

/// Measures, the programs of the last tree and the size of all. To be called in
/// a mount namespace of its own.
pub fn measure(rounds: u32, trees: &[PathBuf]) -> Result<()> {
    enter_root(trees.last().context("no tree")?)?;
    for (number, tree) in trees.iter().enumerate() {
        println!("{number} compressed {}", compressed(tree)?);
    }
    // The first round fills the page cache and does not count.
    for round in 0..=rounds {
        for (name, arguments, _) in TOOLS {
            let mut sides = [("ours", OURS, 0), ("host", HOST, 0)];
            // Who goes first may find the processor busy with the one before.
            if round % 2 == 1 {
                sides.reverse();
            }
            for (_, folder, time) in &mut sides {
                *time = start(&Path::new(folder).join(name), arguments)?;
            }
            sides.sort_unstable_by_key(|(side, _, _)| *side == "host");
            if round > 0 {
                let [(_, _, ours), (_, _, host)] = sides;
                println!("{name} ours {ours}\n{name} host {host}");
                println!("{name} ratio {}", ours * 1000 / host.max(1));
            }
        }
    }
    Ok(())
}

/// From before the fork until it is reaped, in microseconds.
fn start(program: &Path, arguments: &[&str]) -> Result<u128> {
    let mut command = Command::new(program);
    command.args(arguments).env_clear().envs([("LANG", "C.UTF-8"), ("HOME", "/root")]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let begin = Instant::now();
    let status = command.status().with_context(|| format!("cannot start {}", program.display()))?;
    let time = begin.elapsed().as_micros();
    ensure!(status.success(), "{} {arguments:?}: {status}", program.display());
    Ok(time)
}

/// Makes a root of all that is in this machine's, and the tree at `/.kpexec`,
/// and goes there: as in a session, nothing of the machine is changed.
fn enter_root(tree: &Path) -> Result<()> {
    let root = image::target().join("bench-root");
    fs::create_dir_all(&root)?;
    mount("bench", &root, "tmpfs", MountFlags::empty(), None)?;
    for entry in fs::read_dir("/")? {
        let entry = entry?;
        let (path, kind) = (entry.path(), entry.file_type()?);
        let new = root.join(entry.file_name());
        if kind.is_symlink() {
            symlink(fs::read_link(path)?, new)?;
        } else if kind.is_dir() {
            fs::create_dir(&new)?;
            mount_bind_recursive(&path, &new)?;
        }
    }
    let place = root.join(".kpexec");
    fs::create_dir(&place)?;
    mount_bind(tree, &place).with_context(|| format!("cannot mount {}", tree.display()))?;
    rustix::process::chroot(&root)?;
    std::env::set_current_dir("/")?;
    Ok(())
}

/// Bytes of a tar of that tree, compressed as the layers of the image are. By
/// the toolset's own programs: not every machine has zstd.
fn compressed(tree: &Path) -> Result<u64> {
    let program = |name| Command::new(Path::new(OURS).join(name));
    let mut tar = program("tar");
    let mut tar = tar.arg("-C").arg(tree).args(["-c", "."]).stdout(Stdio::piped()).spawn()?;
    let output = tar.stdout.take().context("tar has an output")?;
    let mut zstd = program("zstd");
    let mut zstd = zstd.args(["-3", "-c"]).stdin(output).stdout(Stdio::piped()).spawn()?;
    let mut packed = zstd.stdout.take().context("zstd has an output")?;
    let bytes = std::io::copy(&mut packed, &mut std::io::sink())?;
    ensure!(tar.wait()?.success() && zstd.wait()?.success(), "tar | zstd failed");
    Ok(bytes)
}

/// The command that calls [`measure`] where it has to be.
pub fn command(rounds: u32, trees: &[PathBuf]) -> Result<Command> {
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation=private"]).arg(std::env::current_exe()?);
    command.args(["bench", "start", &rounds.to_string()]).args(trees);
    Ok(command)
}
