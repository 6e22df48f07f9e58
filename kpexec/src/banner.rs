//! What is said before a shell: where one is, as whom, and how to leave. Pure.

use kpexec_protocol::Started;

use crate::target::Target;

/// The lines, without line ends. `writes` says what becomes of what is written.
pub fn lines(target: &Target, started: &Started, writes: &str) -> Vec<String> {
    let Target { namespace, pod, container, node, .. } = target;
    vec![
        format!("{namespace}/{pod}, container {container}, on node {node}"),
        format!("{}; {writes}", started.summary),
        "exit or ctrl-d leaves".to_owned(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::Rights;

    #[test]
    fn three_short_lines() {
        let target = Target {
            namespace: "prod".into(),
            pod: "web-0".into(),
            pod_uid: "u-1".into(),
            container: "app".into(),
            runtime: "containerd".into(),
            container_id: "4f2a".into(),
            node: "node7".into(),
            rights: Rights::default(),
        };
        let started =
            Started { summary: "uid 0, gid 0, 15 capabilities".into(), ..Started::default() };
        let expected = [
            "prod/web-0, container app, on node node7",
            "uid 0, gid 0, 15 capabilities; nothing is kept",
            "exit or ctrl-d leaves",
        ];
        assert_eq!(lines(&target, &started, "nothing is kept"), expected);
    }
}
