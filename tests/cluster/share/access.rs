//! Who may use the socket: nobody else.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use tests::BOTH_NODES;
use tests::command::{Output, run};

use crate::sharer::Sharer;

/// The user `nobody` of every distribution.
const NOBODY: u32 = 65534;

/// Runs a command in vain; gives what it said.
fn refused(sharer: &Sharer) -> Result<String> {
    let output = run(sharer.command(&[BOTH_NODES[0], "--", "true"]), b"")?;
    ensure!(output.code() == 125 && sharer.processes()?.is_empty(), "{output:?}");
    Ok(output.stderr)
}

#[test]
fn a_folder_that_is_not_ours_alone_is_refused() -> Result<()> {
    let sharer = Sharer::new("folder")?;
    let folder = sharer.folder().join("kpexec");
    let unsafe_for = |why: &str| {
        format!(
            "kpexec: {} is not safe for the socket of --share: {why}\n\
             hint: only you may have access to it: chmod 700\n",
            folder.display()
        )
    };
    fs::create_dir(&folder)?;
    for mode in [0o755, 0o770, 0o701, 0o1777] {
        fs::set_permissions(&folder, Permissions::from_mode(mode))?;
        assert_eq!(refused(&sharer)?, unsafe_for("others have access to it"), "{mode:o}");
    }
    fs::set_permissions(&folder, Permissions::from_mode(0o700))?;
    chown(&folder, Some(NOBODY), None)?;
    assert_eq!(refused(&sharer)?, unsafe_for("it belongs to another user"));
    chown(&folder, Some(0), None)?;
    fs::rename(&folder, sharer.folder().join("elsewhere"))?;
    symlink("elsewhere", &folder)?;
    assert_eq!(refused(&sharer)?, unsafe_for("it is no folder, but a link"));
    Ok(())
}

#[test]
fn a_runtime_folder_of_another_user_is_not_used() -> Result<()> {
    let sharer = Sharer::new("sudo")?;
    let home = tempfile::tempdir()?;
    chown(sharer.folder(), Some(NOBODY), None)?;
    let mut command = sharer.command(&[BOTH_NODES[0], "--", "true"]);
    command.env("HOME", home.path()).env_remove("XDG_CACHE_HOME");
    let output = run(command, b"")?;
    assert_eq!(output.code(), 0, "{output:?}");
    assert!(!sharer.folder().join("kpexec").exists());
    assert!(home.path().join(".cache/kpexec/share/lock").exists());
    Ok(())
}

/// Calls the process on its socket as another program would.
fn call(socket: &std::path::Path, user: u32) -> Result<Output> {
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--show-error", "--max-time", "60", "--http2-prior-knowledge"]);
    curl.args(["--dump-header", "-", "--request", "POST", "--unix-socket"]).arg(socket);
    curl.args(["--header", "content-type: application/grpc", "http://x/kpexec.v1.Share/Stop"]);
    curl.uid(user).gid(user);
    run(curl, b"")
}

#[test]
fn another_user_is_not_served_even_if_the_folder_lets_them() -> Result<()> {
    let sharer = Sharer::new("other")?;
    let output = run(sharer.command(&[BOTH_NODES[0], "--", "true"]), b"")?;
    assert_eq!(output.code(), 0, "{output:?}");
    let folder = sharer.folder().join("kpexec");
    let mut sockets = fs::read_dir(&folder)?.flatten().map(|entry| entry.path());
    let is_socket = |path: &PathBuf| path.extension().is_some_and(|ending| ending == "sock");
    let socket = sockets.find(is_socket).context("no socket")?;
    for (path, mode) in [(sharer.folder(), 0o755), (&folder, 0o755), (&socket, 0o777)] {
        fs::set_permissions(path, Permissions::from_mode(mode))?;
    }
    let theirs = call(&socket, NOBODY)?;
    ensure!(theirs.code() != 0 && theirs.stdout.is_empty(), "{theirs:?}");
    let process = sharer.process()?;
    // The same call of ours is answered: it was the user that was refused.
    let ours = call(&socket, 0)?;
    assert!(ours.text().starts_with("HTTP/2 200"), "{ours:?}");
    assert_eq!(sharer.process()?, process);
    Ok(())
}
