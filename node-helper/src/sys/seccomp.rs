//! Installing seccomp programs.

use rustix::io::{self, Errno};

use super::call::last_errno;

/// Size of `struct sock_filter`.
const INSTRUCTION_SIZE: usize = size_of::<libc::sock_filter>();

/// Filters the system calls of this thread, and of what it forks, for good:
/// seccomp(2), `SECCOMP_SET_MODE_FILTER`. Neither allocates nor locks, so that
/// it can be called between fork and exec.
///
/// # Errors
/// `EACCES` without no_new_privs and without CAP_SYS_ADMIN in the user
/// namespace; `EINVAL` if these bytes are no program; whatever a filter
/// installed before answers to seccomp(2).
pub(crate) fn install_seccomp_filter(program: &[u8]) -> io::Result<()> {
    if !program.len().is_multiple_of(INSTRUCTION_SIZE) {
        return Err(Errno::INVAL);
    }
    let length = u16::try_from(program.len() / INSTRUCTION_SIZE).map_err(|_| Errno::INVAL)?;
    let program = libc::sock_fprog { len: length, filter: program.as_ptr().cast_mut().cast() };
    // SAFETY: `program` lives through the call and says truly how many
    // instructions are behind its pointer. The kernel copies them as bytes
    // (bpf_prog_create_from_user), so it does not matter that the pointer may be
    // unaligned for a `sock_filter`, and writes nothing, so that it may come
    // from a shared reference.
    let result = unsafe {
        libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const program)
    };
    if result == 0 { Ok(()) } else { Err(last_errno()) }
}

/// Makes a system call and tells what came of it, for tests of filters.
/// Arguments are passed on for calls that take numbers only; for all others
/// they are 0.
#[cfg(test)]
pub(crate) fn attempt(number: libc::c_long, arguments: [u64; 3]) -> io::Result<()> {
    const NUMBERS_ONLY: [libc::c_long; 10] = [
        libc::SYS_getegid,
        libc::SYS_geteuid,
        libc::SYS_getgid,
        libc::SYS_getpid,
        libc::SYS_getppid,
        libc::SYS_gettid,
        libc::SYS_getuid,
        libc::SYS_personality,
        libc::SYS_socket,
        libc::SYS_unshare,
    ];
    let [a, b, c] = if NUMBERS_ONLY.contains(&number) { arguments } else { [0; 3] };
    // SAFETY: the calls of the list take no pointer; for others every pointer
    // is null.
    let result = unsafe { libc::syscall(number, a, b, c, 0_u64, 0_u64, 0_u64) };
    if result == -1 { Err(last_errno()) } else { Ok(()) }
}
