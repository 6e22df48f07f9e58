//! The target's own programs, started from our bash: they find their own libc,
//! and nothing of ours.

use crate::row::{Row, works};

/// The rows of a root.
pub fn rows(root: &str) -> &'static [Row] {
    match root {
        "musl" => MUSL,
        "old-glibc" => OLD_GLIBC,
        // Roots whose only program is static.
        _ => STATIC,
    }
}

const STATIC: &[Row] =
    &[works("the target's static program", "/app --libc", &["this app runs on glibc 2.36"])];

const MUSL: &[Row] = &[
    works("the target's program on musl", "/app --libc", &["this app runs on another libc"]),
    works(
        "gdb of the target's process on musl",
        "gdb -p 1 -batch -ex 'info threads' -ex 'p requests_served > 0'",
        &["worker-1", "worker-3", "$1 = 1"],
    )
    .but_unprivileged(1, &["ptrace: Operation not permitted."]),
    works(
        "the target's shell",
        r#"/bin/sh -c 'echo $0 | /bin/sed s/sh/busybox/; export -p | /bin/grep HOME'"#,
        &["/bin/busybox\nexport HOME="],
    ),
    works("the target's programs inherit nothing that misleads them", CLEAN, &["HOME=", "clean"]),
];

const OLD_GLIBC: &[Row] = &[
    works("the target's program on its old glibc", "/app --libc", &["this app runs on glibc 2.31"]),
    works("the target's bash", r#"/bin/bash -c 'echo bash ${BASH_VERSION%.*}'"#, &["bash 5.1"]),
    works(
        "the target's ldd",
        "/usr/bin/ldd --version; /usr/bin/ldd /app",
        &["GLIBC 2.31", "=> /lib/"],
    ),
    works(
        "the target's perl",
        r#"/usr/bin/perl -we 'use POSIX; printf "%vd %s %d\n", $^V, join(q(-), sort qw(b a)), floor(2.5)'"#,
        &["5.32.1 a-b 2"],
    ),
    works(
        "the target's find and its passwd",
        "/usr/bin/find /etc/debian_version -user root -printf '%p %u\n'; /usr/bin/getent passwd games",
        &["/etc/debian_version root", "games:x:5:"],
    ),
    works("the target's programs inherit nothing that misleads them", CLEAN, &["HOME=", "clean"]),
];

/// Variables by which programs find libraries, modules and terminals.
const CLEAN: &str = r#"
env=/bin/env; [ -x "$env" ] || env=/usr/bin/env; "$env" | /bin/grep ^HOME=
"$env" | /bin/grep -E '^(LD_|PYTHON|PERL|TERMINFO|LOCPATH|GCONV|OPENSSL|CURL|GIT_)' || echo clean
"#;
