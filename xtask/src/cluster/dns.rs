//! The cluster's DNS server: Debian's dnsmasq with a made-up zone. Pods are told
//! of it, so that a test can look a name up through a real resolv.conf.

use std::fs;

use anyhow::Result;

use super::cgroup::Cgroups;
use super::control_plane;
use super::layout::{self, HOST_ADDRESS};
use super::ready;

/// Names it its record and its log.
const NAME: &str = "dns";

/// Starts it, and waits until it listens.
pub fn start(cgroups: &Cgroups) -> Result<()> {
    let file = layout::state("dnsmasq.conf");
    fs::write(&file, config())?;
    let argv = ["dnsmasq", "--keep-in-foreground", &format!("--conf-file={}", file.display())];
    control_plane::start(cgroups, NAME, &argv)?;
    ready::listens("the DNS server", NAME, &format!("{HOST_ADDRESS}:53"))
}

/// It knows the zone `kpexec.test` (RFC 6761 keeps `test` free for this) and
/// asks nobody. Every other name does not exist.
fn config() -> String {
    // An empty pid-file: by default it is one of the machine's. Root: it gives
    // itself up to another user otherwise, and must not need one.
    format!(
        "listen-address={HOST_ADDRESS}
bind-interfaces
except-interface=lo
pid-file=
user=root
group=root
no-hosts
no-resolv
address=/#/
host-record=www.kpexec.test,10.20.30.40,fd00:6b70::40
host-record=registry.kpexec.test,{HOST_ADDRESS}
cname=alias.kpexec.test,www.kpexec.test
txt-record=kpexec.test,found by DNS
srv-host=_http._tcp.kpexec.test,www.kpexec.test,8080
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_listens_on_the_bridge_only_and_asks_nobody() {
        let config = config();
        for line in ["listen-address=10.200.0.1", "bind-interfaces", "no-resolv", "no-hosts"] {
            assert!(config.lines().any(|l| l == line), "{line}");
        }
        assert!(!config.contains("server="), "{config}");
    }
}
