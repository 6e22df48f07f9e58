//! `kpexec gc`, from its flags to its exit code.

use crate::cli::Gc;
use crate::cluster::Cluster;
use crate::helper_pod::remove_ended;
use crate::run::RunError;
use crate::share;
use crate::stdout;
use crate::target;
use crate::user::who_am_i;

/// Ends the background processes of `--share`, deletes the user's helper pods
/// that have ended, and says which.
pub async fn gc(gc: &Gc) -> Result<u8, RunError> {
    let helper_namespace = &gc.cluster.helper_namespace;
    target::check_name(helper_namespace, "namespace")?;
    // First: for these nobody needs to be asked.
    let stopped: String = share::stop().await?.iter().map(|line| format!("{line}\n")).collect();
    // What cannot be told is done all the same.
    let told = stdout::print(&stopped);
    let cluster = Cluster::new(&gc.cluster).await?;
    let user = who_am_i(&cluster).await.ok_or(RunError::Nobody)?;
    let deleted = remove_ended(&cluster, helper_namespace, &user).await.map_err(RunError::Gc)?;
    let deleted: String = deleted.iter().map(|name| format!("pod {name:?} deleted\n")).collect();
    stdout::print(&deleted).and(told)?;
    Ok(0)
}
