//! The helper pod, as a pure function of what the session needs.
//!
//! `tests/golden/` holds its output, checked by hand. After a change that is
//! meant, `UPDATE_GOLDEN=1 cargo test -p kpexec` writes it anew; read the diff.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::{
    AppArmorProfile, Container, EnvVar, Pod, PodSpec, ResourceRequirements, SecurityContext,
    Toleration,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kpexec_protocol::pod;

use super::needs;
use super::tools::{self, ToolsImage};
use crate::identity::Identity;
use crate::target::Target;
use crate::user::User;

/// Name of the container with the helper in it.
pub const CONTAINER: &str = "helper";
/// The program in the helper image.
pub(super) const PROGRAM: &str = "/node-helper";

/// Longest life of a helper, enforced by the kubelet even if kpexec was killed
/// and the API server is gone: longer than a session at a prompt, short enough
/// that a forgotten helper is gone the next morning.
pub(super) const DEADLINE_SECONDS: i64 = 12 * 3600;

/// What a session needs of its helper.
#[derive(Clone, Copy)]
pub struct HelperSpec<'a> {
    /// Name of the pod, chosen before it is created, so that a create that was
    /// repeated because its answer got lost ends in 409 and not in two pods.
    pub name: &'a str,
    /// Its namespace.
    pub namespace: &'a str,
    /// Image with the helper in it.
    pub image: &'a str,
    /// Image with the tools in it, where that is another one.
    pub tools_image: Option<ToolsImage<'a>>,
    /// Path of the CRI socket on the node.
    pub cri_socket: &'a str,
    /// Who is going to be entered.
    pub target: &'a Target,
    /// Who the session is to be.
    pub identity: &'a Identity,
    /// Whose it is, as far as that is known.
    pub user: Option<&'a User>,
    /// How long it stays without a session, for the user's next one. `None`: it
    /// is for one session alone.
    pub shared_for: Option<Duration>,
}

/// The label with the user's hash.
pub(super) const USER_LABEL: &str = "kpexec.io/user";

impl HelperSpec<'_> {
    /// Makes the pod.
    pub fn pod(&self) -> Pod {
        Pod {
            metadata: ObjectMeta {
                name: Some(self.name.to_owned()),
                namespace: Some(self.namespace.to_owned()),
                labels: Some(self.labels()),
                annotations: Some(self.annotations()),
                ..ObjectMeta::default()
            },
            spec: Some(self.pod_spec()),
            status: None,
        }
    }

    pub(super) fn pod_spec(&self) -> PodSpec {
        PodSpec {
            // Past the scheduler: a full, cordoned or tainted node is where a
            // debugger is needed, and no workload is preempted for it.
            node_name: Some(self.target.node.clone()),
            tolerations: Some(vec![Toleration {
                operator: Some("Exists".into()),
                ..Toleration::default()
            }]),
            // To find the target's processes in /proc by the PIDs the CRI says.
            host_pid: Some(true),
            // A node whose network plugin is broken is where a debugger is
            // needed; the helper's processes leave this namespace first thing.
            host_network: Some(true),
            dns_policy: Some("Default".into()),
            restart_policy: Some("Never".into()),
            active_deadline_seconds: Some(DEADLINE_SECONDS),
            // To tell the clients, and to end their commands with SIGHUP first.
            termination_grace_period_seconds: Some(10),
            // Nobody needs the API from here, and a token costs 0.25 s of start.
            automount_service_account_token: Some(false),
            enable_service_links: Some(false),
            init_containers: self.tools_image.map(|_| vec![self.preparing_container()]),
            containers: self.containers(),
            // A volume costs 0.3 s, as the kubelet looks only that often whether it is
            // there: only the tools' image needs one.
            volumes: self.tools_image.map(|_| vec![tools::volume()]),
            ..PodSpec::default()
        }
    }

    fn containers(&self) -> Vec<Container> {
        let tools = self.tools_image.as_ref().map(|image| self.tools_container(image));
        [self.container()].into_iter().chain(tools).collect()
    }

    fn container(&self) -> Container {
        let socket = EnvVar {
            name: pod::CRI_SOCKET.into(),
            value: Some(self.cri_socket.into()),
            ..EnvVar::default()
        };
        let own_name = EnvVar {
            name: pod::HELPER_POD.into(),
            value: Some(format!("{}/{}", self.namespace, self.name)),
            ..EnvVar::default()
        };
        let tools = self.tools_image;
        let idle = self.shared_for.map(|time| EnvVar {
            name: pod::IDLE_SECONDS.into(),
            value: Some(time.as_secs().to_string()),
            ..EnvVar::default()
        });
        let env = [socket, own_name].into_iter().chain(tools.map(|_| tools::pod_uid())).chain(idle);
        Container {
            name: CONTAINER.into(),
            image: Some(self.image.to_owned()),
            // The node of an incident may not reach the registry.
            image_pull_policy: Some("IfNotPresent".into()),
            command: Some(vec![PROGRAM.into(), pod::SUPERVISE.into()]),
            env: Some(env.collect()),
            volume_mounts: tools.map(|_| vec![tools::mount()]),
            resources: Some(resources()),
            security_context: Some(self.security_context()),
            ..Container::default()
        }
    }

    /// Each of these is needed, or as tight as it can be.
    fn security_context(&self) -> SecurityContext {
        SecurityContext {
            // Would add all devices, a writable /sys and no seccomp filter.
            privileged: Some(false),
            // False sets no_new_privs on everything run here: sessions could
            // not use sudo or ping, and the API refuses it beside SYS_ADMIN.
            allow_privilege_escalation: Some(true),
            read_only_root_filesystem: Some(true),
            run_as_user: Some(0),
            run_as_group: Some(0),
            run_as_non_root: Some(false),
            seccomp_profile: Some(needs::seccomp(self.identity, self.target.rights)),
            // The runtimes' default profile denies mount(2). Nodes without
            // AppArmor accept and ignore this.
            app_armor_profile: Some(AppArmorProfile {
                type_: "Unconfined".into(),
                ..AppArmorProfile::default()
            }),
            capabilities: Some(needs::capabilities(self.identity, self.target.rights)),
            ..SecurityContext::default()
        }
    }

    /// Who it is for, so that `kubectl describe` and audit logs can tell. One
    /// that is shared has no target of its own.
    fn annotations(&self) -> BTreeMap<String, String> {
        let target = self.target;
        let mut annotations = mesh_opt_outs();
        if let Some(user) = self.user {
            annotations.insert("kpexec.io/user-name".into(), user.name.clone());
        }
        if self.shared_for.is_some() {
            return annotations;
        }
        for (key, value) in [
            ("target-namespace", &target.namespace),
            ("target-pod", &target.pod),
            ("target-pod-uid", &target.pod_uid),
            ("target-container", &target.container),
        ] {
            annotations.insert(format!("kpexec.io/{key}"), value.clone());
        }
        annotations
    }

    fn labels(&self) -> BTreeMap<String, String> {
        let mut labels = mesh_opt_outs();
        labels.insert("app.kubernetes.io/name".into(), "kpexec-helper".into());
        labels.insert("app.kubernetes.io/managed-by".into(), "kpexec".into());
        labels.extend(self.user.map(|user| (USER_LABEL.to_owned(), user.label())));
        labels
    }
}

/// A mesh's sidecar would delay the start and cannot work in a host network.
/// Some versions read the label, some the annotation.
fn mesh_opt_outs() -> BTreeMap<String, String> {
    [("sidecar.istio.io/inject", "false"), ("linkerd.io/inject", "disabled")]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into()
}

/// Both always set, because a ResourceQuota may demand it. The request is small
/// so that a full node admits us; the limit bounds the tools run in a session,
/// so that debugging a node does not finish it off.
fn resources() -> ResourceRequirements {
    ResourceRequirements {
        requests: quantities(&[("cpu", "20m"), ("memory", "32Mi")]),
        limits: quantities(&[("cpu", "2"), ("memory", "1Gi")]),
        ..ResourceRequirements::default()
    }
}

pub(super) fn quantities(amounts: &[(&str, &str)]) -> Option<BTreeMap<String, Quantity>> {
    let amounts = amounts.iter();
    Some(
        amounts
            .map(|(name, amount)| ((*name).to_owned(), Quantity((*amount).to_owned())))
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::capability::CapabilitySet;
    use crate::cli::{IdentityFlags, Profile};
    use crate::target::Rights;

    fn check(file: &str, cri_socket: &str, flags: &IdentityFlags) {
        check_for(&Target::example(), file, cri_socket, flags);
    }

    fn check_for(target: &Target, file: &str, cri_socket: &str, flags: &IdentityFlags) {
        let identity = Identity::from_flags(flags).unwrap();
        check_spec(file, &HelperSpec { cri_socket, ..plain_spec(target, &identity) });
    }

    fn plain_spec<'a>(target: &'a Target, identity: &'a Identity) -> HelperSpec<'a> {
        HelperSpec {
            name: "kpexec-0a1b2c3d",
            namespace: "kpexec",
            image: "registry.test/kpexec/node-helper@sha256:00",
            tools_image: None,
            cri_socket: "/run/containerd/containerd.sock",
            target,
            identity,
            user: None,
            shared_for: None,
        }
    }

    fn check_spec(file: &str, spec: &HelperSpec<'_>) {
        let got = serde_json::to_value(spec.pod()).unwrap();
        let path = format!("{}/tests/golden/{file}", env!("CARGO_MANIFEST_DIR"));
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&path, serde_saphyr::to_string(&got).unwrap()).unwrap();
        }
        let golden = std::fs::read_to_string(&path).unwrap();
        let golden: Value = serde_saphyr::from_str(&golden).unwrap();
        assert_eq!(
            serde_json::to_string_pretty(&got).unwrap(),
            serde_json::to_string_pretty(&golden).unwrap(),
            "{path}"
        );
    }

    #[test]
    fn a_plain_session_gets_the_golden_pod() {
        let plain = IdentityFlags::default();
        check("helper-pod.yaml", "/run/containerd/containerd.sock", &plain);
    }

    #[test]
    fn one_for_all_sessions_of_a_user_has_no_target_and_says_whose_it_is() {
        let identity = Identity::from_flags(&IdentityFlags::default()).unwrap();
        let target = Target::example();
        let user = User { name: "system:serviceaccount:ops:alice".into(), uid: "u-7".into() };
        let spec = HelperSpec {
            user: Some(&user),
            shared_for: Some(Duration::from_secs(300)),
            ..plain_spec(&target, &identity)
        };
        check_spec("helper-pod-shared.yaml", &spec);
    }

    #[test]
    fn more_capabilities_are_just_that_much_more() {
        let cap_add = ["SYS_TIME", "NET_ADMIN"].map(str::to_owned).into();
        let more = IdentityFlags { cap_add, ..IdentityFlags::default() };
        check("helper-pod-more.yaml", "/var/run/crio/crio.sock", &more);
    }

    #[test]
    fn sysadmin_has_a_helper_that_has_everything() {
        let profile = Some(Profile::Sysadmin);
        let sysadmin = IdentityFlags { profile, ..IdentityFlags::default() };
        check("helper-pod-sysadmin.yaml", "/run/containerd/containerd.sock", &sysadmin);
    }

    #[test]
    fn parity_has_a_helper_that_has_what_the_target_has() {
        let added = CapabilitySet::from_name("IPC_LOCK").unwrap();
        let target = Target { rights: Rights { added, unconfined: true }, ..Target::example() };
        let parity = IdentityFlags { profile: Some(Profile::Target), ..IdentityFlags::default() };
        check_for(&target, "helper-pod-target.yaml", "/var/run/crio/crio.sock", &parity);
    }

    #[test]
    fn tools_of_another_image_are_a_container_without_rights() {
        let identity = Identity::from_flags(&IdentityFlags::default()).unwrap();
        let target = Target::example();
        for (root, file) in [(false, "helper-pod-tools.yaml"), (true, "helper-pod-tools-root.yaml")]
        {
            let tools_image = Some(ToolsImage { name: "registry.test/tools:1", root });
            check_spec(file, &HelperSpec { tools_image, ..plain_spec(&target, &identity) });
        }
    }
}
