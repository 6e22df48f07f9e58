//! Paths, mounts and device nodes of the target's choice (A14 to A24 of the
//! threat model).

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use anyhow::{Result, ensure};
use kpexec_protocol::Writes;

use crate::client::{GENERAL, Node, exactly, terminal};
use crate::fake_container::{FakeContainer, Options, Proc};
use crate::naive::{Naive, naive};

const SYS_ADMIN: u64 = 1 << 21;

#[tokio::test]
async fn t15_the_working_directory_is_inside() -> Result<()> {
    let container = FakeContainer::hostile(&Options::hostile())?;
    let host = "../../../../../../../../../../etc/debian_version";
    let read = Naive::new()?.run(&container, &["-p", "-r"], &["/bin/cat", host])?;
    ensure!(read.status.success(), "nsenter stays in the node's working directory");

    container.run("mkdir /tmp/swap /tmp/gone; ln -s /proc/1/root/.. /tmp/swapped")?;
    let node = Node::around(container, &[]).await?;
    let attack = node.container.spawn("exec /attacks/swap /tmp/swap /tmp/swapped")?;
    let look = format!("readlink /proc/self/cwd && ! cat {host} 2> /dev/null");
    let set = |cwd: &str| {
        let mut answer = node.runtime.lock().expect("no test panics while it holds this");
        answer.cwd = cwd.to_owned();
    };
    let fixed = ["/proc/self/fd/7", "/proc/self/cwd", "/proc/1/root", "/tmp/gone", "/nowhere"];
    let swapped = std::iter::repeat_n("/tmp/swap", 30);
    for cwd in fixed.into_iter().chain(swapped) {
        set(cwd);
        if cwd == "/tmp/gone" {
            fs::remove_dir(node.container.path(cwd))?;
        }
        let outcome = node.run(node.request(&["sh", "-c", &look]), b"").await?;
        assert_eq!(outcome.code, Some(0), "{cwd}: {:?}", outcome.failure);
        let inside = ["/", "/tmp/swap", "/tmp/swapped"];
        assert!(inside.contains(&outcome.text().as_str()), "{cwd}: {}", outcome.text());
    }
    drop(attack);
    Ok(())
}

#[tokio::test]
async fn t23_a_fake_proc_is_neither_believed_nor_written() -> Result<()> {
    let options = Options { proc: Proc::Fake, ..Options::hostile() };
    let container = FakeContainer::hostile(&options)?;
    let read = ["/bin/cat", "/proc/1/comm"];
    assert_eq!(naive(&container, &read)?, "fake");

    let node = Node::around(container, &[]).await?;
    assert_eq!(node.output(&["cat", "/proc/1/comm"]).await?, "init");
    let written = node.container.run("cat /proc/self/* /proc/self/attr/* /proc/thread-self/*")?;
    let written: Vec<&str> =
        written.output.lines().filter(|line| !line.contains("Is a directory")).collect();
    assert_eq!(written, [""; 0]);
    Ok(())
}

#[tokio::test]
async fn t26_devices_are_the_nodes_own() -> Result<()> {
    for linked_dev in [false, true] {
        let options = Options { linked_dev, ..Options::hostile() };
        let container = FakeContainer::hostile(&options)?;
        // In place of /proc/sysrq-trigger and /etc/shadow.
        container.run("echo safe > /srv/canary; chmod 640 /srv/canary; chown 3:4 /srv/canary")?;
        container.run("for name in null zero tty; do ln -sf /srv/canary /dev/$name; done")?;
        let canary = container.path("/srv/canary");
        let about = || -> Result<_> {
            let stat = fs::metadata(&canary)?;
            Ok((fs::read_to_string(&canary)?, stat.uid(), stat.gid(), stat.mode()))
        };
        let before = about()?;
        naive(&container, &["/bin/sh", "-c", "echo written > /dev/null"])?;
        assert_eq!(about()?.0, "written\n");

        fs::write(&canary, "safe\n")?;
        assert_eq!(about()?, before);
        let node = Node::around(container, &[]).await?;
        let script = "echo x > /dev/null; busybox stat -c %t:%T /dev/null /dev/zero /dev/tty";
        for with_terminal in [false, true] {
            let mut request = node.request(&["sh", "-c", script]);
            request.terminal = with_terminal.then(|| terminal(24, 80));
            let numbers = node.run(request, b"").await?.text();
            assert_eq!(numbers.split_ascii_whitespace().collect::<Vec<_>>(), ["1:3", "1:5", "5:0"]);
        }
        assert_eq!(about()?, before);
    }
    Ok(())
}

#[tokio::test]
async fn t29_mounts_of_the_session_do_not_propagate() -> Result<()> {
    let options = Options { shared_volume: true, ..Options::hostile() };
    let container = FakeContainer::hostile(&options)?;
    let mount = ["/bin/busybox", "mount", "-t", "tmpfs", "leaked", "/volume"];
    naive(&container, &mount)?;
    let table = container.run("cat /proc/self/mountinfo")?.output;
    ensure!(table.contains("leaked"), "nsenter's mounts are the target's own: {table}");
    ensure!(table.contains(" shared:"), "the volume is not shared: {table}");
    drop(container);

    let node = Node::around(FakeContainer::hostile(&options)?, &[]).await?;
    let look = || -> Result<_> {
        let target = node.container.run("cat /proc/self/mountinfo")?.output;
        let node = fs::read_to_string("/proc/self/mountinfo")?;
        Ok((target, node.contains("leaked")))
    };
    let before = look()?;
    let mount = &mount[1..].join(" ");
    let script = format!("busybox {mount} && grep -c leaked /proc/self/mountinfo && sleep 1");
    for writes in [Writes::Through, Writes::Deny, Writes::Discard] {
        let mut request = node.request(&["sh", "-c", &script]);
        request.identity = Some(exactly(0, 0, GENERAL | SYS_ADMIN));
        request.writes = writes.into();
        let (_requests, mut answers) = node.open(request).await?;
        // Started, then the count.
        answers.message().await?;
        let said = format!("{:?}", answers.message().await?);
        ensure!(said.contains(r"1\n"), "{writes:?}: the session could not mount: {said}");
        assert_eq!(look()?, before, "{writes:?}");
    }
    Ok(())
}

#[tokio::test]
async fn t32_device_nodes_and_set_uid_files_of_the_target_have_no_force() -> Result<()> {
    let container = FakeContainer::hostile(&Options::hostile())?;
    container
        .run("mknod /srv/device c 1 5; cp /attacks/identity /srv; chmod 4755 /srv/identity")?;
    let read = "busybox dd if=/srv/device bs=4 count=1 2> /dev/null | busybox wc -c";
    let user = ["-a", "-S", "1000", "-G", "1000"];
    assert_eq!(naive(&container, &["/bin/sh", "-c", read])?, "4");
    let raised = Naive::new()?.run(&container, &user, &["/srv/identity"])?.stdout;
    ensure!(String::from_utf8(raised)?.starts_with("1000 0 "), "the file is not set-uid");

    let node = Node::around(container, &[]).await?;
    for writes in [Writes::Through, Writes::Deny, Writes::Discard] {
        // With discard, also in what was copied up.
        let read = format!("busybox touch /srv/device; {read}");
        let mut request = node.request(&["sh", "-c", &read]);
        request.writes = writes.into();
        assert_eq!(node.run(request, b"").await?.text(), "0", "{writes:?}");
        let mut request = node.request(&["sh", "-c", "echo >> /srv/identity; /srv/identity"]);
        request.identity = Some(exactly(1000, 1000, GENERAL));
        request.writes = writes.into();
        let outcome = node.run(request, b"").await?;
        assert_eq!(outcome.text(), format!("1000 1000 1000 1000 {GENERAL:x}"), "{writes:?}");
    }
    Ok(())
}

#[tokio::test]
async fn t37_the_root_is_the_processes_own() -> Result<()> {
    let chrooted = Options { chroot: Some("/sub"), ..Options::hostile() };
    let no_pivot = Options { no_pivot: true, ..Options::hostile() };
    // What lies outside, and must not be seen: the container's own root, or the
    // node's.
    for (options, outside) in [(chrooted, "sub"), (no_pivot, "usr")] {
        let container = FakeContainer::hostile(&options)?;
        let seen = |listing: &str| listing.lines().any(|name| name == outside);
        let listing = Naive::new()?.run(&container, &["-m", "-p"], &["/bin/ls", "/"])?.stdout;
        ensure!(seen(&String::from_utf8(listing)?), "nsenter does not land on /{outside}");

        let node = Node::around(container, &[]).await?;
        for path in ["/", "/..", "/proc/self/root/.."] {
            let listing = node.output(&["ls", path]).await?;
            ensure!(!seen(&listing), "{path} shows /{outside}");
            ensure!(listing.lines().any(|name| name == "attacks"), "{path} is no root: {listing}");
        }
    }
    Ok(())
}
