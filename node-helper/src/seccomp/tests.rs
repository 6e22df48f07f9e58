//! Programs are judged by the kernel: a copy of this test binary installs them
//! and makes calls. What is expected is the specification's (config-linux.md),
//! seccomp(2)'s and, for calls let through, what their own man page says of
//! null pointers and flags that do not go together.

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Output};

use libc::{
    EACCES, EDOM, EFAULT, EINVAL, EIO, ENOSYS, ENXIO, EPERM, SIGSYS, SYS_clone3, SYS_faccessat2,
    SYS_getegid, SYS_geteuid, SYS_getgid, SYS_getpid, SYS_getppid, SYS_gettid, SYS_getuid,
    SYS_mkdirat, SYS_personality, SYS_seccomp, SYS_socket, SYS_uname, SYS_unshare, c_long,
};
use nix::sys::prctl::set_no_new_privs;
use nix::sys::resource::{Resource, setrlimit};
use serde_json::{Value, json};

use super::*;
use crate::sys::seccomp::{attempt, install_seccomp_filter};

/// What the copy shall do; only the copy has it.
const ORDER: &str = "KPEXEC_TEST_SECCOMP_ORDER";
/// Stands before what it says.
const SAID: &str = "answers: ";
/// What a process needs to say its answers and to end.
const NEEDED: [&str; 9] =
    ["brk", "exit_group", "futex", "madvise", "mmap", "mprotect", "munmap", "sigaltstack", "write"];

const ALLOW: &str = "SCMP_ACT_ALLOW";
const ERRNO: &str = "SCMP_ACT_ERRNO";

fn rule(names: &[&str], action: &str, errno: Option<i32>, args: &[Value]) -> Value {
    json!({"names": names, "action": action, "errnoRet": errno, "args": args})
}

fn arg(index: u8, op: &str, value: u64, value_two: u64) -> Value {
    json!({"index": index, "op": op, "value": value, "valueTwo": value_two})
}

fn eq(index: u8, value: u64) -> Value {
    arg(index, "SCMP_CMP_EQ", value, 0)
}

/// Has a copy of `test` make calls under a profile.
fn run(test: &str, profile: &Value, calls: &[(c_long, [u64; 3])]) -> Output {
    if let Ok(order) = std::env::var(ORDER) {
        obey(&order);
    }
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--nocapture", &format!("seccomp::tests::{test}")])
        .env(ORDER, json!([profile, calls]).to_string())
        .output()
        .unwrap()
}

/// The copy's end of [`run`].
fn obey(order: &str) -> ! {
    let (profile, calls): (Profile, Vec<(c_long, [u64; 3])>) = serde_json::from_str(order).unwrap();
    let programs = compile(&profile).unwrap();
    // Whoever is killed on purpose leaves no file behind.
    setrlimit(Resource::RLIMIT_CORE, 0, 0).unwrap();
    set_no_new_privs().unwrap();
    let installed = programs.into_iter().try_for_each(|program| {
        let program = Program::from_bytes(program.into_bytes()).unwrap();
        install_seccomp_filter(program.as_bytes())
    });
    // No panic from here on: under a filter a thread may be unable to end.
    let answers = calls.into_iter().map(|(number, arguments)| {
        attempt(number, arguments).err().map_or(0, |errno| errno.raw_os_error())
    });
    println!("{installed:?}, {SAID}{}", json!(answers.collect::<Vec<_>>()));
    std::process::exit(installed.is_err().into())
}

/// Compares the error number of each call, 0 where there is none, with the one
/// that stands beside it.
fn check(test: &str, profile: &Value, expected: &[(c_long, [u64; 3], i32)]) {
    let calls: Vec<_> = expected.iter().map(|(number, args, _)| (*number, *args)).collect();
    let output = run(test, profile, &calls);
    let text = String::from_utf8_lossy(&output.stdout);
    let said = text.split_once(SAID).and_then(|(_, rest)| rest.lines().next()).unwrap_or("none");
    assert!(output.status.success(), "{output:?}");
    let answers: Vec<i32> = serde_json::from_str(said).unwrap();
    let answers: Vec<_> = calls
        .into_iter()
        .zip(answers)
        .map(|((number, args), errno)| (number, args, errno))
        .collect();
    assert_eq!(answers, expected);
}

/// The shape of containerd's default profile.
#[test]
fn an_allow_list() {
    let profile = json!({
        "defaultAction": ERRNO,
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
        "flags": ["SECCOMP_FILTER_FLAG_LOG"],
        "syscalls": [
            {"names": NEEDED, "action": ALLOW},
            {"names": ["uname", "socketcall", "of_the_future"], "action": ALLOW},
            rule(&["personality"], ALLOW, None, &[eq(0, 0)]),
            rule(&["personality"], ALLOW, None, &[eq(0, 0xffff_ffff)]),
            rule(&["unshare"], ALLOW, None, &[arg(0, "SCMP_CMP_MASKED_EQ", 0x7e02_0000, 0)]),
            rule(&["socket"], ALLOW, None, &[arg(0, "SCMP_CMP_NE", 40, 0)]),
            rule(&["clone3"], ERRNO, Some(ENOSYS), &[]),
        ],
    });
    let expected = [
        (SYS_uname, [0; 3], EFAULT),
        (SYS_mkdirat, [0; 3], EPERM),
        (SYS_personality, [0xffff_ffff, 0, 0], 0),
        (SYS_personality, [0; 3], 0),
        (SYS_personality, [8, 0, 0], EPERM),
        (SYS_unshare, [0; 3], 0),
        (SYS_unshare, [0x1000_0000, 0, 0], EPERM),
        (SYS_socket, [1, 1, 0], 0),
        (SYS_socket, [40, 1, 0], EPERM),
        (SYS_clone3, [0; 3], ENOSYS),
        // Its number is above all that the profile names.
        (SYS_faccessat2, [0; 3], ENOSYS),
    ];
    check("an_allow_list", &profile, &expected);
}

#[test]
fn a_deny_list() {
    let new_user = arg(0, "SCMP_CMP_MASKED_EQ", 0x1000_0000, 0x1000_0000);
    let profile = json!({"defaultAction": ALLOW, "syscalls": [
        // Must not keep the programs of the other rules from being installed.
        rule(&["seccomp"], ERRNO, Some(ENXIO), &[]),
        rule(&["mkdirat", "of_the_future"], ERRNO, Some(EACCES), &[]),
        rule(&["uname"], ERRNO, None, &[]),
        rule(&["unshare"], ERRNO, None, &[new_user]),
    ]});
    let expected = [
        (SYS_seccomp, [0; 3], ENXIO),
        (SYS_mkdirat, [0; 3], EACCES),
        (SYS_uname, [0; 3], EPERM),
        (SYS_unshare, [0x1800_0000, 0, 0], EPERM),
        (SYS_unshare, [0; 3], 0),
        (SYS_clone3, [0; 3], EINVAL),
        (SYS_faccessat2, [0; 3], EFAULT),
    ];
    check("a_deny_list", &profile, &expected);
}

#[test]
fn comparisons_are_of_64_bits() {
    const BOUND: u64 = 0x1_0000_0005;
    const MASKED: u64 = 0x1_0000_0004;
    type Matches = fn(u64) -> bool;
    let comparisons: [(_, _, _, Matches); 7] = [
        ("getegid", SYS_getegid, "SCMP_CMP_NE", |value| value != BOUND),
        ("geteuid", SYS_geteuid, "SCMP_CMP_LT", |value| value < BOUND),
        ("getgid", SYS_getgid, "SCMP_CMP_LE", |value| value <= BOUND),
        ("getpid", SYS_getpid, "SCMP_CMP_EQ", |value| value == BOUND),
        ("getppid", SYS_getppid, "SCMP_CMP_GE", |value| value >= BOUND),
        ("gettid", SYS_gettid, "SCMP_CMP_GT", |value| value > BOUND),
        ("getuid", SYS_getuid, "SCMP_CMP_MASKED_EQ", |value| value & BOUND == MASKED),
    ];
    let rules = comparisons
        .map(|(name, _, op, _)| rule(&[name], ERRNO, Some(EDOM), &[arg(1, op, BOUND, MASKED)]));
    let values = [0, 4, 6, MASKED, BOUND, BOUND + 1, BOUND + 9, MASKED + BOUND, u64::MAX];
    let mut expected = vec![];
    for (_, number, _, matches) in comparisons {
        let answer = |value| if matches(value) { EDOM } else { 0 };
        expected.extend(values.map(|value| (number, [0, value, 0], answer(value))));
    }
    let profile = json!({"defaultAction": ALLOW, "syscalls": rules});
    check("comparisons_are_of_64_bits", &profile, &expected);
}

#[test]
fn several_rules_for_one_call() {
    let profile = json!({"defaultAction": ERRNO, "defaultErrnoRet": EACCES, "syscalls": [
        {"names": NEEDED, "action": ALLOW},
        // Conditions on several arguments: all must hold.
        rule(&["getpid"], ERRNO, Some(EINVAL), &[eq(0, 16), eq(2, 9)]),
        // On the same one: any (runc, crun).
        rule(&["getppid"], ALLOW, None, &[eq(0, 1), eq(0, 2)]),
        rule(&["getuid"], ERRNO, Some(EIO), &[eq(0, 1)]),
        rule(&["getuid"], ERRNO, Some(ENXIO), &[eq(0, 2)]),
        // The strictest counts.
        rule(&["getuid"], ALLOW, None, &[arg(0, "SCMP_CMP_GE", 2, 0)]),
        // The first without conditions counts (libseccomp).
        rule(&["getgid"], ERRNO, Some(EIO), &[eq(0, 1)]),
        rule(&["getgid"], ALLOW, None, &[]),
        rule(&["getgid"], ERRNO, Some(EIO), &[]),
        // One that says what the default says counts for nothing (runc, crun).
        rule(&["gettid"], ERRNO, Some(EACCES), &[]),
        rule(&["gettid"], ALLOW, None, &[eq(0, 1)]),
    ]});
    let expected = [
        (SYS_getpid, [16, 0, 9], EINVAL),
        (SYS_getpid, [16, 0, 8], EACCES),
        (SYS_getpid, [15, 0, 9], EACCES),
        (SYS_getppid, [1, 0, 0], 0),
        (SYS_getppid, [2, 0, 0], 0),
        (SYS_getppid, [3, 0, 0], EACCES),
        (SYS_getuid, [0; 3], EACCES),
        (SYS_getuid, [1, 0, 0], EIO),
        (SYS_getuid, [2, 0, 0], ENXIO),
        (SYS_getuid, [3, 0, 0], 0),
        (SYS_getgid, [0; 3], 0),
        (SYS_getgid, [1, 0, 0], 0),
        (SYS_gettid, [1, 0, 0], 0),
        (SYS_gettid, [0; 3], EACCES),
    ];
    check("several_rules_for_one_call", &profile, &expected);
}

#[test]
fn who_would_log_trace_or_listen() {
    let profile = json!({"defaultAction": ERRNO, "defaultErrnoRet": ENOSYS, "syscalls": [
        {"names": NEEDED, "action": ALLOW},
        rule(&["uname"], "SCMP_ACT_LOG", None, &[]),
        // Has the default's answer, but is no rule to be skipped.
        rule(&["getpid"], "SCMP_ACT_NOTIFY", None, &[]),
        rule(&["getpid"], ALLOW, None, &[]),
        // Nobody traces: seccomp(2), SECCOMP_RET_TRACE.
        rule(&["getppid"], "SCMP_ACT_TRACE", None, &[]),
    ], "listenerPath": "/run/listener.sock"});
    let expected =
        [(SYS_uname, [0; 3], EFAULT), (SYS_getpid, [0; 3], ENOSYS), (SYS_getppid, [0; 3], ENOSYS)];
    check("who_would_log_trace_or_listen", &profile, &expected);
    let profile = json!({"defaultAction": "SCMP_ACT_LOG", "syscalls": [
        rule(&["getpid"], ERRNO, None, &[]),
        rule(&["getppid"], ALLOW, None, &[]),
    ]});
    let expected =
        [(SYS_getpid, [0; 3], EPERM), (SYS_getppid, [0; 3], 0), (SYS_uname, [0; 3], EFAULT)];
    check("who_would_log_trace_or_listen", &profile, &expected);
}

#[test]
fn killing() {
    for (default, action) in [
        ("SCMP_ACT_KILL_PROCESS", "SCMP_ACT_KILL_PROCESS"),
        (ALLOW, "SCMP_ACT_KILL_PROCESS"),
        (ALLOW, "SCMP_ACT_TRAP"),
    ] {
        let profile = json!({"defaultAction": default, "syscalls": [
            {"names": NEEDED, "action": ALLOW},
            // Milder than the default, and counts.
            rule(&["getpid"], ERRNO, Some(EIO), &[]),
            rule(&["uname"], action, None, &[]),
        ]});
        check("killing", &profile, &[(SYS_getpid, [0; 3], EIO)]);
        let output = run("killing", &profile, &[(SYS_uname, [0; 3])]);
        assert_eq!(output.status.signal(), Some(SIGSYS), "{default}, {action}: {output:?}");
    }
}

/// The numbers are those of `<linux/seccomp.h>` and `<linux/bpf_common.h>`.
#[test]
fn every_action_has_its_number() {
    for (name, answer) in [
        ("SCMP_ACT_KILL_PROCESS", 0x8000_0000_u32),
        ("SCMP_ACT_KILL", 0x0000_0000),
        ("SCMP_ACT_KILL_THREAD", 0x0000_0000),
        ("SCMP_ACT_TRAP", 0x0003_0000),
        ("SCMP_ACT_ERRNO", 0x0005_0002),
        ("SCMP_ACT_NOTIFY", 0x0005_0026),
        ("SCMP_ACT_TRACE", 0x7ff0_0002),
        ("SCMP_ACT_LOG", 0x7ffc_0000),
        ("SCMP_ACT_ALLOW", 0x7fff_0000),
    ] {
        let profile = json!({"defaultAction": name, "defaultErrnoRet": 2});
        let programs = compile(&serde_json::from_value(profile).unwrap()).unwrap();
        let [.., last] = programs[0].as_bytes().as_chunks::<8>().0 else { panic!("empty") };
        assert_eq!(last[..4], [6, 0, 0, 0], "{name}: BPF_RET");
        assert_eq!(last[4..], answer.to_ne_bytes(), "{name}");
    }
}

/// Not tried out: kernels with x32, or with calls newer than our table, are not
/// at hand, and others answer ENOSYS by themselves.
#[test]
fn permissive_profiles_do_not_permit_unknown_numbers() {
    for default in [ALLOW, "SCMP_ACT_LOG", "SCMP_ACT_TRACE"] {
        let profile = serde_json::from_value(json!({"defaultAction": default})).unwrap();
        let programs = compile(&profile).unwrap();
        let [load, compare, answer, ..] = programs[0].as_bytes().as_chunks::<8>().0 else {
            panic!("{default}: it is too short")
        };
        assert_eq!(*load, [0x20, 0, 0, 0, 0, 0, 0, 0], "load the number");
        assert_eq!(compare[..4], [0x25, 0, 0, 1], "skip one if it is not greater");
        assert_eq!(answer[..4], [0x06, 0, 0, 0], "return");
        assert_eq!(answer[4..], 0x0005_0026_u32.to_ne_bytes(), "ENOSYS");
        let last = u32::from_ne_bytes(*compare.last_chunk().unwrap());
        assert!((439..0x4000_0000).contains(&last), "{last}");
    }
}

#[test]
fn what_is_not_understood_is_named() {
    let error = |rule: Value| {
        let profile = json!({"defaultAction": ALLOW, "syscalls": [rule]});
        compile(&serde_json::from_value(profile).unwrap()).unwrap_err()
    };
    let action = error(rule(&["uname"], "SCMP_ACT_NEW", None, &[]));
    assert!(action.to_string().contains("SCMP_ACT_NEW"), "{action}");
    let comparison = error(rule(&["uname"], ERRNO, None, &[arg(0, "SCMP_CMP_NEW", 1, 0)]));
    assert!(comparison.to_string().contains("SCMP_CMP_NEW"), "{comparison}");
    assert!(matches!(error(rule(&["uname"], ERRNO, None, &[eq(6, 1)])), Error::Filter(_)));
}

#[test]
fn what_is_no_program_is_refused() {
    for size in [0, 7, 9, 8 * 4097] {
        assert_eq!(Program::from_bytes(vec![0; size]), Err(NotAProgram(size)));
    }
    assert!(Program::from_bytes(vec![0; 8 * 4096]).is_ok());
    assert_eq!(install_seccomp_filter(&[0; 9]), Err(rustix::io::Errno::INVAL));
}
