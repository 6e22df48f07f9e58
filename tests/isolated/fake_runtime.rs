//! The CRI call that `node-helper` makes, answered from a test.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use anyhow::Result;
use k8s_cri::v1::{
    ContainerState, ContainerStatus, ContainerStatusRequest, ContainerStatusResponse,
};
use tokio::net::UnixListener;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::server::{Grpc, UnaryService};
use tonic::transport::Server;
use tonic::{Request, Response, Status};

use kpexec_protocol::Target;
use serde_json::Value;

/// What the imitation says of its one container.
#[derive(Clone)]
pub struct Answer {
    /// Container ID.
    pub id: String,
    /// First process; a number, from a runtime in its right mind.
    pub pid: Value,
    /// The kubelet's labels.
    pub labels: HashMap<&'static str, String>,
    /// `CONTAINER_RUNNING` or another state.
    pub state: ContainerState,
    /// containerd's name of the runtime.
    pub runtime_type: &'static str,
    /// `process.env` of the OCI specification.
    pub env: Vec<String>,
    /// `process.cwd` of the OCI specification.
    pub cwd: String,
    /// `linux.seccomp` of the OCI specification.
    pub seccomp: Option<Value>,
    /// How often it was asked.
    pub asked: u32,
    /// What happens whenever it is asked, before it answers: gets how often it
    /// was, and may change the answer.
    pub before: Option<Happening>,
}

/// See [`Answer::before`].
pub type Happening = Arc<dyn Fn(u32, &mut Answer) + Send + Sync>;

impl Answer {
    /// A running container with an environment and a working directory.
    pub fn running(id: String, pid: i32) -> Self {
        let labels = [
            ("io.kubernetes.pod.namespace", "default"),
            ("io.kubernetes.pod.name", "fake"),
            ("io.kubernetes.pod.uid", "1111-2222"),
            ("io.kubernetes.container.name", "app"),
        ];
        Self {
            id,
            pid: pid.into(),
            labels: labels.map(|(name, value)| (name, value.to_owned())).into(),
            state: ContainerState::ContainerRunning,
            runtime_type: "io.containerd.runc.v2",
            env: ["PATH=/bin", "LD_PRELOAD=/evil", "SECRET=s3cret"].map(str::to_owned).into(),
            cwd: "/srv".into(),
            seccomp: None,
            asked: 0,
            before: None,
        }
    }

    /// The pod and container every test uses.
    pub fn target(&self) -> Target {
        Target {
            pod_namespace: "default".into(),
            pod_name: "fake".into(),
            pod_uid: "1111-2222".into(),
            container_name: "app".into(),
            container_id: self.id.clone(),
        }
    }

    fn response(&self) -> ContainerStatusResponse {
        let status = ContainerStatus {
            id: self.id.clone(),
            state: self.state.into(),
            started_at: 1,
            labels: self.labels.iter().map(|(k, v)| ((*k).to_owned(), v.clone())).collect(),
            ..ContainerStatus::default()
        };
        let info = serde_json::json!({
            "pid": self.pid,
            "runtimeType": self.runtime_type,
            "runtimeSpec": {
                "process": {"cwd": self.cwd, "env": self.env},
                "linux": {"seccomp": self.seccomp},
            },
        });
        let info = HashMap::from([("info".to_owned(), info.to_string())]);
        ContainerStatusResponse { status: Some(status), info }
    }
}

/// Serves on `socket` until the test's runtime ends.
pub fn serve(socket: &Path, answer: Arc<Mutex<Answer>>) -> Result<()> {
    let listener = UnixListenerStream::new(UnixListener::bind(socket)?);
    let server = Server::builder().add_service(Service(answer)).serve_with_incoming(listener);
    tokio::spawn(server);
    Ok(())
}

/// A service of one method, routed by hand: the generated server would want all
/// thirty of the CRI.
#[derive(Clone)]
struct Service(Arc<Mutex<Answer>>);

impl tonic::server::NamedService for Service {
    const NAME: &'static str = "runtime.v1.RuntimeService";
}

impl UnaryService<ContainerStatusRequest> for Service {
    type Response = ContainerStatusResponse;
    type Future = std::future::Ready<Result<Response<ContainerStatusResponse>, Status>>;

    fn call(&mut self, request: Request<ContainerStatusRequest>) -> Self::Future {
        let mut answer = self.0.lock().expect("no test panics while it holds this");
        answer.asked += 1;
        if let Some(happen) = answer.before.clone() {
            happen(answer.asked, &mut answer);
        }
        let wanted = request.into_inner();
        std::future::ready(if wanted.container_id == answer.id && wanted.verbose {
            Ok(Response::new(answer.response()))
        } else {
            Err(Status::not_found("no such container"))
        })
    }
}

impl<B> tower::Service<http::Request<B>> for Service
where
    B: tonic::codegen::Body + Send + 'static,
    B::Error: Into<tonic::codegen::StdError> + Send + 'static,
    B::Data: Send,
{
    type Response = http::Response<tonic::body::Body>;
    type Error = std::convert::Infallible;
    type Future = tonic::codegen::BoxFuture<Self::Response, Self::Error>;

    fn poll_ready(
        &mut self,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), Self::Error>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let service = self.clone();
        Box::pin(async move {
            if !request.uri().path().ends_with("/ContainerStatus") {
                return Ok(Status::unimplemented("").into_http());
            }
            let codec = tonic_prost::ProstCodec::default();
            Ok(Grpc::new(codec).unary(service, request).await)
        })
    }
}
