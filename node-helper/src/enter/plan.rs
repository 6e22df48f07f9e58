//! The order of entry, as data: what is done, and why then. There is no second
//! list of it.
//!
//! Everything that needs privilege is done *outside* the target's PID
//! namespace, in a process the target cannot see. The first process of ours
//! inside has its final credentials already: a target that holds
//! CAP_SYS_PTRACE would otherwise take its descriptors and its capabilities
//! (threat model, A6; measured there against nsenter).

use crate::target::Namespace;

/// One step of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Not dumpable, killed with the helper, umask and limits our own.
    Harden,
    /// An empty session keyring of the session's own.
    LeaveKeyring,
    /// The target's label of a Linux security module, from execve(2) on.
    SetLabel,
    /// Join one namespace of the target.
    Join(Namespace),
    /// A copy of the target's root file system, without what is mounted on it.
    CopyRoot,
    /// A private copy of the target's mounts, the target's root as `/`.
    EnterRoot,
    /// Replace `/` by the view.
    AssembleView,
    /// Go to the working directory, by a path that cannot leave the view.
    EnterWorkdir,
    /// The target's seccomp filter, for a session that may gain privileges.
    FilterWhilePrivileged,
    /// Final user, groups and capability sets.
    TakeIdentity,
    /// Read the identity back and compare.
    VerifyIdentity,
    /// Not dumpable again, killed with the helper again.
    HardenAgain,
    /// Close all but the command's own descriptors.
    CloseDescriptors,
    /// PR_SET_NO_NEW_PRIVS.
    GiveUpPrivileges,
    /// The target's seccomp filter, for a session that gains none.
    Filter,
    /// Fork into the target's PID namespace and become the command.
    Start,
}

impl Step {
    /// What the step does, in the words of an error message.
    pub fn name(self) -> &'static str {
        match self {
            Self::Harden => "harden the entry process",
            Self::LeaveKeyring => "leave the session keyring",
            Self::SetLabel => "take the container's label",
            Self::Join(Namespace::Cgroup) => "join the cgroup namespace",
            Self::Join(Namespace::Ipc) => "join the IPC namespace",
            Self::Join(Namespace::Mount) => "join the mount namespace",
            Self::Join(Namespace::Network) => "join the network namespace",
            Self::Join(Namespace::Pid) => "join the PID namespace",
            Self::Join(Namespace::User) => "join the user namespace",
            Self::Join(Namespace::Uts) => "join the UTS namespace",
            Self::CopyRoot => "copy the target's root file system",
            Self::EnterRoot => "enter the target's root",
            Self::AssembleView => "build the view",
            Self::EnterWorkdir => "enter the working directory",
            Self::FilterWhilePrivileged | Self::Filter => "take the container's seccomp filter",
            Self::TakeIdentity => "take the identity",
            Self::VerifyIdentity => "verify the identity",
            Self::HardenAgain => "harden the entry process again",
            Self::CloseDescriptors => "close descriptors",
            Self::GiveUpPrivileges => "give up gaining privileges",
            Self::Start => "start the command",
        }
    }

    /// Why the step exists and stands where it stands. A-numbers are rows of
    /// the threat model.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Harden => "first of all: a core dump or a debugger must find nothing (A6, A10)",
            Self::LeaveKeyring => "keyrings are inherited across setns(2) (A12)",
            Self::SetLabel => {
                "while /proc is the helper's own: the target's could take what is written elsewhere (CVE-2015-1334, CVE-2019-16884)"
            }
            Self::Join(Namespace::Mount) => {
                "all descriptors are open by now: no path of the target is used to find ours"
            }
            Self::Join(Namespace::User) => {
                "last of the namespaces: our mount namespace stays owned by the helper's user namespace, so the target's root can neither enter nor change it (A4)"
            }
            Self::Join(Namespace::Pid) => {
                "takes effect with the next fork only, which is the last step"
            }
            Self::Join(_) => {
                "before the user namespace, in which we would lack the right to join it"
            }
            Self::CopyRoot => {
                "while the mounts are the target's own: in a copy of those of a user namespace none can be had without what is mounted on it"
            }
            Self::EnterRoot => {
                "before the view: its clones must not propagate to the target's own mounts (A18)"
            }
            Self::AssembleView => "while CAP_SYS_ADMIN of the helper is held",
            Self::EnterWorkdir => {
                "after the last change of root: a working directory outside it is the way out (CVE-2024-21626)"
            }
            Self::FilterWhilePrivileged => {
                "the last moment CAP_SYS_ADMIN is held, which it needs: seccomp(2) (A8)"
            }
            Self::TakeIdentity => {
                "before the fork into the PID namespace: the target never sees a process of ours that holds more than the session (A6)"
            }
            Self::VerifyIdentity => "fail closed: a drop that silently did nothing is an escape",
            Self::HardenAgain => "commit_creds() of the kernel has reset both",
            Self::CloseDescriptors => {
                "a directory descriptor is a way out of the root (CVE-2016-8649, CVE-2024-21626)"
            }
            Self::GiveUpPrivileges => {
                "as late as can be: it cannot be undone, and lets a filter be taken without CAP_SYS_ADMIN: seccomp(2) (A29)"
            }
            Self::Filter => "the last of all: it may forbid whatever the steps before it do (A8)",
            Self::Start => "the only step that the target can see",
        }
    }
}

/// What decides on the steps: the target's facts and the session's identity.
#[derive(Clone, Debug, Default)]
pub struct Needs {
    /// Namespaces the target does not share with us.
    pub namespaces: Vec<Namespace>,
    /// Whether the session gets a view, or the target's bare root.
    pub view: bool,
    /// Whether what it writes is to be discarded.
    pub discard: bool,
    /// Whether it takes the target's label.
    pub label: bool,
    /// Whether it takes the target's seccomp filter.
    pub filter: bool,
    /// Whether it gets PR_SET_NO_NEW_PRIVS.
    pub no_new_privs: bool,
}

/// The steps of one entry, in order.
pub fn plan(needs: &Needs) -> Vec<Step> {
    let when = |condition: bool, step: Step| condition.then_some(step);
    let join = |kind: Namespace| when(needs.namespaces.contains(&kind), Step::Join(kind));
    [
        Some(Step::Harden),
        Some(Step::LeaveKeyring),
        when(needs.label, Step::SetLabel),
        join(Namespace::Mount),
        when(needs.view && needs.discard, Step::CopyRoot),
        Some(Step::EnterRoot),
        when(needs.view, Step::AssembleView),
        join(Namespace::Network),
        join(Namespace::Ipc),
        join(Namespace::Uts),
        join(Namespace::Cgroup),
        join(Namespace::Pid),
        join(Namespace::User),
        Some(Step::EnterWorkdir),
        when(needs.filter && !needs.no_new_privs, Step::FilterWhilePrivileged),
        Some(Step::TakeIdentity),
        Some(Step::VerifyIdentity),
        Some(Step::HardenAgain),
        Some(Step::CloseDescriptors),
        when(needs.no_new_privs, Step::GiveUpPrivileges),
        when(needs.filter && needs.no_new_privs, Step::Filter),
        Some(Step::Start),
    ]
    .into_iter()
    .flatten()
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full() -> Needs {
        Needs {
            namespaces: Namespace::ALL.to_vec(),
            view: true,
            discard: true,
            label: true,
            filter: true,
            no_new_privs: true,
        }
    }

    /// Every combination of what decides.
    fn all_needs() -> impl Iterator<Item = Needs> {
        (0_u32..1 << 12).map(|bits| {
            let set = |bit: u32| bits & 1 << bit != 0;
            let namespaces = (0..).zip(Namespace::ALL).filter(|(bit, _)| set(*bit));
            Needs {
                namespaces: namespaces.map(|(_, kind)| kind).collect(),
                view: set(7),
                label: set(8),
                filter: set(9),
                no_new_privs: set(10),
                discard: set(11),
            }
        })
    }

    /// Asserts that `first` comes before `second` wherever both are.
    fn assert_order(first: impl Fn(&Step) -> bool, second: impl Fn(&Step) -> bool, why: &str) {
        for needs in all_needs() {
            let steps = plan(&needs);
            let last_first = steps.iter().rposition(&first);
            let first_second = steps.iter().position(&second);
            if let (Some(before), Some(after)) = (last_first, first_second) {
                assert!(before < after, "{why}: {steps:?}");
            }
        }
    }

    fn is(step: Step) -> impl Fn(&Step) -> bool {
        move |other| *other == step
    }

    fn joins(step: &Step) -> bool {
        matches!(step, Step::Join(_))
    }

    #[test]
    fn every_entry_has_the_steps_nothing_can_do_without() {
        for needs in all_needs() {
            let steps = plan(&needs);
            for wanted in [
                Step::Harden,
                Step::LeaveKeyring,
                Step::EnterRoot,
                Step::EnterWorkdir,
                Step::TakeIdentity,
                Step::VerifyIdentity,
                Step::HardenAgain,
                Step::CloseDescriptors,
            ] {
                assert_eq!(steps.iter().filter(|step| **step == wanted).count(), 1, "{wanted:?}");
            }
            assert_eq!(steps.first(), Some(&Step::Harden));
            assert_eq!(steps.last(), Some(&Step::Start));
        }
    }

    #[test]
    fn what_is_needed_is_done_and_nothing_else() {
        for needs in all_needs() {
            let steps = plan(&needs);
            for kind in Namespace::ALL {
                let joined = steps.contains(&Step::Join(kind));
                assert_eq!(joined, needs.namespaces.contains(&kind), "{kind:?}");
            }
            assert_eq!(steps.contains(&Step::AssembleView), needs.view);
            assert_eq!(steps.contains(&Step::CopyRoot), needs.view && needs.discard);
            assert_eq!(steps.contains(&Step::SetLabel), needs.label);
            assert_eq!(steps.contains(&Step::GiveUpPrivileges), needs.no_new_privs);
            let filters =
                [Step::Filter, Step::FilterWhilePrivileged].map(|step| steps.contains(&step));
            assert_eq!(filters.iter().filter(|found| **found).count(), usize::from(needs.filter));
        }
    }

    #[test]
    fn the_order_holds_whatever_is_needed() {
        assert_order(is(Step::Harden), joins, "nothing to steal before the first setns");
        assert_order(is(Step::SetLabel), joins, "/proc is still the helper's");
        assert_order(is(Step::Join(Namespace::Mount)), is(Step::EnterRoot), "its mounts");
        assert_order(is(Step::Join(Namespace::Mount)), is(Step::CopyRoot), "its mounts");
        assert_order(is(Step::CopyRoot), is(Step::EnterRoot), "none of them locked");
        assert_order(is(Step::EnterRoot), is(Step::AssembleView), "no propagation");
        let user = Step::Join(Namespace::User);
        assert_order(is(Step::AssembleView), is(user), "mounts stay the helper's");
        assert_order(
            move |step| joins(step) && *step != user,
            is(user),
            "the rights to join are the helper's",
        );
        assert_order(joins, is(Step::EnterWorkdir), "the last change of root is over");
        assert_order(joins, is(Step::TakeIdentity), "joining needs privilege");
        assert_order(is(Step::FilterWhilePrivileged), is(Step::TakeIdentity), "SYS_ADMIN");
        assert_order(is(Step::TakeIdentity), is(Step::VerifyIdentity), "read back");
        assert_order(is(Step::VerifyIdentity), is(Step::HardenAgain), "commit_creds resets");
        assert_order(is(Step::TakeIdentity), is(Step::Start), "final credentials before the fork");
        assert_order(is(Step::CloseDescriptors), is(Step::Start), "nothing is inherited");
        assert_order(is(Step::SetLabel), is(Step::GiveUpPrivileges), "it may forbid the label");
        assert_order(is(Step::GiveUpPrivileges), is(Step::Filter), "what allows the filter");
    }

    #[test]
    fn every_step_has_a_name_and_a_reason() {
        for step in plan(&full()) {
            assert!(!step.name().is_empty() && step.reason().len() > 20, "{step:?}");
        }
    }
}
