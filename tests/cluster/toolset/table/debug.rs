//! Debuggers and tracers, on the target's own process.

use crate::row::{Row, refused, works};

pub const ROWS: &[Row] = &[
    works(
        "strace of the target's process",
        r#"
threads() { cut -d' ' -f1 trace | sort -u | wc -l; }
enough() { grep -q 'nanosleep(' trace && test "$(threads)" -ge 3; }
>trace; strace -f -p 1 -o trace &
until enough; do [[ $(jobs -r) ]] || break; sleep .1; done
kill "$!"; wait; grep -m 3 'nanosleep(' trace
grep -q 'worker' /proc/1/task/*/comm && enough && echo all-threads
"#,
        &["nanosleep(", "all-threads"],
    )
    .but_strangers(1, &["attach: ptrace(PTRACE_SEIZE, 1): Operation not permitted"]),
    works(
        "strace counts",
        r#"
strace -f -c -p 1 &
until grep -q 'TracerPid:.[1-9]' /proc/1/status; do [[ $(jobs -r) ]] || break; sleep .03; done
sleep .6; kill "$!"; wait; strace -c -o counts ls / >/dev/null; grep execve counts
"#,
        &["nanosleep", "execve"],
    )
    .but_strangers(0, &["attach: ptrace(PTRACE_SEIZE, 1): Operation not permitted", "execve"]),
    works(
        "gdb of the target's process: threads and backtrace",
        r#"gdb -p 1 -batch -ex 'info threads' -ex 'thread apply all bt' -ex 'p requests_served > 0'"#,
        &["worker-1", "worker-3", "wait_for_request ()", "serve_requests (", "worker (", "$1 = 1"],
    )
    .but_strangers(1, &["ptrace: Operation not permitted."]),
    works(
        "gdb runs a program",
        r#"gdb -batch -ex 'break exit' -ex run -ex bt -ex 'info sharedlibrary' --args /.kpexec/bin/true"#,
        &["Breakpoint 1, ", "exit", "/.kpexec/lib"],
    ),
    works(
        "gdb speaks Python",
        r#"gdb -batch -ex 'python import gdb, json; print(json.dumps({"v": gdb.VERSION[:2]}))'"#,
        &[r#"{"v": "13"}"#],
    ),
    works(
        "gdb by way of gdbserver",
        r#"gdbserver --once "127.0.0.1:$FREE" /.kpexec/bin/sleep 600 >gs.log 2>&1 & listens "$FREE"
gdb -batch -ex "target remote 127.0.0.1:$FREE" -ex 'info registers rip' -ex kill 2>&1; cat gs.log"#,
        &["rip ", "Listening on port"],
    ),
    works(
        "gdb writes a core of the target",
        r#"gdb -p 1 -batch -ex 'generate-core-file core' 2>&1 | grep -v LWP; file core; rm -f core"#,
        &["ELF 64-bit LSB core file", "/app"],
    )
    .but_strangers(0, &["ptrace: Operation not permitted."]),
    works(
        "ltrace",
        r#"ltrace -e malloc -o calls gawk 'BEGIN { }'; head -1 calls"#,
        &["gawk->malloc("],
    )
    // Known gap: docs/toolset.md, "Limits".
    .but_unprivileged(0, &["failed to initialize process"]),
    works(
        "ltrace without the shield's capability",
        r#"setpriv --inh-caps=-all --ambient-caps=-all ltrace -e malloc -o calls gawk 'BEGIN { }'
head -1 calls"#,
        &["gawk->malloc("],
    ),
    works(
        "perf counts",
        r#"perf stat -e task-clock:u,page-faults:u true"#,
        &["task-clock:u", "seconds time elapsed"],
    ),
    refused(
        "bpftrace without its capability",
        r#"bpftrace -e 'interval:ms:1 { exit(); }'"#,
        1,
        &["bpftrace"],
    ),
];
