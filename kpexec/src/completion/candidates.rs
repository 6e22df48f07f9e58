//! What the word at the cursor may become, as far as nobody has to be asked: pure.

use clap::{Arg, ArgAction, ArgMatches, Command, ValueHint};

use crate::capability::CapabilitySet;
use crate::cli;
use crate::cluster::Entries;
use crate::target::{Kind, POD};

/// What a word may become.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The whole word.
    pub value: String,
    /// What it is, in a line; may be empty.
    pub about: String,
}

impl Candidate {
    /// One that something is said about.
    pub fn new(value: impl Into<String>, about: impl Into<String>) -> Self {
        Self { value: value.into(), about: about.into() }
    }
}

/// Where candidates come from.
#[derive(Debug, PartialEq, Eq)]
pub enum Source {
    /// They are known.
    Known(Vec<Candidate>),
    /// The shell knows this computer's files.
    Files,
    /// The kubeconfig or the cluster knows.
    Ask(Question),
}

/// What the kubeconfig or the cluster is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Question {
    /// Those of the kubeconfig.
    Kubeconfig(Entries),
    /// All of them.
    Namespaces,
    /// Those of the namespace; of pods the running ones.
    Objects(&'static Kind),
    /// Those of the pod.
    Containers,
    /// The user's own.
    Sessions,
    /// Those of this machine.
    Local,
}

/// Where the values of this argument come from, of which some may be settled; `local`:
/// no cluster is meant.
pub fn source(arg: &Arg, local: bool, settled: &str, typed: &str) -> Source {
    let possible = arg.get_possible_values();
    if !possible.is_empty() {
        let shown = possible.iter().filter(|value| !value.is_hide_set());
        let known = shown.map(|value| Candidate::new(value.get_name(), line(value.get_help())));
        return Source::Known(known.collect());
    }
    match arg.get_id().as_str() {
        "context" => Source::Ask(Question::Kubeconfig(Entries::Contexts)),
        "cluster" => Source::Ask(Question::Kubeconfig(Entries::Clusters)),
        "user" => Source::Ask(Question::Kubeconfig(Entries::Users)),
        "namespace" | "helper_namespace" => Source::Ask(Question::Namespaces),
        "pod" if local => Source::Ask(Question::Local),
        "pod" => kind(settled)
            .map_or(Source::Known(Vec::new()), |kind| Source::Ask(Question::Objects(kind))),
        "container" => Source::Ask(Question::Containers),
        "session" => Source::Ask(Question::Sessions),
        "cap_add" | "cap_drop" => Source::Known(capabilities(typed)),
        _ if arg.get_value_hint() == ValueHint::AnyPath => Source::Files,
        _ => Source::Known(Vec::new()),
    }
}

/// The words that may come first.
pub fn words() -> impl Iterator<Item = Candidate> {
    cli::WORDS.into_iter().map(|word| {
        let command = cli::command(Some(word));
        Candidate::new(word, line(command.as_ref().and_then(Command::get_about)))
    })
}

/// The flags, without those that are there already and make no sense twice.
pub fn flags(command: &Command, given: &ArgMatches) -> Vec<Candidate> {
    let takes_more = |arg: &Arg| matches!(arg.get_action(), ArgAction::Append | ArgAction::Count);
    let is_given = |arg: &Arg| {
        let source = given.try_contains_id(arg.get_id().as_str()).ok().filter(|there| *there);
        source.and_then(|_| given.value_source(arg.get_id().as_str()))
            == Some(clap::parser::ValueSource::CommandLine)
    };
    let offered = command
        .get_arguments()
        .filter(|arg| !arg.is_positional() && !arg.is_hide_set())
        .filter(|arg| takes_more(arg) || !is_given(arg));
    let mut flags: Vec<Candidate> = Vec::new();
    for arg in offered {
        let about = line(arg.get_help());
        flags.extend(arg.get_long().map(|name| Candidate::new(format!("--{name}"), &about)));
        flags.extend(arg.get_short().map(|letter| Candidate::new(format!("-{letter}"), &about)));
    }
    flags
}

/// What of a word is settled, and what is to be completed: the last of a list, or
/// what stands behind `TYPE/`.
pub fn settled<'a>(arg: &Arg, local: bool, typed: &'a str) -> (&'a str, &'a str) {
    let mark = match arg.get_id().as_str() {
        "pod" => Some('/').filter(|_| !local),
        _ => arg.get_value_delimiter(),
    };
    let end = mark.and_then(|mark| typed.rfind(mark)).map_or(0, |at| at + 1);
    typed.split_at(end)
}

/// The type of what is completed behind this, if it is one that has pods.
fn kind(settled: &str) -> Option<&'static Kind> {
    match settled.strip_suffix('/') {
        Some(named) => Kind::named(named),
        None => Some(POD),
    }
}

/// Those that begin as what was typed; what has to stay before them is put there.
pub fn fitting(candidates: Vec<Candidate>, before: &str, typed: &str) -> Vec<Candidate> {
    let fits = candidates.into_iter().filter(|one| one.value.starts_with(typed));
    fits.map(|one| Candidate { value: format!("{before}{}", one.value), about: one.about })
        .collect()
}

/// Containers of this machine, as they are typed: pods, and behind the second slash the
/// containers of one. `known` is in order, each as POD/NAMESPACE/CONTAINER.
pub fn local(known: &[String], typed: &str) -> Vec<Candidate> {
    let parts = known.iter().filter_map(|whole| whole.rsplit_once('/'));
    if typed.matches('/').count() > 1 {
        return known.iter().map(|whole| Candidate::new(whole, "")).collect();
    }
    let mut pods: Vec<Candidate> = Vec::new();
    for (pod, container) in parts {
        match pods.last_mut().filter(|last| last.value == pod) {
            Some(last) => last.about = format!("{}, {container}", last.about),
            None => pods.push(Candidate::new(pod, container)),
        }
    }
    pods
}

/// As they are typed: with CAP_ only if that was begun, and in small letters
/// likewise.
fn capabilities(typed: &str) -> Vec<Candidate> {
    let is_small = typed.bytes().any(|byte| byte.is_ascii_lowercase());
    let plain: Vec<&str> = CapabilitySet::ALL.iter().map(|one| one.name()).chain(["ALL"]).collect();
    let long = plain.iter().filter(|_| !typed.is_empty()).map(|name| format!("CAP_{name}"));
    let all = plain.iter().map(|name| (*name).to_owned()).chain(long);
    all.map(|name| Candidate::new(if is_small { name.to_ascii_lowercase() } else { name }, ""))
        .collect()
}

/// The first line of a help text.
fn line(help: Option<&clap::builder::StyledStr>) -> String {
    let text = help.map(ToString::to_string).unwrap_or_default();
    text.lines().next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arg(name: &str) -> Arg {
        let command = cli::command(None).unwrap();
        command.get_arguments().find(|arg| arg.get_id() == name).unwrap().clone()
    }

    fn values(candidates: &[Candidate]) -> Vec<&str> {
        candidates.iter().map(|one| &*one.value).collect()
    }

    fn known(name: &str, typed: &str) -> Vec<Candidate> {
        match source(&arg(name), false, "", typed) {
            Source::Known(known) => fitting(known, "", typed),
            other => panic!("{name}: {other:?}"),
        }
    }

    #[test]
    fn profiles_are_named_and_explained() {
        let found = known("profile", "");
        let expected = ["general", "baseline", "restricted", "netadmin", "sysadmin", "target"];
        assert_eq!(values(&found), expected);
        assert_eq!(found[3].about, "General and NET_ADMIN");
        assert_eq!(values(&known("toolset", "m")), ["minimal"]);
    }

    #[test]
    fn capabilities_are_completed_as_they_are_begun() {
        assert_eq!(values(&known("cap_add", "NET_A")), ["NET_ADMIN"]);
        assert_eq!(values(&known("cap_add", "CAP_NET_A")), ["CAP_NET_ADMIN"]);
        assert_eq!(values(&known("cap_drop", "net_a")), ["net_admin"]);
        assert_eq!(values(&known("cap_drop", "cap_kil")), ["cap_kill"]);
        assert_eq!(values(&known("cap_drop", "AL")), ["ALL"]);
        assert_eq!(known("cap_add", "").len(), 42);
    }

    #[test]
    fn a_list_is_completed_at_its_end() {
        assert_eq!(settled(&arg("cap_add"), false, "KILL,NET_A"), ("KILL,", "NET_A"));
        assert_eq!(settled(&arg("cap_add"), false, "NET_A"), ("", "NET_A"));
        assert_eq!(settled(&arg("container"), false, "a,b"), ("", "a,b"));
        assert_eq!(settled(&arg("pod"), false, "pod/we"), ("pod/", "we"));
        let found = fitting(capabilities("NET_A"), "KILL,", "NET_A");
        assert_eq!(values(&found), ["KILL,NET_ADMIN"]);
    }

    #[test]
    fn the_type_says_which_objects_there_are() {
        let plural = |typed: &str| {
            let (settled, last) = settled(&arg("pod"), false, typed);
            match source(&arg("pod"), false, settled, last) {
                Source::Ask(Question::Objects(kind)) => kind.plural,
                other => panic!("{typed}: {other:?}"),
            }
        };
        for (typed, expected) in [
            ("we", "pods"),
            ("pod/we", "pods"),
            ("Po/", "pods"),
            ("deploy/we", "deployments"),
            ("deployments.apps/", "deployments"),
            ("sts/", "statefulsets"),
            ("ds/", "daemonsets"),
            ("rs/", "replicasets"),
            ("rc/", "replicationcontrollers"),
            ("job/", "jobs"),
            ("svc/", "services"),
        ] {
            assert_eq!(plural(typed), expected, "{typed}");
        }
        for none in ["node/", "cj/", "/", "deploy/web/", "depl/"] {
            assert_eq!(source(&arg("pod"), false, none, ""), Source::Known(Vec::new()), "{none}");
        }
    }

    #[test]
    fn on_a_node_pods_come_first_and_then_their_containers() {
        assert_eq!(source(&arg("pod"), true, "", "we"), Source::Ask(Question::Local));
        assert_eq!(settled(&arg("pod"), true, "web/pr"), ("", "web/pr"));
        let known = ["db/prod/app", "web/prod/app", "web/prod/log", "web/test/app"];
        let known = known.map(str::to_owned);
        let offered = |typed| {
            let found = fitting(local(&known, typed), "", typed).into_iter();
            found.map(|one| format!("{} {}", one.value, one.about)).collect::<Vec<_>>()
        };
        assert_eq!(offered("w"), ["web/prod app, log", "web/test app"]);
        assert_eq!(offered("web/p"), ["web/prod app, log"]);
        assert_eq!(offered("web/prod/"), ["web/prod/app ", "web/prod/log "]);
        assert_eq!(offered("web/prod/app/"), [""; 0]);
    }

    #[test]
    fn the_kubeconfig_knows_its_own_names() {
        for (flag, entries) in [
            ("context", Entries::Contexts),
            ("cluster", Entries::Clusters),
            ("user", Entries::Users),
        ] {
            let asked = Source::Ask(Question::Kubeconfig(entries));
            assert_eq!(source(&arg(flag), false, "", "x"), asked, "{flag}");
        }
    }

    #[test]
    fn what_the_shell_knows_is_left_to_it() {
        for name in ["kubeconfig", "save_changes", "local_helper"] {
            assert_eq!(source(&arg(name), false, "", ""), Source::Files, "{name}");
        }
        assert_eq!(source(&arg("helper_image"), false, "", ""), Source::Known(Vec::new()));
    }

    #[test]
    fn a_flag_is_offered_once_unless_it_may_be_repeated() {
        let mut command = cli::command(None).unwrap();
        command.build();
        let given = |line: &str| {
            let words = line.split(' ');
            let matches = command.clone().ignore_errors(true).try_get_matches_from(words).unwrap();
            flags(&command, &matches)
        };
        let none = given("kpexec");
        let stdin = none.iter().find(|one| one.value == "--stdin").unwrap();
        assert_eq!(stdin.about, "Pass stdin to the command");
        for flag in ["-i", "-t", "--env", "--share", "--help", "--keepalive"] {
            assert!(values(&none).contains(&flag), "{flag}");
        }
        let some = given("kpexec -it --env A=1 --keepalive 9s");
        for (flag, offered) in
            [("-i", false), ("-t", true), ("--env", true), ("--keepalive", false)]
        {
            assert_eq!(values(&some).contains(&flag), offered, "{flag}");
        }
    }

    #[test]
    fn words_are_explained() {
        let gc = words().find(|one| one.value == "gc").unwrap();
        assert!(gc.about.starts_with("Delete your helper pods"), "{gc:?}");
    }
}
