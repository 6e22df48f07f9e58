//! The flags for a node without an API server.

use std::path::PathBuf;

use clap::Args;

/// Whether this machine is the node.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "On the node itself")]
pub struct LocalFlags {
    /// Enter a container of this machine, without an API server
    ///
    /// Needs root. POD is then POD/NAMESPACE or POD/NAMESPACE/CONTAINER, a container's name if
    /// no other has it, or a container's ID, or how it begins.
    #[arg(long, conflicts_with_all = CLUSTER_ONLY)]
    pub local: bool,

    /// The node-helper to start [default: the one beside kpexec, or in PATH]
    ///
    /// KPEXEC_NODE_HELPER names it as well; node-entry lies beside it.
    /// KPEXEC_TOOLSET_FOLDER names the toolset's folder; else it is /.kpexec, or the
    /// folder toolset beside the node-helper.
    #[arg(long, hide_short_help = true, value_name = "PATH", requires = "local")]
    pub local_helper: Option<PathBuf>,
}

/// What there is in a cluster only.
const CLUSTER_ONLY: [&str; 21] = [
    "ConnectionFlags",
    "filename",
    "selector",
    "pod_running_timeout",
    "namespace",
    "container",
    "context",
    "kubeconfig",
    "helper_timeout",
    "helper_ttl",
    "linger",
    "detach_keys",
    "share",
    "rm",
    "toolset",
    "tools_image",
    "tools_root",
    "helper_image",
    "helper_namespace",
    "dry_run",
    "explain",
];

#[cfg(test)]
mod tests {
    use crate::cli::{Cli, Settings};

    fn refusal(args: &str) -> Option<String> {
        let args = format!("kpexec --local {args} web/prod -- id");
        let cli = Cli::parse_args(args.split_whitespace().map(Into::into));
        cli.err().map(|error| error.to_string())
    }

    #[test]
    fn what_a_cluster_is_needed_for_is_refused_in_one_line() {
        for flag in [
            "--pod-running-timeout 5s",
            "-n prod",
            "-c app",
            "--context x",
            "--kubeconfig x",
            "--as x",
            "--insecure-skip-tls-verify",
            "--helper-timeout 5s",
            "--helper-ttl 5m",
            "--rm",
            "--linger 5m",
            "--detach-keys none",
            "--share",
            "--share=5m",
            "--toolset full",
            "--tools-image x",
            "--tools-image x --tools-root",
            "--helper-image x",
            "--helper-namespace x",
        ] {
            let error = refusal(flag).unwrap_or_else(|| panic!("{flag} is taken"));
            assert!(error.contains("cannot be used with") && !error.contains('\n'), "{error}");
        }
        for flag in ["-f x", "-l a=b"] {
            let args = format!("kpexec --local {flag} -- id");
            let cli = Cli::parse_args(args.split_whitespace().map(Into::into));
            assert!(cli.unwrap_err().to_string().contains("cannot be used with"), "{flag}");
        }
        assert!(refusal("--seccomp runtime").unwrap().contains("--seccomp=runtime"));
    }

    #[test]
    fn what_is_set_for_all_commands_is_not_refused() {
        let args = "kpexec --local web/prod -- id".split(' ').map(Into::into);
        let set = [("share", "1"), ("detach-keys", "none"), ("linger", "5m"), ("toolset", "full")];
        let set = set.map(|(key, value)| (key.to_owned(), value.to_owned()));
        Cli::parse_with(args, &Settings::from_client(set)).unwrap();
    }

    #[test]
    fn all_else_goes_with_it() {
        for flags in [
            "-it -u 5 --groups 1,2 --env A=1 --workdir /srv",
            "--profile target --no-new-privs --cap-add KILL --cap-drop ALL --seccomp target",
            "--writes=deny -q",
            "--save-changes f.tar --escape-char none -v --raw-terminal --trust-target",
            "--cri-socket /x.sock --local-helper /x --writable",
        ] {
            assert_eq!(refusal(flags), None, "{flags}");
        }
    }

    #[test]
    fn a_helper_of_ones_own_is_for_the_node_only() {
        let args = "kpexec --local-helper /x web -- id".split(' ').map(Into::into);
        let error = Cli::parse_args(args).unwrap_err().to_string();
        assert!(error.contains("--local"), "{error}");
        let nothing = Cli::parse_args(["kpexec", "--local", "--", "id"].map(Into::into));
        assert_eq!(nothing.unwrap_err().to_string(), "which container? None was named");
    }
}
