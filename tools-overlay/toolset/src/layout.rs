//! Where a file of a package goes in the tree, or that it stays out. Pure.
//!
//! Programs go to `bin`. Shared libraries are not placed here: the ones that
//! are needed come from [`crate::libraries`]. What a program finds by a path
//! that was compiled in goes where the equally long path of
//! [`crate::patch::rules`] leads: `/usr/lib/x` to `/.kpexec/x`.

use crate::TRIPLET;

/// What is taken of a package.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Named by a profile: programs, data and plug-ins.
    Wanted,
    /// Only needed by another: plug-ins.
    Needed,
}

/// Programs that are of no use in a container, or that would run code of the
/// target. Names in one string belong together.
const LEFT_OUT: &[&str] = &[
    // They load the PAM modules that the target's /etc/pam.d names.
    "runuser su sulogin",
    // Accounts, disks, the machine.
    "agetty chcpu ctrlaltdel fsck fsck.cramfs fsck.minix fsfreeze fstrim getty hwclock",
    "mkfs mkfs.bfs mkfs.cramfs mkfs.minix mkswap pivot_root swaplabel swapoff swapon",
    "switch_root wipefs zramctl",
    // Building and packaging.
    "add-shell bashbug dh_bash-completion gawkbug iconvconfig installkernel ischroot ldconfig ldd",
    "ld.so localedef py3clean py3compile py3versions pygettext3 pygettext3.11 remove-shell run-parts",
    "savelog tzselect update-ca-certificates update-shells zic",
    // Documentation that is not there, restricted shells that are none.
    "pdb3 pdb3.11 pydoc3 pydoc3.11 rbash rzsh vimtutor helpztags",
    // Of git only a server needs the one, which is large as the other.
    "git-shell scalar",
    // They need perl or gcc, or start what a file's name says.
    "c_rehash gdb-add-index lessfile lesspipe",
    // They start programs of the target by their paths, or write files that do.
    "bzexe gzexe iptables-apply rrsync zsh5",
    // Large, for what another does: neighbours, zstd -T.
    "arpd pzstd",
    // A profiler of programs that were built for it.
    "gp-archive gp-collect-app gp-display-html gp-display-src gp-display-text gprofng",
];

/// Folders of `share` that programs read.
const SHARED: &[&str] =
    &["awk", "bash-completion", "gdb", "git-core", "misc", "nmap", "perf-core", "terminfo", "vim"];

/// Parts of the above that nobody needs in a container.
const SHARED_LEFT_OUT: &[&str] = &[
    // It runs the target's Makefile to see what is in it.
    "bash-completion/completions/make",
    "gdb/auto-load/",
    "git-core/contrib/",
    // Samples, of which some want perl at its path.
    "git-core/templates/hooks/",
    "vim/vim90/autoload/phpcomplete.vim",
    "vim/vim90/autoload/xml/",
    "vim/vim90/doc/",
    "vim/vim90/keymap/",
    "vim/vim90/lang/",
    "vim/vim90/macros/",
    "vim/vim90/print/",
    "vim/vim90/spell/",
    "vim/vim90/tools/",
    "vim/vim90/tutor/",
    "vim/vim90/debian.vim.orig",
];

/// Folders of `lib` and `libexec`, and where they go.
const PRIVATE: &[(&str, &str)] = &[
    // libstdbuf.so; `/usr/libexec/` is as long as `/.kpexec/lib/`.
    ("coreutils/", "lib/coreutils/"),
    ("file/magic.mgc", "lib/file/magic.mgc"),
    ("git-core/", "git-core/"),
    ("locale/C.utf8/", "locale/C.utf8/"),
    // Found beside the program: bin/../lib.
    ("python3.11/", "lib/python3.11/"),
    ("sysstat/sadc", "sysstat/sadc"),
];

/// Programs of git that only a server needs, 2 MB each, and others.
const GIT_LEFT_OUT: &[&str] = &[
    "git",
    "git-add--interactive",
    "git-cvsserver",
    "git-daemon",
    // They start what is at a path of the target.
    "git-filter-branch",
    "git-request-pull",
    "git-web--browse",
    "git-http-backend",
    "git-http-push",
    "git-imap-send",
    "git-instaweb",
    "git-send-email",
    "git-shell",
    "git-svn",
    "scalar",
];

/// Parts of python's library that a toolbox can do without.
const PYTHON_LEFT_OUT: &[&str] = &[
    "ensurepip/",
    "idlelib/",
    "lib2to3/",
    "pydoc_data/",
    "test/",
    "tkinter/",
    "turtledemo/",
    // A link to /etc, which is the target's.
    "sitecustomize.py",
];

/// Folders of plug-ins beside the libraries.
const PLUGINS: &[&str] = &["awk/", "gawk/", "ossl-modules/", "tc/", "xtables/", "zsh/"];

/// For ATM networks, with a library of its own.
const PLUGINS_LEFT_OUT: &[&str] = &["tc/q_atm.so"];

/// Character sets beside the built-in ones: glibc has 250, of 15 MB.
const CHARACTER_SETS: &[&str] =
    &["CP1252.so", "ISO8859-1.so", "ISO8859-15.so", "UTF-16.so", "UTF-32.so", "gconv-modules"];

/// Files of `/etc` that programs read as data.
const SETTINGS: &[(&str, &str)] = &[
    ("iproute2/", "ipr2/"),
    ("protocols", "proto"),
    ("services", "serv"),
    ("ssl/openssl.cnf", "ssl/openssl.cnf"),
];

/// Where the file of a package goes, relative to `/.kpexec`.
pub fn place(path: &str, role: Role) -> Option<String> {
    // Debian is on its way from /bin to /usr/bin: both are one.
    let path = path.strip_prefix("usr/").unwrap_or(path);
    let (top, rest) = path.split_once('/')?;
    match top {
        "bin" | "sbin" | "games" if role == Role::Wanted => program(rest),
        "lib" | "libexec" => library(rest, role),
        "share" if role == Role::Wanted => shared(rest),
        "etc" if role == Role::Wanted => moved(rest, SETTINGS),
        _ => None,
    }
}

fn program(name: &str) -> Option<String> {
    let left_out = left_out().any(|other| is_program(name, other));
    (!name.contains('/') && !left_out).then(|| format!("bin/{name}"))
}

fn left_out() -> impl Iterator<Item = &'static str> {
    LEFT_OUT.iter().flat_map(|group| group.split(' '))
}

/// Those of binutils are links to files with the machine in their names.
fn is_program(file: &str, name: &str) -> bool {
    let plain = file.strip_prefix(TRIPLET).and_then(|rest| rest.strip_prefix('-'));
    file == name || plain == Some(name)
}

/// Names that are left out, but that none of these paths has.
pub fn left_out_of_none(paths: &[String]) -> Vec<&'static str> {
    let has =
        |name| paths.iter().any(|path| is_program(path.rsplit('/').next().unwrap_or(path), name));
    left_out().filter(|name| !has(name)).collect()
}

fn shared(path: &str) -> Option<String> {
    let (folder, _) = path.split_once('/')?;
    let taken = SHARED.contains(&folder)
        && !SHARED_LEFT_OUT.iter().any(|left_out| path.starts_with(left_out));
    taken.then(|| format!("share/{path}"))
}

fn library(path: &str, role: Role) -> Option<String> {
    if let Some(plugin) = path.strip_prefix(TRIPLET).and_then(|rest| rest.strip_prefix('/')) {
        let taken = match plugin.strip_prefix("gconv/") {
            Some(name) => CHARACTER_SETS.contains(&name),
            None => {
                PLUGINS.iter().any(|folder| plugin.starts_with(folder))
                    && !PLUGINS_LEFT_OUT.contains(&plugin)
            }
        };
        return taken.then(|| format!("{TRIPLET}/{plugin}"));
    }
    if role == Role::Needed {
        return None;
    }
    // ncurses-base keeps the common terminals here.
    if path.starts_with("terminfo/") {
        return Some(format!("share/{path}"));
    }
    let left_out = |folder: &str, names: &[&str]| {
        let below = path.strip_prefix(folder);
        below.is_some_and(|below| names.iter().any(|name| is_or_is_below(below, name)))
    };
    if left_out("git-core/", GIT_LEFT_OUT) || left_out("python3.11/", PYTHON_LEFT_OUT) {
        return None;
    }
    if path.starts_with("python3.11/config-") || path.contains("__pycache__") {
        return None;
    }
    moved(path, PRIVATE)
}

fn is_or_is_below(path: &str, name: &str) -> bool {
    if name.ends_with('/') { path.starts_with(name) } else { path == name }
}

fn moved(path: &str, table: &[(&str, &str)]) -> Option<String> {
    table.iter().find_map(|(from, to)| {
        if from.ends_with('/') {
            path.strip_prefix(from).map(|rest| format!("{to}{rest}"))
        } else {
            (path == *from).then(|| (*to).to_owned())
        }
    })
}

/// The path in a package that a link of it leads to, or `None` where that is
/// outside of every package.
pub fn link_target(link: &str, target: &str) -> Option<String> {
    let mut parts: Vec<&str> = Vec::new();
    if !target.starts_with('/') {
        parts.extend(link.rsplit_once('/').map_or("", |(folder, _)| folder).split('/'));
    }
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_file_has_its_place() {
        for (path, expected) in [
            ("bin/bash", Some("bin/bash")),
            ("usr/sbin/tcpdump", Some("bin/tcpdump")),
            ("usr/bin/su", None),
            ("usr/bin/x86_64-linux-gnu-gprofng", None),
            ("usr/bin/x86_64-linux-gnu-gprof", Some("bin/x86_64-linux-gnu-gprof")),
            ("usr/bin/bzexe", None),
            ("usr/share/vim/vim90/syntax/c.vim", Some("share/vim/vim90/syntax/c.vim")),
            ("usr/share/vim/vim90/doc/x.txt", None),
            ("usr/share/doc/bash/copyright", None),
            ("lib/terminfo/x/xterm", Some("share/terminfo/x/xterm")),
            ("usr/lib/git-core/git-remote-http", Some("git-core/git-remote-http")),
            ("usr/lib/git-core/git-daemon", None),
            ("usr/lib/python3.11/ssl.py", Some("lib/python3.11/ssl.py")),
            ("usr/lib/python3.11/test/x.py", None),
            ("usr/lib/python3.11/sitecustomize.py", None),
            ("usr/lib/x86_64-linux-gnu/libz.so.1", None),
            ("usr/lib/x86_64-linux-gnu/gconv/UTF-16.so", Some("x86_64-linux-gnu/gconv/UTF-16.so")),
            ("usr/lib/x86_64-linux-gnu/gconv/IBM037.so", None),
            ("usr/libexec/coreutils/libstdbuf.so", Some("lib/coreutils/libstdbuf.so")),
            ("etc/services", Some("serv")),
            ("etc/iproute2/rt_tables", Some("ipr2/rt_tables")),
            ("etc/bash.bashrc", None),
            ("etc/pam.d/su", None),
        ] {
            assert_eq!(place(path, Role::Wanted).as_deref(), expected, "{path}");
        }
    }

    #[test]
    fn what_is_left_out_in_vain_is_named() {
        let mut paths: Vec<String> = left_out().map(|name| format!("usr/bin/{name}")).collect();
        assert!(left_out_of_none(&paths).is_empty());
        paths.retain(|path| path != "usr/bin/gprofng");
        assert_eq!(left_out_of_none(&paths), ["gprofng"]);
    }

    #[test]
    fn of_a_dependency_only_plug_ins_are_taken() {
        let module = "usr/lib/x86_64-linux-gnu/ossl-modules/legacy.so";
        let placed = Some("x86_64-linux-gnu/ossl-modules/legacy.so");
        assert_eq!(place(module, Role::Needed).as_deref(), placed);
        for path in ["usr/bin/perl", "usr/share/awk/a.awk", "etc/services", "lib/terminfo/x/x"] {
            assert_eq!(place(path, Role::Needed), None, "{path}");
        }
    }

    #[test]
    fn links_are_followed_inside_of_the_packages() {
        let of = |link, target| link_target(link, target);
        assert_eq!(of("usr/bin/xzcat", "xz").as_deref(), Some("usr/bin/xz"));
        assert_eq!(of("usr/bin/x", "../lib/y").as_deref(), Some("usr/lib/y"));
        assert_eq!(
            of("usr/bin/vi", "/etc/alternatives/vi").as_deref(),
            Some("etc/alternatives/vi")
        );
        assert_eq!(of("bin/x", "../../../y"), None);
    }
}
