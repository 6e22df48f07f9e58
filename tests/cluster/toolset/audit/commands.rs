//! What the audit runs: every tool of the matrix, such that it reads all it
//! reads at its start.

/// Tool → script for a bash of the toolset. Children are followed, but not those
/// of a program that replaces that bash by `exec`.
pub const COMMANDS: &[(&str, &str)] = &[
    ("bash", "script -qec 'bash -ic exit' /dev/null; script -qec 'bash -lic exit' /dev/null"),
    ("sh", "sh -c 'echo'"),
    ("zsh", "script -qec 'zsh -ic exit' /dev/null; zsh -lc exit"),
    ("coreutils", "ls -l /proc/self/; sort said; date; stat /proc; df /proc; id; sha256sum said"),
    ("find", "find /proc/self/fd -maxdepth 0 -user root | xargs ls"),
    ("grep and sed", "grep -i x said; sed -n p said; diff said said; gawk 1 said; mawk 1 said"),
    ("iconv", "locale charmap; printf a | iconv -t UTF-16; printf a | iconv -f LATIN1 -t UTF-8"),
    ("tar", "tar -czf x.tgz said; tar -xzOf x.tgz; tar --zstd -cf x.tz said; tar -cJf x.xz said"),
    ("rsync", "rsync -a said copied"),
    ("unzip", "unzip -v"),
    ("jq", "jq -n 'now | todate'"),
    ("file", "file said; file -z said"),
    ("xxd", "xxd said; hexdump -C said; column said; tree /proc/self/fdinfo"),
    ("vim", "TERM=xterm script -qec 'vim -c \"syntax on\" -c q said' /dev/null; vi --version"),
    ("nano", "TERM=xterm timeout .5 script -qec 'nano said' /dev/null"),
    ("less", "TERM=xterm timeout .5 script -qec 'less said' /dev/null"),
    ("htop", "TERM=xterm timeout .5 script -qec htop /dev/null"),
    ("top", "TERM=xterm script -qec 'top -n 1' /dev/null; top -bn1"),
    ("tmux", "TERM=xterm script -qec 'tmux -S a new-session \"sleep .1\"' /dev/null"),
    ("watch", "TERM=xterm timeout .5 script -qec 'watch true' /dev/null"),
    ("ncurses", "infocmp xterm; TERM=screen tput cols"),
    ("ps", "ps aux; pgrep app; pstree; free; uptime; vmstat; pmap 1; fuser -v /proc"),
    ("lsof", "lsof -n -p 1"),
    ("sysstat", "mpstat; iostat; pidstat"),
    ("util-linux", "lsns; findmnt; lscpu; taskset -p 1; ionice -p 1; mount; flock x true"),
    ("binutils", "readelf -h /app; nm /app; objdump -h /app"),
    ("strace", "strace true; timeout -s INT .3 strace -p 1"),
    ("ltrace", "ltrace -o x true"),
    ("gdb", "gdb -batch -ex 'python print(1)'; gdb -batch -ex 'info types' /app"),
    // gdb tries ptrace(2) on a child of its own, whom nobody else may trace.
    ("gdb", "exec gdb -p 1 -batch -ex bt"),
    ("gdbserver", "gdbserver --version"),
    (
        "perf",
        "perf stat -e task-clock:u true; perf record -qo p -e cpu-clock:u true; perf report -i p --stdio",
    ),
    ("bpftrace", "bpftrace -V; bpftrace -e 'interval:ms:1 { exit(); }'; bpftool version"),
    ("dig", "dig www.kpexec.test; host www.kpexec.test; nslookup www.kpexec.test"),
    ("getent", "getent hosts www.kpexec.test; getent passwd 4711; getent group 4711"),
    (
        "curl",
        "curl -sS http://registry.kpexec.test:5000/v2/; curl -sS \"https://localhost:$TLS/page.txt\"",
    ),
    (
        "wget",
        "wget -O- http://registry.kpexec.test:5000/v2/; wget -O- \"https://localhost:$TLS/page.txt\"",
    ),
    ("ss", "ss -tulpen; netstat -tlnp; arp -an; route -n; ifconfig"),
    ("ip", "ip address; ip route show table all; ip rule; tc qdisc; bridge link"),
    ("ethtool", "ethtool -k lo"),
    ("ping", "ping -c1 -W1 registry.kpexec.test; tracepath -m 1 10.200.0.1"),
    ("mtr", "mtr -n -r -c 1 -G 1 10.200.0.1"),
    ("nmap", "nmap -n -sT -Pn -p \"$TLS\" --script ssl-cert 127.0.0.1"),
    ("nc", "nc -z 127.0.0.1 \"$TLS\"; socat -u OPEN:said -; telnet 127.0.0.1 1; nc -h"),
    ("ncat", "ncat --ssl-verify localhost \"$TLS\""),
    ("socat", "socat - \"OPENSSL:localhost:$TLS\""),
    ("iperf3", "iperf3 -c 127.0.0.1 -p 1"),
    ("tcpdump", "timeout .5 tcpdump -i eth0 -c 1"),
    ("nft", "nft list ruleset; iptables -L; ip6tables -L; conntrack -L"),
    ("iotop", "iotop -bn1"),
    (
        "openssl",
        "openssl version -a; openssl s_client -connect \"localhost:$TLS\"; openssl list -providers",
    ),
    (
        "python",
        "python3 -c 'import ssl, sqlite3, ctypes, curses, socket, subprocess, site, readline
ssl.create_default_context(); subprocess.run(\"echo\", shell=True)
socket.getaddrinfo(\"www.kpexec.test\", 80)'",
    ),
    ("git", "git init -q r; git -C r status; git ls-remote \"https://localhost:$TLS/r\""),
];
