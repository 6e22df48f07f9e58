//! The cluster's network: one bridge on the host, and a pair of links to each
//! node's network namespace.

use std::process::Command;

use anyhow::{Context, Result};

use super::layout::{BRIDGE, HOST_ADDRESS};
use super::node::{NODES, Node};
use crate::run;

/// Makes the bridge.
pub fn make_bridge() -> Result<()> {
    ip(&["link", "add", BRIDGE, "type", "bridge"])?;
    ip(&["addr", "add", &format!("{HOST_ADDRESS}/24"), "dev", BRIDGE])?;
    ip(&["link", "set", BRIDGE, "up"])
}

/// Connects a node, whose namespaces a process holds, to the bridge and to the
/// other nodes' pods. The namespace has no name under /run/netns: it ends with
/// its processes, and the links in it end with it.
pub fn connect(node: &Node, holder: u32) -> Result<()> {
    let link = format!("kpxv{}", node.number);
    let target = holder.to_string();
    ip(&["link", "add", &link, "type", "veth", "peer", "name", "eth0", "netns", &target])?;
    ip(&["link", "set", &link, "master", BRIDGE, "up"])?;
    let inside = |arguments: &[&str]| {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/proc/{holder}/ns/net")).arg("ip").args(arguments);
        run::quietly(&mut command)
    };
    inside(&["link", "set", "lo", "up"])?;
    inside(&["addr", "add", &format!("{}/24", node.address()), "dev", "eth0"])?;
    inside(&["link", "set", "eth0", "up"])?;
    inside(&["route", "add", "default", "via", HOST_ADDRESS])?;
    for other in NODES.iter().filter(|other| other.number != node.number) {
        inside(&["route", "add", &other.pods(), "via", &other.address()])?;
    }
    Ok(())
}

/// Removes what is left of the cluster's links: the bridge, and a link whose
/// peer never reached a node.
pub fn remove() -> Result<()> {
    let present = links()?;
    let ours = NODES.iter().map(|node| format!("kpxv{}", node.number));
    for link in ours.chain([BRIDGE.to_owned()]).filter(|link| present.contains(link)) {
        // The kernel takes a dead namespace's links away on its own time, and
        // may be faster than this.
        let removed = ip(&["link", "del", &link]);
        if links()?.contains(&link) {
            removed.with_context(|| format!("cannot remove the link {link}"))?;
        }
    }
    Ok(())
}

fn links() -> Result<Vec<String>> {
    let listing = run::output(run::tool("ip").args(["-o", "link", "show"]))?;
    Ok(names_in(&listing))
}

fn names_in(listing: &str) -> Vec<String> {
    let name = |line: &str| Some(line.split(": ").nth(1)?.split('@').next()?.to_owned());
    listing.lines().filter_map(name).collect()
}

fn ip(arguments: &[&str]) -> Result<()> {
    run::quietly(run::tool("ip").args(arguments))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_named_without_their_peer() {
        let listing = "1: lo: <LOOPBACK> mtu 65536\n7: kpxv1@if2: <UP> mtu 1500\n";
        assert_eq!(names_in(listing), ["lo", "kpxv1"]);
    }
}
