//! The types of objects that have pods, by all the names kubectl knows them by.

use kube::discovery::ApiResource;

/// A type of object that can be entered by way of its pods.
#[derive(Debug, PartialEq, Eq)]
pub struct Kind {
    /// Its name in the singular, as in `deployment/web`; in small letters what a
    /// manifest has as `kind`.
    pub name: &'static str,
    /// Its name in an URL.
    pub plural: &'static str,
    short: Option<&'static str>,
    /// Its API group; empty for the oldest.
    group: &'static str,
    /// Whether its selector is a plain map of labels.
    pub plain_selector: bool,
}

/// All of them are of version v1.
const VERSION: &str = "v1";

const KINDS: [Kind; 8] = [
    Kind::new("pod", "pods", Some("po"), ""),
    Kind::new("deployment", "deployments", Some("deploy"), "apps"),
    Kind::new("statefulset", "statefulsets", Some("sts"), "apps"),
    Kind::new("daemonset", "daemonsets", Some("ds"), "apps"),
    Kind::new("replicaset", "replicasets", Some("rs"), "apps"),
    Kind::new("replicationcontroller", "replicationcontrollers", Some("rc"), "").plain(),
    Kind::new("job", "jobs", None, "batch"),
    Kind::new("service", "services", Some("svc"), "").plain(),
];

/// The pods themselves.
pub const POD: &Kind = &KINDS[0];

impl Kind {
    const fn new(
        name: &'static str,
        plural: &'static str,
        short: Option<&'static str>,
        group: &'static str,
    ) -> Self {
        Self { name, plural, short, group, plain_selector: false }
    }

    const fn plain(self) -> Self {
        Self { plain_selector: true, ..self }
    }

    /// The one of this name: singular, plural or short, as `NAME.GROUP` or
    /// `NAME.VERSION.GROUP`, in letters of any size.
    pub fn named(text: &str) -> Option<&'static Self> {
        let text = text.to_lowercase();
        let (word, place) = match text.split_once('.') {
            Some((word, place)) => (word, Some(place)),
            None => (&*text, None),
        };
        KINDS.iter().find(|kind| {
            let is_name = [kind.name, kind.plural].contains(&word) || kind.short == Some(word);
            is_name && place.is_none_or(|place| kind.is_at(place))
        })
    }

    /// The one a manifest is of.
    pub fn of_manifest(kind: &str, api_version: &str) -> Option<&'static Self> {
        let group = match api_version.split_once('/') {
            Some((group, _)) => group,
            None => "",
        };
        KINDS.iter().find(|known| known.group == group && known.name == kind.to_lowercase())
    }

    fn is_at(&self, place: &str) -> bool {
        match place.strip_prefix(VERSION).and_then(|rest| rest.strip_prefix('.')) {
            Some(group) => group == self.group,
            None => !place.is_empty() && place == self.group,
        }
    }

    /// The URL's path of an object.
    pub fn path(&self, namespace: &str, name: &str) -> String {
        let root = match self.group {
            "" => format!("/api/{VERSION}"),
            group => format!("/apis/{group}/{VERSION}"),
        };
        format!("{root}/namespaces/{namespace}/{}/{name}", self.plural)
    }

    /// For a client that knows no types.
    pub fn resource(&self) -> ApiResource {
        ApiResource {
            group: self.group.into(),
            version: VERSION.into(),
            api_version: match self.group {
                "" => VERSION.into(),
                group => format!("{group}/{VERSION}"),
            },
            kind: self.name.into(),
            plural: self.plural.into(),
        }
    }

    /// All names, for people.
    pub fn list() -> String {
        let named = |kind: &Self| match kind.short {
            Some(short) => format!("{} ({short})", kind.name),
            None => kind.name.to_owned(),
        };
        KINDS.iter().map(named).collect::<Vec<_>>().join(", ")
    }
}

#[cfg(test)]
mod tests {
    use kube::Resource as _;

    use super::*;

    #[test]
    fn a_type_has_the_names_that_kubectl_knows() {
        for (texts, name) in [
            ("pod pods po Pod pods.v1.", "pod"),
            (
                "deployment deployments deploy deployments.apps deploy.v1.apps Deployment",
                "deployment",
            ),
            ("statefulset statefulsets sts statefulset.apps", "statefulset"),
            ("daemonset daemonsets ds daemonsets.apps", "daemonset"),
            ("replicaset replicasets rs rs.apps", "replicaset"),
            ("replicationcontroller replicationcontrollers rc", "replicationcontroller"),
            ("job jobs jobs.batch job.v1.batch", "job"),
            ("service services svc", "service"),
        ] {
            for text in texts.split(' ') {
                assert_eq!(Kind::named(text).map(|kind| kind.name), Some(name), "{text}");
            }
        }
    }

    #[test]
    fn another_group_has_other_objects() {
        for text in [
            "",
            "web",
            "node",
            "cronjob",
            "deployment.batch",
            "deployments.v1",
            "deploy.",
            "svc.apps",
            "deployment.v1beta1.apps",
            "services.serving.knative.dev",
            "pod.v1",
            "depl",
        ] {
            assert_eq!(Kind::named(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_manifest_names_kind_and_group() {
        let kind = |kind, version| Kind::of_manifest(kind, version).map(|kind| kind.plural);
        assert_eq!(kind("Deployment", "apps/v1"), Some("deployments"));
        assert_eq!(kind("ReplicationController", "v1"), Some("replicationcontrollers"));
        assert_eq!(kind("Job", "batch/v1"), Some("jobs"));
        assert_eq!(kind("Service", "serving.knative.dev/v1"), None);
        assert_eq!(kind("Namespace", "v1"), None);
    }

    #[test]
    fn an_object_has_its_groups_path() {
        let path = |name| Kind::named(name).unwrap().path("prod", "web");
        assert_eq!(path("svc"), "/api/v1/namespaces/prod/services/web");
        assert_eq!(path("deploy"), "/apis/apps/v1/namespaces/prod/deployments/web");
        for kind in &KINDS {
            let list = kube::core::DynamicObject::url_path(&kind.resource(), Some("prod"));
            assert_eq!(format!("{list}/web"), kind.path("prod", "web"));
        }
    }
}
