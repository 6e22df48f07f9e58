//! Whether the command was executed: told by a process of the target's PID
//! namespace, so read with care.

use std::time::Duration;

use kpexec_protocol::Failure;
use rustix::fd::{BorrowedFd, OwnedFd};
use rustix::io::Errno;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;
use tokio::time::timeout;

use crate::enter::seal::SealedBinary;
use crate::failure::{Wanted, incomplete, not_executable, not_found};
use crate::program::Program;
use crate::sys::start::{EXEC_ERROR_SIZE, MISSING, REFUSED, SECOND_BEST, UNPREPARED};
use crate::tools::ToolFiles;

/// How long execve(2) may take: it reads the program's first page, which may
/// lie on a file system that hangs.
pub(super) const EXEC_TIMEOUT: Duration = Duration::from_secs(10);

/// Why it is not known whether the command runs.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("cannot follow the command")]
    Follow(#[source] std::io::Error),
    #[error("the command did not start within {} s", EXEC_TIMEOUT.as_secs())]
    TimedOut,
}

/// The way to a shim that waits to be told to go on.
pub(super) struct Waiting {
    /// Takes one byte. Closed without it, the shim ends.
    pub go: OwnedFd,
    /// Says why no command runs.
    pub exec_error: Receiver,
    /// What is tried.
    pub attempt: Attempt,
}

impl Waiting {
    /// Lets the command start.
    pub async fn go(self) -> Result<Executed, Error> {
        // A pipe takes one byte at once.
        rustix::io::write(&self.go, b"g").map_err(|errno| Error::Follow(errno.into()))?;
        let most = self.attempt.programs.len() + 1;
        let executed = timeout(EXEC_TIMEOUT, exec_error(self.exec_error, most)).await;
        let told = executed.map_err(|_| Error::TimedOut)?.map_err(Error::Follow)?;
        Ok(match told {
            None => Executed::Runs(None),
            Some(told) if told.kind == SECOND_BEST => {
                Executed::Runs(told.second_best(&self.attempt.programs))
            }
            Some(told) => Executed::Refused(Refused { attempt: self.attempt, told }),
        })
    }
}

/// What became of a command.
pub(super) enum Executed {
    /// It runs; what the operator should know of it.
    Runs(Option<String>),
    /// It does not.
    Refused(Refused),
}

/// The files that are tried for the command.
pub(super) struct Attempt {
    /// The first word of the command line; none where any shell will do.
    pub command: Option<Vec<u8>>,
    /// The files it may stand for.
    pub programs: Vec<Program>,
    /// Whether those of the target can be executed.
    pub target_programs: bool,
    /// Where those of ours are.
    pub files: ToolFiles,
}

/// A command that does not run.
pub(super) struct Refused {
    attempt: Attempt,
    told: ExecError,
}

impl Refused {
    /// What the client is told. The error number, if the failure is ours.
    pub async fn failure(
        &self,
        binary: &SealedBinary,
        target: BorrowedFd<'_>,
    ) -> Result<Failure, Errno> {
        let Attempt { command, programs, target_programs, files } = &self.attempt;
        let (command, target_programs) = (command.as_deref(), *target_programs);
        let wanted = Wanted { command, target_programs, tools: &files.tools };
        if let Some(program) = self.told.incomplete(programs)
            && let Some((run_by, missing)) = files.missing(binary, target, program).await
        {
            return Ok(incomplete(&run_by, &missing, &files.tools));
        }
        self.told.failure(wanted, programs)
    }
}

impl ExecError {
    /// The program that is there although the kernel says it is not: what it
    /// names to be run by is missing.
    fn incomplete(self, programs: &[Program]) -> Option<&[u8]> {
        let program = programs.get(self.candidate)?;
        (self.kind == REFUSED && self.errno == libc::ENOENT).then_some(&program.path)
    }

    /// What the operator is told of a shell that is not the best there is.
    fn second_best(self, programs: &[Program]) -> Option<String> {
        let taken = String::from_utf8_lossy(&programs.get(self.candidate)?.path);
        Some(format!("a better shell of the tools cannot be executed here: this is {taken}"))
    }

    fn failure(self, wanted: Wanted<'_>, programs: &[Program]) -> Result<Failure, Errno> {
        let Self { errno, kind, candidate } = self;
        match kind {
            UNPREPARED => Err(Errno::from_raw_os_error(errno)),
            MISSING => Ok(not_found(wanted)),
            _ => {
                let tried = programs.get(candidate);
                let path = tried.map(|program| program.path.as_slice());
                // Whose it is matters, if it is one of the tools.
                let ours = path.filter(|_| tried.is_some_and(|program| program.ours));
                let program = ours.or(wanted.command).or(path).unwrap_or_default();
                Ok(not_executable(program, errno, wanted.target_programs))
            }
        }
    }
}

/// What is said when no command runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct ExecError {
    errno: i32,
    kind: i32,
    candidate: usize,
}

/// Waits until the command has been executed, or could not be, and gives what was
/// said last. No more is read than there can be: a target with CAP_SYS_PTRACE can write to the pipe too (threat
/// model, A43).
async fn exec_error(pipe: Receiver, most: usize) -> std::io::Result<Option<ExecError>> {
    let mut messages = Vec::with_capacity(EXEC_ERROR_SIZE);
    pipe.take((most * EXEC_ERROR_SIZE) as u64).read_to_end(&mut messages).await?;
    Ok(messages.chunks_exact(EXEC_ERROR_SIZE).last().and_then(exec_error_of))
}

/// Reads what is said when no command runs. What is no error number of Linux
/// was not said by us: it becomes an error all the same.
fn exec_error_of(message: &[u8]) -> Option<ExecError> {
    const LARGEST: i32 = 4095;
    let number = |at: usize| {
        let bytes = message.get(at..at + 4)?;
        Some(i32::from_ne_bytes(bytes.try_into().ok()?))
    };
    let errno = number(0)?;
    Some(ExecError {
        errno: if (1..=LARGEST).contains(&errno) { errno } else { libc::EIO },
        kind: number(4)?,
        candidate: usize::try_from(number(8)?).unwrap_or(usize::MAX),
    })
}

#[cfg(test)]
mod tests {
    use kpexec_protocol::Reason;

    use super::*;
    use crate::tools::Tools;

    fn message(errno: i32, kind: i32, candidate: i32) -> Vec<u8> {
        [errno, kind, candidate].map(i32::to_ne_bytes).concat()
    }

    #[test]
    fn an_exec_error_is_a_number_a_kind_and_a_candidate() {
        let told = exec_error_of(&message(libc::ENOENT, MISSING, 3));
        assert_eq!(told, Some(ExecError { errno: libc::ENOENT, kind: MISSING, candidate: 3 }));
        assert_eq!(exec_error_of(b""), None);
    }

    const NO_COMMAND: Wanted<'_> =
        Wanted { command: None, target_programs: true, tools: &Tools::Toolset };

    fn program(path: &[u8]) -> Program {
        Program { path: path.into(), name: b"sh".into(), ours: path.starts_with(b"/.kpexec") }
    }

    #[tokio::test]
    async fn what_is_said_last_counts_and_no_more_is_read_than_there_can_be() {
        let (input, output) = rustix::pipe::pipe().unwrap();
        let second = [message(2, SECOND_BEST, 1), message(13, REFUSED, 2)].concat();
        rustix::io::write(&output, &second).unwrap();
        // Held open: a hostile writer never ends.
        let _held = output.try_clone().unwrap();
        let told = exec_error(Receiver::from_owned_fd(input).unwrap(), 2).await.unwrap();
        assert_eq!(told, Some(ExecError { errno: 13, kind: REFUSED, candidate: 2 }));
    }

    #[test]
    fn a_shell_that_is_second_best_is_named() {
        let told = ExecError { errno: libc::ENOENT, kind: SECOND_BEST, candidate: 1 };
        let programs = [program(b"/.kpexec/bin/bash"), program(b"/bin/sh")];
        let notice = told.second_best(&programs).unwrap();
        assert!(notice.ends_with("this is /bin/sh"), "{notice}");
        // Said by somebody else.
        assert_eq!(told.second_best(&programs[..1]), None);
    }

    #[test]
    fn noise_is_an_error_that_can_be_shown() {
        for errno in [0, -1, 4096, i32::MIN, i32::MAX] {
            let told = exec_error_of(&message(errno, 77, -1)).unwrap();
            assert_eq!(told.errno, libc::EIO);
            let failure = told.failure(NO_COMMAND, &[program(b"/bin/sh")]).unwrap();
            assert_eq!(failure.reason(), Reason::NotExecutable);
        }
    }

    #[test]
    fn a_missing_interpreter_is_one_where_the_program_is_not_missing() {
        let programs = [program(b"/bin/sh"), program(b"/app")];
        let told = |errno, kind, candidate| ExecError { errno, kind, candidate };
        let incomplete = told(libc::ENOENT, REFUSED, 1);
        assert_eq!(incomplete.incomplete(&programs), Some(&b"/app"[..]));
        for other in [
            told(libc::EACCES, REFUSED, 1),
            told(libc::ENOENT, MISSING, 1),
            told(libc::ENOENT, REFUSED, 9),
        ] {
            assert_eq!(other.incomplete(&programs), None, "{other:?}");
        }
    }

    #[test]
    fn a_shell_that_cannot_be_executed_is_named() {
        let programs = [program(b"/.kpexec/bin/sh"), program(b"/bin/sh")];
        let told = ExecError { errno: libc::EACCES, kind: REFUSED, candidate: 1 };
        let failure = told.failure(NO_COMMAND, &programs).unwrap();
        assert_eq!(failure.message, "/bin/sh: cannot be executed: Permission denied");
    }
}
