//! What takes more than the default: NET_ADMIN, and the kernel's own tracers.

use crate::row::{Row, works};

pub const ROWS: &[Row] = &[
    works(
        "nft",
        r#"nft add table inet kpx; nft 'add chain inet kpx c { type filter hook input priority 0; }'
nft add rule inet kpx c tcp dport 1 counter drop; nft list ruleset; nft delete table inet kpx"#,
        &["chain c", "tcp dport 1 counter packets 0 bytes 0 drop"],
    ),
    works(
        "iptables",
        r#"iptables -N KPX; iptables -A KPX -p tcp --dport 1 -m comment --comment mine -j REJECT; iptables -S KPX; iptables -F KPX; iptables -X KPX
ip6tables -S | head -1; iptables --version"#,
        &[
            "-A KPX -p tcp -m tcp --dport 1 -m comment --comment mine -j REJECT",
            "-P INPUT",
            "nf_tables",
        ],
    ),
    works("conntrack", r#"conntrack -L 2>&1 | tail -1"#, &["flow entries have been shown"]),
    works(
        "ip and tc change things",
        r#"ip address add 192.0.2.1/32 dev lo && ip -br address show lo; ip address del 192.0.2.1/32 dev lo
tc qdisc add dev lo root pfifo limit 7 && tc qdisc show dev lo; tc qdisc del dev lo root"#,
        &["192.0.2.1/32", "limit 7p"],
    ),
    works(
        "perf sees the kernel's side",
        r#"perf stat -e task-clock,context-switches true"#,
        &["context-switches"],
    ),
    works(
        "bpftrace",
        r#"bpftrace -e 'interval:ms:50 { @n = count(); printf("ticked as %d\n", pid > 0); exit(); }'"#,
        &["ticked as"],
    ),
    // Without the capability CRI-O's filter does not let it through.
    works(
        "perf records and reports",
        r#"perf record -q -e cpu-clock:u -o perf.data gawk 'BEGIN { while (n++ < 3e6); }' 2>&1
perf report -i perf.data --stdio 2>&1 | grep -v '^#' | head"#,
        &["gawk"],
    ),
    works(
        "bpftool",
        r#"bpftool btf dump file /sys/kernel/btf/vmlinux | grep -m1 "'task_struct' size""#,
        &["STRUCT 'task_struct'"],
    ),
    works("iotop", r#"iotop -b -n 1 -d 1 | head -3"#, &["DISK READ"]),
];
