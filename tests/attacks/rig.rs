//! The rig itself: a hostile container is what it is said to be, or its
//! attacks prove nothing.

use anyhow::{Result, ensure};

use crate::fake_container::{DEFAULT, FIRST_ID, FakeContainer, Options, Proc};

/// The fields of `/proc/self/status` in the container.
fn status(options: &Options, fields: &str) -> Result<String> {
    let container = FakeContainer::hostile(options)?;
    let read = format!("busybox grep -E '^({fields}):' /proc/self/status | busybox tr -d '\\t'");
    Ok(container.run(&read)?.output)
}

#[test]
fn a_container_has_the_capabilities_of_its_options() -> Result<()> {
    let sets = "Cap(Inh|Prm|Eff|Bnd|Amb)";
    let shown = |held: u64, bounding: u64| {
        format!(
            "CapInh:{:016x}\nCapPrm:{held:016x}\nCapEff:{held:016x}\nCapBnd:{bounding:016x}\nCapAmb:{:016x}\n",
            0, 0
        )
    };
    assert_eq!(status(&Options::hostile(), sets)?, shown(DEFAULT, DEFAULT));
    let user = Options { uid: 1000, ..Options::hostile() };
    assert_eq!(status(&user, sets)?, shown(0, DEFAULT));
    let none = Options { capabilities: Some(0), ..Options::hostile() };
    assert_eq!(status(&none, sets)?, shown(0, 0));
    Ok(())
}

#[test]
fn a_container_has_the_ids_of_its_options() -> Result<()> {
    let user = Options { uid: 1000, no_new_privs: true, ..Options::hostile() };
    assert_eq!(status(&user, "Uid|NoNewPrivs")?, "Uid:1000100010001000\nNoNewPrivs:1\n");
    let mapped = Options { user_namespace: true, ..Options::hostile() };
    let container = FakeContainer::hostile(&mapped)?;
    let map = container.run("cat /proc/self/uid_map /proc/self/setgroups; id -u")?.output;
    let map: Vec<&str> = map.split_ascii_whitespace().collect();
    assert_eq!(map, ["0", &FIRST_ID.to_string(), "65536", "allow", "0"]);
    ensure!(container.run("> /srv/own; chown 5:6 /srv/own")?.code == 0, "it is no root there");
    Ok(())
}

#[test]
fn proc_and_reaping_are_those_of_the_options() -> Result<()> {
    let absent = Options { proc: Proc::Absent, ..Options::hostile() };
    assert_eq!(FakeContainer::hostile(&absent)?.run("ls /proc")?.output, "");
    // Looked at once the orphan has ended, one way or the other.
    for (never_waits, ended, zombies) in [
        (false, "! [ -e /proc/$pid ]", "0\n"),
        (true, "busybox grep -q zombie /proc/$pid/status", "1\n"),
    ] {
        let orphan = format!(
            "(sleep 0 & echo $! > /tmp/orphan); read -r pid < /tmp/orphan
            until {ended}; do :; done
            busybox grep -l zombie /proc/[0-9]*/status | busybox wc -l"
        );
        let options = Options { never_waits, ..Options::hostile() };
        let ran = FakeContainer::hostile(&options)?.run(&orphan)?;
        assert_eq!(ran.output, zombies, "never_waits: {never_waits}");
    }
    Ok(())
}

#[test]
fn what_runs_inside_can_be_watched_and_ended() -> Result<()> {
    let container = FakeContainer::hostile(&Options::hostile())?;
    let ran = container.run("echo out; echo err >&2; exit 3")?;
    assert_eq!((ran.output.as_str(), ran.code), ("out\nerr\n", 3));
    let endless = container.spawn("echo begun; while :; do sleep 1; done")?;
    endless.wait_for("begun")?;
    let pid = endless.pid;
    assert_eq!(endless.stop()?, "begun\n");
    ensure!(container.run(&format!("kill -0 {pid}"))?.code != 0, "it goes on");
    Ok(())
}
