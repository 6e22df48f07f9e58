//! What the container runtime knows of a container: the CRI's
//! `ContainerStatus`, verbose, believed only as far as [`crate::target`] can
//! confirm it.

mod list;
mod socket;

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use k8s_cri::v1::runtime_service_client::RuntimeServiceClient;
use k8s_cri::v1::{ContainerState, ContainerStatusRequest, ContainerStatusResponse};
use serde::Deserialize;
use tonic::transport::{Channel, Endpoint, Uri};

use kpexec_protocol::Target;

pub use list::Known;
pub use socket::Socket;

/// How long the runtime may take to answer.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The largest answer we take: a container's OCI specification can be long.
const LARGEST_ANSWER: usize = 16 << 20;

/// Labels the kubelet gives every container.
const POD_UID: &str = "io.kubernetes.pod.uid";
const POD_NAME: &str = "io.kubernetes.pod.name";
const POD_NAMESPACE: &str = "io.kubernetes.pod.namespace";
const CONTAINER_NAME: &str = "io.kubernetes.container.name";

/// CRI-O's annotation of the runtime handler.
const CRIO_HANDLER: &str = "io.kubernetes.cri-o.RuntimeHandler";

/// Why a container cannot be entered, as far as the runtime can tell.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No socket, or nobody listens on it.
    #[error("cannot reach the container runtime at {}", .socket.display())]
    Connect {
        /// The socket's path on the node.
        socket: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The runtime does not have this container (any more).
    #[error("the container runtime has no container {0}")]
    NoSuchContainer(String),
    /// The runtime answered with an error.
    #[error("the container runtime refused to tell about the container")]
    Status(#[from] Box<tonic::Status>),
    /// The container is not the one the client named.
    #[error("container {id} belongs to {found}, not to {wanted}")]
    AnotherContainer {
        /// Container ID.
        id: String,
        /// namespace/pod/container (uid) as the runtime has it.
        found: String,
        /// The same as the client has it.
        wanted: String,
    },
    /// The container exists and does not run.
    #[error("the container is not running (the runtime says {0})")]
    NotRunning(&'static str),
    /// The answer lacks what it must have.
    #[error("the container runtime's answer cannot be used: {0}")]
    Unusable(&'static str),
    /// The answer's verbose part is not the JSON it should be.
    #[error("the container runtime's answer cannot be read")]
    Json(#[from] serde_json::Error),
    /// gVisor, Kata and the like: the process is not the container's.
    #[error("the container runs in a sandbox ({0}), which has no namespaces to enter")]
    Sandboxed(String),
}

/// What we take from the runtime's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container {
    /// 64 hexadecimal digits on the runtimes in use.
    pub id: String,
    /// First process, as the node numbers it. Not to be trusted alone: CRI-O
    /// goes on reporting it after the process has ended.
    pub pid: i32,
    /// When it started, in nanoseconds since the epoch: tells a restart.
    pub started_at: i64,
    /// `process.env` of the OCI specification.
    pub env: Vec<String>,
    /// `process.cwd` of the OCI specification.
    pub workdir: String,
    /// `linux.seccomp` of the OCI specification: its filter, where it has one.
    /// Not read any further: most sessions have no need of it.
    pub seccomp: Option<serde_json::Value>,
}

impl Info {
    /// The name of the sandboxed runtime, where it is one. containerd tells the
    /// kind of runtime; of CRI-O's handlers only the name is known, which is
    /// whatever the node's administrator chose: the usual ones are recognized.
    fn sandbox(&self) -> Option<String> {
        if let Some(kind) = &self.runtime_type {
            return (kind != "io.containerd.runc.v2").then(|| kind.clone());
        }
        let handler = self.runtime_spec.as_ref()?.annotations.get(CRIO_HANDLER)?;
        let known = ["gvisor", "kata", "runsc"];
        known.iter().any(|name| handler.contains(name)).then(|| handler.clone())
    }
}

/// The JSON behind `info["info"]`. containerd and CRI-O agree on these names.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Info {
    pid: i32,
    /// containerd only.
    runtime_type: Option<String>,
    runtime_spec: Option<RuntimeSpec>,
}

#[derive(Debug, Deserialize)]
struct RuntimeSpec {
    process: Option<Process>,
    linux: Option<Linux>,
    #[serde(default)]
    annotations: HashMap<String, String>,
}

#[derive(Debug, Deserialize)]
struct Linux {
    seccomp: Option<serde_json::Value>,
}

#[derive(Debug, Deserialize)]
struct Process {
    #[serde(default)]
    env: Vec<String>,
    cwd: String,
}

/// A connection to the runtime.
pub struct Runtime(RuntimeServiceClient<Channel>);

impl Runtime {
    /// Connects to the runtime's socket.
    ///
    /// # Errors
    /// [`Error::Connect`].
    pub async fn connect(socket: &Socket) -> Result<Self, Error> {
        let there = socket.clone();
        let connector = tower::service_fn(move |_: Uri| {
            let there = there.clone();
            async move { there.connect().await.map(TokioIo::new) }
        });
        let channel = Endpoint::from_static("http://localhost")
            .connect_timeout(TIMEOUT)
            .timeout(TIMEOUT)
            .connect_with_connector(connector)
            .await
            .map_err(|error| Error::Connect {
                socket: socket.path().to_owned(),
                source: cause(error),
            })?;
        Ok(Self(RuntimeServiceClient::new(channel).max_decoding_message_size(LARGEST_ANSWER)))
    }

    /// Asks about the container the client named.
    ///
    /// # Errors
    /// When it is not there, does not run, is another pod's, or cannot be
    /// entered by joining namespaces.
    pub async fn container(&mut self, target: &Target) -> Result<Container, Error> {
        let request =
            ContainerStatusRequest { container_id: target.container_id.clone(), verbose: true };
        let response =
            self.0.container_status(request).await.map_err(|status| match status.code() {
                tonic::Code::NotFound => Error::NoSuchContainer(target.container_id.clone()),
                _ => Error::Status(Box::new(status)),
            })?;
        read(target, response.into_inner())
    }
}

/// What lies at the bottom: the layers above say no more.
fn cause(error: tonic::transport::Error) -> io::Error {
    let mut cause: &dyn std::error::Error = &error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    match cause.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error) {
        Some(errno) => io::Error::from_raw_os_error(errno),
        None => io::Error::other(error),
    }
}

/// Checks and reads one answer.
fn read(target: &Target, response: ContainerStatusResponse) -> Result<Container, Error> {
    let status = response.status.ok_or(Error::Unusable("it has no status"))?;
    check_labels(target, &status.id, &status.labels)?;
    match ContainerState::try_from(status.state) {
        Ok(ContainerState::ContainerRunning) => {}
        Ok(ContainerState::ContainerCreated) => return Err(Error::NotRunning("created")),
        Ok(ContainerState::ContainerExited) => return Err(Error::NotRunning("exited")),
        _ => return Err(Error::NotRunning("unknown")),
    }
    let info = response.info.get("info").ok_or(Error::Unusable("it has no verbose part"))?;
    let info: Info = serde_json::from_str(info)?;
    if let Some(sandbox) = info.sandbox() {
        return Err(Error::Sandboxed(sandbox));
    }
    if info.pid <= 1 {
        return Err(Error::Unusable("it names no process"));
    }
    let spec = info.runtime_spec.ok_or(Error::Unusable("it has no OCI specification"))?;
    let process = spec.process.ok_or(Error::Unusable("it has no OCI specification"))?;
    Ok(Container {
        id: status.id,
        pid: info.pid,
        started_at: status.started_at,
        env: process.env,
        workdir: process.cwd,
        seccomp: spec.linux.and_then(|linux| linux.seccomp),
    })
}

/// Compares the kubelet's labels with what the client asked for. The pod's UID
/// decides: a pod may be replaced by another of the same name.
fn check_labels(target: &Target, id: &str, labels: &HashMap<String, String>) -> Result<(), Error> {
    let label = |name| labels.get(name).map_or("?", String::as_str);
    let found = (label(POD_NAMESPACE), label(POD_NAME), label(CONTAINER_NAME), label(POD_UID));
    let wanted = (
        target.pod_namespace.as_str(),
        target.pod_name.as_str(),
        target.container_name.as_str(),
        target.pod_uid.as_str(),
    );
    if found == wanted && id == target.container_id {
        return Ok(());
    }
    let show = |(namespace, pod, container, uid): (&str, &str, &str, &str)| {
        format!("{namespace}/{pod}/{container} (pod UID {uid})")
    };
    Err(Error::AnotherContainer { id: id.to_owned(), found: show(found), wanted: show(wanted) })
}

#[cfg(test)]
mod tests {
    use k8s_cri::v1::ContainerStatus;

    use super::*;

    const ID: &str = "c0ffee";

    fn target() -> Target {
        Target {
            pod_namespace: "prod".into(),
            pod_name: "web-0".into(),
            pod_uid: "6ba7b810".into(),
            container_name: "app".into(),
            container_id: ID.into(),
        }
    }

    fn answer(info: &str) -> ContainerStatusResponse {
        let labels = [
            (POD_NAMESPACE, "prod"),
            (POD_NAME, "web-0"),
            (POD_UID, "6ba7b810"),
            (CONTAINER_NAME, "app"),
        ];
        let status = ContainerStatus {
            id: ID.into(),
            state: ContainerState::ContainerRunning.into(),
            started_at: 17,
            labels: labels.map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
            ..ContainerStatus::default()
        };
        let info = HashMap::from([("info".to_owned(), info.to_owned())]);
        ContainerStatusResponse { status: Some(status), info }
    }

    const CONTAINERD: &str = r#"{"sandboxID":"s","pid":4711,"removing":false,
        "runtimeType":"io.containerd.runc.v2","config":{},"runtimeSpec":{"ociVersion":"1.2.1",
        "process":{"user":{"uid":65532},"args":["/app"],"env":["PATH=/bin","A=b"],"cwd":"/srv"}}}"#;
    const CRIO: &str = r#"{"sandboxID":"s","pid":4712,"privileged":false,
        "runtimeSpec":{"process":{"args":["/app"],"cwd":"/"}}}"#;

    #[test]
    fn both_runtimes_are_read() {
        let container = read(&target(), answer(CONTAINERD)).unwrap();
        let wanted = Container {
            id: ID.into(),
            pid: 4711,
            started_at: 17,
            env: vec!["PATH=/bin".into(), "A=b".into()],
            workdir: "/srv".into(),
            seccomp: None,
        };
        assert_eq!(container, wanted);
        let container = read(&target(), answer(CRIO)).unwrap();
        assert_eq!((container.pid, container.workdir.as_str()), (4712, "/"));
    }

    #[test]
    fn a_sandboxed_container_is_refused() {
        let info = CONTAINERD.replace("runc.v2", "runsc.v1");
        assert!(matches!(read(&target(), answer(&info)), Err(Error::Sandboxed(_))));
        let handler = |name: &str| {
            let annotations = format!(r#""annotations":{{"{CRIO_HANDLER}":"{name}"}},"process""#);
            read(&target(), answer(&CRIO.replace(r#""process""#, &annotations)))
        };
        assert!(matches!(handler("kata-qemu"), Err(Error::Sandboxed(_))));
        assert!(matches!(handler("runsc"), Err(Error::Sandboxed(_))));
        assert!(handler("runc").is_ok());
        assert!(handler("high-performance").is_ok());
    }

    #[test]
    fn an_exited_container_is_refused_whatever_pid_it_has() {
        let mut answer = answer(CRIO);
        answer.status.as_mut().unwrap().state = ContainerState::ContainerExited.into();
        assert!(matches!(read(&target(), answer), Err(Error::NotRunning("exited"))));
    }

    #[test]
    fn no_pid_is_refused() {
        let info = CONTAINERD.replace("4711", "0");
        assert!(matches!(read(&target(), answer(&info)), Err(Error::Unusable(_))));
    }

    #[test]
    fn another_pods_container_is_refused() {
        let mut other = target();
        other.pod_uid = "00000000".into();
        let error = read(&other, answer(CONTAINERD)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "container c0ffee belongs to prod/web-0/app (pod UID 6ba7b810), \
             not to prod/web-0/app (pod UID 00000000)"
        );
    }

    #[test]
    fn an_answer_without_the_verbose_part_is_refused() {
        let mut answer = answer(CRIO);
        answer.info.clear();
        assert!(matches!(read(&target(), answer), Err(Error::Unusable(_))));
    }
}
