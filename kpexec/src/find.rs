//! What a session needs, found before anything is made: the container, and
//! which helper.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use k8s_openapi::api::core::v1::Pod;

use crate::cli::Cli;
use crate::cluster::Cluster;
use crate::cri_socket;
use crate::helper_pod::{HelperSpec, Sharing, ToolsImage, random_name, shared_name};
use crate::identity::Identity;
use crate::run::{RunError, local};
use crate::target::{self, Asked, Target, TargetError};
use crate::user::{User, who_am_i};

/// What is known before anything is made.
#[derive(Debug)]
pub struct Found {
    /// The container.
    pub target: Target,
    /// What the user should know about the choice of it, line by line.
    pub notices: Vec<String>,
    cri_socket: String,
    /// Who asks, as far as the API server says.
    pub user: Option<User>,
}

/// What need not be asked for again.
#[derive(Default)]
pub struct Memory {
    user: Option<User>,
    /// By node and by runtime of the container.
    cri_sockets: HashMap<(String, String), String>,
}

/// What is to be entered.
pub fn asked(cli: &Cli) -> Result<Asked, TargetError> {
    Asked::new(cli.pod.as_deref(), cli.object.selector.as_deref())
}

/// Finds the container and the CRI socket that knows it.
pub async fn find(cli: &Cli, cluster: &Cluster, memory: &Mutex<Memory>) -> Result<Found, RunError> {
    let remembered = || memory.lock().unwrap_or_else(PoisonError::into_inner);
    let asked = asked(cli)?;
    let namespace = cli.namespace.as_deref().unwrap_or(&cluster.namespace);
    target::check_name(namespace, "namespace")?;
    let user = remembered().user.clone();
    let user = async {
        match user {
            Some(user) => Some(user),
            None => who_am_i(cluster).await,
        }
    };
    let looked_up = target::look_up(cluster, namespace, &asked, cli.object.pod_running_timeout);
    let (looked_up, user) = tokio::join!(looked_up, user);
    let (pod, taken) = looked_up?;
    remembered().user.clone_from(&user);
    let selection = target::select(&pod, cli.container.as_deref())?;
    let notices = taken.into_iter().chain(selection.notice).filter(|_| !cli.quiet).collect();
    let target = selection.target;
    let place = (target.node.clone(), target.runtime.clone());
    let known = remembered().cri_sockets.get(&place).cloned();
    let cri_socket = match (known, &cli.cri_socket) {
        (Some(socket), None) => socket,
        (_, asked_for) => {
            let node = match asked_for {
                Some(_) => None,
                None => target::fetch_node(cluster, &target.node).await?,
            };
            cri_socket::choose(asked_for.as_deref(), node.as_ref(), &target.runtime)?
        }
    };
    if cli.cri_socket.is_none() {
        remembered().cri_sockets.insert(place, cri_socket.clone());
    }
    Ok(Found { target, notices, cri_socket, user })
}

/// With `--tools-root` what a session writes stays in its helper.
fn sharing(cli: &Cli, user: Option<&User>) -> Sharing {
    if cli.rm || cli.tools.tools_root || user.is_none() { Sharing::None } else { Sharing::User }
}

/// The helper that a session needs.
pub struct Wanted {
    /// Its pod's name.
    pub name: String,
    /// Its pod, if it has to be made.
    pub pod: Pod,
    /// Whom it is for.
    pub sharing: Sharing,
}

/// Which helper the session needs.
pub fn wanted(
    cli: &Cli,
    image: &str,
    identity: &Identity,
    found: &Found,
) -> Result<Wanted, RunError> {
    let user = found.user.as_ref();
    let sharing = sharing(cli, user);
    let spec = HelperSpec {
        name: "",
        namespace: &cli.cluster.helper_namespace,
        image,
        tools_image: tools_image(cli),
        cri_socket: &found.cri_socket,
        target: &found.target,
        identity,
        user,
        shared_for: (sharing == Sharing::User).then_some(cli.helper_ttl),
    };
    let name = match (sharing, user) {
        (Sharing::User, Some(user)) => shared_name(&spec, user, SystemTime::now()),
        _ => random_name().map_err(|error| local("make a random name", error.into()))?,
    };
    let pod = HelperSpec { name: &name, ..spec }.pod();
    Ok(Wanted { name, pod, sharing })
}

fn tools_image(cli: &Cli) -> Option<ToolsImage<'_>> {
    let name = cli.tools.tools_image.as_deref()?;
    Some(ToolsImage { name, root: cli.tools.tools_root })
}
