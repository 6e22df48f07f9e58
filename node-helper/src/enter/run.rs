//! The entry process: takes one order, performs the plan, becomes the command.
//! It is single-threaded, and executed anew for every session, so that nothing
//! of `serve` (keys, connections, memory) is in it.

use std::ffi::CStr;
use std::process::ExitCode;

use nix::sched::{CloneFlags, unshare};
use nix::sys::personality::{self, Persona};
use nix::sys::prctl;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::Signal;
use nix::sys::stat::{Mode as Umask, umask};
use prost::Message;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, open, openat2};
use rustix::io::Errno;
use rustix::mount::{MountPropagationFlags, mount_change};
use rustix::process::{chdir, chroot, fchdir, getcwd};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tools_overlay::Parts;

use super::credentials::Credentials;
use super::message::{Descriptor, Order, Report, Role};
use super::plan::{Step, plan};
use super::start::start;
use super::{seal, spawn};
use crate::sys::call;
use crate::sys::start::{Descriptors, SingleThreaded};
use crate::target::Namespace;

/// Why a step failed.
#[derive(Debug, thiserror::Error)]
enum Error {
    /// A system call failed.
    #[error("{0}")]
    Call(&'static str, #[source] Errno),
    /// The view could not be built.
    #[error(transparent)]
    View(#[from] tools_overlay::Error),
    /// The identity could not be taken.
    #[error(transparent)]
    Credentials(#[from] super::credentials::Error),
}

impl Error {
    fn errno(&self) -> Errno {
        match self {
            Self::Call(_, errno)
            | Self::View(tools_overlay::Error { errno, .. })
            | Self::Credentials(super::credentials::Error::Call { errno, .. }) => *errno,
            Self::Credentials(super::credentials::Error::Differs(_)) => Errno::PERM,
        }
    }
}

/// Runs the entry process; stdin is the socket to `serve`.
pub fn main() -> ExitCode {
    let report = match receive() {
        Ok(mut entry) => entry.perform(),
        Err(error) => refused("receive the order", &error),
    };
    let done = report.shim != 0;
    // If `serve` is gone there is nobody left to tell.
    let told = spawn::send_report(std::io::stdin().as_fd(), &report.encode_to_vec()).is_ok();
    if done && told { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn refused(what: &str, error: &Error) -> Report {
    let failed = format!("{what}: {error}");
    Report { shim: 0, failed, errno: error.errno().raw_os_error() }
}

/// Takes the order, before anything else is open.
fn receive() -> Result<Entry, Error> {
    let alone = SingleThreaded::confirm()
        .map_err(|errno| Error::Call("confirm that it has one thread", errno))?;
    // Whatever was inherited is not ours to keep.
    call::close_from(3).map_err(|errno| Error::Call("close what was inherited", errno))?;
    if !seal::is_sealed() {
        return Err(Error::Call("run from a sealed copy", Errno::PERM));
    }
    let (order, descriptors) = spawn::receive_order(std::io::stdin().as_fd())
        .map_err(|errno| Error::Call("read it", errno))?;
    Ok(Entry { alone, order, descriptors })
}

struct Entry {
    alone: SingleThreaded,
    order: Order,
    descriptors: Vec<Descriptor>,
}

impl Entry {
    fn perform(&mut self) -> Report {
        let namespaces: Vec<_> = self
            .descriptors
            .iter()
            .filter_map(|(role, _)| match role {
                Role::Namespace(kind) => Some(*kind),
                _ => None,
            })
            .collect();
        for step in plan(&namespaces) {
            match self.step(step) {
                Ok(None) => {}
                Ok(Some(shim)) => return Report { shim, ..Report::default() },
                Err(error) => {
                    // The client shows it with the failure.
                    eprintln!("{} comes {}", step.name(), step.reason());
                    return refused(step.name(), &error);
                }
            }
        }
        Report { failed: "the plan has no start".into(), ..Report::default() }
    }

    /// Performs one step; [`Step::Start`] gives the shim's PID.
    fn step(&mut self, step: Step) -> Result<Option<i32>, Error> {
        match step {
            Step::Harden => harden()?,
            Step::LeaveKeyring => leave_keyring()?,
            Step::Join(kind) => self.join(kind)?,
            Step::EnterRoot => self.enter_root()?,
            Step::AssembleView => tools_overlay::assemble(&self.take_parts())?,
            Step::EnterWorkdir => self.enter_workdir()?,
            Step::TakeIdentity => self.credentials().take()?,
            Step::VerifyIdentity => self.credentials().verify()?,
            Step::HardenAgain => harden_again()?,
            Step::CloseDescriptors => self.close_descriptors()?,
            Step::Start => return self.start().map(Some),
        }
        Ok(None)
    }

    fn descriptor(&self, wanted: Role) -> Result<BorrowedFd<'_>, Error> {
        self.descriptors
            .iter()
            .find(|(role, _)| *role == wanted)
            .map(|(_, fd)| fd.as_fd())
            .ok_or(Error::Call("find a descriptor", Errno::BADF))
    }

    fn join(&self, kind: Namespace) -> Result<(), Error> {
        let kernel_kind = match kind {
            Namespace::Cgroup => LinkNameSpaceType::ControlGroup,
            Namespace::Ipc => LinkNameSpaceType::InterProcessCommunication,
            Namespace::Mount => LinkNameSpaceType::Mount,
            Namespace::Network => LinkNameSpaceType::Network,
            Namespace::Pid => LinkNameSpaceType::ProcessID,
            Namespace::User => LinkNameSpaceType::User,
            Namespace::Uts => LinkNameSpaceType::HostNameAndNISDomainName,
        };
        move_into_link_name_space(self.descriptor(Role::Namespace(kind))?, Some(kernel_kind))
            .map_err(|errno| Error::Call("setns", errno))
    }

    /// The order matters: the working directory is translated to the copied
    /// mount by unshare(2), a descriptor is not. Private is set from the
    /// namespace's root down, because the target's root need not be a mount.
    fn enter_root(&self) -> Result<(), Error> {
        let call = |what| move |errno| Error::Call(what, errno);
        fchdir(self.descriptor(Role::Root)?).map_err(call("enter the target's root"))?;
        nix_call("copy the mount namespace", unshare(CloneFlags::CLONE_NEWNS))?;
        let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
        mount_change("/", private).map_err(call("make the copy private"))?;
        chroot(".").map_err(call("change root"))?;
        chdir("/").map_err(call("enter the root"))
    }

    fn take_parts(&mut self) -> Parts {
        let (parts, rest) = self
            .descriptors
            .drain(..)
            .partition::<Vec<_>, _>(|(role, _)| matches!(role, Role::Part(_)));
        self.descriptors = rest;
        let parts = parts.into_iter().filter_map(|(role, fd)| match role {
            Role::Part(part) => Some((part, fd)),
            _ => None,
        });
        Parts::from_vec(parts.collect())
    }

    /// Goes to the target's working directory, resolved inside the view. One
    /// that is missing or closed to us is no reason to fail: `/` is taken.
    fn enter_workdir(&self) -> Result<(), Error> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let workdir = self.order.workdir.as_slice();
        if let Err(errno) = openat2(CWD, workdir, flags, Mode::empty(), resolve).and_then(fchdir) {
            // The client shows it with -v.
            eprintln!("the container's working directory cannot be entered: {errno}");
        }
        let cwd = getcwd(Vec::new()).map_err(|e| Error::Call("read the working directory", e))?;
        if !cwd.as_bytes().starts_with(b"/") {
            return Err(Error::Call("stay inside the root", Errno::XDEV));
        }
        Ok(())
    }

    fn credentials(&self) -> Credentials {
        Credentials {
            uid: self.order.uid,
            gid: self.order.gid,
            groups: self.order.groups.clone(),
            capabilities: self.order.capabilities,
        }
    }

    /// stdout and stderr are the helper's own. stdin, the socket to `serve`, is
    /// needed until the report; the shim closes it before anything else.
    fn close_descriptors(&mut self) -> Result<(), Error> {
        let null = null()?;
        let replaced =
            rustix::stdio::dup2_stdout(&null).and_then(|()| rustix::stdio::dup2_stderr(&null));
        replaced.map_err(|errno| Error::Call("close stdout and stderr", errno))?;
        self.descriptors.retain(|(role, _)| {
            matches!(
                role,
                Role::Stdin
                    | Role::Stdout
                    | Role::Stderr
                    | Role::ExecError
                    | Role::ExitStatus
                    | Role::Go
            )
        });
        Ok(())
    }

    fn start(&self) -> Result<i32, Error> {
        let null = null()?;
        let descriptors = Descriptors {
            stdin: self.descriptor(Role::Stdin)?,
            stdout: self.descriptor(Role::Stdout)?,
            stderr: self.descriptor(Role::Stderr)?,
            exec_error: self.descriptor(Role::ExecError)?,
            exit_status: self.descriptor(Role::ExitStatus)?,
            go: self.descriptor(Role::Go)?,
            null: null.as_fd(),
        };
        start(&self.alone, &self.order, descriptors).map_err(|errno| Error::Call("fork", errno))
    }
}

/// The view's own, so the kernel's.
fn null() -> Result<OwnedFd, Error> {
    open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
        .map_err(|errno| Error::Call("open /dev/null", errno))
}

fn harden() -> Result<(), Error> {
    harden_again()?;
    super::credentials::leave_groups()?;
    // For ps(1) on the node.
    nix_call("set the name", prctl::set_name(ENTRY_NAME))?;
    // Not 0: that still runs a piped core_pattern, in the node's namespaces and
    // as root. 1 is the kernel's own guard against recursion and stops both
    // (fs/coredump.c).
    nix_call("limit core dumps", setrlimit(Resource::RLIMIT_CORE, 1, 1))?;
    umask(Umask::from_bits_truncate(0o022));
    nix_call("reset the personality", personality::set(Persona::empty()).map(drop))
}

/// As `ps` shows the entry process on the node.
const ENTRY_NAME: &CStr = c"kpexec-enter";

fn harden_again() -> Result<(), Error> {
    nix_call("forbid dumps", prctl::set_dumpable(false))?;
    nix_call("die with the helper", prctl::set_pdeathsig(Signal::SIGKILL))
}

/// A helper pod under the runtime's default seccomp profile may not call
/// keyctl(2). Then no key can have been added to the keyring by us either.
fn leave_keyring() -> Result<(), Error> {
    match call::join_new_session_keyring() {
        Ok(()) | Err(Errno::NOSYS | Errno::PERM) => Ok(()),
        Err(errno) => Err(Error::Call("join a new one", errno)),
    }
}

fn nix_call(what: &'static str, result: nix::Result<()>) -> Result<(), Error> {
    result.map_err(|errno| Error::Call(what, Errno::from_raw_os_error(errno as i32)))
}
