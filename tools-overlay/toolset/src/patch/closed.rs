//! Files below the home folder, which is the target's, that no program of ours
//! may take its settings from.
//!
//! Where the program takes a path as it is, it gets one below `/dev`, which is
//! the session's own. Where it puts the home folder in front, the last letter
//! of the name becomes a slash: there is no such file then, and none can be
//! made; a folder of that name is still no file. Either way the length stays,
//! so this also works where the compiler put the name into an instruction, and
//! the end of the string, where others share it.

use super::rules::{How, Rule};

/// Files of the tree, and the strings that name what they must not read.
type Closed = (&'static [&'static str], How, &'static [(&'static str, &'static str)]);

/// Each string stands beside its replacement, so that a reader sees both.
const CLOSED: &[Closed] = &[
    (
        &["bin/bash"],
        How::Whole,
        &[
            ("~/.bashrc", "/dev/nnrc"),
            ("~/.profile", "/dev/nfile"),
            ("~/.bash_profile", "/dev/nn/profile"),
            ("~/.bash_login", "/dev/nn/login"),
            ("~/.bash_logout", "/dev/nn/logout"),
            ("~/.bash_history", "/dev/nnnhistory"),
            ("~/.sh_history", "/dev/nhistory"),
            ("~/.inputrc", "/dev/nnnrc"),
        ],
    ),
    (&["bin/dash"], How::Whole, &[("$HOME/.profile", "/dev/n.profile")]),
    (&["lib/libreadline.so.8"], How::Whole, &[("~/.inputrc", "/dev/nnnrc")]),
    (&["lib/libtinfo.so.6"], How::Whole, &[("%s/.terminfo", "/dev/nnminfo")]),
    (
        &["bin/less"],
        How::Whole,
        &[(".less", ".les/"), (".lesskey", ".lesske/"), (".lesshst", ".lesshs/")],
    ),
    (&["bin/top"], How::Whole, &[("%s/.%src", "%s/.%sr/"), ("%s/procps/%src", "%s/procps/%sr/")]),
    (
        &["bin/vim.basic", "bin/vim.tiny"],
        How::Whole,
        &[
            ("$HOME/.vimrc", "/dev/n.vimrc"),
            ("$HOME/.exrc", "/dev/n.exrc"),
            ("~/.vim/vimrc", "/dev/nnvimrc"),
        ],
    ),
    (&["bin/vim.basic"], How::Whole, &[("$HOME/.viminfo", "/dev/nnviminfo")]),
    (&["bin/dig"], How::Whole, &[("%s/.digrc", "%s/.digr/")]),
    (
        &["bin/nano"],
        How::Whole,
        &[("/.nanorc", "/.nanor/"), ("/.config/nano/nanorc", "/.config/nano/nanor/")],
    ),
    (
        &["bin/htop"],
        How::Whole,
        &[("/.htoprc", "/.htopr/"), ("/.config/htop/htoprc", "/.config/htop/htopr/")],
    ),
    (&["bin/jq"], How::Part, &[("~/.jq", "/dev/")]),
    (&["bin/wget"], How::Whole, &[(".wgetrc", ".wgetr/"), (".wget-hsts", ".wget/hsts")]),
    (
        &["lib/libmagic.so.1"],
        How::Whole,
        &[("%s/.magic", "%s/.magi/"), ("%s/.magic.mgc", "%s/.magic.mg/")],
    ),
    (&["bin/inetutils-telnet"], How::Whole, &[("%s/.telnetrc", "%s/.telnetr/")]),
    (&["bin/ltrace"], How::Whole, &[("~/.ltrace.conf", "~/.ltrace.con/")]),
    (
        &["lib/libcurl.so.4", "lib/libcurl-gnutls.so.4"],
        How::Whole,
        &[("%s%s.netrc", "%s%s.netr/")],
    ),
    (&["lib/libldap-2.5.so.0"], How::Whole, &[("ldaprc", "ldapr/")]),
    (&["bin/git", "git-core/*"], How::Whole, &[("~/.gitconfig", "~/.gitconfi/")]),
    (&["bin/curl"], How::Part, &[(".curlrc", ".curlr/")]),
    (&["bin/gdb"], How::Part, &[(".gdbinit", ".gdbini/"), (".gdbearlyinit", ".gdbearlyini/")]),
    (&["bin/perf"], How::Whole, &[("%s/.perfconfig", "%s/.perfconfi/")]),
];

/// As rules.
pub fn rules() -> Vec<Rule> {
    let mut rules = Vec::new();
    for (files, how, names) in CLOSED {
        for (from, to) in *names {
            let why = "settings of the target's home folder";
            rules.push(Rule { files, from, to, how: *how, unless: &[], why });
        }
    }
    rules
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_closed_is_as_long_and_cannot_be_made() {
        for rule in rules() {
            assert_eq!(rule.to.len(), rule.from.len(), "{}", rule.from);
            let stem = &rule.from[..rule.from.len() - 1];
            // wget writes the list of hosts that want TLS; it is data.
            let data = rule.from == ".wget-hsts";
            let closed = rule.to.starts_with("/dev/") || rule.to == format!("{stem}/");
            assert!(closed || data, "{}", rule.from);
        }
    }
}
