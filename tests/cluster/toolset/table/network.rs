//! Names, addresses, sockets and packets of the pod's network.

use crate::row::{Row, refused, works};

pub const ROWS: &[Row] = &[
    works(
        "dig, by the target's resolv.conf",
        r#"dig +short www.kpexec.test; dig +short AAAA www.kpexec.test; dig +short TXT kpexec.test
dig +short SRV _http._tcp.kpexec.test; dig www.kpexec.test | grep SERVER; dig no.kpexec.test | grep status"#,
        &["10.20.30.40", "fd00:6b70::40", "found by DNS", "8080 www.kpexec.test.", "10.200.0.1#53", "NXDOMAIN"],
    ),
    works("host and nslookup", r#"host alias.kpexec.test; nslookup www.kpexec.test"#, &["is an alias for www.kpexec.test", "Address: 10.20.30.40"]),
    works(
        "getent",
        r#"getent ahostsv4 www.kpexec.test; getent hosts no.kpexec.test; echo "rc=$?"; getent passwd root; getent services https/tcp; getent protocols icmp"#,
        &["10.20.30.40     STREAM www.kpexec.test", "rc=2", "root:x:0:0:", "443/tcp", "icmp "],
    ),
    works(
        "python resolves",
        r#"python3 -c 'import socket
print(sorted({a[4][0] for a in socket.getaddrinfo("alias.kpexec.test", 80)}))'"#,
        &["['10.20.30.40', 'fd00:6b70::40']"],
    ),
    works("curl by name, over the pod's network", r#"curl -sS http://registry.kpexec.test:5000/v2/"#, &["{}"]),
    works("wget by name", r#"wget -qO- http://registry.kpexec.test:5000/v2/"#, &["{}"]),
    works("ss", r#"ss -Htln "sport = :$TLS"; ss -s"#, &["127.0.0.1:", "LISTEN", "TCP:"]),
    works("ss names processes", r#"ss -Htlnp "sport = :$TLS""#, &["openssl"]),
    works("netstat, route, arp, ifconfig", r#"netstat -tln; route -n; arp -an; ifconfig eth0"#, &["127.0.0.1:", "0.0.0.0", "inet 10.244."]),
    works("ip", r#"ip -br address show eth0; ip route get 10.200.0.1; ip -j link show lo | jq -r '.[0].ifname'"#, &["10.244.", "via 10.244.", "\nlo"]),
    refused("ip changes nothing", r#"ip link set eth0 mtu 1400"#, 2, &["Operation not permitted"]),
    works("tc", r#"tc qdisc show dev lo"#, &["qdisc noqueue"]),
    works("ethtool", r#"ethtool -k lo"#, &["Features for lo"]),
    // Who may ping without a capability is what the node's runtime says.
    works(
        "ping, or its own word why not",
        r#"read -r first last </proc/sys/net/ipv4/ping_group_range; gid=$(id -g)
if ((EUID == 0 || (first <= gid && gid <= last))); then ping -c 1 -W 9 registry.kpexec.test && ping -c 1 127.0.0.1
else ! ping -c 1 127.0.0.1 2>ping.log && grep 'socket: Operation not permitted' ping.log; fi && echo 'as the kernel allows'"#,
        &["as the kernel allows"],
    ),
    works("tracepath", r#"tracepath -n -m 3 10.200.0.1"#, &["10.200.0.1"]),
    works(
        "mtr, or its own word why not",
        r#"read -r first last </proc/sys/net/ipv4/ping_group_range; gid=$(id -g)
if ((EUID == 0 || (first <= gid && gid <= last))); then mtr -n -r -c 1 -G 1 -i 1 10.200.0.1 | grep -w 10.200.0.1
else ! mtr -n -r -c 1 -G 1 -i 1 10.200.0.1 2>mtr.log && grep mtr-packet mtr.log; fi && echo 'as the kernel allows'"#,
        &["as the kernel allows"],
    ),
    works("nmap finds a port and talks to it", r#"nmap -n -Pn -sT -p "$TLS" --script ssl-cert 127.0.0.1"#, &["open", "commonName=localhost"]),
    works("nmap raw", r#"nmap -n -Pn -sS -p "$TLS" 127.0.0.1"#, &["open"]).but_unprivileged(1, &["requires root privileges"]),
    works("nc", r#"echo by nc | nc -l -N 127.0.0.1 "$FREE" & listens "$FREE"; nc -d 127.0.0.1 "$FREE" && wait"#, &["by nc"]),
    works(
        "nc on UDP and on a Unix socket",
        r#"nc -u -l -W 1 127.0.0.1 "$FREE" >udp.txt & listens "$FREE"; echo by udp | nc -u -q 0 127.0.0.1 "$FREE"; wait; cat udp.txt
nc -lU "$W/nc.sock" >unix.txt & for ((i = 0; i < 999; i++)); do [ -S "$W/nc.sock" ] && break; sleep .03; done
echo by unix | nc -NU "$W/nc.sock"; wait; cat unix.txt"#,
        &["by udp", "by unix"],
    ),
    works(
        "socat",
        r#"socat "TCP-LISTEN:$FREE,bind=127.0.0.1,reuseaddr" SYSTEM:'echo by socat; cat' & listens "$FREE"
echo and back | socat - "TCP:127.0.0.1:$FREE" && wait"#,
        &["by socat\nand back"],
    ),
    works("iperf3", r#"TMPDIR=$W iperf3 -s -1 -B 127.0.0.1 -p "$FREE" >/dev/null & listens "$FREE"; TMPDIR=$W iperf3 -c 127.0.0.1 -p "$FREE" -n 1M && wait"#, &["sender", "receiver"]),
    works("telnet", r#"echo banner | nc -l -N 127.0.0.1 "$FREE" & listens "$FREE"
for ((i = 0; i < 300; i++)); do grep -qs banner heard.txt && break; sleep .1; done | telnet 127.0.0.1 "$FREE" | tee heard.txt"#, &["Connected to 127.0.0.1", "banner"]),
    works(
        "tcpdump of real traffic",
        r#"tcpdump -n -i eth0 -c 1 -U -w one.pcap udp port 53 2>tcpdump.log & 
for ((i = 0; i < 999; i++)); do grep -q listening tcpdump.log && break; jobs -r | grep -q . || break; sleep .03; done
dig +short +retry=0 www.kpexec.test >/dev/null; wait "$!"; code=$?; cat tcpdump.log; tcpdump -n -r one.pcap 2>&1; exit "$code""#,
        &["1 packet captured", "> 10.200.0.1.53:", "A? www.kpexec.test."],
    )
    .but_unprivileged(1, &["You don't have permission"]),
    refused("nft without its capability", r#"nft list ruleset"#, 1, &["Operation not permitted"]),
    refused("iptables without its capability", r#"iptables -n -L"#, 4, &["Permission denied"]),
    refused("conntrack without its capability", r#"conntrack -L"#, 1, &["get CAP_NET_ADMIN"]),
];
