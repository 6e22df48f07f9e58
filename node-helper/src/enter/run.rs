//! The entry process: takes one order, performs the plan, becomes the command.
//! It is single-threaded, and executed anew for every session, so that nothing
//! of `serve` (keys, connections, memory) is in it.

use std::ffi::CStr;
use std::process::ExitCode;

use nix::sched::{CloneFlags, unshare};
use nix::sys::personality::{self, Persona};
use nix::sys::prctl;
use nix::sys::signal::Signal;
use prost::Message;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, open, openat2};
use rustix::io::Errno;
use rustix::mount::{MountPropagationFlags, mount_change};
use rustix::process::{chdir, chroot, fchdir, getcwd};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tools_overlay::{Parts, Wishes, Writes, discard};

use super::credentials::Credentials;
use super::message::{Descriptor, Limit, Order, Report, Role};
use super::plan::{Needs, Step, plan};
use super::start::start;
use super::{inherited, seal, spawn};
use crate::cgroup;
use crate::failure::tell;
use crate::sys::call;
use crate::sys::page::SharedNumber;
use crate::sys::seccomp::install_seccomp_filter;
use crate::sys::start::{Descriptors, SingleThreaded};
use crate::target::Namespace;

/// Why a step failed.
#[derive(Debug, thiserror::Error)]
enum Error {
    /// A system call failed.
    #[error("{0}")]
    Call(&'static str, #[source] Errno),
    /// The working directory that was asked for is not there, or closed.
    #[error("{0:?}")]
    Workdir(String, #[source] Errno),
    /// The view could not be built.
    #[error(transparent)]
    View(#[from] tools_overlay::Error),
    /// Something inherited could not be put back.
    #[error(transparent)]
    Inherited(#[from] inherited::Error),
    /// The identity could not be taken.
    #[error(transparent)]
    Credentials(#[from] super::credentials::Error),
}

impl Error {
    fn errno(&self) -> Errno {
        match self {
            Self::Call(_, errno)
            | Self::Workdir(_, errno)
            | Self::View(tools_overlay::Error { errno, .. })
            | Self::Inherited(inherited::Error { errno, .. })
            | Self::Credentials(super::credentials::Error::Call { errno, .. }) => *errno,
            Self::Credentials(super::credentials::Error::Differs(_)) => Errno::PERM,
        }
    }
}

/// Runs the entry process; stdin is the socket to `serve`.
pub fn main() -> ExitCode {
    // If it cannot be told `serve` is gone, and there is no order either.
    let _gone = join_cgroup();
    let performed =
        receive().map_err(|error| refused("receive the order", &error)).and_then(Entry::perform);
    let Err(report) = performed else { return ExitCode::SUCCESS };
    // If `serve` is gone there is nobody left to tell.
    let _gone = spawn::send_report(std::io::stdin().as_fd(), &report.encode_to_vec());
    ExitCode::FAILURE
}

fn refused(what: &str, error: &Error) -> Report {
    let hint = match error {
        Error::View(error) => error.hint().to_owned(),
        Error::Workdir(..) => "--workdir names a directory of the session, / for one".to_owned(),
        _ => String::new(),
    };
    let failed = format!("{what}: {error}");
    Report { failed, errno: error.errno().raw_os_error(), hint, ..Report::default() }
}

/// Joins its cgroup by what is its stdout, which is the helper's own stderr from
/// then on.
fn join_cgroup() -> rustix::io::Result<()> {
    let joined = cgroup::join(rustix::stdio::stdout());
    let closed = rustix::stdio::dup2_stdout(rustix::stdio::stderr());
    spawn::send_joined(rustix::stdio::stdin(), joined.and(closed))
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
    Ok(Entry { alone, order, descriptors, bare_root: None })
}

struct Entry {
    alone: SingleThreaded,
    order: Order,
    descriptors: Vec<Descriptor>,
    /// Of [`Step::CopyRoot`].
    bare_root: Option<OwnedFd>,
}

impl Entry {
    fn perform(mut self) -> Result<(), Report> {
        let namespaces: Vec<_> = self
            .descriptors
            .iter()
            .filter_map(|(role, _)| match role {
                Role::Namespace(kind) => Some(*kind),
                _ => None,
            })
            .collect();
        let needs = Needs {
            namespaces,
            view: self.descriptors.iter().any(|(role, _)| matches!(role, Role::Part(_))),
            discard: self.order.writes() == kpexec_protocol::Writes::Discard,
            label: self.order.label.is_some(),
            filter: !self.order.filters.is_empty(),
            no_new_privs: self.order.no_new_privs,
        };
        for step in plan(&needs) {
            self.step(step).map_err(|error| refused(step.name(), &error))?;
        }
        Ok(())
    }

    fn step(&mut self, step: Step) -> Result<(), Error> {
        match step {
            Step::Harden => harden(&self.order.limits),
            Step::LeaveKeyring => leave_keyring(),
            Step::SetLabel => self.set_label(),
            Step::Join(kind) => self.join(kind),
            Step::CopyRoot => self.copy_root(),
            Step::EnterRoot => self.enter_root(),
            Step::AssembleView => self.assemble_view(),
            Step::EnterWorkdir => self.enter_workdir(),
            Step::FilterWhilePrivileged | Step::Filter => self.filter(),
            Step::TakeIdentity => Ok(self.credentials().take()?),
            Step::VerifyIdentity => Ok(self.credentials().verify()?),
            Step::HardenAgain => harden_again(),
            Step::CloseDescriptors => self.close_descriptors(),
            Step::GiveUpPrivileges => give_up_privileges(),
            Step::Start => self.start(),
        }
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

    fn copy_root(&mut self) -> Result<(), Error> {
        self.bare_root = Some(discard::bare_root(self.descriptor(Role::Root)?)?);
        Ok(())
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

    fn assemble_view(&mut self) -> Result<(), Error> {
        let wishes = Wishes {
            programs: self.order.target_programs,
            writes: match self.order.writes() {
                kpexec_protocol::Writes::Through => Writes::Through,
                kpexec_protocol::Writes::Deny => Writes::Deny,
                kpexec_protocol::Writes::Discard => Writes::Discard,
            },
            writable: self.order.writable,
            tools_root: self.order.tools_root,
            volumes: std::mem::take(&mut self.order.volumes),
        };
        let bare_root = self.bare_root.take();
        let lower = bare_root.as_ref().map(AsFd::as_fd);
        let notes = tools_overlay::assemble(&self.take_parts(), lower, &wishes)?;
        let report = Report { notes, ..Report::default() }.encode_to_vec();
        spawn::send_report(std::io::stdin().as_fd(), &report)
            .map_err(|errno| Error::Call("tell how it is", errno))
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

    /// Goes to the working directory, resolved inside the view. The target's own
    /// may be missing or closed to us, which is no reason to fail: `/` is taken.
    fn enter_workdir(&self) -> Result<(), Error> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let workdir = self.order.workdir.as_slice();
        match openat2(CWD, workdir, flags, Mode::empty(), resolve).and_then(fchdir) {
            Err(errno) if self.order.workdir_required => {
                return Err(Error::Workdir(String::from_utf8_lossy(workdir).into_owned(), errno));
            }
            // The client shows it with -v.
            Err(errno) => {
                tell(&format!("the container's working directory cannot be entered: {errno}"));
            }
            Ok(()) => {}
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

    /// Taken over with execve(2). This process is in the helper's mounts still,
    /// whose `/proc` nobody else chooses.
    fn set_label(&self) -> Result<(), Error> {
        let Some(label) = &self.order.label else { return Ok(()) };
        let path = format!("/proc/thread-self/{}", label.file);
        let file = open(path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())
            .map_err(|errno| Error::Call("open the file that takes it", errno))?;
        let text = label.text.as_bytes();
        match rustix::io::write(&file, text) {
            Ok(written) if written == text.len() => Ok(()),
            Ok(_) => Err(Error::Call("write it whole", Errno::MSGSIZE)),
            Err(errno) => Err(Error::Call("write it", errno)),
        }
    }

    fn filter(&self) -> Result<(), Error> {
        self.order.filters.iter().try_for_each(|program| {
            install_seccomp_filter(program).map_err(|errno| Error::Call("install it", errno))
        })
    }

    /// stdout and stderr are the helper's own. stdin, the socket to `serve`, is
    /// needed until the last step.
    fn close_descriptors(&mut self) -> Result<(), Error> {
        let null = self.descriptor(Role::Null)?;
        let replaced =
            rustix::stdio::dup2_stdout(null).and_then(|()| rustix::stdio::dup2_stderr(null));
        replaced.map_err(|errno| Error::Call("close stdout and stderr", errno))?;
        let commands = [Role::Stdin, Role::Stdout, Role::Stderr];
        let shims = [Role::ExecError, Role::ExitStatus, Role::Go, Role::Null, Role::Report];
        self.descriptors.retain(|(role, _)| commands.contains(role) || shims.contains(role));
        Ok(())
    }

    /// From here on nobody can be told anything but by the page: what is open
    /// now the shim inherits, and the target can take it (A6).
    fn start(&mut self) -> Result<(), Error> {
        let page = SharedNumber::map(self.descriptor(Role::Report)?)
            .map_err(|errno| Error::Call("map the page for its report", errno))?;
        rustix::stdio::dup2_stdin(self.descriptor(Role::Null)?)
            .map_err(|errno| Error::Call("close stdin", errno))?;
        self.descriptors.retain(|(role, _)| ![Role::Report, Role::Null].contains(role));
        let shim = start(&self.alone, &self.order, self.given()?);
        page.set(shim.unwrap_or_else(|errno| -errno.raw_os_error()));
        Ok(())
    }

    fn given(&self) -> Result<Descriptors<'_>, Error> {
        Ok(Descriptors {
            stdin: self.descriptor(Role::Stdin)?,
            stdout: self.descriptor(Role::Stdout)?,
            stderr: self.descriptor(Role::Stderr)?,
            exec_error: self.descriptor(Role::ExecError)?,
            exit_status: self.descriptor(Role::ExitStatus)?,
            go: self.descriptor(Role::Go)?,
        })
    }
}

fn harden(limits: &[Limit]) -> Result<(), Error> {
    harden_again()?;
    super::credentials::leave_groups()?;
    // For ps(1) on the node.
    nix_call("set the name", prctl::set_name(ENTRY_NAME))?;
    inherited::reset(limits)?;
    nix_call("reset the personality", personality::set(Persona::empty()).map(drop))
}

/// As `ps` shows the entry process on the node.
const ENTRY_NAME: &CStr = c"kpexec-enter";

fn harden_again() -> Result<(), Error> {
    nix_call("forbid dumps", prctl::set_dumpable(false))?;
    nix_call("die with the helper", prctl::set_pdeathsig(Signal::SIGKILL))?;
    match (prctl::get_dumpable(), prctl::get_pdeathsig()) {
        (Ok(false), Ok(Some(Signal::SIGKILL))) => Ok(()),
        _ => Err(Error::Call("read back what was set", Errno::PERM)),
    }
}

/// Read back, as the identity is: a filter of the target may have the call do
/// nothing.
fn give_up_privileges() -> Result<(), Error> {
    nix_call("set no_new_privs", prctl::set_no_new_privs())?;
    match prctl::get_no_new_privs() {
        Ok(true) => Ok(()),
        _ => Err(Error::Call("set no_new_privs", Errno::PERM)),
    }
}

/// A helper pod under the runtime's default seccomp profile may not call
/// keyctl(2). Then no key can have been added to the keyring by us either; the
/// identity that is told to the client says so.
fn leave_keyring() -> Result<(), Error> {
    match call::join_new_session_keyring() {
        Ok(()) | Err(Errno::NOSYS | Errno::PERM) => Ok(()),
        Err(errno) => Err(Error::Call("join a new one", errno)),
    }
}

fn nix_call(what: &'static str, result: nix::Result<()>) -> Result<(), Error> {
    result.map_err(|errno| Error::Call(what, Errno::from_raw_os_error(errno as i32)))
}
