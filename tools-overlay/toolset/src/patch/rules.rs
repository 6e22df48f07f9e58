//! Which strings of programs and libraries are overwritten, as data.
//!
//! A path that was compiled in leads to the target's files, as its `/` is the
//! session's. It is overwritten by one of the same length below `/.kpexec`,
//! which is why folders there have short names (`docs/toolset.md`). Nothing
//! moves in the file. Paths that are the target's business stay: `/etc/passwd`,
//! group, hosts, resolv.conf, localtime, and gdb's `/usr/lib/debug`.

/// What of a string has to match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// All of it, from NUL to NUL; the rest is filled with NULs.
    Whole,
    /// A part, wherever it stands; both are equally long.
    Part,
}

/// One replacement.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// Paths in the tree; `*` at the end stands for any rest.
    pub files: &'static [&'static str],
    /// What is looked for.
    pub from: &'static str,
    /// What takes its place.
    pub to: &'static str,
    /// How it is looked for.
    pub how: How,
    /// For a part: what may not follow it.
    pub unless: &'static [&'static str],
    /// Why.
    pub why: &'static str,
}

impl Rule {
    /// Its name in `patches.lock`.
    pub fn name(&self) -> String {
        self.from.escape_default().to_string()
    }

    /// Whether it is for that file.
    pub fn is_for(&self, path: &str) -> bool {
        matches(self.files, path)
    }

    /// Whether the file has to have it: it is named, not only matched.
    pub fn must_apply(&self, path: &str) -> bool {
        self.files.contains(&path)
    }
}

/// Whether a path is one of these; `*` at the end stands for any rest.
pub fn matches(patterns: &[&str], path: &str) -> bool {
    patterns.iter().any(|pattern| match pattern.strip_suffix('*') {
        Some(start) => path.starts_with(start),
        None => path == *pattern,
    })
}

const fn whole(
    files: &'static [&'static str],
    from: &'static str,
    to: &'static str,
    why: &'static str,
) -> Rule {
    Rule { files, from, to, how: How::Whole, unless: &[], why }
}

const fn part(
    files: &'static [&'static str],
    from: &'static str,
    to: &'static str,
    why: &'static str,
) -> Rule {
    Rule { files, from, to, how: How::Part, unless: &[], why }
}

const ALL: &[&str] = &["*"];

/// For every file.
pub const OF_ALL: &[Rule] = &[
    Rule {
        files: ALL,
        from: "/usr/share/",
        to: "/.kpexec/s/",
        how: How::Part,
        // Times are the target's. gdb knows by its own path where its data is.
        unless: &["zoneinfo", "gdb"],
        why: "data files; message catalogues, whose format strings would be the target's",
    },
    part(ALL, "/usr/lib/x86_64-linux-gnu/", "/.kpexec/x86_64-linux-gnu/", "plug-ins"),
    part(ALL, "/usr/libexec/", "/.kpexec/lib/", "programs of programs"),
    part(ALL, "/usr/lib/locale", "/.kpexec/locale", "the C.utf8 locale"),
    part(ALL, "/usr/lib/ssl", "/.kpexec/ssl", "openssl.cnf, which can load modules"),
    part(ALL, "/usr/lib/getconf", "/.kpexec/getconf", "programs that getconf starts"),
    part(ALL, "/etc/ssl/certs", "/.kpexec/certs", "whom to trust is not the target's to say"),
    part(ALL, "/etc/terminfo", "/.kpexec/term", "terminals"),
    part(ALL, "/lib/terminfo", "/.kpexec/term", "terminals"),
    part(ALL, "/etc/iproute2", "/.kpexec/ipr2", "names of tables and protocols"),
    part(ALL, "/etc/nsswitch.conf", "/.kpexec/nssw.conf", "CVE-2019-14271: it names modules"),
    whole(ALL, "/etc/inputrc", "/.kpexec/irc", "keys that type commands"),
];

const LOADER: &[&str] = &["lib/ld-linux-x86-64.so.2"];
const LIBC: &[&str] = &["lib/libc.so.6"];
const BASH: &[&str] = &["bin/bash"];
const VIM: &[&str] = &["bin/vim.basic", "bin/vim.tiny"];
const GIT: &[&str] = &["bin/git", "git-core/*"];
const P11: &[&str] = &["lib/libp11-kit.so.0"];

/// For single files. They are applied before those of all.
pub const OF_SOME: &[Rule] = &[
    // The dynamic linker: all of its folders, so that nothing that is missing
    // from ours is taken from the target. /dev is the session's own.
    part(LOADER, "/etc/ld.so.cache", "/.kpexec/l.cache", "where the target's libraries are"),
    part(LOADER, "/etc/ld.so.preload", "/.kpexec/l.preload", "libraries in every program"),
    part(
        LOADER,
        "/lib/x86_64-linux-gnu/\0/usr/lib/x86_64-linux-gnu/\0/lib/\0/usr/lib/\0",
        "/.kpexec/lib//////////\0/.kpexec/lib//////////////\0/dev/\0/.kpexec/\0",
        "the folders it looks into",
    ),
    whole(LIBC, "/etc/protocols", "/.kpexec/proto", "names of protocols, likewise"),
    whole(LIBC, "/bin:/usr/bin", "/.kpexec/bin", "PATH where there is none"),
    whole(BASH, "/etc/bash.bashrc", "/.kpexec/bash.rc", "start file"),
    whole(BASH, "/etc/profile", "/.kpexec/bpf", "start file"),
    whole(BASH, "/etc/bash.bash_logout", "/dev/bash.bash_logout", "start file"),
    whole(
        BASH,
        "/usr/local/bin:/usr/local/sbin:/usr/bin:/usr/sbin:/bin:/sbin:.",
        "/.kpexec/bin:/usr/bin:/usr/sbin:/bin:/sbin",
        "PATH where there is none",
    ),
    whole(
        BASH,
        "/usr/local/lib/bash:/usr/lib/bash:/opt/local/lib/bash:/usr/pkg/lib/bash:/opt/pkg/lib/bash:.",
        "/.kpexec/lib/bash",
        "libraries that `enable -f` loads",
    ),
    whole(&["bin/dash"], "/etc/profile", "/dev/profile", "start file"),
    // libmount starts mount.TYPE. The constant is two halves that overlap.
    part(
        &["lib/libmount.so.1"],
        "/sbin:/sbin/fs.d",
        "/.kpexec/bin\0\0\0\0",
        "programs that mount starts, first half",
    ),
    part(
        &["lib/libmount.so.1"],
        "n/fs.d:/sbin/fs\0",
        "in\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
        "programs that mount starts, second half",
    ),
    whole(&["bin/less"], "/etc/sysless", "/dev/sysless", "keys that run commands"),
    whole(&["bin/less"], "/etc/syslesskey", "/dev/syslesskey", "keys that run commands"),
    whole(&["bin/less"], "/usr/bin/.sysless", "/dev/nil/.sysless", "keys that run commands"),
    whole(&["bin/top"], "/etc/toprc", "/dev/toprc", "settings"),
    whole(&["bin/top"], "/etc/topdefaultrc", "/dev/topdefaultrc", "settings with commands"),
    part(VIM, "/etc/vim/vimrc", "/.kpexec/vimrc", "start file"),
    whole(
        VIM,
        "~/.vim,/var/lib/vim/addons,/etc/vim,$VIM/vimfiles,$VIMRUNTIME,$VIM/vimfiles/after,/etc/vim/after,/var/lib/vim/addons/after,~/.vim/after",
        "$VIMRUNTIME",
        "scripts",
    ),
    whole(
        VIM,
        "/var/lib/vim/addons,/etc/vim,$VIM/vimfiles,$VIMRUNTIME,$VIM/vimfiles/after,/etc/vim/after,/var/lib/vim/addons/after",
        "$VIMRUNTIME",
        "scripts",
    ),
    whole(&["bin/wget"], "/etc/wgetrc", "/dev/wgetrc", "settings that start programs"),
    whole(&["bin/nano"], "/etc/nanorc", "/dev/nanorc", "settings with commands"),
    whole(&["bin/htop"], "/etc/htoprc", "/dev/htoprc", "settings"),
    whole(&["bin/htop"], "/.config", "////////", "a folder that htop would make"),
    whole(
        &["bin/tmux"],
        "/etc/tmux.conf:~/.tmux.conf:$XDG_CONFIG_HOME/tmux/tmux.conf:~/.config/tmux/tmux.conf",
        "/.kpexec/tmux.conf",
        "start files",
    ),
    whole(
        &["bin/tmux"],
        "$TMUX_TMPDIR:/tmp/",
        "/dev/shm://///tmp/",
        "/tmp is the target's: so would the server be",
    ),
    // `.popt` of the home folder is put together by instructions.
    part(
        &["lib/libpopt.so.0"],
        "@\u{3}opt\0",
        "@\u{3}op/\0",
        "aliases that start programs, for rsync",
    ),
    whole(&["lib/libjemalloc.so.2"], "/etc/malloc.conf", "/dev/malloc.conf", "settings of dig"),
    whole(&["bin/ltrace"], "/etc/ltrace.conf", "/dev/ltrace.conf", "settings"),
    whole(
        &["lib/libmagic.so.1"],
        "/etc/magic:/usr/share/misc/magic",
        "/.kpexec/s/misc/magic",
        "rules",
    ),
    whole(
        &["lib/libpopt.so.0"],
        "/etc/popt",
        "/dev/popt",
        "aliases that start programs, for rsync",
    ),
    whole(
        &["lib/libpopt.so.0"],
        "/etc/popt.d",
        "/dev/popt.d",
        "aliases that start programs, for rsync",
    ),
    whole(
        &["lib/libpopt.so.0"],
        "/etc/popt.d/*",
        "/dev/popt.d/*",
        "aliases that start programs, for rsync",
    ),
    whole(
        &["lib/libwrap.so.0"],
        "/etc/hosts.allow",
        "/dev/hosts.allow",
        "commands that socat would run",
    ),
    whole(
        &["lib/libwrap.so.0"],
        "/etc/hosts.deny",
        "/dev/hosts.deny",
        "commands that socat would run",
    ),
    whole(P11, "/etc/pkcs11/modules", "/dev/pkcs11/modules", "libraries"),
    whole(P11, "/etc/pkcs11/pkcs11.conf", "/dev/pkcs11/pkcs11.conf", "libraries"),
    whole(P11, "~/.config/pkcs11/modules", "/dev/nnnnnnnnnnn/modules", "libraries"),
    whole(P11, "~/.config/pkcs11/pkcs11.conf", "/dev/nnnnnnnnnnn/pkcs11.conf", "libraries"),
    whole(
        &["lib/libgnutls.so.30"],
        "/etc/gnutls/config",
        "/dev/gnutls/config",
        "which ciphers wget accepts",
    ),
    whole(
        &["lib/libgnutls.so.30"],
        "/etc/gnutls/pkcs11.conf",
        "/dev/gnutls/pkcs11.conf",
        "libraries",
    ),
    whole(&["lib/libkrb5.so.3"], "/etc/krb5.conf", "/dev/krb5.conf", "libraries"),
    whole(&["lib/libgssapi_krb5.so.2"], "/etc/gss/mech", "/dev/gss/mech", "libraries"),
    whole(
        &["lib/libgssapi_krb5.so.2"],
        "/etc/gss/mech.d/*.conf",
        "/dev/gss/mech.d/*.conf",
        "libraries",
    ),
    whole(
        &["lib/libsasl2.so.2"],
        "/etc/sasl2:/etc/sasl:/usr/lib/x86_64-linux-gnu/sasl2:/usr/lib/sasl2",
        "/.kpexec/sasl2",
        "libraries",
    ),
    whole(&["lib/libldap-2.5.so.0"], "/etc/ldap/ldap.conf", "/dev/ldap/ldap.conf", "settings"),
    whole(&["bin/zsh"], "/etc/zsh/zshenv", "/.kpexec/zshenv", "start file, which ends all others"),
    part(GIT, "/usr/lib/git-core", "/.kpexec/git-core", "programs of git"),
    whole(GIT, "/etc/gitconfig", "/dev/gitconfig", "settings that start programs"),
    whole(GIT, "/etc/gitattributes", "/dev/gitattributes", "settings that start programs"),
    whole(GIT, "%s/.config/%s/%s", "/.kpexec/%s%s%s", "settings that start programs"),
    // `site` is in the interpreter itself; `~` and an absolute path are the path.
    whole(&["bin/python3.11", "lib/libpython3.11.so.1.0"], ".local", "/dev/n", "modules"),
    // The session's own, and gone with it.
    whole(
        &["bin/python3.11", "lib/libpython3.11.so.1.0"],
        ".python_history",
        "/dev/shm/pyhist",
        "what was typed is not left in the target",
    ),
    whole(&["lib/libsensors.so.5"], "/etc/sensors3.conf", "/dev/sensors3.conf", "settings"),
    whole(&["lib/libsensors.so.5"], "/etc/sensors.conf", "/dev/sensors.conf", "settings"),
    whole(&["lib/libsensors.so.5"], "/etc/sensors.d", "/dev/sensors.d", "settings"),
    part(&["bin/gdb"], "/etc/gdb/gdbinit", "/.kpexec/gdbinit", "start file"),
    // What holds where no start file is read: `gdb -nx`, gcore. It also
    // says whether the target's libthread_db may be loaded.
    whole(
        &["bin/gdb"],
        "$debugdir:$datadir/auto-load",
        // There is no such folder. The end of the string is a command's name.
        "/.kpexec/share/gdb/auto-load",
        "scripts that run with what is debugged, and from where they may be",
    ),
    whole(&["bin/perf"], "/etc/perfconfig", "/.kpexec/perfrc", "settings that start programs"),
    part(&["bin/perf"], "/tmp/perf-vdso", "/dev/shm/pvdso", "files it makes for a while"),
    whole(&["bin/nmap"], "%s/.nmap/%s", "/dev/%s%s", "scripts"),
    whole(
        &["lib/liblua5.3.so.0"],
        "/usr/local/share/lua/5.3/?.lua;/usr/local/share/lua/5.3/?/init.lua;/usr/local/lib/lua/5.3/?.lua;/usr/local/lib/lua/5.3/?/init.lua;/usr/share/lua/5.3/?.lua;/usr/share/lua/5.3/?/init.lua;./?.lua;./?/init.lua",
        "/.kpexec/share/lua/5.3/?.lua",
        "scripts of nmap",
    ),
    whole(
        &["lib/liblua5.3.so.0"],
        "/usr/local/lib/lua/5.3/?.so;/usr/lib/x86_64-linux-gnu/lua/5.3/?.so;/usr/lib/lua/5.3/?.so;/usr/local/lib/lua/5.3/loadall.so;./?.so",
        "/.kpexec/x86_64-linux-gnu/lua/5.3/?.so",
        "libraries of nmap",
    ),
    whole(&["bin/less"], "/usr/bin/editor", "/.kpexec/editor", "what v starts"),
    whole(&["bin/more", "bin/tmux"], "/usr/bin/vi", "/.kpexec/vi", "an editor"),
    whole(&["bin/perf"], "/usr/bin/pager", "/.kpexec/pager", "what shows long texts"),
    whole(&["bin/perf"], "/usr/bin/less", "/.kpexec/less", "what shows long texts"),
    whole(&["bin/diff"], "/usr/bin/pr", "/.kpexec/pr", "what -l starts"),
    part(&["bin/sar.sysstat"], "/usr/lib/sysstat", "/.kpexec/sysstat", "a program that sar starts"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_replacement_is_longer_and_parts_are_equally_long() {
        for rule in OF_ALL.iter().chain(OF_SOME) {
            match rule.how {
                How::Whole => assert!(rule.to.len() <= rule.from.len(), "{}", rule.name()),
                How::Part => assert_eq!(rule.to.len(), rule.from.len(), "{}", rule.name()),
            }
        }
    }

    #[test]
    fn every_rule_says_why_and_leads_into_the_session() {
        for rule in OF_ALL.iter().chain(OF_SOME) {
            assert!(!rule.why.is_empty(), "{}", rule.name());
            let good = ["/.kpexec", "/dev/", "$VIMRUNTIME", "//", "in\0", "@\u{3}op/"];
            assert!(good.iter().any(|start| rule.to.starts_with(start)), "{}", rule.name());
        }
    }

    #[test]
    fn a_rule_is_for_its_files() {
        let git = OF_SOME.iter().find(|rule| rule.from == "/etc/gitconfig").unwrap();
        assert!(git.is_for("bin/git") && git.is_for("git-core/git-remote-http"));
        assert!(!git.is_for("bin/gitk"));
        assert!(git.must_apply("bin/git") && !git.must_apply("git-core/git-remote-http"));
    }
}
