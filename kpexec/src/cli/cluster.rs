//! The flags that say which cluster, and where in it the helpers are.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use clap::Args;
use clap::builder::NonEmptyStringValueParser;

use super::connection::ConnectionFlags;

/// Heading of the flags that one sets once.
pub(super) const CLUSTER: &str = "Cluster and helper pod";

/// The namespace of the helpers, if none is named.
const HELPERS: &str = "kpexec";

/// Where to look.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = CLUSTER)]
pub struct ClusterFlags {
    /// Context of the kubeconfig to use
    #[arg(long, value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    pub context: Option<String>,

    /// Kubeconfig file to use [default: as kubectl finds it]
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,

    /// Namespace of the helper pods
    #[arg(long, hide_short_help = true, value_name = "NS", default_value = HELPERS)]
    pub helper_namespace: String,

    /// What is different from the kubeconfig.
    #[command(flatten)]
    pub connection: ConnectionFlags,
}

impl ClusterFlags {
    /// The same flags as a shell takes them, each with a space behind it: for
    /// another command that is to find the same helper. What is secret is left out.
    pub fn typed(&self) -> String {
        let namespace = Some(&self.helper_namespace).filter(|name| *name != HELPERS);
        let flags = [
            ("--context", self.context.as_deref().map(OsStr::new)),
            ("--kubeconfig", self.kubeconfig.as_deref().map(Path::as_os_str)),
            ("--helper-namespace", namespace.map(OsStr::new)),
        ];
        let flags = flags.into_iter().filter_map(|(flag, value)| Some((flag, value?)));
        let flags = flags.chain(self.connection.pairs());
        let mut typed: String = flags
            .map(|(flag, value)| format!("{flag} {} ", quoted(&value.to_string_lossy())))
            .collect();
        if self.connection.insecure_skip_tls_verify {
            typed.push_str("--insecure-skip-tls-verify ");
        }
        typed
    }
}

/// One word of a shell, whatever is in it.
fn quoted(word: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:@".contains(&byte);
    if !word.is_empty() && word.bytes().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flags_are_typed_as_a_shell_takes_them() {
        let flags = |context: Option<&str>, namespace: &str| ClusterFlags {
            context: context.map(str::to_owned),
            helper_namespace: namespace.to_owned(),
            ..ClusterFlags::default()
        };
        assert_eq!(flags(None, HELPERS).typed(), "");
        assert_eq!(flags(Some("ops"), "walk").typed(), "--context ops --helper-namespace walk ");
        assert_eq!(flags(Some("o'ps 1"), HELPERS).typed(), r"--context 'o'\''ps 1' ");
        let file = ClusterFlags { kubeconfig: Some("/a b".into()), ..flags(None, HELPERS) };
        assert_eq!(file.typed(), "--kubeconfig '/a b' ");
        let connection = ConnectionFlags {
            as_user: Some("system:serviceaccount:a:b".into()),
            as_group: vec!["x y".into(), "z".into()],
            token: Some("s3cret".to_owned().into()),
            insecure_skip_tls_verify: true,
            ..ConnectionFlags::default()
        };
        let other = ClusterFlags { connection, ..flags(Some("ops"), HELPERS) };
        assert_eq!(
            other.typed(),
            "--context ops --as system:serviceaccount:a:b --as-group 'x y' --as-group z \
             --insecure-skip-tls-verify "
        );
    }
}
