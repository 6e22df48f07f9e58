//! T38, as a property: whatever identity is asked for, the kernel shows that
//! one inside the session, and nothing more but the documented shield.

use std::fmt::Write as _;
use std::fs;

use anyhow::{Context, Result, bail};
use kpexec_protocol::{Groups, Id, Identity, Profile, id};

use crate::client::{Node, SHIELD};
use crate::fake_container::{DEFAULT, FakeContainer, Options, SYS_PTRACE};
use crate::naive::naive;

/// How many identities for each kind of target.
const TRIES: usize = 500;

const NET_ADMIN: u64 = 1 << 12;

/// A kind of target, and what the model has to know of it.
struct Target {
    name: &'static str,
    options: Options,
    /// What its processes hold or can regain.
    reach: u64,
    /// What a session in it can be given.
    available: u64,
    /// Of its first process.
    uid: u32,
    /// Ids its user namespace has.
    ids: u32,
}

/// Everything this kernel knows: `/proc/sys/kernel/cap_last_cap`.
fn known() -> Result<u64> {
    let last: u32 = fs::read_to_string("/proc/sys/kernel/cap_last_cap")?.trim().parse()?;
    Ok((1 << (last + 1)) - 1)
}

/// What the helper holds, being root here: our own permitted set.
fn own() -> Result<u64> {
    Ok(sets(&fs::read_to_string("/proc/self/status")?)?[1])
}

/// The five sets of `/proc/PID/status`: inheritable, permitted, effective,
/// bounding, ambient.
fn sets(status: &str) -> Result<Vec<u64>> {
    let lines = status.lines().filter_map(|line| line.strip_prefix("Cap"));
    lines
        .map(|line| {
            let (_, digits) = line.split_once(':').context("no value")?;
            Ok(u64::from_str_radix(digits.trim(), 16)?)
        })
        .collect()
}

fn numbers(status: &str, name: &str) -> Result<Vec<u32>> {
    let line = status.lines().find_map(|line| line.strip_prefix(name)).context("no such line")?;
    Ok(line.split_ascii_whitespace().map(str::parse).collect::<Result<_, _>>()?)
}

fn any_id(random: &mut fastrand::Rng, ids: u32) -> u32 {
    // Root and the ends of the range more often than chance would have them.
    match random.u8(..4) {
        0 => 0,
        1 => ids - 1,
        _ => random.u32(..ids),
    }
}

fn any_set(random: &mut fastrand::Rng, of: u64) -> u64 {
    match random.u8(..4) {
        0 => 0,
        1 => of,
        2 => random.u64(..) & of,
        _ => random.u64(..) & random.u64(..) & random.u64(..) & of,
    }
}

fn any_identity(random: &mut fastrand::Rng, target: &Target) -> Identity {
    let id = |number| Id { kind: Some(id::Kind::Number(number)) };
    let profiles = [
        Profile::Unspecified,
        Profile::General,
        Profile::Baseline,
        Profile::Restricted,
        Profile::Netadmin,
        Profile::Sysadmin,
        Profile::Target,
    ];
    let maybe_id =
        |random: &mut fastrand::Rng| random.bool().then(|| id(any_id(random, target.ids)));
    let (user, group) = (maybe_id(random), maybe_id(random));
    let groups = random.bool().then(|| {
        let count = random.usize(..6);
        Groups { ids: (0..count).map(|_| id(any_id(random, target.ids))).collect() }
    });
    Identity {
        profile: profiles[random.usize(..profiles.len())].into(),
        user,
        group,
        groups,
        add: any_set(random, target.available),
        drop: any_set(random, u64::MAX),
        no_new_privs: random.bool(),
        ..Identity::default()
    }
}

/// What the kernel must show.
#[derive(Debug, PartialEq)]
struct Shown {
    uid: Vec<u32>,
    gid: Vec<u32>,
    groups: Vec<u32>,
    sets: Vec<u64>,
    no_new_privs: u32,
}

/// The specification, said once more: design.md, section 5, and the shield.
fn expected(asked: &Identity, target: &Target, status_of_target: &str) -> Result<Shown> {
    let number = |id: &Option<Id>| match id.as_ref().and_then(|id| id.kind.as_ref()) {
        Some(id::Kind::Number(number)) => Some(*number),
        _ => None,
    };
    let parity = matches!(asked.profile(), Profile::Restricted | Profile::Target);
    let as_target = parity && asked.user.is_none();
    let uid = number(&asked.user).unwrap_or(if as_target { target.uid } else { 0 });
    let gid = number(&asked.group).unwrap_or(if as_target { target.uid } else { 0 });
    let mut groups = match &asked.groups {
        Some(groups) => groups.ids.iter().filter_map(|id| number(&Some(id.clone()))).collect(),
        None if as_target && !target.options.user_namespace => {
            numbers(status_of_target, "Groups:")?
        }
        None => Vec::new(),
    };
    groups.sort_unstable();
    let base = match asked.profile() {
        Profile::Unspecified if uid != 0 => 0,
        Profile::Unspecified | Profile::General => DEFAULT | SYS_PTRACE,
        Profile::Baseline => DEFAULT,
        Profile::Restricted => 0,
        Profile::Netadmin => DEFAULT | SYS_PTRACE | NET_ADMIN,
        Profile::Sysadmin => known()?,
        Profile::Target => sets(status_of_target)?[1],
    };
    let mut held = (base & !asked.drop | asked.add) & target.available;
    if !parity && held & !target.reach == 0 {
        held |= SHIELD;
    }
    let passed_on = if uid == 0 { 0 } else { held };
    let no_new_privs = asked.no_new_privs || asked.profile() == Profile::Restricted;
    Ok(Shown {
        uid: vec![uid; 4],
        gid: vec![gid; 4],
        groups,
        sets: vec![passed_on, held, held, held, passed_on],
        no_new_privs: no_new_privs.into(),
    })
}

fn read(status: &str) -> Result<Shown> {
    Ok(Shown {
        uid: numbers(status, "Uid:")?,
        gid: numbers(status, "Gid:")?,
        groups: numbers(status, "Groups:")?,
        sets: sets(status)?,
        no_new_privs: numbers(status, "NoNewPrivs:")?[0],
    })
}

async fn every_identity_is_the_one_asked_for(target: &Target) -> Result<()> {
    let container = FakeContainer::hostile(&target.options)?;
    let status = fs::read_to_string(format!("/proc/{}/status", container.pid))?;
    let node = Node::around(container, &[]).await?;
    let seed = fastrand::u64(..);
    println!("{TRIES} identities in a {} target, seed {seed}", target.name);
    let mut random = fastrand::Rng::with_seed(seed);
    let mut wrong = String::new();
    for _ in 0..TRIES {
        let asked = any_identity(&mut random, target);
        let mut request = node.request(&["cat", "/proc/self/status"]);
        request.identity = Some(asked.clone());
        let outcome = node.run(request, b"").await?;
        let shown = match outcome.code {
            Some(0) => read(&outcome.text())?,
            _ => bail!("{asked:?} gave {outcome:?}"),
        };
        let wanted = expected(&asked, target, &status)?;
        if shown != wanted {
            writeln!(wrong, "{asked:?}: {shown:?} instead of {wanted:?}")?;
        }
    }
    if wrong.is_empty() { Ok(()) } else { bail!("seed {seed}: {wrong}") }
}

#[tokio::test]
async fn t38_in_a_plain_target() -> Result<()> {
    let options = Options::hostile();
    // What nsenter makes of an identity: all of the caller's capabilities.
    let container = FakeContainer::hostile(&options)?;
    let kept = naive(&container, &["/bin/busybox", "cat", "/proc/self/status"])?;
    assert_eq!(sets(&kept)?[3], own()?, "nsenter keeps the bounding set");
    every_identity_is_the_one_asked_for(&Target {
        name: "plain",
        options,
        reach: DEFAULT,
        available: own()?,
        uid: 0,
        ids: u32::MAX,
    })
    .await
}

#[tokio::test]
async fn t38_in_a_target_without_capabilities() -> Result<()> {
    every_identity_is_the_one_asked_for(&Target {
        name: "drop-ALL",
        options: Options { capabilities: Some(0), uid: 65532, ..Options::hostile() },
        reach: 0,
        available: own()?,
        uid: 65532,
        ids: u32::MAX,
    })
    .await
}

#[tokio::test]
async fn t38_in_a_target_with_a_user_namespace() -> Result<()> {
    every_identity_is_the_one_asked_for(&Target {
        name: "user-namespaced",
        options: Options { user_namespace: true, ..Options::hostile() },
        reach: DEFAULT,
        available: known()?,
        uid: 0,
        ids: 65536,
    })
    .await
}
