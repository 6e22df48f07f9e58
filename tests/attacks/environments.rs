//! What the target says by its environment and by the names of its programs,
//! and who listens to that (A2 and A3 of the threat model).

use std::fs;

use anyhow::{Context, Result, ensure};
use kpexec_protocol::{Id, Identity, Profile, Start, id};

use crate::client::{Node, terminal};
use crate::fake_container::{FakeContainer, Options};
use crate::naive::Naive;
use crate::programs::{install, install_text};
use crate::strace::Strace;

/// What a careless helper could look for in `PATH` of the target.
const FAKES: [&str; 12] =
    ["awk", "bash", "env", "getent", "id", "ls", "mount", "nsenter", "ps", "sh", "stty", "tar"];

/// Programs that leave a mark of their name.
fn plant_fakes(container: &FakeContainer) -> Result<()> {
    fs::create_dir_all(container.path("/usr/bin"))?;
    for name in FAKES {
        for folder in ["/bin", "/usr/bin"] {
            let fake = container.path(&format!("{folder}/{name}"));
            // It may be a link to the container's busybox.
            let _absent = fs::remove_file(&fake);
            let text = format!("#!/bin/busybox sh\n/bin/busybox touch /tmp/ran-{name}\n");
            install_text(&text, &fake)?;
        }
    }
    Ok(())
}

/// Which marks there are; takes them away.
fn marks(container: &FakeContainer) -> Result<Vec<String>> {
    let mut marks = Vec::new();
    for entry in fs::read_dir(container.path("/tmp"))? {
        let entry = entry?;
        marks.push(entry.file_name().to_string_lossy().into_owned());
        fs::remove_file(entry.path())?;
    }
    marks.sort();
    Ok(marks)
}

fn named(user: &str) -> Identity {
    let user = Some(Id { kind: Some(id::Kind::Name(user.to_owned())) });
    Identity { user, ..Identity::default() }
}

#[tokio::test]
async fn t05_no_program_of_the_target_runs_unless_it_was_named() -> Result<()> {
    let container = FakeContainer::hostile(&Options::hostile())?;
    plant_fakes(&container)?;
    fs::write(
        container.path("/etc/passwd"),
        "root:x:0:0::/root:/bin/sh\napp:x:7:7::/tmp:/bin/sh\n",
    )?;
    Naive::new()?.run(&container, &["-a"], &["sh", "-c", "true"])?;
    assert_eq!(marks(&container)?, ["ran-sh"]);

    let node = Node::around(container, &[]).await?;
    let uses = ["sh", "-c", "id; ls /; ps; env; stty; sh -c true; cat /etc/passwd"];
    for identity in [
        Identity::default(),
        named("root"),
        named("app"),
        Identity { profile: Profile::Target.into(), ..Identity::default() },
        Identity { profile: Profile::Sysadmin.into(), ..Identity::default() },
    ] {
        for with_terminal in [false, true] {
            let outcome = node
                .run(
                    Start {
                        identity: Some(identity.clone()),
                        terminal: with_terminal.then(|| terminal(24, 80)),
                        ..node.request(&uses)
                    },
                    b"",
                )
                .await?;
            ensure!(outcome.text().contains("root:x:0:0"), "{identity:?}: {:?}", outcome.failure);
            assert_eq!(marks(&node.container)?, [""; 0], "{identity:?}");
        }
    }
    // By name, it is what the operator wants; but not with more than general.
    node.output(&["/bin/tar"]).await?;
    assert_eq!(marks(&node.container)?, ["ran-tar"]);
    // Nor by a link that leads past the view's mounts.
    std::os::unix::fs::symlink("/proc/1/root/bin/tar", node.container.path("/bin/past"))?;
    node.output(&["/bin/past"]).await?;
    assert_eq!(marks(&node.container)?, ["ran-tar"], "the link leads nowhere");
    let sysadmin = Identity { profile: Profile::Sysadmin.into(), ..Identity::default() };
    for program in ["tar", "/bin/tar", "mount", "past", "/bin/past", "/.kpexec/../bin/past"] {
        let request = Start { identity: Some(sysadmin.clone()), ..node.request(&[program]) };
        let failure = node.run(request, b"").await?.failure.context("it ran")?;
        ensure!(failure.hint.contains("--trust-target"), "{program}: {failure:?}");
        assert_eq!(marks(&node.container)?, [""; 0], "{program}");
    }
    Ok(())
}

/// What makes loaders and shells run code of the target.
const HOSTILE: [&str; 9] = [
    "PATH=/bin",
    "LD_PRELOAD=/attacks/preload",
    "LD_LIBRARY_PATH=/attacks",
    "LD_AUDIT=/attacks/preload",
    "BASH_ENV=/srv/trap",
    "ENV=/srv/trap",
    "PROMPT_COMMAND=. /srv/trap",
    "PS1=$(. /srv/trap)",
    "PS4=$(. /srv/trap)",
];

/// A shell that is interactive and shows what it does: it reads all of them.
const SHELL: [&str; 3] = ["sh", "-ixc", "echo ran; env"];

#[tokio::test]
async fn t06_the_targets_environment_makes_nobody_run_its_code() -> Result<()> {
    let container = FakeContainer::hostile(&Options::hostile())?;
    fs::write(container.path("/srv/trap"), "busybox touch /tmp/sprung\n")?;
    let folder = tempfile::tempdir()?;
    let mark = folder.path().join("preloaded");
    // As where the container's environment is handed to nsenter: its library
    // runs before anything is entered, and the mark is on the node.
    let library = format!("/proc/{}/root/attacks/preload", container.pid);
    let nsenter = Naive::new()?;
    nsenter
        .command(&container, &["-a"], &["/bin/busybox", "true"])
        .envs([("LD_PRELOAD", library.as_str()), ("PRELOAD_MARK", &mark.display().to_string())])
        .status()?;
    ensure!(mark.exists(), "nsenter did not load the library");
    let environment = HOSTILE.iter().filter_map(|entry| entry.split_once('='));
    let shells = environment.filter(|(name, _)| !name.starts_with("LD_"));
    let argv = [&["/bin/sh"], &SHELL[1..]].concat();
    nsenter.command(&container, &["-a"], &argv).envs(shells).output()?;
    assert_eq!(marks(&container)?, ["sprung"]);

    let poisoned = container.run("exec poison LD_PRELOAD=/attacks/preload ENV=/x")?;
    ensure!(poisoned.code == 0, "{}", poisoned.output);
    let shown = fs::read_to_string(format!("/proc/{}/environ", container.pid))?;
    ensure!(shown.starts_with("LD_PRELOAD=/attacks/preload\0ENV=/x\0"), "{shown:?}");

    let node = Node::around(container, &[]).await?;
    node.runtime.lock().expect("no test panics while it holds this").env =
        HOSTILE.map(str::to_owned).into();
    let helper = node.helper.id().context("it has ended")?;
    let strace = Strace::attach(helper, &["-e", "trace=open,openat,openat2,execve"])?;
    let mut said = String::new();
    for identity in
        [Identity::default(), Identity { profile: Profile::Target.into(), ..Identity::default() }]
    {
        let request = Start { identity: Some(identity), ..node.request(&SHELL) };
        let outcome = node.run(request, b"").await?;
        ensure!(outcome.text().contains("ran"), "{:?}", outcome.failure);
        said += &outcome.text();
    }
    let log = strace.stop()?;
    ensure!(log.contains("/.kpexec/bin/sh"), "strace has seen nothing: {log}");
    let opened =
        |file: &str| log.lines().any(|line| !line.contains("execve") && line.contains(file));
    ensure!(!opened("/attacks/preload") && !opened("/srv/trap"), "{log}");
    assert_eq!(marks(&node.container)?, [""; 0]);
    for line in said.lines() {
        let name = line.split_once('=').map_or("", |(name, _)| name);
        ensure!(!line.contains("/srv/trap") && !name.starts_with("LD_"), "{line} is in {said}");
    }
    Ok(())
}

#[tokio::test]
async fn t06_the_targets_own_programs_load_no_library_either() -> Result<()> {
    let container = FakeContainer::hostile(&Options::hostile())?;
    for folder in ["/lib64", "/lib/x86_64-linux-gnu"] {
        fs::create_dir_all(container.path(folder))?;
    }
    for library in ["/lib64/ld-linux-x86-64.so.2", "/lib/x86_64-linux-gnu/libc.so.6"] {
        install(library.as_ref(), &container.path(library))?;
    }
    let argv = ["/bin/busybox", "env", "LD_PRELOAD=/attacks/preload", "/attacks/dynamic"];
    Naive::new()?.run(&container, &["-a"], &argv)?;
    assert_eq!(marks(&container)?, ["preloaded"]);

    let node = Node::around(container, &[]).await?;
    node.runtime.lock().expect("no test panics while it holds this").env =
        HOSTILE.map(str::to_owned).into();
    assert_eq!(node.output(&["/attacks/dynamic"]).await?, "a tool");
    assert_eq!(marks(&node.container)?, [""; 0]);
    Ok(())
}
