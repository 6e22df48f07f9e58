//! Which containers there are to choose from.

use std::io::{self, Write as _};

use kpexec_protocol::pod::CRI_SOCKET;

use crate::cri::{self, Known, Runtime, Socket};

/// Why none can be named.
#[derive(Debug, thiserror::Error)]
pub enum ListError {
    /// Whoever started us did not say it.
    #[error("{CRI_SOCKET} is not set")]
    NoSocket,
    /// The container runtime does not tell.
    #[error(transparent)]
    Runtime(#[from] cri::Error),
    /// The runtime that waits, or stdout.
    #[error("cannot list the containers")]
    Io(#[from] io::Error),
}

/// Writes those that run to stdout.
///
/// # Errors
/// When the container runtime does not tell.
pub fn list() -> Result<(), ListError> {
    let socket = std::env::var_os(CRI_SOCKET).ok_or(ListError::NoSocket)?;
    let socket = Socket::here(socket.into());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let known = runtime.block_on(async { Runtime::connect(&socket).await?.list().await })?;
    Ok(io::stdout().write_all(lines(&known).as_bytes())?)
}

/// As a client names them, in order.
fn lines(known: &[Known]) -> String {
    // Those without a pod are not the kubelet's.
    let running = known.iter().filter(|one| one.running && !one.target.pod_name.is_empty());
    let mut names: Vec<String> = running
        .map(|Known { target, .. }| {
            let kpexec_protocol::Target { pod_name, pod_namespace, container_name, .. } = target;
            format!("{pod_name}/{pod_namespace}/{container_name}\n")
        })
        .collect();
    names.sort();
    names.concat()
}

#[cfg(test)]
mod tests {
    use kpexec_protocol::Target;

    use super::*;

    #[test]
    fn those_that_run_in_a_pod_are_listed_in_order() {
        let known = |pod: &str, container: &str, running| Known {
            target: Target {
                pod_namespace: "prod".into(),
                pod_name: pod.into(),
                container_name: container.into(),
                ..Target::default()
            },
            running,
            created_at: 0,
        };
        let all = [
            known("web", "log", true),
            known("db", "app", true),
            known("web", "app", true),
            known("web", "setup", false),
            known("", "", true),
        ];
        assert_eq!(lines(&all), "db/prod/app\nweb/prod/app\nweb/prod/log\n");
    }
}
