//! The decision, case by case. Numbers are those of capabilities(7).

use kpexec_protocol::profile::{GENERAL, RUNTIME_DEFAULT, SHIELD, SYS_PTRACE};
use kpexec_protocol::{Profile, Seccomp};

use super::{Asked, Facts, Gain, Guard, Helper, Identity, Refusal, decide};

const KNOWN: u64 = (1 << 41) - 1;
const SYS_RESOURCE: u64 = 1 << 24;
const NET_ADMIN: u64 = 1 << 12;
const NET_BIND_SERVICE: u64 = 1 << 10;

/// A pod as hardened as the "restricted" standard wants it.
fn hardened() -> Facts {
    Facts {
        uid: 65532,
        gid: 65532,
        groups: vec![65532],
        no_new_privs: true,
        filtered: true,
        filter_known: true,
        ..Facts::default()
    }
}

/// A pod that says nothing about its security.
fn plain() -> Facts {
    Facts { permitted: RUNTIME_DEFAULT, reach: RUNTIME_DEFAULT, ..Facts::default() }
}

fn privileged() -> Facts {
    Facts { permitted: KNOWN, reach: KNOWN, ..Facts::default() }
}

/// A helper pod as the client makes it by default.
fn helper() -> Helper {
    Helper {
        permitted: GENERAL | 1 << 21 | SHIELD,
        known: KNOWN,
        filtered: true,
        own_keyring: true,
    }
}

fn wide_helper() -> Helper {
    Helper { permitted: KNOWN & !SYS_RESOURCE, known: KNOWN, ..Helper::default() }
}

fn profile(profile: Profile) -> Asked {
    Asked { profile, ..Asked::default() }
}

fn decided(asked: &Asked, target: &Facts) -> Result<Identity, Refusal> {
    decide(asked, target, &helper())
}

fn between(result: Result<Identity, Refusal>) -> Gain {
    match result {
        Err(Refusal::Between(gain)) => gain,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_default_is_root_shielded_by_its_own_capabilities() {
    for target in [hardened(), plain()] {
        let found = decided(&Asked::default(), &target).unwrap();
        let who = &found.credentials;
        assert_eq!((who.uid, who.gid, who.groups.as_slice()), (0, 0, &[][..]));
        assert_eq!((who.capabilities, found.guard), (GENERAL, Guard::OwnCapabilities));
        assert!(!found.no_new_privs && !found.target_filter && found.target_programs);
    }
}

#[test]
fn another_user_starts_with_nothing_but_the_shield() {
    let asked = Asked { user: Some(1000), ..Asked::default() };
    let found = decided(&asked, &plain()).unwrap();
    assert_eq!((found.credentials.uid, found.credentials.gid), (1000, 0));
    assert_eq!((found.credentials.capabilities, found.guard), (SHIELD, Guard::Shield));
    // A profile that was named is what was asked for, whoever has it.
    let asked = Asked { user: Some(1000), ..profile(Profile::Netadmin) };
    let found = decided(&asked, &plain());
    assert!(matches!(found, Err(Refusal::Lacking(names)) if names == "NET_ADMIN"));
}

#[test]
fn a_capability_within_the_targets_reach_is_no_shield() {
    let asked = Asked { user: Some(1000), add: NET_BIND_SERVICE, ..Asked::default() };
    let found = decided(&asked, &plain()).unwrap();
    assert_eq!(found.credentials.capabilities, NET_BIND_SERVICE | SHIELD);
    let found = decided(&asked, &hardened()).unwrap();
    assert_eq!(found.credentials.capabilities, NET_BIND_SERVICE, "the hardened one lacks it");
}

#[test]
fn drops_come_before_adds() {
    let asked = Asked { drop: u64::MAX, add: NET_BIND_SERVICE, ..profile(Profile::General) };
    let found = decided(&asked, &hardened()).unwrap();
    assert_eq!(found.credentials.capabilities, NET_BIND_SERVICE);
}

#[test]
fn baseline_is_shielded_where_the_target_has_as_much() {
    let found = decided(&profile(Profile::Baseline), &plain()).unwrap();
    assert_eq!(found.credentials.capabilities, RUNTIME_DEFAULT | SHIELD);
}

#[test]
fn the_target_profile_is_the_targets_identity() {
    let found = decided(&profile(Profile::Target), &hardened()).unwrap();
    let who = &found.credentials;
    assert_eq!((who.uid, who.gid, who.groups.as_slice()), (65532, 65532, &[65532][..]));
    assert_eq!((who.capabilities, found.guard), (0, Guard::Parity));
    assert!(found.no_new_privs && found.target_filter && found.target_limits);
    let found = decided(&profile(Profile::Target), &plain()).unwrap();
    assert_eq!(found.credentials.capabilities, RUNTIME_DEFAULT);
    assert!(!found.no_new_privs && !found.target_filter);
}

#[test]
fn restricted_is_the_targets_user_with_nothing() {
    let found = decided(&profile(Profile::Restricted), &plain()).unwrap();
    assert_eq!((found.credentials.capabilities, found.guard), (0, Guard::Parity));
    assert!(found.no_new_privs);
    let asked = Asked { user: Some(7), group: Some(8), ..profile(Profile::Restricted) };
    let found = decided(&asked, &hardened()).unwrap();
    assert_eq!((found.credentials.uid, found.credentials.gid), (7, 8));
    assert!(found.credentials.groups.is_empty(), "the target's groups are its own user's");
}

#[test]
fn parity_with_less_confinement_is_refused() {
    let asked = Asked { seccomp: Seccomp::Runtime, ..profile(Profile::Target) };
    assert_eq!(between(decided(&asked, &hardened())), Gain::LessConfined);
    // Where there is no filter to lack it is parity all the same.
    assert_eq!(decided(&asked, &plain()).unwrap().guard, Guard::Parity);
}

#[test]
fn parity_is_no_other_user_and_no_more() {
    let groups = Asked { groups: Some(vec![999]), ..profile(Profile::Target) };
    assert_eq!(between(decided(&groups, &hardened())), Gain::LessConfined);
    let own = Asked { groups: Some(vec![65532]), ..profile(Profile::Target) };
    assert_eq!(decided(&own, &hardened()).unwrap().guard, Guard::Parity);
    let tracer = Facts { reach: GENERAL, permitted: SYS_PTRACE, ..hardened() };
    let root = Asked { user: Some(0), ..profile(Profile::Target) };
    assert_eq!(between(decided(&root, &tracer)), Gain::Traceable);
    let more = Asked { add: NET_BIND_SERVICE, ..profile(Profile::Target) };
    assert_eq!(between(decided(&more, &tracer)), Gain::Traceable);
}

#[test]
fn beyond_parity_the_targets_programs_need_trust_too() {
    let asked = Asked { add: NET_ADMIN, ..profile(Profile::Target) };
    let found = decide(&asked, &hardened(), &wide_helper()).unwrap();
    assert_eq!((found.guard, found.target_programs), (Guard::OwnCapabilities, false));
}

#[test]
fn a_target_that_traces_is_entered_by_parity_or_trust_only() {
    let tracer = Facts { reach: GENERAL, permitted: GENERAL, filtered: true, ..hardened() };
    assert_eq!(between(decided(&Asked::default(), &tracer)), Gain::Traceable);
    let more = Asked { add: NET_ADMIN, ..Asked::default() };
    assert_eq!(between(decide(&more, &tracer, &wide_helper())), Gain::Traceable);
    assert_eq!(decided(&profile(Profile::Target), &tracer).unwrap().guard, Guard::Parity);
    let trusting = Asked { trust_target: true, ..Asked::default() };
    let found = decided(&trusting, &tracer).unwrap();
    assert_eq!(found.guard, Guard::None);
    assert!(found.notices()[0].contains("watch and control"));
}

#[test]
fn a_target_that_nothing_confines_has_nothing_to_gain() {
    let found = decided(&Asked::default(), &privileged()).unwrap();
    assert_eq!((found.credentials.capabilities, found.guard), (GENERAL, Guard::None));
    let labelled = Facts { labelled: true, ..privileged() };
    assert_eq!(between(decided(&Asked::default(), &labelled)), Gain::Traceable);
}

#[test]
fn a_shield_within_reach_is_none() {
    let target = Facts { reach: RUNTIME_DEFAULT | SHIELD, filtered: true, ..plain() };
    assert_eq!(between(decided(&profile(Profile::Baseline), &target)), Gain::NoShield);
    let bare = Helper { permitted: RUNTIME_DEFAULT, ..helper() };
    let filtered = Facts { filtered: true, ..plain() };
    let found = decide(&profile(Profile::Baseline), &filtered, &bare);
    assert_eq!(between(found), Gain::NoShield);
}

#[test]
fn all_is_what_the_node_can_give() {
    for asked in [profile(Profile::Sysadmin), Asked { add: KNOWN, ..Asked::default() }] {
        let found = decide(&asked, &plain(), &wide_helper()).unwrap();
        assert_eq!(found.credentials.capabilities, KNOWN & !SYS_RESOURCE);
        assert_eq!(found.withheld, SYS_RESOURCE);
        assert!(!found.target_programs, "above general only the toolset's programs run");
        assert_eq!(found.notices(), ["this node does not give: SYS_RESOURCE"]);
    }
    let named = Asked { add: SYS_RESOURCE, ..profile(Profile::Sysadmin) };
    let refused = decide(&named, &plain(), &wide_helper()).unwrap_err();
    assert_eq!(refused, Refusal::Lacking("SYS_RESOURCE".into()));
    let named = Asked { add: SYS_RESOURCE, ..Asked::default() };
    let refused = decide(&named, &plain(), &wide_helper()).unwrap_err();
    assert_eq!(refused, Refusal::Lacking("SYS_RESOURCE".into()));
    let unknown = Asked { add: 1 << 63, ..Asked::default() };
    let refused = decide(&unknown, &plain(), &wide_helper()).unwrap_err();
    assert_eq!(refused, Refusal::Lacking("number 63".into()));
}

#[test]
fn a_user_namespace_of_its_own_gives_everything() {
    let target = Facts { own_users: true, ..plain() };
    let found = decide(&profile(Profile::Netadmin), &target, &helper()).unwrap();
    assert_eq!(found.credentials.capabilities, GENERAL | NET_ADMIN);
    let asked = Asked { seccomp: Seccomp::Runtime, ..profile(Profile::Sysadmin) };
    assert_eq!(decide(&asked, &target, &helper()).unwrap().withheld, 0);
}

#[test]
fn filters_are_what_was_asked_for_or_there_is_no_session() {
    let asked = Asked { seccomp: Seccomp::Unconfined, ..Asked::default() };
    assert_eq!(decided(&asked, &plain()), Err(Refusal::HelperFiltered));
    let asked = Asked { seccomp: Seccomp::Target, ..Asked::default() };
    assert!(decided(&asked, &hardened()).unwrap().target_filter);
    assert!(!decided(&asked, &plain()).unwrap().target_filter, "there is none");
    let unknown = Facts { filter_known: false, ..hardened() };
    assert_eq!(decided(&asked, &unknown), Err(Refusal::FilterUnknown));
}

#[test]
fn above_general_the_targets_programs_need_trust() {
    let more = Asked { add: NET_ADMIN, ..Asked::default() };
    assert!(!decide(&more, &plain(), &wide_helper()).unwrap().target_programs);
    let trusting = Asked { trust_target: true, ..more };
    assert!(decide(&trusting, &plain(), &wide_helper()).unwrap().target_programs);
    // What the target holds itself it may use.
    let found = decide(&profile(Profile::Target), &privileged(), &wide_helper());
    assert!(matches!(found, Err(Refusal::Lacking(names)) if names == "SYS_RESOURCE"));
    let target = Facts { permitted: NET_ADMIN, reach: NET_ADMIN | SYS_PTRACE, ..plain() };
    assert!(decide(&profile(Profile::Target), &target, &wide_helper()).unwrap().target_programs);
}

#[test]
fn an_identity_is_described_in_one_line() {
    let asked = Asked { user: Some(1000), groups: Some(vec![7, 8]), ..Asked::default() };
    let identity = decided(&asked, &plain()).unwrap();
    assert_eq!(identity.summary(), "uid 1000, gid 0, groups 7 8, no capabilities");
    let root = decided(&Asked::default(), &plain()).unwrap();
    assert_eq!(root.summary(), "uid 0, gid 0, 15 capabilities");
    assert_eq!(
        identity.describe(&helper()),
        "uid 1000, gid 0, groups 7 8, capabilities: none, BLOCK_SUSPEND as a shield, \
         seccomp: the runtime's, label: the helper's"
    );
}
