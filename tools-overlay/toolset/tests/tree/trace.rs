//! What the programs ask for, by strace(1): nothing that could be the target's.

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context, Result, ensure};

use crate::root::Root;
use crate::trees;

/// What the target may have a say in: data, not code. What is read of the home
/// folder is in docs/threat-model.md.
const THE_TARGETS: &[&str] = &[
    "/etc/passwd",
    "/etc/group",
    "/etc/shadow",
    "/etc/hosts",
    "/etc/resolv.conf",
    "/etc/host.conf",
    "/etc/localtime",
    "/etc/gai.conf",
    "/etc/networks",
    "/etc/fstab",
    "/etc/mtab",
    "/etc/os-release",
    "/etc/connlabel.conf",
    "/etc/selinux/config",
    "/selinux",
    "/usr/share/zoneinfo/",
    "/usr/lib/debug",
    "/lib/modules",
    "/run/mount",
    "/run/netns",
    "/var/run/netns",
    "/root/.wget/hsts",
];

/// Ours, the kernel's, or named on the command line.
const FREE: &[&str] =
    &["/.kpexec", "/proc", "/sys", "/dev", "/tmp", "/run/utmp", "/var/run/utmp", "/var/run/utmpx"];

/// Only looked at: whether they are there, or what is in a folder.
const WITHOUT_EFFECT: &[&str] = &[
    "/",
    "/.",
    "/..",
    "/root",
    "/root/.config",
    "/root/.config/procps",
    // git, which looks for a repository around the working folder.
    "/.git",
    "/.git/HEAD",
    "/HEAD",
    // gdb: prefixes it was built with, and old commands.
    "/usr",
    "/.gdb_history",
    // bash-completion asks whether they are there, and takes neither.
    "/etc/init.d",
    "/etc/rc.d/init.d",
    // Standard input and output, as less and zstd call them.
    "/-",
    r"/*stdin*\\",
    r"/*stdout*\\",
];

#[test]
#[ignore = "needs root, strace and the trees that `cargo xtask test` builds"]
fn no_program_asks_for_code_or_settings_of_the_target() -> Result<()> {
    let mut asked = BTreeSet::new();
    for (tree, checks) in trees()? {
        // They cannot trace while they are traced.
        let tracers = ["strace", "gdb attach", "ltrace", "gcore"];
        for (program, text, _) in checks {
            if tracers.iter().any(|tracer| program.starts_with(tracer)) {
                continue;
            }
            let root = Root::new(&tree)?;
            let trace = root.folder.path().with_extension("trace");
            let tracer = format!("-f -qq -s 4096 -e trace=%file -o {}", trace.display());
            root.run(&tracer, text)?;
            let said = fs::read_to_string(&trace)?;
            fs::remove_file(&trace)?;
            asked.extend(asked_for(&said)?.map(|path| format!("{program}: {path}")));
        }
    }
    ensure!(asked.is_empty(), "\n{}", asked.into_iter().collect::<Vec<_>>().join("\n"));
    Ok(())
}

/// The paths in a trace that are neither ours nor the target's to give.
fn asked_for(trace: &str) -> Result<impl Iterator<Item = &str>> {
    // Before that it is chroot(1) of this machine.
    let (_, inside) = trace
        .split_once("execve(\"/.kpexec/bin/bash\"")
        .with_context(|| format!("the trace does not show the shell: {trace}"))?;
    let quoted = inside.lines().filter_map(|line| line.split('"').nth(1));
    Ok(quoted.filter(|path| {
        let begins = |list: &[&str]| list.iter().any(|start| is_at_or_below(path, start));
        // What ends in a slash is no file (`patch::closed`).
        path.starts_with('/')
            && !path.ends_with('/')
            && !begins(FREE)
            && !begins(THE_TARGETS)
            && !WITHOUT_EFFECT.contains(path)
    }))
}

fn is_at_or_below(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder.trim_end_matches('/'))
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[test]
fn a_trace_is_read_strictly() {
    assert!(asked_for("execve(\"/usr/sbin/chroot\")").is_err());
    let trace = "openat(\"/etc/x\")\n1 execve(\"/.kpexec/bin/bash\", [\"bash\"]) = 0\n\
        1 openat(AT_FDCWD, \"/.kpexec/lib/a\")\n1 openat(AT_FDCWD, \"/.kpexec-of-target/a\")\n\
        1 openat(AT_FDCWD, \"/etc/passwd-\")\n1 stat(\"/etc/passwd\")\n";
    let asked: Vec<&str> = asked_for(trace).unwrap().collect();
    assert_eq!(asked, ["/.kpexec-of-target/a", "/etc/passwd-"]);
}
