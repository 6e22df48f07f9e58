//! The environment of a session: the target's own, as the runtime was told it,
//! without what would misdirect our programs; then the identity's; then what
//! the operator asked for.

use kpexec_protocol::EnvVar;

/// Where the toolset's programs are, in front of the target's own.
const TOOLS: &str = "/.kpexec/bin";

/// `PATH` of a target that has none: what container runtimes fall back to.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Variables of the target that never reach a program of ours: they make a
/// loader, an interpreter or a shell run code, or read and write files of the
/// target's choice (threat model, A3; CVE-2025-23266).
const WITHHELD: &[&str] = &[
    "CDPATH",
    "CURL_HOME",
    "EDITOR",
    "ENV",
    "EXINIT",
    "FIGNORE",
    "FPATH",
    "GCONV_PATH",
    "GLOBIGNORE",
    "GLIBC_TUNABLES",
    "GVIMINIT",
    "HOSTALIASES",
    "IFS",
    "INPUTRC",
    "LESSCLOSE",
    "LESSOPEN",
    "LOCPATH",
    "MAIL",
    "MAILCHECK",
    "MAILPATH",
    "MANPAGER",
    "NLSPATH",
    "NODE_OPTIONS",
    "PAGER",
    "PERLLIB",
    "PROMPT_COMMAND",
    "PS0",
    "PS1",
    "PS2",
    "PS3",
    "PS4",
    "SHELL",
    "SHELLOPTS",
    "SSLKEYLOGFILE",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
    "TERM",
    "TERMINFO",
    "TERMINFO_DIRS",
    "TMOUT",
    "VIMINIT",
    "VISUAL",
    "ZDOTDIR",
];

/// The same, for whole families.
const WITHHELD_PREFIXES: &[&str] = &[
    "BASH",
    "GIT_",
    "HIST",
    "JAVA_TOOL_",
    "LD_",
    "LUA_",
    "MALLOC_",
    "OPENSSL_",
    "PERL5",
    "PS",
    "PYTHON",
    "RUBY",
    "XDG_",
];

/// The environment of a session, each entry `NAME=value`.
///
/// `home` is the user's, where it was given by name; `term` is the client's
/// TERM, where the session has a terminal. What is `asked` is the operator's own
/// wish and is taken as it is.
pub fn environment(
    target: &[String],
    uid: u32,
    home: Option<&[u8]>,
    term: Option<&str>,
    asked: &[EnvVar],
) -> Vec<Vec<u8>> {
    let mut env = Environment::default();
    for (name, value) in target.iter().filter_map(|entry| entry.split_once('=')) {
        if !withheld(name) {
            env.set(name.as_bytes(), value.as_bytes());
        }
    }
    let path = env.get(b"PATH").map_or(DEFAULT_PATH.as_bytes().to_vec(), <[u8]>::to_vec);
    env.set(b"PATH", &[TOOLS.as_bytes(), &path].join(&b':'));
    // The target's HOME is its own user's, and we are somebody else.
    env.set(b"HOME", home.unwrap_or(if uid == 0 { b"/root" } else { b"/" }));
    env.set(b"LANG", b"C.UTF-8");
    if let Some(term) = term {
        env.set(b"TERM", term.as_bytes());
    }
    for EnvVar { name, value } in asked {
        env.set(name, value);
    }
    env.0.iter().map(|(name, value)| [name.as_slice(), value].join(&b'=')).collect()
}

fn withheld(name: &str) -> bool {
    WITHHELD.contains(&name) || WITHHELD_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// Variables in the order they were first set.
#[derive(Default)]
struct Environment(Vec<(Vec<u8>, Vec<u8>)>);

impl Environment {
    fn set(&mut self, name: &[u8], value: &[u8]) {
        match self.0.iter_mut().find(|(known, _)| known == name) {
            Some((_, old)) => *old = value.to_vec(),
            None => self.0.push((name.to_vec(), value.to_vec())),
        }
    }

    fn get(&self, name: &[u8]) -> Option<&[u8]> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_slice())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(target: &[&str], uid: u32, term: Option<&str>, asked: &[(&str, &str)]) -> Vec<String> {
        let target: Vec<String> = target.iter().map(ToString::to_string).collect();
        let asked: Vec<EnvVar> = asked
            .iter()
            .map(|(name, value)| EnvVar {
                name: name.as_bytes().to_vec().into(),
                value: value.as_bytes().to_vec().into(),
            })
            .collect();
        environment(&target, uid, None, term, &asked)
            .into_iter()
            .map(|entry| String::from_utf8(entry).unwrap())
            .collect()
    }

    #[test]
    fn tools_come_first_in_the_targets_path() {
        let env = shown(&["PATH=/app:/bin"], 0, None, &[]);
        assert!(env.contains(&"PATH=/.kpexec/bin:/app:/bin".to_owned()), "{env:?}");
    }

    #[test]
    fn what_misdirects_our_programs_is_withheld() {
        let bad = [
            "LD_PRELOAD=/evil.so",
            "LD_LIBRARY_PATH=/evil",
            "BASH_ENV=/evil",
            "BASH_FUNC_ls%%=() { evil; }",
            "PROMPT_COMMAND=evil",
            "PYTHONHOME=/evil",
            "GIT_PAGER=evil",
            "PS1=$(evil)",
            "MAILPATH=f?$(evil)",
            "HISTFILE=/evil",
            "OPENSSL_CONF=/evil",
        ];
        let env = shown(&bad, 0, None, &[]);
        assert!(!env.iter().any(|entry| entry.contains("evil")), "{env:?}");
    }

    #[test]
    fn the_targets_own_variables_stay() {
        let env = shown(&["DATABASE_URL=postgres://db/x?a=b", "LDAP=1"], 1000, None, &[]);
        assert!(env.contains(&"DATABASE_URL=postgres://db/x?a=b".to_owned()));
        assert!(env.contains(&"LDAP=1".to_owned()));
        assert!(env.contains(&"HOME=/".to_owned()));
    }

    #[test]
    fn the_operator_wins() {
        let asked = [("PATH", "/only"), ("LD_PRELOAD", "/mine.so"), ("A", "1"), ("A", "2")];
        let env = shown(&["PATH=/bin", "LD_PRELOAD=/evil"], 0, Some("xterm"), &asked);
        for entry in ["PATH=/only", "LD_PRELOAD=/mine.so", "A=2", "TERM=xterm", "HOME=/root"] {
            assert!(env.contains(&entry.to_owned()), "{entry} is not in {env:?}");
        }
        assert!(!env.contains(&"A=1".to_owned()));
    }

    #[test]
    fn no_terminal_means_no_term() {
        let env = shown(&["TERM=target"], 0, None, &[]);
        assert!(!env.iter().any(|entry| entry.starts_with("TERM=")), "{env:?}");
    }
}
