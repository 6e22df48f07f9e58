//! The confinement of a session: the target's where parity is promised, and the
//! helper's own, under which everything still works (A8 and A29 of the threat
//! model).

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use kpexec_protocol::{Identity, Profile, Start};
use serde_json::{Value, json};

use crate::client::{Node, terminal};
use crate::fake_container::{DEFAULT, FakeContainer, Options, Proc, SYS_PTRACE, compiled};
use crate::least_privilege::{granted, with};
use crate::naive::naive;
use crate::programs::programs;

/// Refuses these calls with `EPERM`, and lets all others through.
fn refusing(names: &[&str]) -> Value {
    let rule = json!({"names": names, "action": "SCMP_ACT_ERRNO", "errnoRet": 1});
    json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]})
}

fn parity() -> Identity {
    Identity { profile: Profile::Target.into(), ..Identity::default() }
}

/// What the kernel says of a process's confinement.
const CONFINEMENT: &str = "^(NoNewPrivs|Seccomp|Seccomp_filters|Cap...|Uid|Gid|Groups):";

#[tokio::test]
async fn t16_a_session_of_equals_is_confined_exactly_as_the_target() -> Result<()> {
    for seccomp in [None, Some(refusing(&["unshare", "add_key"]))] {
        for no_new_privs in [false, true] {
            let options = Options { seccomp: seccomp.clone(), no_new_privs, ..Options::hostile() };
            let node = Node::around(FakeContainer::hostile(&options)?, &[]).await?;
            let own =
                node.container.run(&format!("busybox grep -E '{CONFINEMENT}' /proc/1/status"))?;
            let (mode, filters) = if seccomp.is_some() { (2, 2) } else { (0, 0) };
            for wanted in [
                format!("NoNewPrivs:\t{}\n", u8::from(no_new_privs)),
                format!("Seccomp:\t{mode}\n"),
                // One for the rule, one for all other calls.
                format!("Seccomp_filters:\t{filters}\n"),
            ] {
                ensure!(own.output.contains(&wanted), "{wanted} is not in {}", own.output);
            }
            // The shim is the target's to trace as well.
            for process in ["self", "$PPID"] {
                let look = format!("exec grep -E '{CONFINEMENT}' /proc/{process}/status");
                let mut request = node.request(&["sh", "-c", &look]);
                request.identity = Some(parity());
                let outcome = node.run(request, b"").await?;
                assert_eq!(outcome.text(), own.output.trim_end(), "{:?}", outcome.failure);
            }
        }
    }
    Ok(())
}

#[tokio::test]
async fn t16_a_filter_that_nobody_tells_is_no_parity() -> Result<()> {
    let options = Options { seccomp: Some(refusing(&["unshare"])), ..Options::hostile() };
    let node = Node::around(FakeContainer::hostile(&options)?, &[]).await?;
    node.runtime.lock().expect("no test panics while it holds this").seccomp = None;
    let request = Start { identity: Some(parity()), ..node.request(&["true"]) };
    let failure = node.run(request, b"").await?.failure.context("it ran")?;
    ensure!(failure.message.contains("does not tell"), "{failure:?}");
    ensure!(failure.hint.contains("--profile general"), "{failure:?}");
    assert_eq!(node.run(node.request(&["true"]), b"").await?.code, Some(0));
    Ok(())
}

#[tokio::test]
async fn t16_neither_parity_nor_shielded_is_refused() -> Result<()> {
    let options = Options {
        capabilities: Some(DEFAULT | SYS_PTRACE),
        seccomp: Some(refusing(&["unshare"])),
        ..Options::hostile()
    };
    let node = Node::around(FakeContainer::hostile(&options)?, &[]).await?;
    let canary = node.container.path("/tmp/ran");
    let touch = ["/.kpexec/bin/touch", "/tmp/ran"];
    // Profile general.
    let failure = node.run(node.request(&touch), b"").await?.failure.context("it ran")?;
    ensure!(failure.message.contains("take this session over"), "{failure:?}");
    for way_out in ["--profile target", "--trust-target"] {
        ensure!(failure.hint.contains(way_out), "{way_out} is not in {failure:?}");
    }
    ensure!(!canary.exists(), "it ran all the same");

    // Either way out.
    let request = Start { trust_target: true, ..node.request(&touch) };
    let outcome = node.run(request, b"").await?;
    ensure!(outcome.code == Some(0) && canary.exists(), "{outcome:?}");
    ensure!(
        outcome.notices.iter().any(|line| line.contains("control this session")),
        "{outcome:?}"
    );
    fs::remove_file(&canary)?;
    let request = Start { identity: Some(parity()), ..node.request(&touch) };
    let outcome = node.run(request, b"").await?;
    ensure!(outcome.code == Some(0) && canary.exists(), "{outcome:?}");
    Ok(())
}

/// What containerd's default profile refuses to a pod with CAP_SYS_ADMIN and
/// CAP_SYS_PTRACE, of the calls that Linux has on x86-64.
const REFUSED: [&str; 34] = [
    "acct",
    "add_key",
    "clock_settime",
    "delete_module",
    "finit_module",
    "get_mempolicy",
    "init_module",
    "io_uring_enter",
    "io_uring_register",
    "io_uring_setup",
    "ioperm",
    "iopl",
    "kexec_file_load",
    "kexec_load",
    "keyctl",
    "map_shadow_stack",
    "mbind",
    "migrate_pages",
    "modify_ldt",
    "move_pages",
    "nfsservctl",
    "open_by_handle_at",
    "pivot_root",
    "reboot",
    "request_key",
    "set_mempolicy",
    "set_mempolicy_home_node",
    "settimeofday",
    "swapoff",
    "swapon",
    "sysfs",
    "userfaultfd",
    "ustat",
    "vhangup",
];

#[tokio::test]
async fn t42_the_helper_works_under_the_runtimes_default_filter() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let filter = folder.path().join("filter");
    fs::write(&filter, compiled(&refusing(&REFUSED))?)?;
    let confined = programs()?.join("confined").display().to_string();
    let mut wrapper = with(&granted()?);
    wrapper.extend([confined, "-".to_owned(), filter.display().to_string()]);

    let filtered = Options { seccomp: Some(refusing(&["unshare"])), ..Options::hostile() };
    let targets = [
        Options { capabilities: Some(0), uid: 65532, no_new_privs: true, ..Options::hostile() },
        Options { user_namespace: true, ..Options::hostile() },
        filtered,
    ];
    for options in &targets {
        let node = Node::around(FakeContainer::hostile(options)?, &wrapper).await?;
        let shown = "id -u; tty; grep Seccomp: /proc/self/status; cat /proc/1/comm; echo $?";
        for with_terminal in [false, true] {
            for identity in [Identity::default(), parity()] {
                let own = if identity == parity() { options.uid } else { 0 };
                let mut request = node.request(&["sh", "-c", shown]);
                request.identity = Some(identity);
                request.terminal = with_terminal.then(|| terminal(24, 80));
                let outcome = node.run(request, b"").await?;
                let text = outcome.text().replace('\r', "");
                let tty = if with_terminal { "/dev/pts/0" } else { "not a tty" };
                let wanted = format!("{own}\n{tty}\nSeccomp:\t2\ninit\n0");
                assert_eq!(text, wanted, "{:?} {options:?}", outcome.failure);
                let told = outcome.identity.contains("keyring: the helper's");
                ensure!(told, "the keyring was kept in silence: {}", outcome.identity);
            }
        }
    }
    Ok(())
}

/// An AppArmor profile that lets everything through but one file. Dropped, it is
/// unloaded.
struct AppArmor(tempfile::NamedTempFile);

impl AppArmor {
    const NAME: &str = "kpexec-attacks";

    fn load() -> Result<Self> {
        let file = tempfile::NamedTempFile::new()?;
        let rules = "file, capability, network, unix, signal, ptrace, mount, umount, pivot_root,";
        let denied = "deny /**srv/denied rw,";
        let flags = "flags=(attach_disconnected, mediate_deleted)";
        fs::write(&file, format!("profile {} {flags} {{ {rules} {denied} }}\n", Self::NAME))?;
        let profile = Self(file);
        ensure!(profile.parser("--replace")?, "apparmor_parser(8) does not take it");
        Ok(profile)
    }

    fn parser(&self, what: &str) -> Result<bool> {
        let mut parser = Command::new("apparmor_parser");
        Ok(parser.arg(what).arg(self.0.path()).status().context("run apparmor_parser")?.success())
    }
}

impl Drop for AppArmor {
    fn drop(&mut self) {
        let _unloaded = self.parser("--remove");
    }
}

#[tokio::test]
#[ignore = "needs AppArmor"]
async fn t43_the_label_is_the_one_that_was_promised() -> Result<()> {
    let profile = AppArmor::load()?;
    let own = fs::read_to_string("/proc/self/attr/current")?;
    let denied = ["/.kpexec/bin/cat", "/srv/denied"];
    for proc in [Proc::Real, Proc::Fake] {
        let options = Options { profile: Some(AppArmor::NAME), proc, ..Options::hostile() };
        let container = FakeContainer::hostile(&options)?;
        fs::write(container.path("/srv/denied"), "secret")?;
        let read = container.run("cat /srv/denied")?;
        ensure!(read.code != 0, "nothing confines the container: {}", read.output);
        assert_eq!(naive(&container, &["/bin/cat", "/srv/denied"])?, "secret");

        let node = Node::around(container, &[]).await?;
        let label = ["cat", "/proc/self/attr/current"];
        let promised = format!("{} (enforce)", AppArmor::NAME);
        for (identity, wanted, reads) in
            [(parity(), promised.as_str(), false), (Identity::default(), own.trim_end(), true)]
        {
            let ask = |argv| Start { identity: Some(identity.clone()), ..node.request(argv) };
            let outcome = node.run(ask(&label), b"").await?;
            assert_eq!(outcome.text(), wanted, "{proc:?}: {:?}", outcome.failure);
            let outcome = node.run(ask(&denied), b"").await?;
            assert_eq!(outcome.text() == "secret", reads, "{proc:?}: {outcome:?}");
        }
        if proc == Proc::Fake {
            let written = node.container.run("cat /proc/self/attr/* /proc/thread-self/attr/*")?;
            assert_eq!(written.output, "", "a label went to the target's own /proc");
        }
    }
    drop(profile);
    Ok(())
}
