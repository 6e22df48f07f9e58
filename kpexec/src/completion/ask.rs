//! Candidates that the kubeconfig or the cluster knows.

use std::path::Path;
use std::time::Duration;

use clap::{ArgMatches, FromArgMatches as _};
use k8s_openapi::api::core::v1::{Container, Namespace, Pod};
use kube::Api;
use kube::api::ListParams;
use kube::core::DynamicObject;

use super::candidates::{self, Candidate, Question};
use crate::cli::{ClusterFlags, LocalFlags};
use crate::cluster::{Cluster, Entries, known_entries};
use crate::local;
use crate::sessions;
use crate::target::{self, POD};

/// Answers a question of the line that was typed so far, and of the word that is not
/// finished. None: nobody knows, or says.
pub async fn ask(question: Question, typed: &ArgMatches, last: &str) -> Option<Vec<Candidate>> {
    if question == Question::Local {
        let LocalFlags { local_helper, .. } = LocalFlags::from_arg_matches(typed).ok()?;
        let cri_socket = typed.try_get_one::<String>("cri_socket").ok().flatten();
        let known = local::containers(local_helper.as_deref(), cri_socket.map(String::as_str));
        return Some(candidates::local(&known.await?, last));
    }
    let flags = ClusterFlags::from_arg_matches(typed).ok()?;
    if let Question::Kubeconfig(entries) = question {
        return named(flags.kubeconfig.as_deref(), entries);
    }
    let cluster = Cluster::new(&flags).await.ok()?;
    let word = |id: &str| typed.try_get_one::<String>(id).ok().flatten();
    let namespace = word("namespace").unwrap_or(&cluster.namespace);
    target::check_name(namespace, "namespace").ok()?;
    match question {
        Question::Kubeconfig(_) | Question::Local => None,
        Question::Namespaces => {
            let api: Api<Namespace> = Api::all(cluster.client.clone());
            let found = api.list_metadata(&ListParams::default().match_any()).await.ok()?;
            Some(names(found.items.into_iter().filter_map(|one| one.metadata.name)))
        }
        Question::Objects(kind) => {
            let client = cluster.client.clone();
            let api: Api<DynamicObject> = Api::namespaced_with(client, namespace, &kind.resource());
            // From the API server's memory, and without what we do not show: a
            // namespace may have thousands.
            let all = ListParams::default().match_any();
            let asked = if kind == POD { all.fields("status.phase=Running") } else { all };
            let found = api.list_metadata(&asked).await.ok()?;
            Some(names(found.items.into_iter().filter_map(|one| one.metadata.name)))
        }
        Question::Containers => {
            let asked = target::Asked::new(Some(word("pod")?), None).ok()?;
            let found = target::look_up(&cluster, namespace, &asked, Duration::ZERO).await;
            Some(containers(found.ok()?.0))
        }
        Question::Sessions => {
            let known = sessions::attachable(&cluster, &flags.helper_namespace).await.ok()?;
            Some(known.into_iter().map(|(name, about)| Candidate::new(name, about)).collect())
        }
    }
}

fn names(found: impl Iterator<Item = String>) -> Vec<Candidate> {
    found.map(|name| Candidate::new(name, "")).collect()
}

fn named(kubeconfig: Option<&Path>, entries: Entries) -> Option<Vec<Candidate>> {
    let known = known_entries(kubeconfig, entries).ok()?;
    Some(known.into_iter().map(|(name, about)| Candidate::new(name, about)).collect())
}

/// All of them, in the order in which the API server has them.
fn containers(pod: Pod) -> Vec<Candidate> {
    let spec = pod.spec.unwrap_or_default();
    let image = |one: Container| one.image.unwrap_or_default();
    let plain = spec.containers.into_iter();
    let plain = plain.map(|one| Candidate::new(one.name.clone(), image(one)));
    let init = spec.init_containers.unwrap_or_default().into_iter();
    let init = init.map(|one| Candidate::new(one.name.clone(), format!("init: {}", image(one))));
    let ephemeral = spec.ephemeral_containers.unwrap_or_default().into_iter();
    let ephemeral = ephemeral.map(|one| {
        Candidate::new(one.name, format!("ephemeral: {}", one.image.unwrap_or_default()))
    });
    plain.chain(init).chain(ephemeral).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn containers_of_every_kind_are_offered() {
        let pod = serde_json::json!({
            "spec": {
                "containers": [{"name": "app", "image": "web:1"}, {"name": "log"}],
                "initContainers": [{"name": "proxy", "image": "envoy"}],
                "ephemeralContainers": [{"name": "debugger-x", "image": "busybox"}],
            },
        });
        let found = containers(serde_json::from_value(pod).unwrap());
        let found: Vec<_> = found.iter().map(|one| (&*one.value, &*one.about)).collect();
        let expected = [
            ("app", "web:1"),
            ("log", ""),
            ("proxy", "init: envoy"),
            ("debugger-x", "ephemeral: busybox"),
        ];
        assert_eq!(found, expected);
    }
}
