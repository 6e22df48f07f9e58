//! From a request to a running command, top to bottom: ask the runtime, pin the
//! process, open what the session needs, enter.

use kpexec_protocol::{Failure, Identity, Reason, Start, Started, Target};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use tokio::net::unix::pipe::Receiver;
use tokio::task::{JoinHandle, yield_now};
use tools_overlay::parts::Owner;
use tools_overlay::{Part, Parts};

use super::Context;
use super::executed::{self, Attempt, Executed, Waiting};
use super::order::{order, started};
use super::ready::{Ready, Starting};
use super::shim::Shim;
use super::streams::{self, Streams};
use super::view::{self, View};
use super::who;
use crate::cri::{self, Container, Runtime};
use crate::enter::message::{Descriptor, Role};
use crate::enter::spawn;
use crate::failure::{not_executable, ours};
use crate::target::{Namespace, TargetProcess, process};
use crate::tools::{ToolFiles, files};

/// A command that runs.
#[derive(Debug)]
pub(super) struct Running {
    pub shim: Shim,
    pub streams: Streams,
    /// Says how the command ended.
    pub exit_status: Receiver,
    pub target: TargetProcess,
    pub view: View,
    /// What the client is told of it.
    pub started: Started,
}

/// Why there is no running command.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("the request names no {0}")]
    Incomplete(&'static str),
    #[error(transparent)]
    Runtime(#[from] cri::Error),
    #[error(transparent)]
    Process(#[from] process::Error),
    #[error("the container restarted while it was entered")]
    Restarted,
    #[error("{kind} {id} does not exist in the container's user namespace")]
    Unmapped { kind: &'static str, id: u32 },
    #[error(transparent)]
    Who(#[from] who::Error),
    #[error("{0}: cannot be executed: Permission denied")]
    NotOurs(String),
    #[error("cannot open /dev/null")]
    Null(#[source] Errno),
    #[error("cannot prepare the view")]
    Parts(#[from] tools_overlay::Error),
    #[error(transparent)]
    View(#[from] view::Error),
    #[error(transparent)]
    Tools(#[from] files::Error),
    #[error("cannot open the session's streams")]
    Streams(#[from] streams::Error),
    #[error("cannot enter the container")]
    Enter(#[from] spawn::Error),
    #[error("cannot prepare the command's process")]
    Unprepared(#[source] Errno),
    #[error("cannot follow the command")]
    Follow(#[source] std::io::Error),
    #[error(transparent)]
    Executed(#[from] executed::Error),
}

impl Error {
    fn reason(&self) -> Reason {
        match self {
            // One that restarts refuses; what is not there is a wrong path.
            Self::Runtime(cri::Error::Connect { source, .. })
                if source.kind() == std::io::ErrorKind::NotFound =>
            {
                Reason::Runtime
            }
            _ => Reason::Helper,
        }
    }

    fn hint(&self) -> &str {
        match self {
            Self::Runtime(cri::Error::Connect { .. }) => "is --cri-socket right for this node?",
            Self::Runtime(cri::Error::NoSuchContainer(_) | cri::Error::NotRunning(_))
            | Self::Process(process::Error::Ended(_))
            | Self::Restarted => "the container ended or restarted: try again",
            Self::Runtime(cri::Error::Sandboxed(_)) => {
                "gVisor and Kata containers cannot be entered by kpexec yet: use kubectl exec"
            }
            Self::Unmapped { kind: "group", .. } => {
                "choose an id that /proc/self/gid_map of the container has"
            }
            Self::Unmapped { .. } => "choose an id that /proc/self/uid_map of the container has",
            Self::Who(error) => error.hint(),
            Self::Enter(spawn::Error::Step { hint, .. }) => hint,
            Self::Enter(spawn::Error::TimedOut) | Self::Executed(executed::Error::TimedOut) => {
                "a file system of the container may hang"
            }
            _ => "",
        }
    }
}

/// Begins the session; on failure nothing of it runs.
pub(super) async fn begin(
    context: &Context,
    start: Start,
    ready: Ready,
) -> Result<Running, Failure> {
    let program = start.argv.first().cloned().unwrap_or_default();
    let failed = |error: Error| {
        let reason = error.reason().into();
        Failure { reason, ..ours(&error, error.hint()) }
    };
    let (mut running, waiting) =
        enter(context, start, ready).await.map_err(|error| match error {
            Error::NotOurs(_) => not_executable(&program, libc::EACCES, false),
            error => failed(error),
        })?;
    let refused = match waiting.go().await {
        Ok(Executed::Runs(notice)) => {
            running.started.notices.extend(notice);
            return Ok(running);
        }
        Ok(Executed::Refused(refused)) => Ok(refused),
        Err(error) => Err(error),
    };
    let Running { shim, target, .. } = running;
    // First of all: the target's end waits for the shim to be reaped.
    shim.end(&context.procfs, &[]).await;
    let error = match refused {
        Ok(refused) => match refused.failure(&context.binary, target.root.as_fd()).await {
            Ok(failure) => return Err(failure),
            Err(errno) => Error::Unprepared(errno),
        },
        Err(error) => error.into(),
    };
    Err(failed(target.has_ended().await.map_or(error, Error::Process)))
}

async fn enter(context: &Context, start: Start, ready: Ready) -> Result<(Running, Waiting), Error> {
    let mut starting = ready.starting?;
    let entered = enter_by(context, &start, ready.runtime, &mut starting).await;
    if entered.is_err() {
        starting.abandon().await;
    }
    entered
}

async fn enter_by(
    context: &Context,
    start: &Start,
    runtime: Result<Runtime, cri::Error>,
    starting: &mut Starting,
) -> Result<(Running, Waiting), Error> {
    let wanted = start.target.as_ref().ok_or(Error::Incomplete("target"))?;
    let asked = start.identity.as_ref().ok_or(Error::Incomplete("identity"))?;
    let (pinned, target) = pin(context, runtime, wanted).await?;
    match join(context, start, asked, pinned, &target, starting).await {
        Ok((shim, streams, exit_status, view, started, waiting)) => {
            Ok((Running { shim, streams, exit_status, target, view, started }, waiting))
        }
        Err(error) => Err(target.has_ended().await.map_or(error, Error::Process)),
    }
}

/// What comes of joining the target, but for the target itself.
type Joined = (Shim, Streams, Receiver, View, Started, Waiting);

async fn join(
    context: &Context,
    start: &Start,
    asked: &Identity,
    pinned: Pinned,
    target: &TargetProcess,
    starting: &mut Starting,
) -> Result<Joined, Error> {
    let Pinned { container, again } = pinned;
    let who = who::who(context, asked, start.trust_target, &container, target).await?;
    let files = tool_files(context, start.tools_root).await?;
    let command = start.argv.first().map(|program| program.to_vec());
    let target_programs = who.identity.target_programs;
    if !target_programs {
        refuse_foreign(command.as_deref(), &files)?;
    }
    let credentials = &who.identity.credentials;
    let terminal_owner = owner(target, credentials.uid, credentials.gid)?;
    for group in &credentials.groups {
        mapped("group", *group, target.gid_map.outside(*group))?;
    }
    let (streams, ends) = Streams::open(start.terminal.as_ref(), start.stdin, terminal_owner)?;
    let (parts, mut view) = prepare_view(start, target, &files, ends.devpts)?;
    let pipe = || pipe_with(PipeFlags::CLOEXEC).map_err(|e| Error::Follow(e.into()));
    let (exec_error, exec_error_end) = pipe()?;
    let (exit_status, exit_status_end) = pipe()?;
    let (go_end, go) = pipe()?;
    let null = OFlags::RDWR | OFlags::CLOEXEC;
    let mut descriptors = target_descriptors(target)?;
    descriptors.extend(parts.into_vec().into_iter().map(|(part, fd)| (Role::Part(part), fd)));
    descriptors.extend([
        (Role::Stdin, ends.stdin),
        (Role::Stdout, ends.stdout),
        (Role::Stderr, ends.stderr),
        (Role::ExecError, exec_error_end),
        (Role::ExitStatus, exit_status_end),
        (Role::Go, go_end),
        (Role::Null, open("/dev/null", null, Mode::empty()).map_err(Error::Null)?),
    ]);
    target.confirm()?;
    let mut order = order(start, &who, &container, target, &view, &files.tools);
    files.resolve(&mut order.programs);
    let programs = order.programs.clone();
    if again.await.map_err(|e| Error::Follow(e.into()))?? != container {
        return Err(Error::Restarted);
    }
    let cgroup = starting.cgroup().await?;
    let has_cgroup = cgroup.is_some();
    let entered = starting.entry.perform(order, descriptors).await?;
    // If anything fails from here on `go` is dropped, and the shim ends without
    // having started anything.
    let shim = Shim::new(entered.shim, cgroup).map_err(Error::Follow)?;
    // Once more, now that we are inside: the container that was joined is the
    // one that was asked for, or nothing runs.
    target.confirm()?;
    let receiver = |fd: OwnedFd| Receiver::from_owned_fd(fd).map_err(Error::Follow);
    let attempt = Attempt { command, programs, target_programs, files };
    let waiting = Waiting { go, exec_error: receiver(exec_error)?, attempt };
    view.begin()?;
    let mut started = started(&who.identity, target, context, has_cgroup, &view);
    started.notices.extend(entered.notes);
    Ok((shim, streams, receiver(exit_status)?, view, started, waiting))
}

async fn tool_files(context: &Context, as_root: bool) -> Result<ToolFiles, Error> {
    let (procfs, cri_socket) = (&context.procfs, &context.cri_socket);
    match &context.tools_pod {
        Some(pod) => Ok(ToolFiles::of_container(procfs, cri_socket, pod, as_root).await?),
        None if as_root => Err(Error::Incomplete("tools image")),
        None => Ok(ToolFiles::of_folder(&context.toolset)?),
    }
}

/// A name is searched among our programs only; a path says whose it is.
fn refuse_foreign(command: Option<&[u8]>, files: &ToolFiles) -> Result<(), Error> {
    let foreign = |path: &&[u8]| path.contains(&b'/') && !files.tools.is_ours(path);
    match command.filter(foreign) {
        Some(path) => Err(Error::NotOurs(String::from_utf8_lossy(path).into_owned())),
        None => Ok(()),
    }
}

/// What the view is made of, and what is kept of it.
fn prepare_view(
    start: &Start,
    target: &TargetProcess,
    files: &ToolFiles,
    devpts: OwnedFd,
) -> Result<(Parts, View), Error> {
    let root = owner(target, 0, 0).unwrap_or(Owner { uid: 0, gid: 0 });
    let theirs = |kind| target.namespace(kind);
    let (processes, users) = (theirs(Namespace::Pid), theirs(Namespace::User));
    let tools = files.root.try_clone().map_err(Error::Follow)?;
    let mut parts = Parts::open(tools, processes, users, root)?;
    parts.add(Part::Devpts, devpts);
    let view = View::prepare(start, target, &mut parts)?;
    Ok((parts, view))
}

/// A container whose process is pinned.
struct Pinned {
    container: Container,
    /// What the runtime says of it since then. It is asked while all else is
    /// prepared.
    again: JoinHandle<Result<Container, cri::Error>>,
}

/// Asks the runtime, pins the process, asks again: the two answers and the
/// process agree, or the container changed in between.
async fn pin(
    context: &Context,
    runtime: Result<Runtime, cri::Error>,
    wanted: &Target,
) -> Result<(Pinned, TargetProcess), Error> {
    let mut runtime = runtime?;
    let container = runtime.container(wanted).await?;
    let target = TargetProcess::pin(&context.procfs, container.pid, &container.id)?;
    let wanted = wanted.clone();
    let again = tokio::spawn(async move { runtime.container(&wanted).await });
    // It goes out before this thread has other things to do.
    yield_now().await;
    Ok((Pinned { container, again }, target))
}

fn owner(target: &TargetProcess, uid: u32, gid: u32) -> Result<Owner, Error> {
    Ok(Owner {
        uid: mapped("user", uid, target.uid_map.outside(uid))?,
        gid: mapped("group", gid, target.gid_map.outside(gid))?,
    })
}

fn mapped(kind: &'static str, id: u32, outside: Option<u32>) -> Result<u32, Error> {
    outside.ok_or(Error::Unmapped { kind, id })
}

fn target_descriptors(target: &TargetProcess) -> Result<Vec<Descriptor>, Error> {
    let copy = |fd: &OwnedFd| fd.try_clone().map_err(Error::Follow);
    let mut descriptors = vec![(Role::Root, copy(&target.root)?)];
    for (kind, fd) in &target.namespaces {
        descriptors.push((Role::Namespace(*kind), copy(fd)?));
    }
    Ok(descriptors)
}
