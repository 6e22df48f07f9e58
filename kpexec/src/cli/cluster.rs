//! The flags that say which cluster, and where in it the helpers are.

use std::path::PathBuf;

use clap::Args;

/// Heading of the flags that one sets once.
pub(super) const CLUSTER: &str = "Cluster and helper pod";

/// Where to look.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = CLUSTER)]
pub struct ClusterFlags {
    /// Context of the kubeconfig to use
    #[arg(long, value_name = "NAME")]
    pub context: Option<String>,

    /// Kubeconfig file to use [default: as kubectl finds it]
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,

    /// Namespace of the helper pods
    #[arg(long, value_name = "NS", default_value = "kpexec", env = "KPEXEC_HELPER_NAMESPACE")]
    pub helper_namespace: String,
}
