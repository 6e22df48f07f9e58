//! What the pod's spec grants the container beyond what its runtime does.

use k8s_openapi::api::core::v1::{PodSpec, SeccompProfile, SecurityContext};

use crate::capability::CapabilitySet;

/// What parity with the container takes. The helper reads the container's
/// identity from its runtime; this is for making the helper able to give it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rights {
    /// Capabilities that the spec adds; all of them where it says privileged.
    pub added: CapabilitySet,
    /// Whether the spec says that no seccomp filter is on the container. Where
    /// it says nothing the kubelet decides (`seccompDefault`), and that cannot
    /// be read here: we take it for confined, as the stricter guess.
    pub unconfined: bool,
}

impl Rights {
    /// Those of the container of this name, of whatever kind it is.
    pub fn of(spec: &PodSpec, container: &str) -> Self {
        let own = security_context(spec, container).cloned().unwrap_or_default();
        if own.privileged == Some(true) {
            return Self { added: CapabilitySet::ALL, unconfined: true };
        }
        let names = own.capabilities.and_then(|capabilities| capabilities.add).unwrap_or_default();
        // The runtimes skip or refuse a name that no kernel has: it grants nothing.
        let added = names.iter().filter_map(|name| CapabilitySet::from_name(name));
        let of_pod = spec.security_context.as_ref().and_then(|pod| pod.seccomp_profile.as_ref());
        let profile = own.seccomp_profile.as_ref().or(of_pod);
        Self {
            added: added.fold(CapabilitySet::EMPTY, CapabilitySet::union),
            unconfined: profile.is_some_and(is_unconfined),
        }
    }
}

fn is_unconfined(profile: &SeccompProfile) -> bool {
    profile.type_ == "Unconfined"
}

fn security_context<'a>(spec: &'a PodSpec, container: &str) -> Option<&'a SecurityContext> {
    let regular = spec.containers.iter().chain(spec.init_containers.iter().flatten());
    let regular = regular.map(|one| (&one.name, &one.security_context));
    let ephemeral = spec.ephemeral_containers.iter().flatten();
    let ephemeral = ephemeral.map(|one| (&one.name, &one.security_context));
    let mut found = regular.chain(ephemeral).filter(|(name, _)| *name == container);
    found.next().and_then(|(_, context)| context.as_ref())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn spec(of_pod: Value, of_container: Value) -> PodSpec {
        serde_json::from_value(json!({
            "securityContext": of_pod,
            "containers": [{"name": "other"}, {"name": "app", "securityContext": of_container}],
        }))
        .unwrap()
    }

    fn rights(of_pod: Value, of_container: Value) -> Rights {
        Rights::of(&spec(of_pod, of_container), "app")
    }

    fn seccomp(kind: &str) -> Value {
        json!({"seccompProfile": {"type": kind}})
    }

    #[test]
    fn a_spec_that_says_nothing_grants_nothing() {
        assert_eq!(rights(Value::Null, Value::Null), Rights::default());
        let drop = json!({"privileged": false, "capabilities": {"drop": ["ALL"]}});
        assert_eq!(rights(json!({}), drop), Rights::default());
    }

    #[test]
    fn added_capabilities_are_found_however_they_are_written() {
        let add = |names: Value| rights(Value::Null, json!({"capabilities": {"add": names}})).added;
        assert_eq!(
            add(json!(["NET_ADMIN", "CAP_SYS_TIME", "bpf"])).bits(),
            1 << 12 | 1 << 25 | 1 << 39
        );
        assert_eq!(add(json!(["KILL", "ALL"])), CapabilitySet::ALL);
        assert_eq!(add(json!(["NO_SUCH", "KILL"])).bits(), 1 << 5);
    }

    #[test]
    fn a_privileged_container_has_everything_and_no_filter() {
        let of_container =
            json!({"privileged": true, "seccompProfile": {"type": "RuntimeDefault"}});
        let everything = Rights { added: CapabilitySet::ALL, unconfined: true };
        assert_eq!(rights(Value::Null, of_container), everything);
    }

    #[test]
    fn the_containers_filter_comes_before_the_pods() {
        let (none, default) = (seccomp("Unconfined"), seccomp("RuntimeDefault"));
        let local = json!({"seccompProfile": {"type": "Localhost", "localhostProfile": "x.json"}});
        for (of_pod, of_container, unconfined) in [
            (Value::Null, none.clone(), true),
            (none.clone(), Value::Null, true),
            (default.clone(), none.clone(), true),
            (none.clone(), default.clone(), false),
            (none, local, false),
            (default, Value::Null, false),
        ] {
            let got = rights(of_pod.clone(), of_container.clone()).unconfined;
            assert_eq!(got, unconfined, "{of_pod} {of_container}");
        }
    }

    #[test]
    fn every_kind_of_container_has_its_own() {
        let privileged = json!({"privileged": true});
        let spec: PodSpec = serde_json::from_value(json!({
            "containers": [{"name": "app"}],
            "initContainers": [{"name": "setup", "securityContext": privileged}],
            "ephemeralContainers": [{"name": "dbg", "securityContext": privileged}],
        }))
        .unwrap();
        for (name, unconfined) in [("app", false), ("setup", true), ("dbg", true), ("gone", false)]
        {
            assert_eq!(Rights::of(&spec, name).unconfined, unconfined, "{name}");
        }
    }
}
