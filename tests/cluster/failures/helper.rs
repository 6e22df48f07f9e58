//! The helper pod is not let in, or does not start; and nothing is left of it.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use tests::command::{kpexec, run};
use tests::{Namespace, cluster, kubectl};

use super::row::{Row, check, row};

const ROWS: &[Row] = &[
    row("no image is named", "KPEXEC_HELPER_IMAGE= kpexec $pod -- true", "image", "--helper-image"),
    row(
        "the image is not there",
        "kpexec --helper-namespace $free --helper-image 10.200.0.1:5000/no-such:1 $pod -- true",
        "cannot start on node $node: … 10.200.0.1:5000/no-such",
        "--helper-image",
    ),
    row(
        "the name of the image is none",
        "kpexec --helper-namespace $free --helper-image No/Such $pod -- true",
        "No/Such",
        "--helper-image",
    ),
    row(
        "the registry is away",
        "kpexec --helper-namespace $free --helper-image 127.0.0.1:1/x:1 --helper-timeout 30s $pod -- true",
        "did not start on node $node within 30s: … 127.0.0.1:1",
        "is its name right, and its registry up? --helper-timeout waits longer",
    ),
    row(
        "an image without a helper",
        "kpexec --helper-namespace $free --helper-image 10.200.0.1:5000/busybox:1 $pod -- true",
        "cannot start on node $node: … /node-helper",
        "--helper-image",
    ),
    row(
        "an image of tools that is not there",
        "kpexec --helper-namespace $free --tools-image 10.200.0.1:5000/no-such:1 $pod -- true",
        "cannot start on node $node: container tools: … 10.200.0.1:5000/no-such",
        "--tools-image",
    ),
    row(
        "the namespace is not there",
        "kpexec --helper-namespace no-such $pod -- true",
        "namespaces \"no-such\" not found",
        "kubectl apply -f manifests/",
    ),
    row(
        "Pod Security forbids it",
        "kpexec --helper-namespace $restricted $pod -- true",
        "violates PodSecurity \"restricted",
        "kubectl apply -f manifests/",
    ),
    row(
        "a policy forbids it",
        "kpexec --rm --helper-namespace $denied $pod -- true",
        "ValidatingAdmissionPolicy 'no-root-$denied' … ask the platform team",
        "namespace $denied",
    ),
    row(
        "a quota is used up",
        "kpexec --helper-namespace $full $pod -- true",
        "exceeded quota: none",
        "kubectl describe quota -n $full",
    ),
    row(
        "a limit is too small for it",
        "kpexec --helper-namespace $small $pod -- true",
        "maximum memory usage per Container is 64Mi",
        "kubectl describe limitrange -n $small",
    ),
    row(
        "no runtime at the socket",
        "kpexec --helper-namespace $free --cri-socket /run/no-such.sock $pod -- true",
        "/run/no-such.sock",
        "--cri-socket",
    ),
    row(
        "a sandboxed container",
        "kpexec --helper-namespace $free --rm gvisor -- true",
        "sandbox",
        "kubectl exec",
    ),
    row(
        "an ID that the user namespace lacks",
        "kpexec --helper-namespace $free --rm -u 3000000000 $userns -- true",
        "user 3000000000 … user namespace",
        "uid_map",
    ),
];

/// A policy for one namespace, gone with this.
struct Policy(String);

impl Policy {
    /// There may be no pods there.
    fn forbid(namespace: &str) -> Result<Self> {
        let policy = Self(format!("no-root-{namespace}"));
        let name = &policy.0;
        cluster::apply(&format!(
            "{{apiVersion: admissionregistration.k8s.io/v1, kind: ValidatingAdmissionPolicy, \
             metadata: {{name: {name}}}, spec: {{failurePolicy: Fail, matchConstraints: \
             {{resourceRules: [{{apiGroups: [''], apiVersions: [v1], operations: [CREATE], \
             resources: [pods]}}]}}, validations: [{{expression: 'false', message: ask the \
             platform team}}]}}}}"
        ))?;
        cluster::apply(&format!(
            "{{apiVersion: admissionregistration.k8s.io/v1, kind: \
             ValidatingAdmissionPolicyBinding, metadata: {{name: {name}}}, spec: {{policyName: \
             {name}, validationActions: [Deny], matchResources: {{namespaceSelector: \
             {{matchLabels: {{kubernetes.io/metadata.name: {namespace}}}}}}}}}}}"
        ))?;
        // It takes a moment until the API server goes by it.
        let deadline = Instant::now() + Duration::from_secs(120);
        let arguments = ["--rm", "--helper-namespace", namespace, "distroless", "--", "true"];
        while !run(kpexec(&arguments), b"")?.stderr.contains(name) {
            ensure!(Instant::now() < deadline, "{name} forbids nothing");
        }
        Ok(policy)
    }
}

impl Drop for Policy {
    fn drop(&mut self) {
        let kinds = "validatingadmissionpolicybinding,validatingadmissionpolicy";
        let _gone = kubectl(&["delete", kinds, &self.0]);
    }
}

fn full() -> Result<Namespace> {
    let full = Namespace::for_helpers("full")?;
    kubectl(&["create", "quota", "none", "--hard=pods=0", "-n", full.name()])?;
    let enforced = "--for=jsonpath={.status.hard.pods}=0";
    kubectl(&["wait", "--timeout=120s", enforced, "-n", full.name(), "resourcequota/none"])?;
    Ok(full)
}

fn small() -> Result<Namespace> {
    let small = Namespace::for_helpers("small")?;
    cluster::apply(&format!(
        "{{apiVersion: v1, kind: LimitRange, metadata: {{name: small, namespace: {}}}, spec: \
         {{limits: [{{type: Container, max: {{memory: 64Mi}}}}]}}}}",
        small.name()
    ))?;
    Ok(small)
}

#[test]
fn of_the_helper() -> Result<()> {
    let (free, denied) = (Namespace::for_helpers("free")?, Namespace::for_helpers("denied")?);
    let (restricted, full) = (Namespace::create("restricted", "restricted")?, full()?);
    let (small, _policy) = (small()?, Policy::forbid(denied.name())?);
    check(
        ROWS,
        &vec![
            ("free", free.name()),
            ("denied", denied.name()),
            ("restricted", restricted.name()),
            ("full", full.name()),
            ("small", small.name()),
        ],
    )?;
    for namespace in [free, denied, restricted, full, small] {
        namespace.wait_until_empty()?;
    }
    Ok(())
}
