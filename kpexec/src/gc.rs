//! `kpexec gc`, from its flags to its exit code.

use std::io::Write as _;

use crate::cli::{ClusterFlags, Gc};
use crate::cluster::Cluster;
use crate::helper_pod::remove_ended;
use crate::run::RunError;
use crate::share;
use crate::target;
use crate::user::who_am_i;

/// Ends the background processes of `--share`, deletes the user's helper pods
/// that have ended, and says which.
pub async fn gc(gc: &Gc) -> Result<u8, RunError> {
    let ClusterFlags { context, kubeconfig, helper_namespace } = &gc.cluster;
    target::check_name(helper_namespace, "namespace")?;
    // First: for these nobody needs to be asked.
    for line in share::stop().await? {
        let _closed = writeln!(std::io::stdout(), "{line}");
    }
    let cluster = Cluster::new(kubeconfig.as_deref(), context.as_deref()).await?;
    let user = who_am_i(&cluster).await.ok_or(RunError::Nobody)?;
    let deleted = remove_ended(&cluster, helper_namespace, &user).await.map_err(RunError::Gc)?;
    for name in deleted {
        // They are deleted all the same.
        let _closed = writeln!(std::io::stdout(), "pod {name:?} deleted");
    }
    Ok(0)
}
