//! One session as `session::begin` makes it, from its parts to the command's
//! end, with the moments in between.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use node_helper::enter::message::{Descriptor, Order, Role};
use node_helper::enter::seal::SealedBinary;
use node_helper::enter::spawn::EntryProcess;
use node_helper::identity::Identity;
use node_helper::program::{programs, search_path};
use node_helper::target::facts::IdMap;
use node_helper::target::{Namespace, TargetProcess};
use node_helper::tools::Tools;
use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags, open};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;
use tools_overlay::Parts;
use tools_overlay::parts::{Owner, clone_folder};

use crate::{PATH, micros, say};

/// What a session is made of.
pub struct Entry<'a> {
    pub binary: &'a SealedBinary,
    pub target: &'a TargetProcess,
    pub identity: &'a Identity,
    /// With it the session has a view.
    pub toolset: Option<&'a Path>,
}

/// Our ends of its pipes.
struct Ours {
    _output: [OwnedFd; 2],
    exec_error: OwnedFd,
    exit_status: OwnedFd,
    go: OwnedFd,
}

/// How long each part of it took, and what is left while it runs.
pub struct Took {
    /// Parts of the view, pipes, copies of descriptors.
    prepare: Duration,
    /// From before the fork until the entry process has reported and is reaped.
    enter: Duration,
    /// From the word to go until execve(2) is done.
    exec: Duration,
    /// From there until the command's end was told.
    command: Duration,
    /// What the shim holds in memory, in KiB, shared pages in proportion.
    shim: u64,
}

impl Took {
    pub fn say(&self, way: &str) {
        say(way, "prepare", micros(self.prepare));
        say(way, "enter", micros(self.enter));
        say(way, "go", micros(self.exec));
        say(way, "command", micros(self.command));
        say(way, "exec", micros(self.prepare + self.enter + self.exec));
        say(way, "end", micros(self.prepare + self.enter + self.exec + self.command));
        say("memory", "shim", self.shim);
    }
}

impl Entry<'_> {
    /// Runs `true` in the target.
    pub async fn run(&self) -> Result<Took> {
        let begun = Instant::now();
        let (ours, descriptors) = self.open()?;
        self.target.confirm()?;
        let order = self.order();
        let prepared = Instant::now();
        let mut entry = EntryProcess::start(self.binary, None)?;
        entry.joined().await??;
        let shim = entry.perform(order, descriptors).await?.shim;
        self.target.confirm()?;
        let entered = Instant::now();
        let mut failed = Vec::new();
        let mut exec_error = Receiver::from_owned_fd(ours.exec_error)?;
        let mut exit_status = Receiver::from_owned_fd(ours.exit_status)?;
        rustix::io::write(&ours.go, b"g")?;
        exec_error.read_to_end(&mut failed).await?;
        let executed = Instant::now();
        let status = exit_status.read_i32_le().await?;
        let ended = Instant::now();
        ensure!(failed.is_empty() && status == 0, "true: {failed:?}, {status}");
        let tools = format!("/proc/{shim}/root{}", tools_overlay::MOUNT_POINT);
        ensure!(Path::new(&tools).exists() == self.toolset.is_some(), "not the view asked for");
        let memory = crate::memory::pss(shim)?;
        end(shim)?;
        Ok(Took {
            prepare: prepared - begun,
            enter: entered - prepared,
            exec: executed - entered,
            command: ended - executed,
            shim: memory,
        })
    }

    fn open(&self) -> Result<(Ours, Vec<Descriptor>)> {
        let mut descriptors = vec![(Role::Root, self.target.root.try_clone()?)];
        for (kind, fd) in &self.target.namespaces {
            descriptors.push((Role::Namespace(*kind), fd.try_clone()?));
        }
        if let Some(toolset) = self.toolset {
            let owner = |map: &IdMap| map.outside(0).context("the target has no root");
            let root =
                Owner { uid: owner(&self.target.uid_map)?, gid: owner(&self.target.gid_map)? };
            let theirs = |kind| self.target.namespace(kind);
            let (processes, users) = (theirs(Namespace::Pid), theirs(Namespace::User));
            let parts = Parts::open(clone_folder(toolset)?, processes, users, root)?;
            descriptors.extend(parts.into_vec().into_iter().map(|(p, fd)| (Role::Part(p), fd)));
        }
        let pipe = || pipe_with(PipeFlags::CLOEXEC);
        let (stdout, stdout_end) = pipe()?;
        let (stderr, stderr_end) = pipe()?;
        let (exec_error, exec_error_end) = pipe()?;
        let (exit_status, exit_status_end) = pipe()?;
        let (go_end, go) = pipe()?;
        let null = |flags| open("/dev/null", flags | OFlags::CLOEXEC, Mode::empty());
        descriptors.extend([
            (Role::Stdin, null(OFlags::RDONLY)?),
            (Role::Stdout, stdout_end),
            (Role::Stderr, stderr_end),
            (Role::ExecError, exec_error_end),
            (Role::ExitStatus, exit_status_end),
            (Role::Go, go_end),
            (Role::Null, null(OFlags::RDWR)?),
        ]);
        Ok((Ours { _output: [stdout, stderr], exec_error, exit_status, go }, descriptors))
    }

    fn order(&self) -> Order {
        let credentials = &self.identity.credentials;
        Order {
            programs: programs(Some(b"true"), search_path(&[PATH.into()]), &Tools::Toolset, true),
            env: vec![PATH.into(), "HOME=/root".into(), "LANG=C.UTF-8".into()],
            workdir: b"/".to_vec(),
            workdir_required: false,
            uid: credentials.uid,
            gid: credentials.gid,
            groups: credentials.groups.clone(),
            capabilities: credentials.capabilities,
            no_new_privs: self.identity.no_new_privs,
            target_programs: self.identity.target_programs,
            ..Order::default()
        }
    }
}

/// Ends the shim and waits until it is gone, with its mounts: the next way does
/// not begin before.
fn end(shim: i32) -> Result<()> {
    let shim = Pid::from_raw(shim).context("the shim's PID is 0")?;
    kill_process(shim, Signal::KILL)?;
    waitpid(Some(shim), WaitOptions::empty())?;
    Ok(())
}
