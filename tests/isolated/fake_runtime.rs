//! The CRI calls that `node-helper` makes, answered from a test.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use anyhow::Result;
use k8s_cri::v1::{
    Container, ContainerState, ContainerStatus, ContainerStatusRequest, ContainerStatusResponse,
    ListContainersRequest, ListContainersResponse,
};
use tokio::net::UnixListener;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::server::{Grpc, UnaryService};
use tonic::transport::Server;
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;

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
    /// What it says of the tools container of the helper's own pod.
    pub tools: Option<Box<Answer>>,
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
            tools: None,
            asked: 0,
            before: None,
        }
    }

    /// A running tools container, of the pod with this UID.
    pub fn tools(id: String, pid: i32, pod_uid: &str) -> Self {
        let mut answer = Self::running(id, pid);
        answer.labels.insert("io.kubernetes.pod.uid", pod_uid.to_owned());
        answer.labels.insert("io.kubernetes.container.name", "tools".to_owned());
        answer.env = vec!["PATH=/usr/bin:/bin".to_owned()];
        answer
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

    fn labels(&self) -> HashMap<String, String> {
        self.labels.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
    }

    fn response(&self) -> ContainerStatusResponse {
        let status = ContainerStatus {
            id: self.id.clone(),
            state: self.state.into(),
            started_at: 1,
            labels: self.labels(),
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

/// A service of two methods, routed by hand: the generated server would want all
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
        let known = [Some(&*answer), answer.tools.as_deref()].into_iter().flatten();
        let found = known.into_iter().find(|known| known.id == wanted.container_id);
        std::future::ready(match found.filter(|_| wanted.verbose) {
            Some(found) => Ok(Response::new(found.response())),
            None => Err(Status::not_found("no such container")),
        })
    }
}

impl UnaryService<ListContainersRequest> for Service {
    type Response = ListContainersResponse;
    type Future = std::future::Ready<Result<Response<ListContainersResponse>, Status>>;

    fn call(&mut self, request: Request<ListContainersRequest>) -> Self::Future {
        let answer = self.0.lock().expect("no test panics while it holds this");
        let wanted = request.into_inner().filter.unwrap_or_default();
        let known = [Some(&*answer), answer.tools.as_deref()].into_iter().flatten();
        let found = known.filter(|known| {
            let labels = known.labels();
            let is_state =
                wanted.state.as_ref().is_none_or(|state| state.state == i32::from(known.state));
            is_state && wanted.label_selector.iter().all(|(k, v)| labels.get(k) == Some(v))
        });
        let container = |known: &Answer| Container {
            id: known.id.clone(),
            labels: known.labels(),
            state: known.state.into(),
            ..Container::default()
        };
        let containers = found.map(container).collect();
        std::future::ready(Ok(Response::new(ListContainersResponse { containers })))
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
            let path = request.uri().path().rsplit('/').next().unwrap_or_default().to_owned();
            Ok(match path.as_str() {
                "ContainerStatus" => {
                    let codec = ProstCodec::<_, ContainerStatusRequest>::default();
                    Grpc::new(codec).unary(service, request).await
                }
                "ListContainers" => {
                    let codec = ProstCodec::<_, ListContainersRequest>::default();
                    Grpc::new(codec).unary(service, request).await
                }
                _ => Status::unimplemented("").into_http(),
            })
        })
    }
}
