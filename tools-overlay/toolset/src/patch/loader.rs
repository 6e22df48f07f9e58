//! Dynamic linker and library folder of a program: patchelf(1).

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use crate::elf::Facts;
use crate::program::output;
use crate::{HOME, LOADER};

/// Its name in `patches.lock`.
pub const NAME: &str = "patchelf";

/// Makes a program use our dynamic linker and our libraries.
///
/// `--force-rpath`: DT_RPATH is looked at before LD_LIBRARY_PATH, which the
/// target's image may set; patchelf's default is looked at after it. Says whether it had to.
pub fn relocate(file: &Path, facts: &Facts) -> Result<bool> {
    if !needs(file, facts) {
        return Ok(false);
    }
    let mut patchelf = Command::new("patchelf");
    if facts.interpreter {
        patchelf.arg("--set-interpreter").arg(format!("{HOME}/lib/{LOADER}"));
    }
    patchelf.args(["--force-rpath", "--set-rpath"]).arg(format!("{HOME}/lib")).arg(file);
    output(&mut patchelf)?;
    Ok(true)
}

/// The dynamic linker itself must not be touched, nor libc, which needs nothing
/// but the linker.
fn needs(file: &Path, facts: &Facts) -> bool {
    let name = file.file_name().unwrap_or_default();
    facts.dynamic && name != LOADER && name != "libc.so.6"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn linker_libc_and_static_programs_are_left_alone() {
        let dynamic = Facts { needed: Vec::new(), interpreter: true, dynamic: true };
        let fixed = Facts { needed: Vec::new(), interpreter: false, dynamic: false };
        assert!(needs(Path::new("bin/bash"), &dynamic));
        assert!(!needs(Path::new("bin/bpftrace-aotrt"), &fixed));
        assert!(!needs(Path::new("lib/libc.so.6"), &dynamic));
        assert!(!needs(Path::new("lib/ld-linux-x86-64.so.2"), &dynamic));
    }
}
