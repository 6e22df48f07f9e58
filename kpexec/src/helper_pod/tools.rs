//! What the helper pod has besides the helper, where the tools are another
//! image's: a container for the sake of that image's files. Pure.
//!
//! The image need not have any program that waits, so it runs one of ours. That
//! comes by way of a volume, into which an init container puts it.

use k8s_openapi::api::core::v1::{
    Capabilities, Container, EmptyDirVolumeSource, EnvVar, EnvVarSource, ObjectFieldSelector,
    ResourceRequirements, SeccompProfile, SecurityContext, Volume, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kpexec_protocol::pod;

use super::spec::{HelperSpec, PROGRAM, quantities};

/// Name of the volume by which our program comes.
const VOLUME: &str = "hold";

/// A user and group that nobody else has, whoever the image would run its program
/// as: 65534 is many a target's, which could send signals to an equal. Kubernetes
/// takes numbers below 2^31, and user namespaces begin at low ones.
const NOBODY: i64 = 2_147_483_000;

/// Another image, for the sake of the tools in it.
#[derive(Debug, Clone, Copy)]
pub struct ToolsImage<'a> {
    /// Its reference.
    pub name: &'a str,
    /// Whether the session has its root as `/`, and may write there.
    pub root: bool,
}

/// The volume our program comes by.
pub fn volume() -> Volume {
    Volume {
        name: VOLUME.into(),
        empty_dir: Some(EmptyDirVolumeSource::default()),
        ..Volume::default()
    }
}

/// As the helper and the tools container have it: for reading.
pub fn mount() -> VolumeMount {
    VolumeMount {
        name: VOLUME.into(),
        mount_path: pod::HOLD_FOLDER.into(),
        read_only: Some(true),
        ..VolumeMount::default()
    }
}

/// Tells the helper that there is a tools container, and of which pod.
pub fn pod_uid() -> EnvVar {
    let field = ObjectFieldSelector { field_path: "metadata.uid".into(), api_version: None };
    EnvVar {
        name: pod::TOOLS_POD.into(),
        value: None,
        value_from: Some(EnvVarSource { field_ref: Some(field), ..EnvVarSource::default() }),
    }
}

impl HelperSpec<'_> {
    /// Puts our program into the volume.
    pub(super) fn preparing_container(&self) -> Container {
        Container {
            name: pod::PREPARE.into(),
            image: Some(self.image.to_owned()),
            image_pull_policy: Some("IfNotPresent".into()),
            command: Some(vec![PROGRAM.into(), pod::PREPARE.into()]),
            volume_mounts: Some(vec![VolumeMount { read_only: None, ..mount() }]),
            resources: Some(resources()),
            // As root: only root may write to a new volume.
            security_context: Some(security_context(0, true)),
            ..Container::default()
        }
    }

    /// Holds the image's files until the helper ends.
    pub(super) fn tools_container(&self, image: &ToolsImage<'_>) -> Container {
        Container {
            name: pod::TOOLS_CONTAINER.into(),
            image: Some(image.name.to_owned()),
            image_pull_policy: Some("IfNotPresent".into()),
            command: Some(vec![format!("{}{PROGRAM}", pod::HOLD_FOLDER), pod::HOLD.into()]),
            volume_mounts: Some(vec![mount()]),
            resources: Some(if image.root { with_disk(resources()) } else { resources() }),
            security_context: Some(security_context(NOBODY, !image.root)),
            ..Container::default()
        }
    }
}

/// Nothing of the image is run here, and what is needs no right at all.
fn security_context(user: i64, read_only: bool) -> SecurityContext {
    SecurityContext {
        privileged: Some(false),
        allow_privilege_escalation: Some(false),
        read_only_root_filesystem: Some(read_only),
        run_as_user: Some(user),
        run_as_group: Some(user),
        run_as_non_root: Some(user != 0),
        seccomp_profile: Some(SeccompProfile {
            type_: "RuntimeDefault".into(),
            ..SeccompProfile::default()
        }),
        capabilities: Some(Capabilities { add: None, drop: Some(vec!["ALL".into()]) }),
        ..SecurityContext::default()
    }
}

/// Both always set, because a ResourceQuota may demand it.
fn resources() -> ResourceRequirements {
    ResourceRequirements {
        requests: quantities(&[("cpu", "1m"), ("memory", "8Mi")]),
        limits: quantities(&[("cpu", "200m"), ("memory", "64Mi")]),
        ..ResourceRequirements::default()
    }
}

/// What a session writes to the image's root is on the node's disk. Beyond the
/// limit the kubelet ends the pod: better that than a full node.
fn with_disk(mut resources: ResourceRequirements) -> ResourceRequirements {
    let limits = resources.limits.get_or_insert_default();
    limits.insert("ephemeral-storage".into(), Quantity("2Gi".into()));
    resources
}
