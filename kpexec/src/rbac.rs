//! The right that a refusal of the API server is about.

/// What would allow it, in the words of kubectl; `message` is the refusal's.
pub fn hint(message: &str) -> String {
    const ALL: &str = "manifests/rbac.yaml has all that kpexec needs";
    match rule(message) {
        // Without names it would allow to be anybody, system:masters included.
        Some(rule) if rule.contains("--verb=impersonate") => {
            format!("this role, bound to you, allows it: {rule} --resource-name=NAME")
        }
        Some(rule) => format!("this role, bound to you, allows it: {rule}; {ALL}"),
        None => ALL.to_owned(),
    }
}

/// `… cannot VERB resource "RESOURCE" in API group "GROUP" in the namespace "NS"`,
/// or `at the cluster scope`: k8s.io/apiserver's RBAC authorizer.
fn rule(message: &str) -> Option<String> {
    let (_, rest) = message.split_once(" cannot ")?;
    let (verb, rest) = rest.split_once(" resource \"")?;
    // Kubernetes 1.36 asks first whether we may act as others in this one thing
    // (KEP-5284), and then, as always, whether in all.
    if verb.starts_with("impersonate-on:") {
        let resources = "users,groups,serviceaccounts";
        return Some(format!(
            "kubectl create clusterrole kpexec --verb=impersonate --resource={resources}"
        ));
    }
    let (resource, rest) = rest.split_once("\" in API group \"")?;
    let (group, scope) = rest.split_once('"')?;
    let resource = match (group, resource.split_once('/')) {
        ("", _) => resource.to_owned(),
        (group, None) => format!("{resource}.{group}"),
        (group, Some((resource, part))) => format!("{resource}.{group}/{part}"),
    };
    let namespace =
        scope.split_once("in the namespace \"").and_then(|(_, rest)| rest.split_once('"'));
    let plain = |text: &str| {
        text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-./".contains(&byte))
    };
    // It is for a shell, and was written by others.
    if ![verb, &resource, namespace.map_or("", |(name, _)| name)].into_iter().all(plain) {
        return None;
    }
    let kind = match namespace {
        Some((namespace, _)) => format!("role kpexec -n {namespace}"),
        None => "clusterrole kpexec".to_owned(),
    };
    Some(format!("kubectl create {kind} --verb={verb} --resource={resource}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rule_is_that_of_the_refusal() {
        for (message, expected) in [
            (
                r#"pods "web" is forbidden: User "bob" cannot get resource "pods" in API group "" in the namespace "a""#,
                Some("kubectl create role kpexec -n a --verb=get --resource=pods"),
            ),
            (
                r#"pods "x" is forbidden: User "bob" cannot create resource "pods/exec" in API group "" in the namespace "a""#,
                Some("kubectl create role kpexec -n a --verb=create --resource=pods/exec"),
            ),
            (
                r#"nodes "n" is forbidden: User "bob" cannot get resource "nodes" in API group "" at the cluster scope"#,
                Some("kubectl create clusterrole kpexec --verb=get --resource=nodes"),
            ),
            (
                r#"users "al" is forbidden: User "bob" cannot impersonate resource "users" in API group "" at the cluster scope"#,
                Some("kubectl create clusterrole kpexec --verb=impersonate --resource=users"),
            ),
            (
                r#"deployments.apps "d" is forbidden: User "bob" cannot update resource "deployments/scale" in API group "apps" in the namespace "a": no such role"#,
                Some(
                    "kubectl create role kpexec -n a --verb=update --resource=deployments.apps/scale",
                ),
            ),
            (
                r#"pods "p" is forbidden: User "bob" cannot impersonate-on:user-info:get resource "pods" in API group "" in the namespace "a""#,
                Some(
                    "kubectl create clusterrole kpexec --verb=impersonate --resource=users,groups,serviceaccounts",
                ),
            ),
            (
                r#"x is forbidden: User "bob" cannot get resource "pods;reboot" in API group "" in the namespace "a""#,
                None,
            ),
            (r#"pods "x" is forbidden: exceeded quota: small"#, None),
        ] {
            assert_eq!(rule(message).as_deref(), expected, "{message}");
        }
        assert!(hint("whatever").contains("manifests/rbac.yaml"));
    }
}
