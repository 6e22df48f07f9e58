//! Which container is meant, where no API server says it: by the runtime's own
//! list.

mod choose;
mod list;

use std::sync::Arc;

use kpexec_protocol::find_answer::Kind;
use kpexec_protocol::{Failure, FindAnswer, Found, Reason};

use crate::cri::{self, Runtime};
use crate::failure::ours;
use crate::session::Context;
use crate::sweep;
use choose::{Choice, Wanted, choose, default_of};
pub use list::{ListError, list};

/// Answers a client that runs on this node, and ends what others of them have
/// left behind: nobody else does that here.
pub async fn find(context: &Arc<Context>, name: &str) -> FindAnswer {
    let sweeping = context.clone();
    tokio::spawn(async move { sweep::sweep_with(&sweeping).await });
    let kind = match found(context, name).await {
        Ok(found) => Kind::Found(found),
        Err(failure) => Kind::Failure(failure),
    };
    FindAnswer { kind: Some(kind) }
}

async fn found(context: &Context, name: &str) -> Result<Found, Failure> {
    let wanted = Wanted::parse(name).map_err(refused)?;
    let mut runtime = Runtime::connect(&context.cri_socket).await.map_err(silent)?;
    let known = runtime.list().await.map_err(silent)?;
    let (container, notice) = match choose(&wanted, &known).map_err(refused)? {
        Choice::One(container) => (container, None),
        Choice::Pod(containers) => {
            let pod = &containers[0].target.pod_uid;
            let annotated = runtime.default_container(pod).await.map_err(silent)?;
            default_of(&containers, annotated.as_deref()).map_err(refused)?
        }
    };
    let target = Some(container.target.clone());
    Ok(Found { target, notice: notice.unwrap_or_default() })
}

fn refused(error: choose::Error) -> Failure {
    Failure { reason: Reason::Helper.into(), message: error.to_string(), hint: error.hint() }
}

fn silent(error: cri::Error) -> Failure {
    ours(&error, "--cri-socket names the socket of this node's container runtime")
}
