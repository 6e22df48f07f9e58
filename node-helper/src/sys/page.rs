//! A number in memory that two processes share and their children do not.

use std::ptr::NonNull;
use std::sync::atomic::{AtomicI32, Ordering};

use rustix::fd::{AsRawFd, BorrowedFd};
use rustix::io;

use super::call::last_errno;

/// How much is mapped: the smallest page there is holds the number.
const LENGTH: usize = 4096;

/// A number at the start of a file, mapped.
pub(crate) struct SharedNumber(NonNull<AtomicI32>);

impl SharedNumber {
    /// Maps `file`, which holds a number at least: mmap(2), `MAP_SHARED`.
    /// Children do not inherit the mapping: madvise(2), `MADV_DONTFORK`.
    ///
    /// # Errors
    /// What the two calls say.
    pub(crate) fn map(file: BorrowedFd<'_>) -> io::Result<Self> {
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: the kernel chooses an address where nothing is mapped yet, so
        // no memory of this process changes its meaning; it is unmapped at this
        // process's end only, which outlives `Self`.
        let memory = unsafe {
            libc::mmap(std::ptr::null_mut(), LENGTH, access, libc::MAP_SHARED, file.as_raw_fd(), 0)
        };
        if memory == libc::MAP_FAILED {
            return Err(last_errno());
        }
        // SAFETY: the range is the one just mapped.
        if unsafe { libc::madvise(memory, LENGTH, libc::MADV_DONTFORK) } != 0 {
            return Err(last_errno());
        }
        NonNull::new(memory.cast()).map(Self).ok_or(io::Errno::NOMEM)
    }

    /// Sets the number.
    pub(crate) fn set(&self, number: i32) {
        // SAFETY: `map` made this point to the start of a page, aligned for any
        // number; this process has it mapped, and whoever shares the file reads
        // it by pread(2).
        unsafe { self.0.as_ref() }.store(number, Ordering::SeqCst);
    }
}
