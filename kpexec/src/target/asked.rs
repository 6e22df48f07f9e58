//! What the user asks to enter: a pod, an object that has pods, or pods by their
//! labels. Pure.

use super::TargetError;
use super::kind::{Kind, POD};

/// What to enter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// An object by its name.
    Object(Object),
    /// The one pod that has these labels.
    Labels(String),
}

/// An object that is a pod or has pods.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// Its type.
    pub kind: &'static Kind,
    /// Its name.
    pub name: String,
}

impl Asked {
    /// By the command line, which has one of the two.
    pub fn new(named: Option<&str>, labels: Option<&str>) -> Result<Self, TargetError> {
        match labels {
            Some(labels) => Ok(Self::Labels(labels.to_owned())),
            None => Object::parse(named.unwrap_or_default()).map(Self::Object),
        }
    }
}

impl Object {
    /// `POD` or `TYPE/NAME`.
    pub fn parse(argument: &str) -> Result<Self, TargetError> {
        let not_two = || TargetError::NotTypeAndName(argument.to_owned());
        let (kind, name) = match argument.split_once('/') {
            None => (POD, argument),
            Some((kind, name)) if kind.is_empty() || name.is_empty() => return Err(not_two()),
            Some((_, name)) if name.contains('/') => {
                return Err(TargetError::TwoSlashes(argument.to_owned()));
            }
            Some((kind, name)) => (known(kind, name)?, name),
        };
        check_name(name, kind.name)?;
        Ok(Self { kind, name: name.to_owned() })
    }

    /// As the user would type it.
    pub fn typed(&self) -> String {
        format!("{}/{}", self.kind.name, self.name)
    }
}

fn known(kind: &str, name: &str) -> Result<&'static Kind, TargetError> {
    if let Some(kind) = Kind::named(kind) {
        return Ok(kind);
    }
    let (kind, name) = (kind.to_owned(), name.to_owned());
    Err(match kind.to_lowercase().as_str() {
        "node" | "nodes" | "no" => TargetError::Node(name),
        "cronjob" | "cronjobs" | "cj" | "cronjobs.batch" | "cronjob.batch" => {
            TargetError::CronJob(name)
        }
        _ => TargetError::UnknownType { kind, name },
    })
}

/// Refuses what can be no object's name; it would change the URL it is put into.
pub fn check_name(name: &str, kind: &'static str) -> Result<(), TargetError> {
    let allowed =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.".contains(&byte);
    let edge = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric());
    let (first, last) = (name.bytes().next(), name.bytes().next_back());
    if name.len() <= 253 && name.bytes().all(allowed) && edge(first) && edge(last) {
        Ok(())
    } else {
        Err(TargetError::BadName(name.to_owned(), kind))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(argument: &str) -> Result<(&'static str, String), TargetError> {
        Object::parse(argument).map(|object| (object.kind.name, object.name))
    }

    #[test]
    fn a_name_alone_is_a_pods() {
        for argument in ["web-0", "pod/web-0", "pods/web-0", "po/web-0", "Pod/web-0"] {
            assert_eq!(parsed(argument).unwrap(), ("pod", "web-0".to_owned()), "{argument}");
        }
        assert_eq!(parsed("sts/db").unwrap(), ("statefulset", "db".to_owned()));
        assert_eq!(parsed("deployments.apps/web").unwrap(), ("deployment", "web".to_owned()));
    }

    #[test]
    fn what_has_no_pods_is_refused_with_what_may_be_meant() {
        for (argument, what, hint) in [
            ("node/n1", "cannot enter node n1", "kubectl debug node/n1 -it --image=IMAGE"),
            ("cj/x", "cronjob x has jobs, not pods", "kubectl get jobs"),
            ("prod/web", "\"prod\" is no type that has pods", "-n prod web"),
            ("foo.example.com/web", "no type that has pods", "statefulset (sts)"),
            ("prod/web/app", "more than one slash", "-n prod web -c app"),
            ("/web", "a single resource and name", "pod/NAME"),
            ("deploy/", "a single resource and name", "pod/NAME"),
            ("/", "a single resource and name", "pod/NAME"),
        ] {
            let error = parsed(argument).unwrap_err();
            assert!(error.to_string().contains(what), "{argument}: {error}");
            let said = error.hint().unwrap_or_default();
            assert!(said.contains(hint), "{argument}: {said}");
        }
    }

    #[test]
    fn a_name_cannot_change_the_url() {
        for argument in ["", "..", "pod/a..", "a?b", "a b", "a%2f", "Web", "-a", "a-", "svc/a?b"] {
            assert!(matches!(parsed(argument), Err(TargetError::BadName(..))), "{argument:?}");
        }
        assert!(parsed(&"a".repeat(253)).is_ok());
        assert!(parsed(&"a".repeat(254)).is_err());
    }

    #[test]
    fn labels_are_for_the_api_server_to_read() {
        let asked = Asked::new(None, Some("app in (a,b),!old")).unwrap();
        assert_eq!(asked, Asked::Labels("app in (a,b),!old".into()));
        let Asked::Object(object) = Asked::new(Some("deploy/web"), None).unwrap() else {
            panic!("labels");
        };
        assert_eq!(object.typed(), "deployment/web");
    }
}
