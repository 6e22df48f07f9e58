//! What the entry process is told, and what the client is told: made of the
//! request, the identity and the target; decisions only.

use kpexec_protocol::id::Kind;
use kpexec_protocol::{Start, Started, Target, Terminal};

use super::Context;
use super::view::View;
use super::who::Who;
use crate::cri::Container;
use crate::enter::message::{Label, Limit, Order};
use crate::environment::{Sources, environment};
use crate::identity::Identity;
use crate::program::{programs, search_path};
use crate::target::limits::RESOURCES;
use crate::target::{self, Namespace, TargetProcess};
use crate::tools::Tools;

/// The entry process's order; the roles are filled in when it is sent.
pub(super) fn order(
    start: &Start,
    who: &Who,
    container: &Container,
    target: &TargetProcess,
    view: &View,
    tools: &Tools,
) -> Order {
    let Who { identity, filters, .. } = who;
    let env = session_environment(start, who, container, target, tools);
    let command = start.argv.first().map(AsRef::as_ref);
    let credentials = &identity.credentials;
    // The target's is not where it was, if the root is another.
    let own = if tools.is_root() { "/" } else { &container.workdir };
    let own_workdir = || own.as_bytes().to_vec();
    let label = target.label.as_ref().filter(|_| identity.target_label).map(|label| {
        let (file, text) = label.on_exec();
        Label { file: file.to_owned(), text }
    });
    Order {
        programs: programs(command, search_path(&env), tools, identity.target_programs),
        any_shell: command.is_none(),
        arguments: start.argv.iter().skip(1).map(|argument| argument.to_vec()).collect(),
        env,
        workdir: start.workdir.as_ref().map_or_else(own_workdir, |dir| dir.to_vec()),
        workdir_required: start.workdir.is_some(),
        uid: credentials.uid,
        gid: credentials.gid,
        groups: credentials.groups.clone(),
        capabilities: credentials.capabilities,
        no_new_privs: identity.no_new_privs,
        filters: filters.clone(),
        label,
        limits: if identity.target_limits { limits(&target.limits) } else { Vec::new() },
        target_programs: identity.target_programs,
        terminal: start.terminal.is_some(),
        writes: view.writes.into(),
        writable: start.writable,
        tools_root: tools.is_root(),
        volumes: view.volumes.iter().map(|volume| volume.path.clone()).collect(),
        roles: Vec::new(),
    }
}

fn session_environment(
    start: &Start,
    who: &Who,
    container: &Container,
    target: &TargetProcess,
    tools: &Tools,
) -> Vec<Vec<u8>> {
    let user = start.identity.as_ref().and_then(|asked| asked.user.as_ref()?.kind.as_ref());
    let Target { pod_name, container_name, .. } = start.target.clone().unwrap_or_default();
    let uid = who.identity.credentials.uid;
    environment(&Sources {
        target: &container.env,
        same_user: target.status.uid == uid && !tools.is_root(),
        uid,
        user: user.and_then(|kind| match kind {
            Kind::Name(name) => Some(name.as_str()),
            Kind::Number(_) => None,
        }),
        home: who.home.as_deref().filter(|_| !tools.is_root()),
        pod: &pod_name,
        container: &container_name,
        term: start.terminal.as_ref().map(|Terminal { term, .. }| term.as_str()),
        tools,
        asked: &start.env,
    })
}

fn limits(limits: &[target::Limit]) -> Vec<Limit> {
    let number = |limit: &target::Limit| {
        let index = RESOURCES.iter().position(|(_, resource)| *resource == limit.resource)?;
        let resource = u32::try_from(index).ok()?;
        Some(Limit { resource, soft: limit.soft, hard: limit.hard })
    };
    limits.iter().filter_map(number).collect()
}

/// What the operator is told before the first byte of output.
pub(super) fn started(
    identity: &Identity,
    target: &TargetProcess,
    context: &Context,
    has_cgroup: bool,
    view: &View,
) -> Started {
    let kinds = [
        (Namespace::Network, "network"),
        (Namespace::Pid, "processes"),
        (Namespace::Ipc, "System V IPC"),
    ];
    let is_shared = |kind| {
        target.namespace(kind).is_none()
            || kind == Namespace::Network && target.is_in(kind, context.node_network)
    };
    let shared = kinds.iter().filter(|(kind, _)| is_shared(*kind));
    let shared: Vec<&str> = shared.map(|(_, name)| *name).collect();
    let mut notices = identity.notices();
    notices.extend(view.notices());
    if !shared.is_empty() {
        notices.push(format!("the container shares the node's {}", shared.join(", ")));
    }
    if !has_cgroup {
        notices.push("the session has no cgroup: if it kills its shim, it may outlive us".into());
    }
    let summary = identity.summary();
    let identity = identity.describe(&context.helper);
    Started { identity, notices, summary, ..Started::default() }
}
