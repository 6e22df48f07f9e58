//! What keeps the helper pod out, and what to do about it. Pure.

/// What to do about a refusal by quota, limit, policy or webhook; `message` is the API
/// server's, about a pod of this namespace.
///
/// The words are those of Kubernetes' admission plugins: `plugin/pkg/admission` for
/// ResourceQuota and LimitRanger, `apiserver/pkg/admission/plugin` for the others.
pub fn hint(message: &str, namespace: &str) -> Option<String> {
    const OR: &str = "--helper-namespace names another";
    let says = |words: &str| message.contains(words);
    if says("exceeded quota: ") || says("failed quota: ") {
        return Some(format!("kubectl describe quota -n {namespace} tells what it allows; {OR}"));
    }
    let bound = ["minimum ", "maximum "].iter().any(|word| says(word)) && says(" usage per ");
    if bound || says(" limit to request ratio per ") {
        let tell = format!("kubectl describe limitrange -n {namespace}");
        return Some(format!("{tell} tells what it allows; {OR}"));
    }
    (says("ValidatingAdmissionPolicy '") || says("admission webhook \"")).then(|| {
        format!("it has to allow in namespace {namespace} what Pod Security calls privileged; {OR}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_keeps_it_out_is_who_to_ask() {
        for (message, words) in [
            (
                r#"pods "x" is forbidden: exceeded quota: none, requested: pods=1, used: pods=0, limited: pods=0"#,
                "kubectl describe quota -n kpx",
            ),
            (
                r#"pods "x" is forbidden: failed quota: cpu: must specify requests.cpu for: helper"#,
                "kubectl describe quota -n kpx",
            ),
            (
                r#"pods "x" is forbidden: maximum memory usage per Container is 64Mi, but limit is 1Gi"#,
                "kubectl describe limitrange -n kpx",
            ),
            (
                r#"pods "x" is forbidden: cpu max limit to request ratio per Container is 10, but provided ratio is 100.000000"#,
                "kubectl describe limitrange -n kpx",
            ),
            (
                r#"pods "x" is forbidden: minimum cpu usage per Pod is 1, but request is 10m"#,
                "kubectl describe limitrange -n kpx",
            ),
            (
                r#"pods "x" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: no"#,
                "in namespace kpx",
            ),
            (
                r#"admission webhook "validate.kyverno.svc-fail" denied the request: no"#,
                "namespace kpx",
            ),
        ] {
            let hint = hint(message, "kpx").unwrap_or_default();
            assert!(
                hint.contains(words) && hint.contains("--helper-namespace"),
                "{message}: {hint}"
            );
        }
    }

    #[test]
    fn of_other_refusals_nothing_is_known() {
        assert_eq!(hint(r#"pods "x" is forbidden: error looking up service account"#, "kpx"), None);
        assert_eq!(hint("the maximum is reached", "kpx"), None);
    }
}
