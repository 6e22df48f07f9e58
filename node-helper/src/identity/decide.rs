//! The decision, top to bottom: capabilities, confinement, then whether the two
//! together are safe.

use kpexec_protocol::profile::{ALL, Capabilities, GENERAL, SHIELD, SYS_PTRACE};
use kpexec_protocol::{Profile, Seccomp};

use super::describe::names;
use super::{Asked, Facts, Gain, Guard, Helper, Identity, Refusal};
use crate::enter::credentials::Credentials;

/// Makes one identity of what was asked and what the target is.
///
/// # Errors
/// When the helper cannot give it, or it would be neither parity nor shielded.
pub fn decide(asked: &Asked, target: &Facts, helper: &Helper) -> Result<Identity, Refusal> {
    let parity = asked.profile.is_parity();
    let (uid, gid, groups) = who(asked, target);
    let (mut capabilities, withheld) = capabilities(asked, uid, target, helper)?;
    let seccomp = filter(asked, target, helper)?;
    let no_new_privs =
        asked.no_new_privs || asked.profile == Profile::Restricted || parity && target.no_new_privs;

    let held = Held { uid, gid, groups: &groups, capabilities, seccomp, no_new_privs, parity };
    let guard = guard(&held, asked.trust_target, target, helper)?;
    if guard == Guard::Shield {
        capabilities |= SHIELD;
    }
    Ok(Identity {
        target_programs: guard == Guard::Parity
            || asked.trust_target
            || capabilities & !(GENERAL | SHIELD) == 0,
        credentials: Credentials { uid, gid, groups, capabilities },
        guard,
        no_new_privs,
        target_filter: seccomp == Seccomp::Target && target.filtered,
        target_label: parity && target.labelled,
        target_limits: parity,
        withheld,
    })
}

/// What bears on whether the session is safe.
struct Held<'a> {
    uid: u32,
    gid: u32,
    groups: &'a [u32],
    capabilities: Capabilities,
    seccomp: Seccomp,
    no_new_privs: bool,
    parity: bool,
}

/// What keeps the target from gaining by the session.
fn guard(
    held: &Held<'_>,
    trusted: bool,
    target: &Facts,
    helper: &Helper,
) -> Result<Guard, Refusal> {
    let exceeds = |capabilities: Capabilities| capabilities & !target.reach != 0;
    let privileges = held.no_new_privs || !target.no_new_privs;
    let traceable = target.reach & SYS_PTRACE != 0;
    if exceeds(held.capabilities) && !traceable {
        return Ok(Guard::OwnCapabilities);
    }
    let confined = (held.seccomp == Seccomp::Target || !target.filtered) && privileges;
    let equal = is_equal(held, target, traceable);
    if held.parity && confined && equal && !exceeds(held.capabilities) {
        return Ok(Guard::Parity);
    }
    let gain = if traceable {
        Gain::Traceable
    } else if held.parity {
        Gain::LessConfined
    } else if !exceeds(SHIELD) || SHIELD & !available(target, helper) != 0 {
        Gain::NoShield
    } else {
        return Ok(Guard::Shield);
    };
    // A target that nothing confines has nothing to gain, but for what the
    // operator types: privileged pods can be entered without asking for trust.
    let unconfined = !target.filtered && !target.labelled && privileges;
    if trusted || (unconfined && !exceeds(held.capabilities)) {
        return Ok(Guard::None);
    }
    Err(Refusal::Between(gain))
}

/// Whether who takes the session over becomes nobody else by it. Supplementary
/// groups are not compared by the kernel, so they must be the target's own. User,
/// group and capabilities are: only who may trace any process gains those that
/// it has not yet.
fn is_equal(held: &Held<'_>, target: &Facts, traceable: bool) -> bool {
    let known = |group: &u32| target.groups.contains(group) || target.gid == *group;
    let same_user = (held.uid, held.gid) == (target.uid, target.gid);
    let same_capabilities = held.capabilities & !target.permitted == 0;
    held.groups.iter().all(known) && (!traceable || same_user && same_capabilities)
}

/// User, group and supplementary groups. A user without a group gets group 0,
/// as with docker and Kubernetes.
fn who(asked: &Asked, target: &Facts) -> (u32, u32, Vec<u32>) {
    let own = asked.profile.is_parity() && asked.user.is_none();
    let gid = if own { target.gid } else { 0 };
    let groups = if own { target.groups.clone() } else { Vec::new() };
    (
        asked.user.unwrap_or(if own { target.uid } else { 0 }),
        asked.group.unwrap_or(gid),
        asked.groups.clone().unwrap_or(groups),
    )
}

/// What the session is to hold, and what of "all" this node does not have.
fn capabilities(
    asked: &Asked,
    uid: u32,
    target: &Facts,
    helper: &Helper,
) -> Result<(Capabilities, Capabilities), Refusal> {
    let base = match asked.profile {
        // As with docker exec -u: another user starts without any.
        Profile::Unspecified if uid != 0 => 0,
        profile => profile.capabilities().unwrap_or(target.permitted),
    };
    let wanted = (base & !asked.drop | asked.add) & helper.known;
    let lacking = wanted & !available(target, helper);
    // "All" is what the node can give; a capability given by name is that one.
    let all_added = asked.add & helper.known == helper.known;
    let everything = base == ALL || all_added;
    let named = if all_added { 0 } else { asked.add & lacking };
    if named != 0 || (lacking != 0 && !everything) {
        return Err(Refusal::Lacking(names(if named != 0 { named } else { lacking })));
    }
    if asked.add & !helper.known != 0 && !all_added {
        return Err(Refusal::Lacking(names(asked.add & !helper.known)));
    }
    Ok((wanted & !lacking, lacking))
}

/// What a session can be given: in a user namespace of the target's own
/// everything, elsewhere what the helper holds.
fn available(target: &Facts, helper: &Helper) -> Capabilities {
    if target.own_users { helper.known } else { helper.permitted }
}

/// Whose filter the session gets, never [`Seccomp::Unspecified`].
fn filter(asked: &Asked, target: &Facts, helper: &Helper) -> Result<Seccomp, Refusal> {
    let seccomp = match (asked.seccomp, asked.profile) {
        (Seccomp::Unspecified, Profile::Restricted | Profile::Target) => Seccomp::Target,
        (Seccomp::Unspecified, Profile::Sysadmin) => Seccomp::Unconfined,
        (Seccomp::Unspecified, _) => Seccomp::Runtime,
        (seccomp, _) => seccomp,
    };
    if seccomp == Seccomp::Unconfined && helper.filtered {
        return Err(Refusal::HelperFiltered);
    }
    if seccomp == Seccomp::Target && target.filtered && !target.filter_known {
        return Err(Refusal::FilterUnknown);
    }
    Ok(seccomp)
}
