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
    /// Join one namespace of the target.
    Join(Namespace),
    /// A private copy of the target's mounts, the target's root as `/`.
    EnterRoot,
    /// Replace `/` by the view.
    AssembleView,
    /// Go to the working directory, by a path that cannot leave the view.
    EnterWorkdir,
    /// Final user, groups and capability sets.
    TakeIdentity,
    /// Read the identity back and compare.
    VerifyIdentity,
    /// Not dumpable again, killed with the helper again.
    HardenAgain,
    /// Close all but the command's own descriptors.
    CloseDescriptors,
    /// Fork into the target's PID namespace and become the command.
    Start,
}

impl Step {
    /// What the step does, in the words of an error message.
    pub fn name(self) -> &'static str {
        match self {
            Self::Harden => "harden the entry process",
            Self::LeaveKeyring => "leave the session keyring",
            Self::Join(Namespace::Cgroup) => "join the cgroup namespace",
            Self::Join(Namespace::Ipc) => "join the IPC namespace",
            Self::Join(Namespace::Mount) => "join the mount namespace",
            Self::Join(Namespace::Network) => "join the network namespace",
            Self::Join(Namespace::Pid) => "join the PID namespace",
            Self::Join(Namespace::User) => "join the user namespace",
            Self::Join(Namespace::Uts) => "join the UTS namespace",
            Self::EnterRoot => "enter the target's root",
            Self::AssembleView => "build the view",
            Self::EnterWorkdir => "enter the working directory",
            Self::TakeIdentity => "take the identity",
            Self::VerifyIdentity => "verify the identity",
            Self::HardenAgain => "harden the entry process again",
            Self::CloseDescriptors => "close descriptors",
            Self::Start => "start the command",
        }
    }

    /// Why the step exists and stands where it stands. A-numbers are rows of
    /// the threat model.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Harden => "first of all: a core dump or a debugger must find nothing (A6, A10)",
            Self::LeaveKeyring => "keyrings are inherited across setns(2) (A12)",
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
            Self::EnterRoot => {
                "before the view: its clones must not propagate to the target's own mounts (A18)"
            }
            Self::AssembleView => "while CAP_SYS_ADMIN of the helper is held",
            Self::EnterWorkdir => {
                "after the last change of root: a working directory outside it is the way out (CVE-2024-21626)"
            }
            Self::TakeIdentity => {
                "before the fork into the PID namespace: the target never sees a process of ours that holds more than the session (A6)"
            }
            Self::VerifyIdentity => "fail closed: a drop that silently did nothing is an escape",
            Self::HardenAgain => "commit_creds() of the kernel has reset both",
            Self::CloseDescriptors => {
                "a directory descriptor is a way out of the root (CVE-2016-8649, CVE-2024-21626)"
            }
            Self::Start => "the only step that the target can see",
        }
    }
}

/// The steps for a target that has these namespaces of its own.
pub fn plan(namespaces: &[Namespace]) -> Vec<Step> {
    let own = |wanted: &Namespace| namespaces.contains(wanted);
    let mut steps = vec![Step::Harden, Step::LeaveKeyring];
    if own(&Namespace::Mount) {
        steps.push(Step::Join(Namespace::Mount));
    }
    steps.extend([Step::EnterRoot, Step::AssembleView]);
    let rest = [
        Namespace::Network,
        Namespace::Ipc,
        Namespace::Uts,
        Namespace::Cgroup,
        Namespace::Pid,
        Namespace::User,
    ];
    steps.extend(rest.into_iter().filter(own).map(Step::Join));
    steps.extend([
        Step::EnterWorkdir,
        Step::TakeIdentity,
        Step::VerifyIdentity,
        Step::HardenAgain,
        Step::CloseDescriptors,
        Step::Start,
    ]);
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    fn position(steps: &[Step], wanted: Step) -> usize {
        steps.iter().position(|step| *step == wanted).unwrap_or_else(|| panic!("no {wanted:?}"))
    }

    #[test]
    fn the_target_sees_final_credentials_only() {
        let steps = plan(&Namespace::ALL);
        let start = position(&steps, Step::Start);
        assert_eq!(start, steps.len() - 1);
        for before in
            [Step::TakeIdentity, Step::VerifyIdentity, Step::HardenAgain, Step::CloseDescriptors]
        {
            assert!(position(&steps, before) < start);
        }
        assert!(position(&steps, Step::TakeIdentity) < position(&steps, Step::VerifyIdentity));
        assert!(position(&steps, Step::VerifyIdentity) < position(&steps, Step::HardenAgain));
    }

    #[test]
    fn the_user_namespace_is_joined_last_and_the_mounts_first() {
        let steps = plan(&Namespace::ALL);
        let joins: Vec<_> = steps.iter().filter(|step| matches!(step, Step::Join(_))).collect();
        assert_eq!(joins.first(), Some(&&Step::Join(Namespace::Mount)));
        assert_eq!(joins.last(), Some(&&Step::Join(Namespace::User)));
        assert_eq!(joins.len(), Namespace::ALL.len());
    }

    #[test]
    fn the_view_stands_before_its_privilege_is_lost() {
        let steps = plan(&Namespace::ALL);
        let view = position(&steps, Step::AssembleView);
        assert!(position(&steps, Step::EnterRoot) < view);
        assert!(view < position(&steps, Step::Join(Namespace::User)));
        assert!(view < position(&steps, Step::EnterWorkdir));
    }

    #[test]
    fn shared_namespaces_are_not_joined() {
        let steps = plan(&[Namespace::Mount, Namespace::Pid]);
        let joins = steps.iter().filter(|step| matches!(step, Step::Join(_))).count();
        assert_eq!(joins, 2);
    }

    #[test]
    fn hardening_comes_first() {
        assert_eq!(plan(&[]).first(), Some(&Step::Harden));
    }
}
