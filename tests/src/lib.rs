//! The harness of the cluster tests: finds the running cluster, runs kpexec as a
//! user would, and looks at a pod from the node, which neither kpexec nor the
//! container can falsify.

pub mod api_server;
pub mod beside;
pub mod client;
pub mod cluster;
pub mod command;
pub mod faults;
pub mod helper;
pub mod namespace;
pub mod node;
pub mod pod;
pub mod status;
pub mod terminal;
pub mod tmux;

pub use client::Client;
pub use cluster::{Cluster, kubectl};
pub use command::{Output, kpexec};
pub use helper::Helper;
pub use namespace::Namespace;
pub use node::Node;
pub use pod::Pod;

/// The demo pods of both nodes: a hardened one without a shell, and a plain one.
pub const DEMO_PODS: [&str; 4] = ["distroless", "distroless-crio", "busybox", "busybox-crio"];

/// One pod of each node, for what does not depend on the image.
pub const BOTH_NODES: [&str; 2] = ["distroless", "distroless-crio"];

/// The nodes' names, in the same order.
pub const NODE_NAMES: [&str; 2] = ["node1", "node2"];

/// Pods with a user namespace of their own (`hostUsers: false`), one a node.
pub const USER_NAMESPACED: [&str; 2] = ["userns", "userns-crio"];
