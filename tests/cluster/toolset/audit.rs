//! What the tools open, by strace(1): of the target nothing that could mislead
//! or run them, be it there or not.

mod calls;
mod commands;

use anyhow::{Result, ensure};

use crate::session::{NODES, PRELUDE, Session, USERS};
use calls::Call;
use commands::COMMANDS;

/// Roots with the most that a tool could fall for.
const ROOTS: [&str; 2] = ["old-glibc", "broken-libc"];

/// Begins the line in front of a command's calls.
const MARK: &str = "@@audit ";

/// What belongs to the session: the toolset, the kernel's own file systems, and
/// the session's /dev, in which the scripts have their folder.
const OURS: [&str; 4] = ["/.kpexec", "/proc", "/sys", "/dev"];

/// What of the target any tool may open, and why. A path that ends with `/` is
/// a folder with everything in it.
const ALLOWED: &[(&str, &str)] = &[
    ("/etc/passwd", "users are the target's"),
    ("/etc/group", "groups are the target's"),
    ("/etc/hosts", "names are the target's"),
    ("/etc/resolv.conf", "DNS servers are the target's"),
    ("/etc/host.conf", "how names are looked up is the target's"),
    ("/etc/gai.conf", "which address comes first is the target's"),
    ("/etc/localtime", "the time zone is the target's"),
    ("/etc/services", "names of ports, data that is only shown"),
    ("/etc/protocols", "names of protocols, data that is only shown"),
    ("/etc/ethers", "names of addresses, data that is only shown"),
    ("/var/run/utmp", "who is logged in, data that is only shown"),
    ("/run/netns", "names of network namespaces"),
    ("/etc/connlabel.conf", "names of marks on connections, data that is only shown"),
    ("/etc/iproute2/", "names of the target's routing tables"),
    ("/app", "the target's own program, which debuggers were asked to look at"),
];

/// The same for one tool.
const ALLOWED_TO: &[(&str, &str, &str)] = &[
    ("gdb", "/lib/", "libraries of the process it looks at"),
    ("gdb", "/lib64/", "libraries of the process it looks at"),
    ("gdb", "/usr/lib64/", "libraries of the process it looks at"),
    ("iotop", "/.config/iotop/iotoprc", "which columns it shows"),
    ("iotop", "/root/.config/iotop/iotoprc", "which columns it shows"),
    ("gdb", "/usr/lib/", "libraries of the process it looks at, their debugging information"),
    ("perf", "/usr/lib/debug/", "debugging information of what it counts"),
];

/// What gdb would run, if it found it beside the libraries it looks at.
const CODE: [&str; 3] = ["-gdb.gdb", "-gdb.py", "-gdb.scm"];

#[test]
fn no_tool_opens_what_the_target_could_mislead_it_with() -> Result<()> {
    let mut faults = Vec::new();
    for root in ROOTS {
        // What a tool opens does not depend on the node.
        for (node, uid) in NODES.into_iter().zip(USERS) {
            let session = Session { root, node, uid };
            let transcript = session.run(&[], &script())?;
            let found = faults_in(&transcript);
            let who = format!("{} as {uid}", session.pod());
            faults.extend(found.into_iter().map(|fault| format!("{who}: {fault}")));
        }
    }
    ensure!(faults.is_empty(), "{} faults\n{}", faults.len(), faults.join("\n"));
    Ok(())
}

/// Runs each command under strace, and shows what was recorded.
fn script() -> String {
    let mut script = format!("{PRELUDE}\n");
    for (number, (_, command)) in COMMANDS.iter().enumerate() {
        let follow = if command.starts_with("exec ") { "" } else { "-f" };
        script += &format!(
            "timeout -k 1 20 strace {follow} -qq -y -s 400 -e signal=none -o calls \
             -e trace=open,openat,openat2,creat,execve,execveat,readlink,readlinkat \
             bash -c \"$(cat <<'{MARK}'\n{command}\n{MARK}\n)\" </dev/null >said 2>&1\n\
             echo '{MARK}{number}'; cat calls\n"
        );
    }
    script + &format!("echo '{MARK}{}'\n", COMMANDS.len())
}

fn faults_in(transcript: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let mut rest = transcript;
    for (number, (tool, command)) in COMMANDS.iter().enumerate() {
        let begin = format!("{MARK}{number}\n");
        let end = format!("{MARK}{}\n", number + 1);
        let section = rest.split_once(&begin).and_then(|(_, after)| after.split_once(&end));
        let Some((record, _)) = section else {
            faults.push(format!("{tool}: no record of `{command}`"));
            continue;
        };
        rest = &rest[rest.find(&end).unwrap_or(0)..];
        let calls: Vec<Call> = record.lines().filter_map(calls::parse).collect();
        if !calls.iter().any(started_a_tool) {
            faults.push(format!("{tool}: no tool was started: {record}"));
        }
        let mut wrong: Vec<_> = calls.iter().filter(|call| !may_open(tool, &call.path)).collect();
        wrong.sort();
        wrong.dedup();
        faults.extend(wrong.iter().map(|call| format!("{tool}: {call}")));
    }
    faults
}

/// Whether a program was executed beside the bash that runs the command.
fn started_a_tool(call: &Call) -> bool {
    let tool = call.path.strip_prefix("/.kpexec/bin/").is_some_and(|name| name != "bash");
    tool && call.is_execution()
}

fn may_open(tool: &str, path: &str) -> bool {
    if CODE.iter().any(|ending| path.ends_with(ending)) && !path.starts_with("/.kpexec/") {
        return false;
    }
    // A folder. So the toolset closes a path: there can be no file.
    if path.ends_with('/') {
        return true;
    }
    let under = |folder: &&str| path == *folder || path.starts_with(&format!("{folder}/"));
    let matches = |allowed: &str| match allowed.strip_suffix('/') {
        Some(folder) => under(&folder),
        None => path == allowed,
    };
    OURS.iter().any(under)
        || ALLOWED.iter().any(|(allowed, _)| matches(allowed))
        || ALLOWED_TO.iter().any(|(who, allowed, _)| *who == tool && matches(allowed))
}

#[test]
fn what_the_target_must_not_offer_is_noticed() {
    for path in ["/etc/nsswitch.conf", "/lib/x86_64-linux-gnu/libc.so.6", "/root/.vimrc", "/apps"] {
        assert!(!may_open("vim", path), "{path}");
    }
    for path in
        ["/.kpexec/lib/libc.so.6", "/proc/1/maps", "/", "/etc/passwd", "/etc/iproute2/group"]
    {
        assert!(may_open("vim", path), "{path}");
    }
    assert!(may_open("gdb", "/lib/x86_64-linux-gnu/libc.so.6"));
    assert!(!may_open("gdb", "/usr/lib/debug/app-gdb.py"));
}

#[test]
fn a_record_that_is_missing_is_a_fault() {
    let good = "1 execve(\"/.kpexec/bin/x\", [], 0x1) = 0\n";
    let all: String = (0..COMMANDS.len()).map(|n| format!("{MARK}{n}\n{good}")).collect();
    let all = all + &format!("{MARK}{}\n", COMMANDS.len());
    assert_eq!(faults_in(&all), Vec::<String>::new());
    let bad = "1 openat(AT_FDCWD</>, \"etc/ld.so.cache\", O_RDONLY) = -1 ENOENT (No such)\n";
    let faults = faults_in(&all.replacen(good, &(good.to_owned() + bad), 1));
    assert_eq!(faults.len(), 1);
    assert!(faults[0].ends_with("openat /etc/ld.so.cache: -1 ENOENT (No such)"), "{faults:?}");
    assert_eq!(faults_in("").len(), COMMANDS.len());
    // The bash that runs a command is no proof that the tool ran.
    assert_eq!(faults_in(&all.replacen("bin/x", "bin/bash", 1)).len(), 1);
    assert_eq!(faults_in(&all.replacen("= 0", "= -1 ENOENT (No such)", 1)).len(), 1);
}
