//! Shells and tools: what one gets without a command, and tools of another
//! image.

use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Result, ensure};
use tests::command::{kpexec, run, run_kpexec, wait};
use tests::pod::wait_for_processes;
use tests::terminal::Terminal;
use tests::{BOTH_NODES, DEMO_PODS, Namespace, kubectl};

const LIMIT: Duration = Duration::from_secs(60);

/// In the cluster's registry, with a static busybox at /bin and PATH=/bin.
const IMAGE: &str = "10.200.0.1:5000/busybox:1";

#[test]
fn without_a_command_it_is_a_shell_with_a_banner_and_a_prompt() -> Result<()> {
    for pod in DEMO_PODS {
        let mut terminal = Terminal::run(&kpexec(&["-it", pod]), 24, 80)?;
        for line in [
            &format!("default/{pod}, container app, on node "),
            "uid 0, gid 0, 15 capabilities; the container sees writes in its folders\r\n",
            "exit or ctrl-d ends it; ctrl-p ctrl-q leaves it running\r\n",
        ] {
            terminal.expect(line)?;
        }
        // The prompt of the toolset's bash, whatever stands in it.
        terminal.expect("# ")?;
        let typed = "echo $0-$((1+1))-$KPEXEC_POD-$KPEXEC_CONTAINER; PS1='[$((40 + 3))]'\r";
        terminal.type_in(typed)?;
        terminal.expect(&format!("bash-2-{pod}-app\r\n"))?;
        // Before the next prompt it would be no key of the shell's.
        terminal.expect("[43]")?;
        terminal.type_in("\x04")?;
        assert_eq!(wait(&mut terminal.child, LIMIT)?.code(), Some(0), "{pod}");
    }
    Ok(())
}

#[test]
fn quiet_means_no_banner_and_neither_does_a_command_have_one() -> Result<()> {
    let pod = BOTH_NODES[0];
    for arguments in [&["-it", "-q", pod][..], &["-it", pod, "--", "bash"]] {
        let mut terminal = Terminal::run(&kpexec(arguments), 24, 80)?;
        terminal.type_in("echo is-$((1+1))\r")?;
        let shown = terminal.expect("is-2\r\n")?;
        ensure!(!shown.contains("leaves"), "{arguments:?}: {shown}");
        terminal.type_in("exit 3\r")?;
        assert_eq!(wait(&mut terminal.child, LIMIT)?.code(), Some(3), "{arguments:?}");
    }
    Ok(())
}

#[test]
fn a_script_on_stdin_is_run() -> Result<()> {
    for pod in BOTH_NODES {
        let output = run(kpexec(&["-i", pod]), b"echo $0; cat /proc/1/comm; exit 5\n")?;
        assert_eq!(output.text(), "bash\napp", "{pod}: {}", output.stderr);
        assert_eq!((output.code(), output.stderr.as_str()), (5, ""), "{pod}");
    }
    Ok(())
}

#[test]
fn another_image_has_the_tools() -> Result<()> {
    for pod in BOTH_NODES {
        let with_image = |command: &[&str]| {
            run_kpexec(&[&["--tools-image", IMAGE, pod, "--"], command].concat())
        };
        let exe = with_image(&["readlink", "/proc/self/exe"])?;
        assert_eq!(exe.text(), "/.kpexec/bin/busybox", "{pod}: {}", exe.stderr);
        // The files are the container's, but for those.
        let files = with_image(&["ls", "-d", "/app", "/.kpexec/home/nonroot"])?;
        assert_eq!(files.text(), "/.kpexec/home/nonroot\n/app", "{pod}: {}", files.stderr);
        let mounted = with_image(&["sh", "-c", "ls -A /.kpexec/proc /.kpexec/sys | grep -v :"])?;
        assert_eq!(mounted.text(), "", "{pod}: mounts of the tools container");
        let written = with_image(&["touch", "/.kpexec/etc/new"])?;
        ensure!(written.stderr.contains("Read-only file system"), "{pod}: {written:?}");
    }
    Ok(())
}

#[test]
fn a_shell_of_another_image_has_a_prompt() -> Result<()> {
    for pod in BOTH_NODES {
        let mut terminal = Terminal::run(&kpexec(&["-it", "--tools-image", IMAGE, pod]), 24, 80)?;
        terminal.expect("# ")?;
        terminal.type_in("readlink /proc/$$/exe; exit 4\r")?;
        terminal.expect("/.kpexec/bin/busybox\r\n")?;
        assert_eq!(wait(&mut terminal.child, LIMIT)?.code(), Some(4), "{pod}");
    }
    Ok(())
}

#[test]
fn another_image_is_the_root() -> Result<()> {
    for pod in BOTH_NODES {
        let in_root = |command: &[&str]| {
            let flags = ["--tools-image", IMAGE, "--tools-root", pod, "--"];
            run_kpexec(&[&flags, command].concat())
        };
        let exe = in_root(&["readlink", "/proc/self/exe"])?;
        assert_eq!(exe.text(), "/bin/busybox", "{pod}: {}", exe.stderr);
        // Its own user is in the image, not in the container.
        let script = "cat /proc/1/comm; ls -d /target/app; grep -c nobody /etc/passwd";
        let mixed = in_root(&["sh", "-c", script])?;
        assert_eq!(mixed.text(), "app\n/target/app\n1", "{pod}: {}", mixed.stderr);
        // Names are looked up as the container does it.
        let script = "cmp /etc/resolv.conf /target/etc/resolv.conf && cat /etc/hosts";
        let names = in_root(&["sh", "-c", script])?;
        ensure!(names.text().contains(pod), "{pod}: {names:?}");
        let written = in_root(&["sh", "-c", "echo x > /etc/new && cat /etc/new"])?;
        assert_eq!(written.text(), "x", "{pod}: {}", written.stderr);
        assert_eq!(in_root(&["ls", "/etc/new"])?.code(), 1, "{pod}: it went with its helper");
    }
    Ok(())
}

#[test]
fn an_image_that_is_not_there_is_named() -> Result<()> {
    // CRI-O tells of the tag apart.
    let image = "10.200.0.1:5000/no-such-tools";
    for pod in BOTH_NODES {
        let output = run_kpexec(&["--tools-image", &format!("{image}:1"), pod, "--", "true"])?;
        assert_eq!(output.code(), 125, "{pod}: {}", output.stderr);
        for words in [image, "container tools", "hint: --tools-image"] {
            ensure!(output.stderr.contains(words), "{pod}: no {words:?} in {}", output.stderr);
        }
    }
    Ok(())
}

#[test]
fn a_helper_with_a_tools_container_leaves_nothing() -> Result<()> {
    let namespace = Namespace::for_helpers("tools")?;
    let start = |pod: &str, command: &[&str]| -> Command {
        let own = ["--rm", "--helper-namespace", namespace.name()];
        let flags = [&own[..], &["--tools-image", IMAGE, pod, "--"]].concat();
        kpexec(&[&flags[..], command].concat())
    };
    for pod in BOTH_NODES {
        run(start(pod, &["true"]), b"")?;
    }
    namespace.wait_until_empty()?;
    for (pod, mark) in BOTH_NODES.into_iter().zip(["84001", "84002"]) {
        let mut client = start(pod, &["sleep", mark]).stdin(Stdio::null()).spawn()?;
        wait_for_processes(mark, 1)?;
        client.kill()?;
        client.wait()?;
        wait_for_processes(mark, 0)?;
    }
    // The pod ends only once the tools container has ended as well.
    let succeeded = "--for=jsonpath={.status.phase}=Succeeded";
    let pods = ["-n", namespace.name(), "pod", "--all"];
    kubectl(&[&["wait", "--timeout=180s", succeeded], &pods[..]].concat()).map(drop)
}
