//! A hostile root file system: nothing in it runs unless it was asked for.

use std::fs;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result, ensure};
use tests::Pod;
use tests::command::{kpexec, output_in, run, wait};
use tests::terminal::Terminal;

/// Pods whose root file system can be written, one a node.
const WRITABLE: [&str; 2] = ["busybox", "busybox-crio"];

/// Both tests change the same root file systems.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A library without dependencies that leaves a mark when it is loaded: a
/// constructor that creates `/tmp/owned-by-library`, as x86-64 system calls.
const LIBRARY: &str = r#"
static long call(long n, const char *a, long b, long c) {
    long r;
    __asm__ volatile("syscall" : "=a"(r) : "a"(n), "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
    return r;
}
__attribute__((constructor)) void owned(void) { call(2, "/tmp/owned-by-library", 0101, 0644); }
"#;

/// What bash runs when it starts.
const START_FILES: [&str; 5] =
    ["/etc/profile", "/etc/bash.bashrc", "/root/.bashrc", "/root/.profile", "/.bashrc"];

/// Where a static glibc of Debian looks for NSS modules.
const LIBRARY_FOLDER: &str = "/lib/x86_64-linux-gnu";

/// Fills a pod's root with traps; removes them when dropped.
struct Traps {
    pod: Pod,
}

impl Traps {
    fn set(pod: &str) -> Result<Self> {
        let traps = Self { pod: Pod::find(pod)? };
        let write = |path: &str, text: &str| -> Result<()> {
            let path = traps.pod.path(path);
            fs::create_dir_all(path.parent().context("it is not /")?)?;
            fs::write(&path, text).with_context(|| format!("{}", path.display()))
        };
        for file in START_FILES {
            write(file, "echo > /tmp/owned-by-start-file\n")?;
        }
        write("/etc/inputrc", "\"x\": \"touch /tmp/owned-by-inputrc\\n\"\n")?;
        write("/etc/nsswitch.conf", "passwd: evil files\ngroup: evil files\n")?;
        let folder = tempfile::tempdir()?;
        let source = folder.path().join("evil.c");
        fs::write(&source, LIBRARY)?;
        let library = folder.path().join("libnss_evil.so.2");
        let gcc = Command::new("gcc")
            .args(["-shared", "-fPIC", "-nostdlib", "-o"])
            .args([&library, &source])
            .status()
            .context("run gcc")?;
        ensure!(gcc.success(), "gcc failed");
        let there = traps.pod.path(LIBRARY_FOLDER);
        fs::create_dir_all(&there)?;
        fs::copy(&library, there.join("libnss_evil.so.2"))?;
        Ok(traps)
    }

    /// Which marks there are.
    fn sprung(&self) -> Result<Vec<String>> {
        let mut marks = Vec::new();
        for entry in fs::read_dir(self.pod.path("/tmp"))? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            if name.starts_with("owned") {
                marks.push(name);
            }
        }
        Ok(marks)
    }

    fn clear_marks(&self) -> Result<()> {
        for mark in self.sprung()? {
            fs::remove_file(self.pod.path("/tmp").join(mark))?;
        }
        Ok(())
    }
}

impl Drop for Traps {
    fn drop(&mut self) {
        // What is left is the next run's to overwrite.
        let _marks = self.clear_marks();
        for file in START_FILES.into_iter().chain(["/etc/inputrc", "/etc/nsswitch.conf"]) {
            let _gone = fs::remove_file(self.pod.path(file));
        }
        let _gone = fs::remove_file(self.pod.path(LIBRARY_FOLDER).join("libnss_evil.so.2"));
    }
}

#[test]
fn t04_the_toolset_runs_nothing_of_the_target() -> Result<()> {
    let _alone = alone();
    for pod in WRITABLE {
        let traps = Traps::set(pod)?;
        // The traps work: Debian's bash as it is falls into them.
        fs::copy("/bin/bash-static", traps.pod.path("/tmp/bash-as-it-is"))?;
        run(kpexec(&[pod, "--", "/tmp/bash-as-it-is", "-ic", "echo ~root"]), b"")?;
        let sprung = traps.sprung()?;
        fs::remove_file(traps.pod.path("/tmp/bash-as-it-is"))?;
        for mark in ["owned-by-library", "owned-by-start-file"] {
            ensure!(
                sprung.iter().any(|m| m == mark),
                "{pod}: {mark}: the trap is none: {sprung:?}"
            );
        }
        traps.clear_marks()?;

        let mut terminal = Terminal::run(&kpexec(&["-it", pod, "--", "bash"]), 24, 80)?;
        terminal.type_in("x; echo do''ne ~root ~nobody\r")?;
        terminal.expect("done")?;
        terminal.type_in("exit\r")?;
        wait(&mut terminal.child, std::time::Duration::from_secs(60))?;
        output_in(pod, &["bash", "-lic", "echo ~root"])?;
        output_in(pod, &["ls", "-l", "/"])?;
        output_in(pod, &["id"])?;
        ensure!(traps.sprung()?.is_empty(), "{pod}: {:?}", traps.sprung()?);
    }
    Ok(())
}

#[test]
fn a_root_full_of_entries_can_still_be_entered() -> Result<()> {
    let _alone = alone();
    for pod in WRITABLE {
        let target = Pod::find(pod)?;
        let names = |n: u32| target.path(&format!("/many-{n}"));
        (0..2000).try_for_each(|n| fs::create_dir(names(n)))?;
        let entered = output_in(pod, &["cat", "/proc/1/comm"]);
        (0..2000).try_for_each(|n| fs::remove_dir(names(n)))?;
        entered.with_context(|| format!("{pod} could not be entered"))?;
    }
    Ok(())
}
