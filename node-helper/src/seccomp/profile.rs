//! `linux.seccomp` of an OCI runtime specification, as far as it decides on
//! system calls (config-linux.md, "Seccomp").
//!
//! Not read, because they let nothing through: `architectures` (programs are
//! for this machine's own, see [`super::compile()`]), `flags` (what is logged,
//! and how fast it goes) and the listener of `SCMP_ACT_NOTIFY`, which listens
//! to the target and not to us.

use serde::Deserialize;

/// A seccomp profile.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Profile {
    /// What happens to calls that no rule matches: `SCMP_ACT_…`.
    pub default_action: String,
    /// The error number, if the action has one.
    pub default_errno_ret: Option<u32>,
    /// The rules.
    #[serde(default)]
    pub syscalls: Vec<Rule>,
}

/// What happens to some calls.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rule {
    /// System calls by name, those of other architectures among them.
    pub names: Vec<String>,
    /// What happens to them: `SCMP_ACT_…`.
    pub action: String,
    /// The error number, if the action has one.
    pub errno_ret: Option<u32>,
    /// Which arguments a call must have for the rule to match it.
    #[serde(default)]
    pub args: Vec<Argument>,
}

/// A condition on one argument of a call.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Argument {
    /// Which argument, from 0.
    pub index: u8,
    /// What it is compared with; for `SCMP_CMP_MASKED_EQ`, the mask.
    pub value: u64,
    /// For `SCMP_CMP_MASKED_EQ` only: what the masked argument is compared
    /// with.
    #[serde(default)]
    pub value_two: u64,
    /// How: `SCMP_CMP_…`.
    pub op: String,
}
