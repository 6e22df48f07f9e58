//! A root that is full of traps: programs and scripts where ours would look.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use crate::checks::Check;
use crate::root::Root;
use crate::trees;

/// Programs of the target, each of which leaves the mark if it is started.
const DECOYS: &[&str] = &[
    "bin/bzip2",
    "bin/rm",
    "bin/zsh",
    "sbin/ldconfig",
    "usr/bin/bzip2",
    "usr/bin/cmp",
    "usr/bin/diff",
    "usr/bin/editor",
    "usr/bin/grep",
    "usr/bin/less",
    "usr/bin/more",
    "usr/bin/pager",
    "usr/bin/pr",
    "usr/bin/rsync",
    "usr/bin/sed",
    "usr/bin/vi",
    "usr/bin/gcc",
    "usr/bin/ld",
];
const MARK: &str = "tmp/mark";

/// What is set up before the checks of a hostile root.
const PREPARE: &str = "cd /tmp; echo a > a; echo b > b; bzip2 -k a b; cp /.kpexec/bin/dash /app; ";

/// What used to start something of the target, and what it says where it does not.
const HOSTILE: &[Check] = &[
    ("diff -l", "diff -l a b", "Page 1"),
    (
        "more",
        "yes | head -99 > c; (sleep 1; printf v; sleep 1; printf ':q!\\n'; sleep 1; printf q) | TERM=xterm script -qec 'more c' /dev/null",
        "\u{1b}[?1049h",
    ),
];

const HOSTILE_STANDARD: &[Check] = &[
    ("bzgrep", "bzgrep a a.bz2", "a"),
    ("bzdiff", "bzdiff a.bz2 b.bz2", "> b"),
    ("bzcmp", "bzcmp a.bz2 b.bz2", "differ"),
    ("bzmore", "bzmore a.bz2 </dev/null", "a"),
    ("zgrep", "gzip -k a && zgrep a a.gz", "a"),
    ("zdiff", "gzip -k a b && zdiff a.gz b.gz", "> b"),
    ("xzgrep", "xz -k a && xzgrep a a.xz", "a"),
    ("xzdiff", "xz -k a b && xzdiff a.xz b.xz", "> b"),
    (
        "less",
        "(sleep 1; printf v; sleep 1; printf '\\030'; sleep 1; printf q) | TERM=xterm script -qec 'less a' /dev/null",
        "GNU nano",
    ),
];

const HOSTILE_FULL: &[Check] = &[
    (
        "gdb -nx",
        "/app -c 'sleep 50; :' & gdb -nx -p $! -batch -ex bt 2>&1",
        "/.kpexec/lib/libc.so.6",
    ),
    ("gdb", "/app -c 'sleep 50; :' & gdb -p $! -batch -ex bt 2>&1", "/.kpexec/lib/libc.so.6"),
    ("gcore", "/app -c 'sleep 50; :' & gcore -o core $! 2>&1", "Saved corefile core."),
    ("pdb", "echo 'print(6*7)' > p.py; echo c | python3 -m pdb p.py", "42"),
    ("breakpoint", "echo c | python3 -c 'breakpoint(); print(6*7)'", "42"),
    (
        "find_library",
        "python3 -c 'import ctypes.util as u, ctypes as c; n = u.find_library(\"z\"); c.CDLL(n); print(n, u.find_library(\"none\"))'",
        "libz.so.1 None",
    ),
    ("perf", "(sleep 3; printf q) | TERM=xterm script -qec 'perf list sw' /dev/null", "cpu-clock"),
];

/// What does start them, so that the traps are known to work.
const TRAPPED: &[&str] = &[
    "/usr/bin/sed",
    "/sbin/ldconfig",
    "/app -c 'sleep 50; :' & gdb -nx -iex 'set auto-load scripts-directory /usr/lib/debug' \
        -iex 'set auto-load safe-path /' -p $! -batch -ex bt",
    "python3 -c 'exec(open(\"/root/.pdbrc\").read())'",
];

/// With traps where a program of ours might look.
fn hostile(tree: &Path) -> Result<Root> {
    let root = Root::new(tree)?;
    let shell = format!("#!/.kpexec/bin/sh\necho kpexec-decoy | tee /{MARK}\n");
    let python = format!("open('/{MARK}', 'w')\n");
    let scripts = ["usr/lib/debug/app-gdb.py", "root/.pdbrc", "tmp/.pdbrc"];
    let traps = DECOYS.iter().map(|path| (path, &shell));
    for (path, content) in traps.chain(scripts.iter().map(|path| (path, &python))) {
        let file = root.folder.path().join(path);
        fs::create_dir_all(file.parent().context("no folder")?)?;
        fs::write(&file, content)?;
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755))?;
    }
    Ok(root)
}

/// Whether a trap was started.
fn is_marked(root: &Root) -> bool {
    root.folder.path().join(MARK).exists()
}

#[test]
#[ignore = "needs root and the trees that `cargo xtask test` builds"]
fn no_program_starts_what_the_target_has() -> Result<()> {
    let mut failed = Vec::new();
    for (tree, ..) in trees()? {
        let has = |program: &str| tree.join("bin").join(program).exists();
        let mut checks = HOSTILE.to_vec();
        checks.extend_from_slice(if has("strace") { HOSTILE_STANDARD } else { &[] });
        checks.extend_from_slice(if has("gdb") { HOSTILE_FULL } else { &[] });
        for (program, text, expected) in checks {
            let root = hostile(&tree)?;
            let output = root.run("", &format!("{PREPARE}{text}"))?;
            let said = String::from_utf8_lossy(&output.stdout);
            if is_marked(&root) || !said.contains(expected) {
                let error = String::from_utf8_lossy(&output.stderr);
                failed.push(format!("{program}: started {}: {said}{error}", is_marked(&root)));
            }
        }
    }
    ensure!(failed.is_empty(), "\n{}", failed.join("\n"));
    Ok(())
}

#[test]
#[ignore = "needs root and the trees that `cargo xtask test` builds"]
fn the_traps_of_a_hostile_root_work() -> Result<()> {
    let (tree, _) = trees()?.pop().context("no tree")?;
    for text in TRAPPED {
        let root = hostile(&tree)?;
        let output = root.run("", &format!("{PREPARE}{text}"))?;
        ensure!(is_marked(&root), "{text}: {output:?}");
    }
    Ok(())
}
