//! What is changed in scripts, as data. Lengths do not matter here.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use memchr::memmem::find_iter;

/// One replacement in one script.
pub struct Text {
    /// The file's path in the tree.
    pub file: &'static str,
    /// What is looked for.
    pub from: &'static str,
    /// What takes its place.
    pub to: &'static str,
    /// Why.
    pub why: &'static str,
}

impl Text {
    /// Its name in `patches.lock`.
    pub fn name(&self) -> String {
        self.from.escape_default().to_string()
    }
}

const COMPLETION: &str = "share/bash-completion/bash_completion";

/// All of them.
pub const TEXTS: &[Text] = &[
    Text {
        file: COMPLETION,
        from: "dirs=(${BASH_COMPLETION_USER_DIR:-${XDG_DATA_HOME:-$HOME/.local/share}/bash-completion}/completions)",
        to: "dirs=()",
        why: "scripts of the target's home folder",
    },
    Text {
        file: COMPLETION,
        from: "${XDG_DATA_DIRS:-/usr/local/share:/usr/share}",
        to: "/.kpexec/share",
        why: "scripts of the target's /usr",
    },
    Text {
        file: COMPLETION,
        from: "dirs+=(./completions)",
        to: "dirs+=()",
        why: "scripts of the working directory",
    },
    Text {
        file: COMPLETION,
        from: "${BASH_COMPLETION_COMPAT_DIR:-/etc/bash_completion.d}",
        to: "/dev/null",
        why: "scripts of the target's /etc",
    },
    Text {
        file: COMPLETION,
        from: "${BASH_COMPLETION_USER_FILE:-~/.bash_completion}",
        to: "/dev/null",
        why: "a script of the target's home folder",
    },
    Text {
        file: COMPLETION,
        from: "[[ -f /etc/slackware-version ]] && sysvdirs=(/etc/rc.d)",
        to: "sysvdirs=(/dev/null)",
        why: "names of the target's files become words of a command at every start",
    },
    Text {
        file: "lib/python3.11/subprocess.py",
        from: "else '/bin/sh')",
        to: "else '/.kpexec/bin/sh')",
        why: "the shell of the target, if it has one",
    },
];

/// Applies those of the file, which must be there; gives how often.
pub fn apply(content: Vec<u8>, path: &str) -> Result<(Vec<u8>, BTreeMap<String, usize>)> {
    let mut content = content;
    let mut counts = BTreeMap::new();
    for text in TEXTS.iter().filter(|text| text.file == path) {
        let count = find_iter(&content, text.from).count();
        ensure!(count > 0, "{} is not in it", text.name());
        content = replaced(&content, text.from.as_bytes(), text.to.as_bytes());
        counts.insert(text.name(), count);
    }
    Ok((content, counts))
}

fn replaced(content: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut new = Vec::with_capacity(content.len());
    let mut done = 0;
    for place in find_iter(content, from) {
        new.extend_from_slice(&content[done..place]);
        new.extend_from_slice(to);
        done = place + from.len();
    }
    new.extend_from_slice(&content[done..]);
    new
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_occurrence_is_replaced() {
        assert_eq!(replaced(b"a-b-", b"-", b"++"), b"a++b++");
        assert_eq!(replaced(b"ab", b"-", b"+"), b"ab");
    }

    #[test]
    fn a_script_that_changed_is_an_error() {
        let file = "lib/python3.11/subprocess.py";
        let (new, counts) = apply(b"x else '/bin/sh')".to_vec(), file).unwrap();
        assert_eq!(new, b"x else '/.kpexec/bin/sh')");
        assert_eq!(counts.values().sum::<usize>(), 1);
        assert!(apply(b"x".to_vec(), file).is_err());
        assert!(apply(b"x".to_vec(), "bin/other").unwrap().1.is_empty());
    }
}
