//! Compiling the NSS module, `nss/kpexec.c`.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use crate::key;
use crate::program::output;

/// Builds the module into a file. The same compiler makes the same bytes.
pub fn compile(to: &Path) -> Result<()> {
    let mut gcc = Command::new("gcc");
    // Relative, so that no path of this machine gets into it.
    gcc.current_dir(key::source().join("nss"));
    gcc.args(["-std=c11", "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-s"]);
    gcc.args([
        "-Wl,--build-id=none",
        "-Wl,-z,relro,-z,now",
        "-Wl,-soname,libnss_kpexec.so.2",
        "-o",
    ]);
    output(gcc.arg(to).arg("kpexec.c")).map(drop)
}
