//! The flags that say which cluster, and where in it the helpers are.

use std::path::PathBuf;

use clap::Args;

/// Heading of the flags that one sets once.
pub(super) const CLUSTER: &str = "Cluster and helper pod";

/// The namespace of the helpers, if none is named.
const HELPERS: &str = "kpexec";

/// Where to look.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = CLUSTER)]
pub struct ClusterFlags {
    /// Context of the kubeconfig to use
    #[arg(long, value_name = "NAME")]
    pub context: Option<String>,

    /// Kubeconfig file to use [default: as kubectl finds it]
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,

    /// Namespace of the helper pods
    #[arg(long, value_name = "NS", default_value = HELPERS, env = "KPEXEC_HELPER_NAMESPACE")]
    pub helper_namespace: String,
}

impl ClusterFlags {
    /// The same flags as a shell takes them, each with a space behind it: for
    /// another command that is to find the same helper.
    pub fn typed(&self) -> String {
        let kubeconfig = self.kubeconfig.as_ref().map(|file| file.display().to_string());
        let namespace = Some(&self.helper_namespace).filter(|name| *name != HELPERS);
        let flags = [
            ("--context", self.context.as_ref()),
            ("--kubeconfig", kubeconfig.as_ref()),
            ("--helper-namespace", namespace),
        ];
        let given = flags.into_iter().filter_map(|(flag, value)| Some((flag, value?)));
        given.map(|(flag, value)| format!("{flag} {} ", quoted(value))).collect()
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
            kubeconfig: None,
            helper_namespace: namespace.to_owned(),
        };
        assert_eq!(flags(None, HELPERS).typed(), "");
        assert_eq!(flags(Some("ops"), "walk").typed(), "--context ops --helper-namespace walk ");
        assert_eq!(flags(Some("o'ps 1"), HELPERS).typed(), r"--context 'o'\''ps 1' ");
        let file = ClusterFlags { kubeconfig: Some("/a b".into()), ..flags(None, HELPERS) };
        assert_eq!(file.typed(), "--kubeconfig '/a b' ");
    }
}
