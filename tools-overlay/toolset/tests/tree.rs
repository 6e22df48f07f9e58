//! A built tree in an otherwise empty root: that its programs work there, and
//! that they ask for nothing of the root that could be the target's.
//!
//! `cargo xtask test` builds the trees and says in `KPEXEC_TOOLSET` where they
//! are, separated by colons, the largest last.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};

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
    "/root/.jq",
    "/root/.netrc",
    "/root/.wget/hsts",
];

/// Ours, the kernel's, or named on the command line.
const FREE: &[&str] = &["/.kpexec", "/proc", "/sys", "/dev", "/tmp", "/run/utmp", "/var/run/utmp"];

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
    // bash-completion, for services to complete.
    "/etc/init.d",
    "/etc/rc.d/init.d",
    "/etc/slackware-version",
    // Standard input and output, as less and zstd call them.
    "/-",
    r"/*stdin*\\",
    r"/*stdout*\\",
];

/// Program, shell text, part of what it says.
type Check = (&'static str, &'static str, &'static str);

const CHECKS: &[Check] = &[
    ("bash", "bash -ic 'echo $-; alias ls' 2>/dev/null", "ls='ls --color=auto'"),
    ("bash", "bash -lc 'echo ~root ~65532'", "/ /"),
    ("sh", "sh -c 'echo a | tr a b'", "b"),
    ("awk", "awk 'BEGIN { system(\"echo from the shell\") }'", "from the shell"),
    ("cat", "cat /proc/1/comm", ""),
    ("ls", "ls -lna /", ".kpexec"),
    ("id", "id", "uid=0(root)"),
    ("who am i", "setpriv --reuid 65532 --regid 65532 --clear-groups id", "uid=65532(65532)"),
    ("ps", "ps -ef", "PID"),
    ("top", "top -bn1", "Tasks:"),
    ("ip", "ip -br address show lo", "lo"),
    ("ss", "ss -tln", "State"),
    ("curl", "curl --version", "OpenSSL"),
    ("curl -k", "curl -ks https://127.0.0.1:1/; echo $?", "7"),
    ("tar -z", "cd /tmp && echo x > x && tar czf x.tgz x && tar tzf x.tgz", "x"),
    ("less", "echo text | less -F", "text"),
    ("vim", "echo one > /tmp/v; vi -es -c '%s/one/two/' -c 'wq' /tmp/v; cat /tmp/v", "two"),
    ("mount", "mount -t tmpfs none /tmp && umount /tmp && echo mounted", "mounted"),
    ("ping", "ping -c1 -W1 127.0.0.1 >/dev/null; echo asked", "asked"),
    ("getent", "getent services https; getent passwd 4711", "4711:x:4711:4711::/:"),
    ("tput", "TERM=xterm-256color tput colors", "256"),
];

const STANDARD: &[Check] = &[
    (
        "completion",
        "bash -ic 'complete -p ss; type _completion_loader' 2>&1",
        "_completion_loader is a function",
    ),
    ("strace", "strace -c true 2>&1", "execve"),
    ("tcpdump", "tcpdump --version 2>&1", "libpcap"),
    ("dig", "dig +time=1 +tries=1 @127.0.0.1 -p 1 x >/dev/null 2>&1; echo asked", "asked"),
    ("host", "host -W1 x 127.0.0.1 >/dev/null 2>&1; echo asked", "asked"),
    ("jq", "echo '{\"a\":[1,2]}' | jq -c .a", "[1,2]"),
    ("lsof", "lsof -p $$", "/.kpexec/bin/lsof"),
    ("openssl", "echo x | openssl dgst -md4 -provider legacy -provider default", "MD4"),
    (
        "openssl req",
        "openssl req -x509 -newkey rsa:2048 -nodes -keyout /tmp/k -subj /CN=x 2>/dev/null",
        "BEGIN CERT",
    ),
    ("socat", "echo x | socat - SYSTEM:cat", "x"),
    ("ncat", "ncat -c true 127.0.0.1 1 2>/dev/null; echo asked", "asked"),
    ("nc", "nc -z 127.0.0.1 1; echo asked", "asked"),
    ("file", "file /.kpexec/bin/dash", "ELF 64-bit"),
    ("rsync", "mkdir -p /tmp/r && rsync -a /tmp/r/ /tmp/s && echo synced", "synced"),
    ("wget", "wget -q -O- https://127.0.0.1:1/; echo $?", "4"),
    ("nano", "nano --version", "GNU nano"),
    ("htop", "htop --version", "htop"),
    (
        "tmux",
        "TERM=xterm tmux -L x new-session -d 'sleep 9' && tmux -L x ls && tmux -L x kill-server",
        "1 windows",
    ),
    ("xz", "echo x | xz | xz -d", "x"),
    ("zstd", "echo x | zstd -q | zstd -dq", "x"),
    ("bzip2", "echo x | bzip2 | bunzip2", "x"),
    ("netstat", "netstat -tln", "Proto"),
    ("gawk", "gawk 'BEGIN { \"echo piped\" | getline x; print x }'", "piped"),
    ("ltrace", "ltrace --version", "ltrace"),
    ("tree", "tree -L 1 /.kpexec/share | head -1", "/.kpexec/share"),
    (
        "vim",
        "vim -es -c 'syntax on' -c 'redir! > /tmp/o' -c 'scriptnames' -c 'qa!'; cat /tmp/o",
        "syntax.vim",
    ),
    ("terminfo", "TERM=rxvt-unicode tput colors", "88"),
];

const FULL: &[Check] = &[
    ("gdb", "gdb -nx -batch -ex 'python print(6*7)'", "42"),
    ("gdb start", "gdb -batch -ex 'show auto-load safe-path'", "/.kpexec"),
    (
        "gdb attach",
        "sleep 9 & gdb -p $! -batch -ex bt 2>&1 | tail -5",
        "from /.kpexec/lib/libc.so.6",
    ),
    (
        "python",
        "python3 -c 'import ssl, sqlite3, ctypes, curses; print(ssl.get_default_verify_paths().cafile)'",
        "/.kpexec/ssl/cert.pem",
    ),
    (
        "python shell",
        "python3 -c 'import subprocess; print(subprocess.getoutput(\"echo sub\"))'",
        "sub",
    ),
    ("python user", "python3 -c 'import site; print(site.getusersitepackages())'", "/dev/n/lib/"),
    (
        "git",
        "cd /tmp && git init -q g && cd g && git -c user.name=a -c user.email=b commit -q --allow-empty -m x && git log --oneline",
        "x",
    ),
    ("git https", "git ls-remote https://127.0.0.1:1/x 2>&1; echo asked", "Failed to connect"),
    ("perf", "perf stat -e task-clock true 2>&1", "task-clock"),
    ("bpftrace", "bpftrace --version", "bpftrace v"),
    ("nmap", "nmap -n -Pn -p1 --script=banner 127.0.0.1", "Nmap done"),
    ("mtr", "mtr --version", "mtr"),
    ("iptables", "iptables --version", "nf_tables"),
    ("nft", "nft --version", "nftables"),
    ("zsh", "zsh -ic 'echo $ZSH_VERSION; zmodload zsh/stat && echo module'", "module"),
    ("objdump", "objdump -f /.kpexec/bin/dash", "elf64-x86-64"),
    ("sar", "sar 1 1", "CPU"),
    ("gcore", "sleep 9 & gcore -o /tmp/core $! >/dev/null 2>&1; ls /tmp", "core."),
];

/// An empty root with the tree in it.
struct Root {
    folder: tempfile::TempDir,
    tree: PathBuf,
}

impl Root {
    fn new(tree: &Path) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        for name in [".kpexec", "dev", "proc", "sys", "tmp", "root"] {
            fs::create_dir(folder.path().join(name))?;
        }
        Ok(Self { folder, tree: tree.to_owned() })
    }

    /// Runs a shell text of ours in it; under strace with these
    /// options if there are any.
    fn run(&self, tracer: &str, text: &str) -> Result<Output> {
        const ENTER: &str = r#"
            mount --bind "$TREE" "$ROOT/.kpexec" && mount -o remount,ro,bind "$ROOT/.kpexec" &&
            mount --rbind /dev "$ROOT/dev" && mount -t proc proc "$ROOT/proc" &&
            mount --rbind /sys "$ROOT/sys" && cd "$ROOT" && ip link set lo up &&
            TRACER=${TRACER:+$(command -v strace) $TRACER} &&
            exec env -i PATH=/.kpexec/bin HOME=/root LANG=C.UTF-8 \
                $TRACER "$(command -v chroot)" "$ROOT" /.kpexec/bin/bash -c "$TEXT"
        "#;
        let mut unshare = Command::new("unshare");
        // A network of its own: nothing leaves this machine.
        unshare.args(["--mount", "--net", "--pid", "--fork", "--kill-child"]);
        unshare.args(["timeout", "60", "bash", "-c", ENTER]);
        unshare.env("TREE", &self.tree).env("ROOT", self.folder.path());
        unshare.env("TRACER", tracer).env("TEXT", text);
        unshare.output().context("unshare cannot be started")
    }
}

/// The trees to look at, each with the checks for it.
fn trees() -> Result<Vec<(PathBuf, Vec<Check>)>> {
    let trees = std::env::var("KPEXEC_TOOLSET").context("KPEXEC_TOOLSET names no tree")?;
    let checks = |tree: &Path| {
        let has = |program: &str| tree.join("bin").join(program).exists();
        let mut checks = CHECKS.to_vec();
        checks.extend_from_slice(if has("strace") { STANDARD } else { &[] });
        checks.extend_from_slice(if has("gdb") { FULL } else { &[] });
        checks
    };
    Ok(trees.split(':').map(|tree| (PathBuf::from(tree), checks(Path::new(tree)))).collect())
}

#[test]
#[ignore = "needs root and the trees that `cargo xtask test` builds"]
fn every_program_works_in_an_empty_root() -> Result<()> {
    let mut failed = Vec::new();
    for (tree, checks) in trees()? {
        for (program, text, expected) in checks {
            let output = Root::new(&tree)?.run("", text)?;
            let said = String::from_utf8_lossy(&output.stdout);
            if !said.contains(expected) {
                let error = String::from_utf8_lossy(&output.stderr);
                failed.push(format!("{}: {program}: {said}{error}", tree.display()));
            }
        }
    }
    ensure!(failed.is_empty(), "\n{}", failed.join("\n"));
    Ok(())
}

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
            asked.extend(asked_for(&said).map(|path| format!("{program}: {path}")));
        }
    }
    ensure!(asked.is_empty(), "\n{}", asked.into_iter().collect::<Vec<_>>().join("\n"));
    Ok(())
}

/// The paths in a trace that are neither ours nor the target's to give.
fn asked_for(trace: &str) -> impl Iterator<Item = &str> {
    // Before that it is chroot(1) of this machine.
    let inside = trace.split_once("execve(\"/.kpexec/bin/bash\"").map_or("", |(_, rest)| rest);
    let quoted = inside.lines().filter_map(|line| line.split('"').nth(1));
    quoted.filter(|path| {
        let begins = |list: &[&str]| list.iter().any(|start| path.starts_with(start));
        // What ends in a slash is no file (`patch::closed`).
        path.starts_with('/')
            && !path.ends_with('/')
            && !begins(FREE)
            && !begins(THE_TARGETS)
            && !WITHOUT_EFFECT.contains(path)
    })
}
