//! Cgroups of the tests' own, with the limits and the freezer that a container
//! or the helper can have. Nothing here is unbounded: what a test lets loose
//! lives in one of these, and ends with it.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};

const MOUNT: &str = "/sys/fs/cgroup";

/// What a cgroup is for. Each has its own hierarchy with cgroups(7) version 1,
/// and its own file with version 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    Freezer,
    Processes(u32),
    MebiBytes(u32),
}

impl Limit {
    fn controller(self) -> &'static str {
        match self {
            Self::Freezer => "freezer",
            Self::Processes(_) => "pids",
            Self::MebiBytes(_) => "memory",
        }
    }

    /// The folder to make a cgroup in, and whether it is of version 1.
    fn parent(self) -> Result<(PathBuf, bool)> {
        let hierarchy = PathBuf::from(MOUNT).join(self.controller());
        if !hierarchy.join("cgroup.procs").exists() {
            return Ok((MOUNT.into(), false));
        }
        // Below our own, so that what bounds the tests bounds this.
        let text = fs::read_to_string("/proc/self/cgroup")?;
        let own = text.lines().find_map(|line| {
            let (controller, path) = line.split_once(':')?.1.split_once(':')?;
            (controller == self.controller()).then_some(path)
        });
        let own = own.context("no cgroup of our own")?.trim_start_matches('/');
        Ok((hierarchy.join(own), true))
    }

    fn file(self, version_1: bool) -> Option<(&'static str, String)> {
        match self {
            Self::Freezer => None,
            Self::Processes(most) => Some(("pids.max", most.to_string())),
            Self::MebiBytes(most) => {
                let file = if version_1 { "memory.limit_in_bytes" } else { "memory.max" };
                Some((file, (u64::from(most) << 20).to_string()))
            }
        }
    }
}

/// A cgroup; dropped, whatever is left in it is killed, and it is removed.
pub struct Confined {
    folder: PathBuf,
    version_1: bool,
}

impl Confined {
    pub fn to(limit: Limit) -> Result<Self> {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let (parent, version_1) = limit.parent()?;
        if !version_1 && limit != Limit::Freezer {
            let enable = format!("+{}", limit.controller());
            fs::write(parent.join("cgroup.subtree_control"), enable).context("enable it")?;
        }
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let folder = parent.join(format!("kpexec-attack-{}-{number}", std::process::id()));
        fs::create_dir(&folder).context("make a cgroup")?;
        let cgroup = Self { folder, version_1 };
        if let Some((file, value)) = limit.file(version_1) {
            fs::write(cgroup.folder.join(file), value).context("limit the cgroup")?;
        }
        Ok(cgroup)
    }

    /// Moves one process, and thus what it starts from now on.
    pub fn take(&self, pid: i32) -> Result<()> {
        fs::write(self.folder.join("cgroup.procs"), pid.to_string()).context("move it")
    }

    /// A program that moves itself before it executes what follows.
    pub fn wrapper(&self) -> Vec<String> {
        let move_itself =
            format!("echo $$ > {}/cgroup.procs && exec \"$@\"", self.folder.display());
        ["sh", "-c", &move_itself, "sh"].map(str::to_owned).into()
    }

    /// Freezes what is in it; all of it thaws when the result is dropped.
    pub fn freeze(&self) -> Result<Frozen<'_>> {
        let frozen = Frozen(self);
        self.set_frozen(true)?;
        let (file, wanted) = if self.version_1 {
            ("freezer.state", "FROZEN")
        } else {
            ("cgroup.events", "frozen 1")
        };
        for _ in 0..2000 {
            if fs::read_to_string(self.folder.join(file))?.contains(wanted) {
                return Ok(frozen);
            }
            sleep(Duration::from_millis(10));
        }
        ensure!(false, "it does not freeze");
        Ok(frozen)
    }

    fn set_frozen(&self, frozen: bool) -> Result<()> {
        let (file, value) = match (self.version_1, frozen) {
            (true, true) => ("freezer.state", "FROZEN"),
            (true, false) => ("freezer.state", "THAWED"),
            (false, true) => ("cgroup.freeze", "1"),
            (false, false) => ("cgroup.freeze", "0"),
        };
        fs::write(self.folder.join(file), value).context("freeze or thaw")
    }

    /// What is in it.
    pub fn processes(&self) -> Result<Vec<i32>> {
        let text = fs::read_to_string(self.folder.join("cgroup.procs"))?;
        Ok(text.lines().map(str::parse).collect::<Result<_, _>>()?)
    }
}

impl Drop for Confined {
    fn drop(&mut self) {
        for _ in 0..200 {
            for pid in self.processes().unwrap_or_default() {
                let _ended = Pid::from_raw(pid).map(|pid| kill_process(pid, Signal::KILL));
            }
            if fs::remove_dir(&self.folder).is_ok() {
                return;
            }
            sleep(Duration::from_millis(10));
        }
        eprintln!("{} is left behind", self.folder.display());
    }
}

/// A frozen cgroup.
pub struct Frozen<'c>(&'c Confined);

impl Drop for Frozen<'_> {
    fn drop(&mut self) {
        self.0.set_frozen(false).expect("what was frozen can be thawed");
    }
}
