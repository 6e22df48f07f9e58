//! Files below the home folder, which is the target's, that no program of ours
//! may take its settings from.
//!
//! The last letter of the name becomes a slash. There is no such file then, and
//! none can be made: if somebody makes a folder of that name, it is still no
//! file. The length stays, so this also works where the compiler put the name
//! into an instruction.

use super::rules::{How, Rule};

/// Files of the tree, and the strings that name what they must not read.
type Closed = (&'static [&'static str], How, &'static [(&'static str, &'static str)]);

/// Each string stands beside its replacement, so that a reader sees both.
const CLOSED: &[Closed] = &[
    (
        &["bin/bash"],
        How::Whole,
        &[
            ("~/.bashrc", "~/.bashr/"),
            ("~/.profile", "~/.profil/"),
            ("~/.bash_profile", "~/.bash_profil/"),
            ("~/.bash_login", "~/.bash_logi/"),
            ("~/.bash_logout", "~/.bash_logou/"),
            ("~/.bash_history", "~/.bash_histor/"),
            ("~/.sh_history", "~/.sh_histor/"),
            ("~/.inputrc", "~/.inputr/"),
        ],
    ),
    (&["bin/dash"], How::Whole, &[("$HOME/.profile", "$HOME/.profil/")]),
    (&["lib/libreadline.so.8"], How::Whole, &[("~/.inputrc", "~/.inputr/")]),
    (&["lib/libtinfo.so.6"], How::Whole, &[("%s/.terminfo", "/.kpexec/nil")]),
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
            ("$HOME/.vimrc", "$HOME/.vimr/"),
            ("$HOME/.exrc", "$HOME/.exr/"),
            ("~/.vim/vimrc", "~/.vim/vimr/"),
        ],
    ),
    (&["bin/vim.basic"], How::Whole, &[("$HOME/.viminfo", "$HOME/.viminf/")]),
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
    (&["lib/libjq.so.1"], How::Whole, &[("/.jq", "/.j/")]),
    (&["bin/jq"], How::Part, &[("~/.jq", "~/.j/")]),
    (&["bin/wget"], How::Whole, &[(".wgetrc", ".wgetr/"), (".wget-hsts", ".wget-hst/")]),
    (
        &["lib/libmagic.so.1"],
        How::Whole,
        &[("%s/.magic", "%s/.magi/"), ("%s/.magic.mgc", "%s/.magic.mg/")],
    ),
    (&["bin/inetutils-telnet"], How::Whole, &[("%s/.telnetrc", "%s/.telnetr/")]),
    (&["bin/ltrace"], How::Whole, &[("~/.ltrace.conf", "~/.ltrace.con/")]),
    (&["lib/libldap-2.5.so.0"], How::Whole, &[("ldaprc", "ldapr/")]),
    (&["bin/git", "git-core/*"], How::Whole, &[("~/.gitconfig", "~/.gitconfi/")]),
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
    fn a_closed_name_is_as_long_and_ends_in_a_slash() {
        for rule in rules() {
            assert_eq!(rule.to.len(), rule.from.len(), "{}", rule.from);
            // A search path, not a file: it leads into our own tree instead.
            if rule.from != "%s/.terminfo" {
                let stem = &rule.from[..rule.from.len() - 1];
                assert_eq!(rule.to, format!("{stem}/"), "{}", rule.from);
            }
        }
    }
}
