//! From fork to exec. Three processes are in play:
//!
//! * the **entry process** calls [`spawn_shim`] and ends soon after;
//! * the **shim** is the entry process's sibling, so `serve` is its parent. It
//!   is the first process of ours in the target's PID namespace. It does nothing
//!   until `serve` tells it to go on, and ends if `serve` never does; then it
//!   reaps what the command leaves behind, says how the command ended, and
//!   waits to be killed;
//! * the **command** is the shim's child.
//!
//! Neither the shim nor the command allocates, locks or logs: all memory they
//! use was prepared by the entry process.

use std::ffi::CString;
use std::ptr;

use libc::{c_char, c_int, c_long, pid_t};
use rustix::fd::{AsRawFd, BorrowedFd, RawFd};
use rustix::io::{self, Errno};

use super::call::last_errno;

/// What is said when no command runs, or another than was hoped for: the error
/// number, one of [`MISSING`], [`REFUSED`], [`UNPREPARED`] and [`SECOND_BEST`], and
/// the index of the candidate that decided, as three native `i32`. What is said
/// last counts.
pub(crate) const EXEC_ERROR_SIZE: usize = 12;

/// No candidate is there.
pub(crate) const MISSING: i32 = 0;
/// The last candidate that is there cannot be executed.
pub(crate) const REFUSED: i32 = 1;
/// A step of ours before execve(2) failed.
pub(crate) const UNPREPARED: i32 = 2;
/// A better one is there and cannot be executed: this one is tried.
pub(crate) const SECOND_BEST: i32 = 3;

/// What the shim says when the command has ended: the wait status as a native
/// `i32`.
pub(crate) const EXIT_STATUS_SIZE: usize = 4;

/// The descriptors of the shim and the command.
pub(crate) struct Descriptors<'a> {
    /// The command's stdin; the terminal, where it has one.
    pub stdin: BorrowedFd<'a>,
    pub stdout: BorrowedFd<'a>,
    pub stderr: BorrowedFd<'a>,
    /// Where a failed execve(2) is told: a pipe with close-on-exec set.
    pub exec_error: BorrowedFd<'a>,
    /// Where the command's end is told.
    pub exit_status: BorrowedFd<'a>,
    /// A pipe: one byte tells the shim to go on.
    pub go: BorrowedFd<'a>,
}

/// A file that may be the command's program.
pub(crate) struct Candidate {
    pub path: CString,
    /// `argv[0]`, if it is this one.
    pub name: CString,
    /// What becomes of the others if it is there and cannot be executed.
    pub refused: Refused,
}

/// See [`Candidate::refused`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// They are tried.
    GoOn,
    /// They are tried, and which one is taken is told.
    Tell,
    /// They are not what was meant.
    Stop,
}

/// A command, and what its two processes work with.
pub(crate) struct Command<'a> {
    /// To be tried in turn.
    pub candidates: &'a [Candidate],
    /// What follows `argv[0]`.
    pub arguments: &'a [CString],
    pub env: &'a [CString],
    /// Whether stdin becomes the controlling terminal.
    pub terminal: bool,
    pub descriptors: Descriptors<'a>,
}

/// The same, as execve(2) takes it: prepared before the processes exist.
struct Prepared<'a> {
    command: &'a Command<'a>,
    /// Path and null-terminated arguments of each.
    candidates: Vec<(*const c_char, Vec<*const c_char>)>,
    /// Null-terminated.
    env: Vec<*const c_char>,
}

impl<'a> Prepared<'a> {
    fn new(command: &'a Command<'a>) -> Self {
        let ended = |first: Option<&CString>, rest: &[CString]| {
            let texts = first.into_iter().chain(rest).map(|text| text.as_ptr());
            texts.chain([ptr::null()]).collect::<Vec<_>>()
        };
        let candidate = |candidate: &Candidate| {
            (candidate.path.as_ptr(), ended(Some(&candidate.name), command.arguments))
        };
        Self {
            command,
            candidates: command.candidates.iter().map(candidate).collect(),
            env: ended(None, command.env),
        }
    }
}

/// Proof that this process had one thread. The entry process, the only one to
/// ask, starts none afterwards.
pub(crate) struct SingleThreaded(());

impl SingleThreaded {
    /// Counts the threads: proc_pid_status(5).
    ///
    /// # Errors
    /// `EBUSY` if there are several, or `/proc` does not tell.
    pub(crate) fn confirm() -> io::Result<Self> {
        let status = std::fs::read_to_string("/proc/self/status").map_err(|_| Errno::BUSY)?;
        let threads = status.lines().find_map(|line| line.strip_prefix("Threads:"));
        if threads.is_some_and(|count| count.trim() == "1") {
            Ok(Self(()))
        } else {
            Err(Errno::BUSY)
        }
    }
}

/// Starts the shim, which starts the command. Returns the shim's PID as this
/// process's PID namespace numbers it.
///
/// # Errors
/// When clone(2) fails.
pub(crate) fn spawn_shim(_: &SingleThreaded, command: &Command<'_>) -> io::Result<pid_t> {
    let prepared = Prepared::new(command);
    // SAFETY: this process has one thread, as the caller has proved, so its
    // child sees no lock held by another. The child runs `shim` only, which
    // neither allocates nor returns.
    match unsafe { fork_with(libc::CLONE_PARENT) } {
        0 => shim(&prepared),
        pid if pid > 0 => Ok(pid),
        _ => Err(last_errno()),
    }
}

/// fork(2) with more flags, without glibc's handlers, which may lock.
///
/// # Safety
/// The caller is single-threaded, and the child does nothing but
/// async-signal-safe calls until execve(2) or _exit(2).
unsafe fn fork_with(flags: c_int) -> pid_t {
    // SAFETY: a null stack means "go on with a copy of this one", as fork does;
    // the remaining pointers are unused without their flags.
    let pid = unsafe {
        libc::syscall(
            libc::SYS_clone,
            c_long::from(flags | libc::SIGCHLD),
            ptr::null::<u8>(),
            ptr::null::<u8>(),
            ptr::null::<u8>(),
            0,
        )
    };
    // Truncation cannot happen: PIDs have at most 22 bits.
    pid as pid_t
}

/// The shim's whole life.
fn shim(prepared: &Prepared<'_>) -> ! {
    let given = &prepared.command.descriptors;
    // SAFETY: all calls below take integers, or pointers to constants and to
    // memory of `prepared`, which this process holds a copy of; the child
    // forked here runs `command` only, which does not return either.
    unsafe {
        // Here, because changing credentials has cleared it before.
        prepared_or_end(given, libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL));
        // Orphans of the command come to us, not to the target's first
        // process, whatever the helper's own setting: the search for a
        // subreaper ends at the PID namespace.
        prepared_or_end(given, libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1));
        prepared_or_end(given, libc::prctl(libc::PR_SET_NAME, c"kpexec-shim".as_ptr()));
        let mut byte = 0_u8;
        if libc::read(given.go.as_raw_fd(), (&raw mut byte).cast(), 1) != 1 {
            // `serve` has gone or does not want us: that may have happened
            // before the parent-death signal was set.
            libc::_exit(125);
        }
        let own = libc::getpid();
        let child = fork_with(0);
        if child == 0 {
            command(prepared, own);
        }
        prepared_or_end(given, child);
        // Held open, the command's own pipes would never end.
        for fd in [given.stdin, given.stdout, given.stderr, given.exec_error, given.go] {
            libc::close(fd.as_raw_fd());
        }
        reap(child, given.exit_status.as_raw_fd())
    }
}

/// Reaps for ever; says how `child` ended.
///
/// # Safety
/// To be called in the shim only: it never returns.
unsafe fn reap(child: pid_t, exit_status: RawFd) -> ! {
    loop {
        let mut status: c_int = 0;
        // SAFETY: `status` is a valid place for the result.
        let ended = unsafe { libc::waitpid(-1, &raw mut status, 0) };
        if ended == child {
            // SAFETY: the bytes written are those of a live local variable.
            unsafe {
                libc::write(exit_status, (&raw const status).cast(), EXIT_STATUS_SIZE);
                libc::close(exit_status);
            }
        } else if ended < 0 && last_errno() == Errno::CHILD {
            // No child is left; none can come. `serve` kills us.
            // SAFETY: takes nothing.
            unsafe { libc::pause() };
        }
    }
}

/// Becomes the command.
///
/// # Safety
/// To be called in the shim's child only: it never returns.
unsafe fn command(prepared: &Prepared<'_>, shim: pid_t) -> ! {
    let given = &prepared.command.descriptors;
    // SAFETY: integers and prepared memory only, as in `shim`.
    unsafe {
        prepared_or_end(given, libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL));
        if libc::getppid() != shim {
            *libc::__errno_location() = libc::ESRCH;
            refuse(given.exec_error, UNPREPARED, 0);
        }
        prepared_or_end(given, libc::setsid());
        if prepared.command.terminal {
            prepared_or_end(given, libc::ioctl(given.stdin.as_raw_fd(), libc::TIOCSCTTY, 0));
        }
        for (standard, fd) in (0..).zip([given.stdin, given.stdout, given.stderr]) {
            prepared_or_end(given, libc::dup2(fd.as_raw_fd(), standard));
        }
        reset_signals();
        // Close-on-exec is set on all of ours already; this is for what the
        // container runtime may have left open. Linux 5.11; harmless before.
        libc::syscall(libc::SYS_close_range, 3, u32::MAX, libc::CLOSE_RANGE_CLOEXEC);
        execute(prepared)
    }
}

/// Rust ignores SIGPIPE, and what is ignored or blocked survives execve(2).
///
/// # Safety
/// To be called in a process that handles no signal of its own any more.
unsafe fn reset_signals() {
    // SAFETY: an all-zero `sigaction` is SIG_DFL without flags; signals that
    // cannot be changed answer EINVAL, which is what we want of them.
    unsafe {
        let default: libc::sigaction = std::mem::zeroed();
        for signal in 1..=64 {
            libc::sigaction(signal, &raw const default, ptr::null_mut());
        }
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, ptr::null_mut());
    }
}

/// Tries each candidate, as execvp(3) does, but without its fallback to a
/// shell. The last one that is tried and is there decides what is said.
///
/// # Safety
/// To be called in the shim's child only: it never returns.
unsafe fn execute(prepared: &Prepared<'_>) -> ! {
    let mut kind = MISSING;
    let mut errno = libc::ENOENT;
    let mut decided = 0;
    let mut telling = false;
    let exec_error = prepared.command.descriptors.exec_error;
    let given = prepared.command.candidates;
    for (index, ((path, argv), candidate)) in (0..).zip(prepared.candidates.iter().zip(given)) {
        // SAFETY: `Prepared::new` has made `path` a C string that lives, and
        // both lists end with a null pointer.
        let (error, exists) = unsafe {
            if telling && libc::faccessat(libc::AT_FDCWD, *path, libc::F_OK, 0) == 0 {
                say(exec_error, errno, SECOND_BEST, index);
            }
            libc::execve(*path, argv.as_ptr(), prepared.env.as_ptr());
            let error = *libc::__errno_location();
            (error, libc::faccessat(libc::AT_FDCWD, *path, libc::F_OK, 0) == 0)
        };
        if exists || (error != libc::ENOENT && error != libc::ENOTDIR) {
            kind = REFUSED;
            errno = error;
            decided = index;
            if candidate.refused == Refused::Stop {
                break;
            }
            telling |= candidate.refused == Refused::Tell;
        }
    }
    say(exec_error, errno, kind, decided);
    // SAFETY: takes an integer.
    unsafe { libc::_exit(127) }
}

/// Goes on if `result` is one of success. A step dropped in silence would be a
/// process without its death signal, or one that still holds our socket.
fn prepared_or_end(given: &Descriptors<'_>, result: c_int) {
    if result < 0 {
        refuse(given.exec_error, UNPREPARED, 0);
    }
}

/// Says why there is no command, and ends.
fn refuse(exec_error: BorrowedFd<'_>, kind: c_int, candidate: c_int) -> ! {
    // SAFETY: reads this thread's own error number.
    say(exec_error, unsafe { *libc::__errno_location() }, kind, candidate);
    // SAFETY: takes an integer.
    unsafe { libc::_exit(127) }
}

fn say(exec_error: BorrowedFd<'_>, errno: c_int, kind: c_int, candidate: c_int) {
    let message: [c_int; 3] = [errno, kind, candidate];
    // SAFETY: the bytes written are those of a live local array.
    unsafe { libc::write(exec_error.as_raw_fd(), message.as_ptr().cast(), EXEC_ERROR_SIZE) };
}
