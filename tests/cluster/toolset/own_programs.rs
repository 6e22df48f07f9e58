//! The target's own programs, started from our bash: they find their own libc,
//! and nothing of ours.

use anyhow::{Result, ensure};

use crate::session::{NODES, Session, USERS};

/// Root, command, and what it says.
const PROGRAMS: &[(&str, &str, &str)] = &[
    ("scratch", "/app --libc", "this app runs on glibc 2.36"),
    ("distroless", "/app || echo $?", "usage: app --serve\n2"),
    ("musl", "/app --libc", "this app runs on another libc"),
    ("musl", "/bin/sh -c 'echo $0 | /bin/sed s/sh/busybox/'", "/bin/busybox"),
    ("old-glibc", "/app --libc", "this app runs on glibc 2.31"),
    ("old-glibc", "/bin/bash -c 'echo ${BASH_VERSION%.*}'", "5.1"),
    ("old-glibc", "/usr/bin/ldd --version | /usr/bin/head -1", "2.31"),
    (
        "old-glibc",
        "/usr/bin/perl -we 'printf \"%vd %s\", $^V, join q(-), sort qw(b a)'",
        "5.32.1 a-b",
    ),
    ("old-glibc", "/usr/bin/find /etc/debian_version -printf %p", "/etc/debian_version"),
    ("broken-libc", "/app --libc", "this app runs on glibc 2.36"),
];

/// What no program may inherit from us: it would take our files for its own.
const LEAKS: [&str; 5] = ["LD_", "PYTHON", "TERMINFO", "LOCPATH", "GCONV"];

#[test]
fn the_targets_programs_run_undisturbed() -> Result<()> {
    for (root, command, says) in PROGRAMS {
        for node in NODES {
            for uid in USERS {
                let session = Session { root, node, uid };
                let said = session.run(&[], command)?;
                ensure!(said.contains(says), "{} as {uid}: {command}: {said}", session.pod());
            }
        }
    }
    Ok(())
}

#[test]
fn the_targets_programs_inherit_nothing_that_misleads_them() -> Result<()> {
    for (root, print) in [("musl", "/bin/env"), ("old-glibc", "/usr/bin/env")] {
        for node in NODES {
            let session = Session { root, node, uid: 0 };
            let said = session.run(&[], print)?;
            ensure!(said.contains("\nHOME=/root\n"), "{}: {said}", session.pod());
            let leak = said.lines().find(|line| LEAKS.iter().any(|name| line.starts_with(name)));
            ensure!(leak.is_none(), "{}: {leak:?}", session.pod());
        }
    }
    Ok(())
}
