//! What can be seen once a session is lost.

use k8s_openapi::api::core::v1::{Node, Pod};

use crate::api_error::ApiError;
use crate::transport::End;

/// What is known of an object of the API.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Seen<T> {
    /// Not allowed to be read, or not answered.
    #[default]
    Unknown,
    /// There is none of that name.
    Gone,
    /// This is it.
    There(Box<T>),
}

/// How the API server takes questions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum ApiServer {
    /// Not at all, so far.
    #[default]
    Silent,
    /// It answers, be it with a refusal.
    Answers,
    /// Connections to it fail, in these words.
    Fails(String),
}

/// Whether the helper answers by a new connection.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Helper {
    /// Not so far.
    #[default]
    Silent,
    /// It does.
    Answers,
    /// Somebody on the way says why it cannot.
    Fails(String),
}

/// All of it.
#[derive(Debug)]
pub struct Facts {
    /// How the session's own exec ended.
    pub end: End,
    /// Address of the API server.
    pub url: String,
    /// Namespace of the helper.
    pub namespace: String,
    /// Name of its pod.
    pub helper_pod: String,
    /// Name of its node, if it is known.
    pub node_name: Option<String>,
    /// The API server.
    pub api_server: ApiServer,
    /// The helper's pod.
    pub pod: Seen<Pod>,
    /// Its node.
    pub node: Seen<Node>,
    /// The helper itself.
    pub helper: Helper,
}

impl Facts {
    /// Before anything was asked.
    pub fn new(end: End, url: &str, (namespace, pod): (&str, &str), node: Option<&str>) -> Self {
        Self {
            end,
            url: url.to_owned(),
            namespace: namespace.to_owned(),
            helper_pod: pod.to_owned(),
            node_name: node.map(str::to_owned),
            api_server: ApiServer::default(),
            pod: Seen::default(),
            node: Seen::default(),
            helper: Helper::default(),
        }
    }

    /// Notes what the API server said of the pod. What was seen before stays
    /// where nothing new is said.
    pub fn note_pod(&mut self, answer: Result<Pod, ApiError>) {
        let (server, pod) = read(answer);
        self.api_server = server;
        if let (None, Seen::There(pod)) = (&self.node_name, &pod) {
            self.node_name = pod.spec.as_ref().and_then(|spec| spec.node_name.clone());
        }
        if pod != Seen::Unknown {
            self.pod = pod;
        }
    }

    /// The helper's node, for people.
    pub fn node_called(&self) -> String {
        self.node_name.as_ref().map_or_else(|| "its node".into(), |name| format!("node {name}"))
    }

    /// The same of the node.
    pub fn note_node(&mut self, answer: Result<Node, ApiError>) {
        // Of the API server the pod tells enough.
        let (_, node) = read(answer);
        if node != Seen::Unknown {
            self.node = node;
        }
    }
}

fn read<T>(answer: Result<T, ApiError>) -> (ApiServer, Seen<T>) {
    match answer {
        Ok(object) => (ApiServer::Answers, Seen::There(Box::new(object))),
        Err(ApiError::Refused(status)) if status.code == 404 => (ApiServer::Answers, Seen::Gone),
        Err(ApiError::Unreachable { detail, .. }) => (ApiServer::Fails(detail), Seen::Unknown),
        // A proxy in front of an API server that is away, or one that starts.
        Err(ApiError::Refused(status)) if matches!(status.code, 502..=504) => {
            (ApiServer::Fails(status.message), Seen::Unknown)
        }
        Err(_) => (ApiServer::Answers, Seen::Unknown),
    }
}
