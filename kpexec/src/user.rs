//! Who the API server takes us for: a helper is shared with nobody else.

use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use kube::Api;
use kube::api::PostParams;
use sha2::{Digest, Sha256};

use crate::cluster::Cluster;

/// A user of the cluster, the one of `--as` included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Their name, for people.
    pub name: String,
    /// What tells them from a later user of the same name; mostly empty.
    pub uid: String,
}

impl User {
    /// As a label's value, which a name may not fit into.
    pub fn label(&self) -> String {
        hash(&[self.name.as_bytes(), self.uid.as_bytes()])
    }
}

/// Asks the API server, by KEP-3325, Kubernetes 1.28. `None` where it does not
/// say: nothing is shared then.
pub async fn who_am_i(cluster: &Cluster) -> Option<User> {
    let reviews: Api<SelfSubjectReview> = Api::all(cluster.client.clone());
    let review = reviews.create(&PostParams::default(), &SelfSubjectReview::default()).await;
    let review = review.inspect_err(|error| {
        tracing::debug!(%error, "it is not known who we are, so no helper can be shared");
    });
    let info = review.ok()?.status?.user_info?;
    let name = info.username.filter(|name| !name.is_empty())?;
    Some(User { name, uid: info.uid.unwrap_or_default() })
}

/// 64 bits of SHA-256 over the parts, such that no two lists look the same.
pub fn hash(parts: &[&[u8]]) -> String {
    let mut sum = Sha256::new();
    for part in parts {
        sum.update((part.len() as u64).to_be_bytes());
        sum.update(part);
    }
    sum.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_differ_by_name_and_uid() {
        let user = |name: &str, uid: &str| User { name: name.into(), uid: uid.into() }.label();
        let alice = user("alice", "");
        assert_eq!(alice.len(), 16);
        assert!(alice.bytes().all(|byte| byte.is_ascii_hexdigit()));
        assert_eq!(alice, user("alice", ""));
        for other in [user("alice", "7"), user("alic", "e"), user("", "alice")] {
            assert_ne!(alice, other);
        }
    }
}
