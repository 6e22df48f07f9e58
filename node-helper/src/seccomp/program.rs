//! One seccomp program, as bytes that can travel to the entry process.

use seccompiler::sock_filter;

/// Size of `struct sock_filter`.
const INSTRUCTION_SIZE: usize = 8;

/// The most the kernel takes: `BPF_MAXINSNS`.
const MOST_INSTRUCTIONS: usize = 4096;

/// These bytes cannot be a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} bytes cannot be a seccomp program")]
pub struct NotAProgram(pub usize);

/// One program for seccomp(2): an array of `struct sock_filter`, in this
/// machine's byte order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program(Vec<u8>);

impl Program {
    /// Takes a program that has travelled. Whether its instructions are sound
    /// is for the kernel to check, as it does on installation.
    ///
    /// # Errors
    /// When it is not of whole instructions, has none or too many.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, NotAProgram> {
        let instructions = bytes.len() / INSTRUCTION_SIZE;
        let whole = bytes.len().is_multiple_of(INSTRUCTION_SIZE);
        if whole && (1..=MOST_INSTRUCTIONS).contains(&instructions) {
            Ok(Self(bytes))
        } else {
            Err(NotAProgram(bytes.len()))
        }
    }

    /// Lays the instructions out as the kernel reads them.
    pub(super) fn from_instructions(
        instructions: impl IntoIterator<Item = sock_filter>,
    ) -> Result<Self, NotAProgram> {
        let bytes = instructions.into_iter().flat_map(|instruction| {
            let [code, code_end] = instruction.code.to_ne_bytes();
            let [k, k1, k2, k3] = instruction.k.to_ne_bytes();
            [code, code_end, instruction.jt, instruction.jf, k, k1, k2, k3]
        });
        Self::from_bytes(bytes.collect())
    }

    /// The program, to be installed.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The program, to be sent.
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}
