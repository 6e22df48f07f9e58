//! Root file systems that are hard on foreign programs: one with nothing but a
//! static program, one with musl, one whose libc is broken.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::decoys::{self, write};
use super::images::{install_busybox, stage_root};
use super::layout;
use crate::run;

/// Nothing but the program; not even `/tmp`.
pub fn stage_scratch(context: &Path) -> Result<()> {
    let root = context.join("root");
    fs::create_dir_all(&root)?;
    decoys::lay(&root)?;
    compile(&["gcc", "-static"], &root)
}

/// As Alpine: musl, busybox, no glibc.
pub fn stage_musl(context: &Path) -> Result<()> {
    let root = context.join("root");
    stage_root(&root)?;
    decoys::lay(&root)?;
    write_users(&root)?;
    fs::create_dir_all(root.join("bin"))?;
    install_busybox(&root.join("bin"))?;
    let (loader, libc) = ("lib/ld-musl-x86_64.so.1", "lib/libc.musl-x86_64.so.1");
    fs::create_dir_all(root.join("lib"))?;
    // Loader and libc are one file.
    fs::copy(Path::new("/").join(loader), root.join(loader)).context("musl is not installed")?;
    symlink("ld-musl-x86_64.so.1", root.join(libc))?;
    compile(&["musl-gcc"], &root)
}

/// Whatever a glibc program reads at its start is there, and broken.
pub fn stage_broken_libc(context: &Path) -> Result<()> {
    let root = context.join("root");
    stage_root(&root)?;
    decoys::lay(&root)?;
    write_users(&root)?;
    // A loader and libraries that are empty.
    write(&root.join("lib64/ld-linux-x86-64.so.2"), b"")?;
    for folder in ["lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu"] {
        for library in LIBRARIES {
            write(&root.join(folder).join(library), b"")?;
        }
        write(&root.join(folder).join("gconv/gconv-modules.cache"), GARBAGE)?;
    }
    write(&root.join("etc/ld.so.preload"), b"/lib/x86_64-linux-gnu/libm.so.6\n")?;
    write(&root.join("etc/nsswitch.conf"), b"passwd: evil\ngroup: evil\nhosts: evil\n")?;
    for file in NO_SENSE {
        write(&root.join(file), GARBAGE)?;
    }
    compile(&["gcc", "-static"], &root)
}

/// What programs of Debian are linked with, and a module nsswitch.conf names.
const LIBRARIES: &[&str] = &[
    "libc.so.6",
    "libcrypto.so.3",
    "libcurl.so.4",
    "libdl.so.2",
    "libm.so.6",
    "libnss_dns.so.2",
    "libnss_evil.so.2",
    "libnss_files.so.2",
    "libpthread.so.0",
    "libselinux.so.1",
    "libssl.so.3",
    "libthread_db.so.1",
    "libtinfo.so.6",
    "libz.so.1",
];

/// Caches, locales and terminals that are none.
const NO_SENSE: &[&str] = &[
    "etc/ld.so.cache",
    "etc/terminfo/s/screen",
    "etc/terminfo/x/xterm",
    "lib/terminfo/s/screen",
    "lib/terminfo/x/xterm",
    "usr/lib/locale/C.utf8/LC_CTYPE",
    "usr/lib/locale/locale-archive",
    "usr/share/misc/magic.mgc",
    "usr/share/terminfo/s/screen",
    "usr/share/terminfo/x/xterm",
];

const GARBAGE: &[u8] = b"\xff\x00kpexec-decoy\x7f\xfe\n";

fn write_users(root: &Path) -> Result<()> {
    write(&root.join("etc/passwd"), b"root:x:0:0:root:/root:/bin/sh\n")?;
    write(&root.join("etc/group"), b"root:x:0:\n")
}

/// The source of the program in all of these roots.
pub fn app() -> PathBuf {
    layout::checkout().join("tests/cluster/images/roots/app.c")
}

/// Compiles it into a root, by a compiler and its own options.
pub fn compile(compiler: &[&str], root: &Path) -> Result<()> {
    let (program, options) = compiler.split_first().context("no compiler")?;
    let mut compiler = Command::new(program);
    // For debuggers: symbols, and every function with a frame of its own. The
    // paths of this machine stay out of them.
    compiler.args(["-std=gnu11", "-D_GNU_SOURCE", "-O0", "-g", "-fno-omit-frame-pointer"]);
    compiler.args(["-ffile-prefix-map=/=", "-Wall", "-Werror", "-pthread", "-o"]);
    // Libraries among the options have to come behind the source.
    run::quietly(compiler.arg(root.join("app")).arg(app()).args(options))
}
