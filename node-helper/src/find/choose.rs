//! The choice among the containers of a node, without asking anybody. Pure.

use crate::cri::Known;

/// How many containers a message names.
const NAMED: usize = 8;

/// How many digits of an ID are shown, as crictl does.
const SHOWN: usize = 13;

/// What was asked for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wanted<'a> {
    /// A container's ID, how it begins, or a container's name.
    Word(&'a str),
    /// A container of this pod: the one named, or the pod's default.
    Pod { pod: &'a str, namespace: &'a str, container: Option<&'a str> },
}

/// What comes of it.
#[derive(Debug)]
pub(super) enum Choice<'a> {
    /// This one.
    One(&'a Known),
    /// The default one of a pod that has these, two at least, the first made first.
    Pod(Vec<&'a Known>),
}

/// Why no container is chosen.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Error {
    #[error("{0:?} names no container")]
    Unreadable(String),
    #[error("no running container on this node is {0}, by its name or how its ID begins")]
    NoSuchContainer(String, Option<String>),
    #[error("pod {pod} of namespace {namespace} has no running container on this node")]
    NoSuchPod { pod: String, namespace: String, swapped: bool },
    #[error("container {container} is not valid for pod {pod} out of: {known}")]
    NoSuchContainerInPod { container: String, pod: String, known: String },
    #[error("container {0} is not running: it has exited")]
    Exited(String),
    #[error("{0} is ambiguous: {1}")]
    Ambiguous(String, String),
}

impl Error {
    /// What to do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::Unreadable(_) => FORMS.to_owned(),
            Self::NoSuchContainer(word, Some(namespace)) => {
                format!("there is a pod of that name: {word}/{namespace}")
            }
            Self::NoSuchContainer(_, None) => "crictl ps lists this node's containers".to_owned(),
            Self::NoSuchPod { pod, namespace, swapped: true } => {
                format!("the pod comes first: {namespace}/{pod}")
            }
            Self::NoSuchPod { .. } => "crictl pods lists this node's pods".to_owned(),
            Self::NoSuchContainerInPod { .. } => String::new(),
            Self::Exited(_) => "crictl logs shows what it said".to_owned(),
            Self::Ambiguous(..) => "say POD/NAMESPACE/CONTAINER, or more of the ID".to_owned(),
        }
    }
}

const FORMS: &str = "say the container's ID or name, POD/NAMESPACE, or POD/NAMESPACE/CONTAINER";

impl<'a> Wanted<'a> {
    /// Reads it as typed. An ID may have the runtime before it, as the API server
    /// shows it: `containerd://4f2a`.
    pub fn parse(text: &'a str) -> Result<Self, Error> {
        let text = text.split_once("://").map_or(text, |(_, id)| id);
        let parts: Vec<&str> = text.split('/').collect();
        if parts.iter().any(|part| part.is_empty()) {
            return Err(Error::Unreadable(text.to_owned()));
        }
        match *parts.as_slice() {
            [word] => Ok(Self::Word(word)),
            [pod, namespace] => Ok(Self::Pod { pod, namespace, container: None }),
            [pod, namespace, container] => {
                Ok(Self::Pod { pod, namespace, container: Some(container) })
            }
            _ => Err(Error::Unreadable(text.to_owned())),
        }
    }
}

/// Chooses among all containers that the runtime knows.
pub(super) fn choose<'a>(wanted: &Wanted<'_>, all: &'a [Known]) -> Result<Choice<'a>, Error> {
    match *wanted {
        Wanted::Word(word) => by_word(word, all).map(Choice::One),
        Wanted::Pod { pod, namespace, container } => in_pod(pod, namespace, container, all),
    }
}

/// A name does not come before an ID that begins so, nor the other way round: a
/// pod's owner chooses the name, and could have another's container missed.
fn by_word<'a>(word: &str, all: &'a [Known]) -> Result<&'a Known, Error> {
    let is_meant = |known: &&Known| {
        known.target.container_name == word || known.target.container_id.starts_with(word)
    };
    let (running, ended) = all.iter().filter(is_meant).partition::<Vec<_>, _>(|one| one.running);
    match running.as_slice() {
        [one] => Ok(one),
        [] if !ended.is_empty() => Err(Error::Exited(word.to_owned())),
        [] => {
            let mut pods = all.iter().filter(|known| known.target.pod_name == word);
            let namespace = pods.next().map(|known| known.target.pod_namespace.clone());
            Err(Error::NoSuchContainer(word.to_owned(), namespace))
        }
        several => Err(Error::Ambiguous(word.to_owned(), listed(several))),
    }
}

fn in_pod<'a>(
    pod: &str,
    namespace: &str,
    container: Option<&str>,
    all: &'a [Known],
) -> Result<Choice<'a>, Error> {
    let of = |pod: &str, namespace: &str| -> Vec<&'a Known> {
        let is_its =
            |one: &&Known| one.target.pod_name == pod && one.target.pod_namespace == namespace;
        let mut its: Vec<_> = all.iter().filter(is_its).collect();
        its.sort_by_key(|known| known.created_at);
        its
    };
    let everything = of(pod, namespace);
    let running: Vec<_> = everything.iter().copied().filter(|known| known.running).collect();
    if running.is_empty() {
        let swapped = everything.is_empty() && !of(namespace, pod).is_empty();
        let (pod, namespace) = (pod.to_owned(), namespace.to_owned());
        return Err(Error::NoSuchPod { pod, namespace, swapped });
    }
    let named = |known: &&&Known| container.is_none_or(|name| known.target.container_name == name);
    let meant: Vec<_> = running.iter().filter(named).copied().collect();
    // A pod that is replaced by another of its name may still have a container.
    let of_one_pod = meant.iter().all(|known| known.target.pod_uid == meant[0].target.pod_uid);
    match (meant.as_slice(), container) {
        ([one], _) => Ok(Choice::One(one)),
        ([_, _, ..], None) if of_one_pod => Ok(Choice::Pod(meant)),
        ([], Some(container)) => {
            let ended = everything.iter().any(|known| known.target.container_name == container);
            Err(if ended {
                Error::Exited(container.to_owned())
            } else {
                let (container, pod) = (container.to_owned(), pod.to_owned());
                Error::NoSuchContainerInPod { container, pod, known: names(&running) }
            })
        }
        (several, _) => Err(Error::Ambiguous(format!("{pod}/{namespace}"), listed(several))),
    }
}

/// The pod's default container: the one its annotation names, else the first,
/// and then kubectl's line about that. The kubelet starts them in the order of
/// the pod's spec, which the runtime does not know; here they are in that of
/// their making.
pub(super) fn default_of<'a>(
    containers: &[&'a Known],
    annotated: Option<&str>,
) -> Result<(&'a Known, Option<String>), Error> {
    let Some(name) = annotated.filter(|name| !name.is_empty()) else {
        let first = containers[0];
        let name = &first.target.container_name;
        let notice = format!("Defaulted container {name:?} out of: {}", names(containers));
        return Ok((first, Some(notice)));
    };
    match containers.iter().find(|known| known.target.container_name == name) {
        Some(known) => Ok((known, None)),
        None => Err(Error::NoSuchContainerInPod {
            container: name.to_owned(),
            pod: containers[0].target.pod_name.clone(),
            known: names(containers),
        }),
    }
}

fn names(containers: &[&Known]) -> String {
    let names = containers.iter().map(|known| known.target.container_name.as_str());
    names.collect::<Vec<_>>().join(", ")
}

/// As each can be asked for; the runtime has them in no order.
fn listed(containers: &[&Known]) -> String {
    let mut all: Vec<_> = containers
        .iter()
        .map(|known| {
            let target = &known.target;
            let (pod, namespace) = (&target.pod_name, &target.pod_namespace);
            let id = target.container_id.get(..SHOWN).unwrap_or(&target.container_id);
            format!("{pod}/{namespace}/{} ({id})", target.container_name)
        })
        .collect();
    all.sort();
    let shown = all[..all.len().min(NAMED)].join(", ");
    match all.len().saturating_sub(NAMED) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

#[cfg(test)]
#[path = "choose_tests.rs"]
mod tests;
