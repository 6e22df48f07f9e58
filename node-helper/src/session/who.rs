//! Who the session will be: looks up the names, reads what bears on the
//! decision, has it made.

use kpexec_protocol::id::Kind;
use kpexec_protocol::{Id, Profile, Seccomp};
use rustix::fd::AsFd;
use serde::Deserialize;

use super::Context;
use crate::cri::Container;
use crate::identity::{Asked, Facts, Identity, Refusal, decide};
use crate::names::{self, Resolved, Wanted};
use crate::seccomp;
use crate::target::reach::reach;
use crate::target::{Label, Namespace, TargetProcess};

/// Why there is no identity.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("the helper does not know the {0} that was asked for")]
    Unknown(&'static str),
    #[error(transparent)]
    Names(#[from] names::resolve::Error),
    #[error("cannot look at the container's processes")]
    Reach(#[source] rustix::io::Errno),
    #[error("cannot read the helper's own label")]
    OwnLabel(#[source] rustix::io::Errno),
    #[error("cannot read the container's seccomp filter")]
    Filter(#[from] serde_json::Error),
    #[error("cannot take over the container's seccomp filter")]
    Compile(#[from] seccomp::Error),
    #[error(transparent)]
    Refused(#[from] Refusal),
}

impl Error {
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Names(error) => error.hint(),
            Self::Refused(refusal) => refusal.hint(),
            Self::Filter(_) | Self::Compile(_) => "--profile general does without it",
            Self::Unknown(_) => "are kpexec and the helper image of one version?",
            Self::Reach(_) | Self::OwnLabel(_) => "",
        }
    }
}

/// An identity and what comes with it.
pub(super) struct Who {
    pub identity: Identity,
    /// Of a user given by name.
    pub home: Option<Vec<u8>>,
    /// The target's seccomp filter, where the session gets it.
    pub filters: Vec<Vec<u8>>,
}

/// Makes an identity of what the client asked for.
pub(super) async fn who(
    context: &Context,
    asked: &kpexec_protocol::Identity,
    trust_target: bool,
    container: &Container,
    target: &TargetProcess,
) -> Result<Who, Error> {
    let id = |id: &Option<Id>| id.as_ref().and_then(|id| id.kind.as_ref()).map(named);
    let wanted = Wanted {
        user: id(&asked.user),
        group: id(&asked.group),
        groups: asked
            .groups
            .as_ref()
            .map(|groups| groups.ids.iter().filter_map(|id| id.kind.as_ref()).map(named).collect()),
    };
    let resolved = names::resolve(&context.binary, target.root.as_fd(), &wanted).await?;
    let Resolved { uid, gid, groups, home } = resolved;
    let asked = Asked {
        profile: Profile::try_from(asked.profile).map_err(|_| Error::Unknown("profile"))?,
        user: uid,
        group: gid,
        groups,
        add: asked.add,
        drop: asked.drop,
        no_new_privs: asked.no_new_privs,
        seccomp: Seccomp::try_from(asked.seccomp).map_err(|_| Error::Unknown("seccomp filter"))?,
        trust_target,
    };
    let identity = decide(&asked, &facts(context, container, target)?, &context.helper)?;
    let filters = match &container.seccomp {
        Some(profile) if identity.target_filter => {
            seccomp::compile(&seccomp::Profile::deserialize(profile)?)?
        }
        _ => Vec::new(),
    };
    let filters = filters.into_iter().map(seccomp::Program::into_bytes).collect();
    Ok(Who { identity, home, filters })
}

fn named(kind: &Kind) -> names::Id {
    match kind {
        Kind::Number(number) => names::Id::Number(*number),
        Kind::Name(name) => names::Id::Name(name.clone()),
    }
}

fn facts(context: &Context, container: &Container, target: &TargetProcess) -> Result<Facts, Error> {
    let own = context.procfs.process(std::process::id().cast_signed());
    let own_label = own.and_then(|own| Label::of(&own)).map_err(Error::OwnLabel)?;
    let status = target.status.clone();
    Ok(Facts {
        uid: status.uid,
        gid: status.gid,
        groups: status.groups,
        permitted: status.permitted,
        reach: reach(&context.procfs, target).map_err(Error::Reach)?,
        no_new_privs: status.no_new_privs,
        filtered: status.filtered,
        filter_known: container.seccomp.is_some(),
        labelled: target.label != own_label && target.label.is_some(),
        own_users: target.namespace(Namespace::User).is_some(),
    })
}
