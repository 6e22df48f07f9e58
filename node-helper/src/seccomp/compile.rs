//! From a profile to programs that, installed together, answer as it says.
//!
//! A program of seccompiler's has one answer for the calls its rules match and
//! one for all others; a profile has many. So there is one program for each
//! action of its rules, which allows all other calls, and one for the default
//! action, which allows what any rule matches. Of their answers to a call the
//! kernel takes the strictest (seccomp(2), "Filter return values"): all others
//! are "allow".
//!
//! The profile is read as libseccomp, runc and crun read it; with three
//! differences, each to the stricter side:
//!
//! * Several rules with conditions may match one call: the strictest counts.
//! * Programs are for this machine's own architecture. A call of another one,
//!   the 32-bit ones among them, ends the process, whatever `architectures`
//!   says; x32 calls are answered as by a kernel without x32.
//! * `SCMP_ACT_NOTIFY` refuses the call with `ENOSYS`: we have no listener.
//!
//! A name that is no system call of this architecture is passed over. If it is
//! one that is too new for us, it is refused ([`last_passed_on()`]); if it was
//! too new for the runtime only, the profile holds here and not in the target.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition,
    SeccompFilter, SeccompRule, sock_filter,
};
use syscalls::Sysno;

use super::profile::{Argument, Profile};
use super::program::{NotAProgram, Program};

/// Why there is no filter.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An action that is not in the specification, or newer than we are.
    #[error("the seccomp profile has an unknown action: {0}")]
    Action(String),
    /// The same for a comparison.
    #[error("the seccomp profile has an unknown comparison: {0}")]
    Comparison(String),
    /// It cannot be expressed: too long, or an argument that no call has.
    #[error("the seccomp profile cannot be compiled")]
    Filter(#[from] BackendError),
    /// It is too long by what we add.
    #[error("the seccomp profile is too long")]
    Size(#[from] NotAProgram),
}

/// Calls by number, each with what its arguments may be; an empty list stands
/// for all that they can be.
type Calls = BTreeMap<i64, Vec<SeccompRule>>;

/// Compiles a profile. The programs must all be installed, and in their order:
/// those that may refuse seccomp(2) come last.
///
/// # Errors
/// When the profile says what we do not understand or cannot express.
pub fn compile(profile: &Profile) -> Result<Vec<Program>, Error> {
    let default = action(&profile.default_action, profile.default_errno_ret)?;
    let by_action = calls_by_action(profile, &default)?;
    let mut named = Calls::new();
    for (_, calls) in &by_action {
        for (number, matches) in calls {
            named.entry(*number).or_default().extend_from_slice(matches);
        }
    }
    let guard = guard(last_passed_on(profile, &default));
    let refuses = named.get(&libc::SYS_seccomp).is_none_or(|matches| !matches.is_empty());
    let remaining = match default {
        // Two answers that are equal are refused by seccompiler. Where no rule
        // is, the second is never given.
        SeccompAction::Allow => filter(Calls::new(), default, SeccompAction::KillProcess)?,
        _ => filter(named, default, SeccompAction::Allow)?,
    };
    let mut programs =
        vec![(refuses, Program::from_instructions(guard.into_iter().chain(remaining))?)];
    for (answer, calls) in by_action {
        if answer != SeccompAction::Allow {
            let refuses = calls.contains_key(&libc::SYS_seccomp);
            let program = filter(calls, SeccompAction::Allow, answer)?;
            programs.push((refuses, Program::from_instructions(program)?));
        }
    }
    programs.sort_by_key(|(refuses, _)| *refuses);
    Ok(programs.into_iter().map(|(_, program)| program).collect())
}

/// The rules that count, by action.
fn calls_by_action(
    profile: &Profile,
    default: &SeccompAction,
) -> Result<Vec<(SeccompAction, Calls)>, Error> {
    let mut rules = Vec::new();
    for rule in &profile.syscalls {
        let answer = action(&rule.action, rule.errno_ret)?;
        let matches = alternatives(&rule.args)?;
        // runc and crun skip such rules, so that another one for the same call
        // counts. By name, too: SCMP_ACT_NOTIFY may have become the default.
        if answer != *default || rule.action != profile.default_action {
            let numbers = rule.names.iter().filter_map(|name| number(name));
            rules.extend(numbers.map(|number| (number, answer.clone(), matches.clone())));
        }
    }
    // libseccomp: of all rules for a call the first without conditions counts
    // alone (db_rule_add). CRI-O's default profile needs it, for setns(2). The
    // sort is stable.
    rules.sort_by_key(|(_, _, matches)| !matches.is_empty());
    let mut settled = BTreeSet::new();
    let mut by_action: Vec<(SeccompAction, Calls)> = Vec::new();
    for (number, answer, matches) in rules {
        if settled.contains(&number) {
            continue;
        }
        if matches.is_empty() {
            settled.insert(number);
        }
        match by_action.iter_mut().find(|(action, _)| *action == answer) {
            Some((_, calls)) => calls.entry(number).or_default().extend(matches),
            None => by_action.push((answer, Calls::from([(number, matches)]))),
        }
    }
    Ok(by_action)
}

fn filter(
    calls: Calls,
    otherwise: SeccompAction,
    matched: SeccompAction,
) -> Result<BpfProgram, BackendError> {
    let architecture = std::env::consts::ARCH.try_into()?;
    SeccompFilter::new(calls, otherwise, matched, architecture)?.try_into()
}

/// Has all calls above `last` answered with `ENOSYS`, to be put in front of a
/// program.
fn guard(last: u32) -> [sock_filter; 3] {
    let instruction = |code: u32, jf, k| sock_filter { code: code as u16, jt: 0, jf, k };
    let enosys = libc::SECCOMP_RET_ERRNO | libc::ENOSYS.cast_unsigned();
    [
        // The number is the first field of `struct seccomp_data`.
        instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0),
        instruction(libc::BPF_JMP | libc::BPF_JGT | libc::BPF_K, 1, last),
        instruction(libc::BPF_RET | libc::BPF_K, 0, enosys),
    ]
}

/// The last call that the profile decides on; all later ones do not exist for
/// the session.
fn last_passed_on(profile: &Profile, default: &SeccompAction) -> u32 {
    let last = match default {
        // A call that the default would let through may be one whose name we
        // could not read in a rule, or an x32 one, from 2^30 on.
        SeccompAction::Allow | SeccompAction::Log | SeccompAction::Trace(_) => {
            Some(Sysno::last().id().into())
        }
        // runc does the same: what is newer than the profile fails as it does
        // on an older kernel, so that programs fall back on an older call.
        SeccompAction::Errno(_) => {
            let names = profile.syscalls.iter().flat_map(|rule| &rule.names);
            names.filter_map(|name| number(name)).max()
        }
        // What the default does to them is stricter, so it stays. (runc lets
        // them fail here, too.)
        SeccompAction::KillProcess | SeccompAction::KillThread | SeccompAction::Trap => None,
    };
    last.and_then(|last| u32::try_from(last).ok()).unwrap_or(u32::MAX)
}

/// What a call's arguments must be: one of these; an empty list stands for all
/// that they can be.
fn alternatives(arguments: &[Argument]) -> Result<Vec<SeccompRule>, Error> {
    let conditions = arguments.iter().map(condition).collect::<Result<Vec<_>, _>>()?;
    let indices: BTreeSet<u8> = arguments.iter().map(|argument| argument.index).collect();
    let alternatives = if arguments.is_empty() {
        vec![]
    } else if indices.len() == arguments.len() {
        vec![conditions]
    } else {
        // runc and crun take conditions for alternatives as soon as two are on
        // the same argument.
        conditions.into_iter().map(|condition| vec![condition]).collect()
    };
    Ok(alternatives.into_iter().map(SeccompRule::new).collect::<Result<_, _>>()?)
}

/// Compares all 64 bits, as libseccomp does.
fn condition(argument: &Argument) -> Result<SeccompCondition, Error> {
    let (operator, value) = match argument.op.as_str() {
        "SCMP_CMP_NE" => (SeccompCmpOp::Ne, argument.value),
        "SCMP_CMP_LT" => (SeccompCmpOp::Lt, argument.value),
        "SCMP_CMP_LE" => (SeccompCmpOp::Le, argument.value),
        "SCMP_CMP_EQ" => (SeccompCmpOp::Eq, argument.value),
        "SCMP_CMP_GE" => (SeccompCmpOp::Ge, argument.value),
        "SCMP_CMP_GT" => (SeccompCmpOp::Gt, argument.value),
        "SCMP_CMP_MASKED_EQ" => (SeccompCmpOp::MaskedEq(argument.value), argument.value_two),
        other => return Err(Error::Comparison(other.to_owned())),
    };
    Ok(SeccompCondition::new(argument.index, SeccompCmpArgLen::Qword, operator, value)?)
}

/// `EPERM` is the specification's default.
fn action(name: &str, errno: Option<u32>) -> Result<SeccompAction, Error> {
    let errno = errno.unwrap_or(libc::EPERM.cast_unsigned());
    Ok(match name {
        "SCMP_ACT_KILL" | "SCMP_ACT_KILL_THREAD" => SeccompAction::KillThread,
        "SCMP_ACT_KILL_PROCESS" => SeccompAction::KillProcess,
        "SCMP_ACT_TRAP" => SeccompAction::Trap,
        "SCMP_ACT_ERRNO" => SeccompAction::Errno(errno),
        "SCMP_ACT_TRACE" => SeccompAction::Trace(errno),
        "SCMP_ACT_ALLOW" => SeccompAction::Allow,
        "SCMP_ACT_LOG" => SeccompAction::Log,
        "SCMP_ACT_NOTIFY" => SeccompAction::Errno(libc::ENOSYS.cast_unsigned()),
        other => return Err(Error::Action(other.to_owned())),
    })
}

/// The number of a call on this architecture.
fn number(name: &str) -> Option<i64> {
    // The kernel and libseccomp call it newfstatat everywhere; `syscalls` does
    // not on architectures that took the kernel's common table (arm64).
    let known = Sysno::from_str(name).or_else(|()| match name {
        "newfstatat" => Sysno::from_str("fstatat"),
        _ => Err(()),
    });
    known.ok().map(|number| number.id().into())
}
