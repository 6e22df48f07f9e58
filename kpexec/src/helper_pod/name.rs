//! The helper pod's name, by which it is found.

use std::time::{SystemTime, UNIX_EPOCH};

use super::spec::{DEADLINE_SECONDS, HelperSpec};
use crate::user::{User, hash};

/// How long a helper is offered to new sessions: each then has the other half of
/// the helper's longest life at least.
const OFFERED_SECONDS: u64 = DEADLINE_SECONDS.cast_unsigned() / 2;

/// A name that no other helper has: 32 random bits of the OS.
pub fn random_name() -> Result<String, getrandom::Error> {
    Ok(format!("kpexec-{:08x}", getrandom::u32()?))
}

/// The name under which all sessions of `user` find the helper that is made as
/// `spec` says: same node, same image, same rights. Within a span of time, so
/// that none begins in a helper that is about to reach its longest life.
pub fn shared_name(spec: &HelperSpec<'_>, user: &User, now: SystemTime) -> String {
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let span = since.as_secs() / OFFERED_SECONDS;
    // How long it stays is for who makes it to say.
    let alike = HelperSpec { shared_for: None, ..*spec }.pod_spec();
    let alike = serde_json::to_vec(&alike).unwrap_or_default();
    let version = env!("CARGO_PKG_VERSION");
    format!(
        "kpexec-{}",
        hash(&[user.label().as_bytes(), version.as_bytes(), &span.to_be_bytes(), &alike])
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::cli::IdentityFlags;
    use crate::helper_pod::ToolsImage;
    use crate::identity::Identity;
    use crate::target::Target;

    #[test]
    fn a_helper_is_shared_by_those_it_suits() {
        let identity = Identity::from_flags(&IdentityFlags::default()).unwrap();
        let target = Target::example();
        let alice = User { name: "alice".into(), uid: String::new() };
        let spec = HelperSpec {
            name: "",
            namespace: "kpexec",
            image: "r.test/helper:1",
            tools_image: None,
            cri_socket: "/run/containerd/containerd.sock",
            target: &target,
            identity: &identity,
            user: Some(&alice),
            shared_for: Some(Duration::from_secs(300)),
        };
        let noon = UNIX_EPOCH + Duration::from_secs(12 * 3600);
        let of = |spec: &HelperSpec<'_>| shared_name(spec, &alice, noon);
        let name = of(&spec);
        assert_eq!(name.len(), "kpexec-".len() + 16);

        // Another pod of the node, another time to stay.
        let other = Target { pod: "db-0".into(), namespace: "test".into(), ..Target::example() };
        assert_eq!(of(&HelperSpec { target: &other, ..spec }), name);
        assert_eq!(of(&HelperSpec { shared_for: Some(Duration::from_secs(9)), ..spec }), name);
        let evening = noon + Duration::from_secs(OFFERED_SECONDS - 1);
        assert_eq!(shared_name(&spec, &alice, evening), name);

        let bob = User { name: "bob".into(), ..alice.clone() };
        let elsewhere = Target { node: "node8".into(), ..Target::example() };
        let more = IdentityFlags { cap_add: vec!["SYS_TIME".into()], ..IdentityFlags::default() };
        let more = Identity::from_flags(&more).unwrap();
        let tools = ToolsImage { name: "r.test/tools:1", root: false };
        let night = evening + Duration::from_secs(1);
        for unlike in [
            shared_name(&spec, &bob, noon),
            shared_name(&spec, &alice, night),
            of(&HelperSpec { target: &elsewhere, ..spec }),
            of(&HelperSpec { identity: &more, ..spec }),
            of(&HelperSpec { image: "r.test/helper:2", ..spec }),
            of(&HelperSpec { tools_image: Some(tools), ..spec }),
            of(&HelperSpec { cri_socket: "/run/crio/crio.sock", ..spec }),
        ] {
            assert_ne!(unlike, name);
        }
    }

    #[test]
    fn names_are_valid_and_differ() {
        let (one, two) = (random_name().unwrap(), random_name().unwrap());
        assert_ne!(one, two);
        for name in [one, two] {
            let digits = name.strip_prefix("kpexec-").unwrap();
            assert!(digits.len() == 8 && digits.bytes().all(|b| b"0123456789abcdef".contains(&b)));
        }
    }
}
