//! The environment of a session: the target's own, as the runtime was told it,
//! without what would misdirect our programs; then the session's; then what the
//! operator asked for.

mod withheld;

use kpexec_protocol::EnvVar;

use crate::tools::Tools;
use withheld::is_withheld;

/// `PATH` of a container that has none: what container runtimes fall back to.
pub const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Where our programs put what is temporary. The session's own: it is there and
/// can be written whatever the target's `/tmp` is like, and leaves no trace.
const TMPDIR: &[u8] = b"/dev/shm";

/// What an environment is made of.
#[derive(Clone, Copy, Debug)]
pub struct Sources<'a> {
    /// `process.env` of the target's OCI specification.
    pub target: &'a [String],
    /// Whether the target is the session's user too.
    pub same_user: bool,
    /// The session's user, as the target numbers it.
    pub uid: u32,
    /// That user's name, where it was given by name.
    pub user: Option<&'a str>,
    /// The home of that name.
    pub home: Option<&'a [u8]>,
    /// The target's pod, for the prompt.
    pub pod: &'a str,
    /// The target's container, for the prompt.
    pub container: &'a str,
    /// The client's TERM, where the session has a terminal.
    pub term: Option<&'a str>,
    /// Where the session's tools are.
    pub tools: &'a Tools,
    /// The operator's own wish, taken as it is.
    pub asked: &'a [EnvVar],
}

/// The environment of a session, each entry `NAME=value`.
pub fn environment(sources: &Sources<'_>) -> Vec<Vec<u8>> {
    let mut env = Environment::default();
    for (name, value) in entries(sources.target) {
        if !is_withheld(name) {
            env.set(name, value);
        }
    }
    env.set("PATH", sources.tools.path(path(sources.target)));
    who(&mut env, sources);
    env.set("KPEXEC_POD", sources.pod);
    env.set("KPEXEC_CONTAINER", sources.container);
    env.set("LANG", "C.UTF-8");
    env.set("TMPDIR", TMPDIR);
    // Shells and less would leave a file in the target's home. An empty name is
    // none to bash; less wants a dash.
    env.set("HISTFILE", "");
    env.set("LESSHISTFILE", "-");
    // htop keeps its settings, in the home by default.
    env.set("HTOPRC", "/dev/shm/htoprc");
    if let Some(shell) = sources.tools.shell() {
        env.set("SHELL", shell);
    }
    if let Some(term) = sources.term {
        env.set("TERM", term);
    }
    for EnvVar { name, value } in sources.asked {
        env.set(name, value);
    }
    env.0.iter().map(|(name, value)| [name.as_slice(), value].join(&b'=')).collect()
}

/// `PATH` of a container, by the environment its runtime was told.
pub fn path(env: &[String]) -> &str {
    let path = entries(env).filter(|(name, _)| *name == "PATH").last();
    path.map_or(DEFAULT_PATH, |(_, value)| value)
}

fn entries(env: &[String]) -> impl Iterator<Item = (&str, &str)> {
    env.iter().filter_map(|entry| entry.split_once('='))
}

/// HOME and the user's name. The target's are its own user's: they stay only
/// where the session is that user and nobody has been named.
fn who(env: &mut Environment, sources: &Sources<'_>) {
    let own = |wanted: &str| {
        let own = entries(sources.target).find(|(name, _)| *name == wanted);
        own.filter(|_| sources.same_user && sources.user.is_none()).map(|(_, value)| value)
    };
    let root = sources.uid == 0;
    let home = sources.home.or(own("HOME").map(str::as_bytes));
    env.set("HOME", home.unwrap_or(if root { b"/root" } else { b"/" }));
    for name in ["USER", "LOGNAME"] {
        let user = sources.user.or(own(name)).or(root.then_some("root"));
        if let Some(user) = user {
            env.set(name, user);
        }
    }
}

/// Variables in the order they were first set.
#[derive(Default)]
struct Environment(Vec<(Vec<u8>, Vec<u8>)>);

impl Environment {
    fn set(&mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) {
        let (name, value) = (name.as_ref(), value.as_ref().to_vec());
        match self.0.iter_mut().find(|(known, _)| known == name) {
            Some((_, old)) => *old = value,
            None => self.0.push((name.to_vec(), value)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOBODY: Sources<'_> = Sources {
        target: &[],
        same_user: false,
        uid: 1000,
        user: None,
        home: None,
        pod: "web-0",
        container: "app",
        term: None,
        tools: &Tools::Toolset,
        asked: &[],
    };

    fn shown(target: &[&str], sources: Sources<'_>) -> Vec<String> {
        let target: Vec<String> = target.iter().map(ToString::to_string).collect();
        environment(&Sources { target: &target, ..sources })
            .into_iter()
            .map(|entry| String::from_utf8(entry).unwrap())
            .collect()
    }

    /// All values of these variables, in their order.
    fn values(env: &[String], names: &[&str]) -> Vec<String> {
        let all = env.iter().filter_map(|entry| entry.split_once('='));
        let wanted = all.filter(|(name, _)| names.contains(name));
        wanted.map(|(_, value)| value.to_owned()).collect()
    }

    #[test]
    fn tools_come_first_in_the_targets_path() {
        let env = shown(&["PATH=/app:/bin"], NOBODY);
        assert!(env.contains(&"PATH=/.kpexec/bin:/app:/bin".to_owned()), "{env:?}");
        assert!(env.contains(&"SHELL=/.kpexec/bin/bash".to_owned()), "{env:?}");
        let without = shown(&[], NOBODY);
        assert!(values(&without, &["PATH"])[0].ends_with(":/usr/bin:/sbin:/bin"), "{without:?}");
    }

    #[test]
    fn what_misdirects_our_programs_is_withheld() {
        let bad = [
            "LD_PRELOAD=/evil.so",
            "BASH_FUNC_ls%%=() { evil; }",
            "PROMPT_COMMAND=evil",
            "PYTHONHOME=/evil",
            "HISTFILE=/evil",
            "LC_ALL=evil",
            "LANG=evil",
            "SHELL=/evil",
            "TERM=evil",
            "TMPDIR=/evil",
            "HTOPRC=/evil",
            "KPEXEC_POD=evil",
        ];
        let env = shown(&bad, NOBODY);
        assert!(!env.iter().any(|entry| entry.contains("evil")), "{env:?}");
    }

    #[test]
    fn the_targets_own_variables_stay() {
        let env = shown(&["DATABASE_URL=postgres://db/x?a=b", "LDAP=1"], NOBODY);
        assert!(env.contains(&"DATABASE_URL=postgres://db/x?a=b".to_owned()));
        assert!(env.contains(&"LDAP=1".to_owned()));
    }

    #[test]
    fn a_user_has_the_home_and_name_that_are_its_own() {
        const WHO: [&str; 3] = ["HOME", "USER", "LOGNAME"];
        let stale = ["HOME=/app", "USER=app", "LOGNAME=app"];
        let of = |sources| values(&shown(&stale, sources), &WHO);
        assert_eq!(of(NOBODY), ["/"]);
        assert_eq!(of(Sources { uid: 0, ..NOBODY }), ["/root", "root", "root"]);
        assert_eq!(of(Sources { same_user: true, ..NOBODY }), ["/app", "app", "app"]);
        let named = Sources { user: Some("www"), home: Some(b"/var/www"), ..NOBODY };
        assert_eq!(of(named), ["/var/www", "www", "www"]);
        assert_eq!(of(Sources { same_user: true, ..named }), ["/var/www", "www", "www"]);
    }

    #[test]
    fn the_prompt_can_tell_where_one_is() {
        let env = shown(&[], NOBODY);
        assert_eq!(values(&env, &["KPEXEC_POD", "KPEXEC_CONTAINER"]), ["web-0", "app"]);
    }

    #[test]
    fn nothing_is_kept_of_what_was_typed() {
        let env = shown(&["LESSHISTFILE=/tmp/x"], NOBODY);
        assert_eq!(values(&env, &["HISTFILE", "LESSHISTFILE"]), ["", "-"]);
        assert_eq!(values(&env, &["HTOPRC"]), ["/dev/shm/htoprc"]);
    }

    #[test]
    fn the_operator_wins() {
        let asked = [("PATH", "/only"), ("LD_PRELOAD", "/mine.so"), ("A", "1"), ("A", "2")];
        let asked = asked.map(|(name, value)| EnvVar {
            name: name.as_bytes().to_vec().into(),
            value: value.as_bytes().to_vec().into(),
        });
        let sources = Sources { term: Some("xterm"), asked: &asked, ..NOBODY };
        let env = shown(&["PATH=/bin", "LD_PRELOAD=/evil"], sources);
        for entry in ["PATH=/only", "LD_PRELOAD=/mine.so", "A=2", "TERM=xterm"] {
            assert!(env.contains(&entry.to_owned()), "{entry} is not in {env:?}");
        }
        assert!(!env.contains(&"A=1".to_owned()));
    }

    #[test]
    fn no_terminal_means_no_term() {
        assert_eq!(values(&shown(&["TERM=target"], NOBODY), &["TERM"]), [""; 0]);
    }
}
