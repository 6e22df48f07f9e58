//! What runs in the target, and how.

use crate::row::{Row, works};

pub const ROWS: &[Row] = &[
    works(
        "ps",
        r#"ps -eo pid,nlwp,comm; ps -L -p 1 -o comm="#,
        &["1    4 app", "worker-1\nworker-2\nworker-3"],
    ),
    works(
        "pgrep, pkill, killall, pstree",
        r#"
pgrep -x app; pstree -pt 1; for by in "pkill -f ^tail.-f./dev/null" "killall -e tail"; do
tail -f /dev/null & while ! pgrep -x -P "$$" tail >/dev/null; do :; done; $by; wait "$!"; echo "rc=$?"; done
"#,
        &["1\n", "{worker-1}(", "rc=143\nrc=143"],
    ),
    works("fuser", r#"exec 9>fused; fuser -v fused 2>&1; echo"#, &["F.... bash"]),
    works(
        "lsof of the target's process",
        r#"lsof -n -P -p 1; lsof -n -P -i "TCP:$TLS" -s TCP:LISTEN"#,
        &["txt", "/app", "(LISTEN)"],
    )
    .but_strangers(0, &["/proc/1/exe (readlink: Permission denied)", "(LISTEN)"]),
    works(
        "free, uptime, vmstat",
        r#"free -m; uptime; vmstat; slabtop --version; pmap "$$" | tail -1"#,
        &["Mem:", "load average", "swpd", "total"],
    ),
    works("memory map of the target", r#"pmap 1"#, &["/app", "total"])
        .but_strangers(1, &["/app"]),
    works(
        "pidstat and mpstat",
        r#"mpstat -P ALL; pidstat -t -p 1; iostat -c"#,
        &["%idle", "|__worker-1", "%iowait"],
    ),
    works(
        "lsns, findmnt",
        r#"lsns -p "$$"; findmnt -n -o TARGET /.kpexec"#,
        &["pid", "net", "/.kpexec"],
    ),
    works(
        "setpriv, taskset, chrt, ionice",
        r#"setpriv -d | head -3; taskset -p 1; chrt -p 1; ionice -p 1"#,
        &["uid:", "affinity mask", "scheduling policy", "none"],
    ),
    works(
        "flock, timeout, nice",
        r#"flock lock nice -n 5 nice; timeout .1 sleep 5; echo "rc=$?""#,
        &["5\nrc=124"],
    ),
    works("sysctl reads", r#"sysctl -n kernel.ostype net.ipv4.ip_forward"#, &["Linux"]),
    works(
        "readelf, nm, objdump",
        r#"
nm /proc/1/exe | grep -w wait_for_request; readelf -h /proc/1/exe; objdump -d /proc/1/exe | grep -A2 '<serve_requests>:'
addr2line -f -e /proc/1/exe "0x$(nm /proc/1/exe | sed -n 's/ . serve_requests$//p')"
"#,
        &["wait_for_request", "ELF64", "<serve_requests>:", "serve_requests\n"],
    )
    .but_strangers(1, &["/proc/1/exe", "Permission denied"]),
];
