//! `--dry-run`: the helper pod in print.

use k8s_openapi::api::core::v1::Pod;

use crate::cli::{DryRun, Format, PlanFlags};
use crate::cluster::Cluster;
use crate::find::Wanted;
use crate::helper_pod::{Sharing, rehearse};
use crate::report;
use crate::run::{RunError, local};
use crate::stdout;

/// Prints the pod that the session would need.
pub async fn print(cluster: &Cluster, wanted: Wanted, plan: &PlanFlags) -> Result<u8, RunError> {
    let Wanted { name, pod, sharing } = wanted;
    let pod = match plan.dry_run {
        DryRun::None | DryRun::Client => pod,
        DryRun::Server => match rehearse(cluster, &pod, sharing == Sharing::User).await? {
            Some(made) => made,
            None => {
                report::notice(&format!(
                    "helper pod {name} is there already and would be used; this is as it was \
                     asked for"
                ));
                pod
            }
        },
    };
    let text = text(&pod, plan.output)
        .map_err(|error| local("write down the helper pod", std::io::Error::other(error)))?;
    stdout::print(&text)?;
    Ok(0)
}

fn text(pod: &Pod, format: Format) -> Result<String, Box<dyn std::error::Error + Send + Sync>> {
    // Sorted, as kubectl prints it.
    let pod = serde_json::to_value(pod)?;
    Ok(match format {
        Format::Yaml => serde_saphyr::to_string(&pod)?,
        Format::Json => serde_json::to_string_pretty(&pod)? + "\n",
    })
}
