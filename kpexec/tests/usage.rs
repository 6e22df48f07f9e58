//! The program itself, as far as it gets without a cluster.

use std::process::{Command, Output};

fn kpexec(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_kpexec"))
        .args(args)
        .env_remove("KUBECONFIG")
        .env_remove("KPEXEC_HELPER_IMAGE")
        .env_remove("KPEXEC_HELPER_IMAGE_FULL")
        .env("HOME", "/nonexistent")
        .output()
        .expect("kpexec can be run")
}

/// Exit code 125, nothing on stdout, and this on stderr.
fn refused(args: &[&str], stderr: &str) {
    let output = kpexec(args);
    assert_eq!(String::from_utf8_lossy(&output.stderr), stderr, "{args:?}");
    assert_eq!(output.status.code(), Some(125), "{args:?}");
    assert!(output.stdout.is_empty(), "{args:?}");
}

#[test]
fn mistakes_are_two_lines_at_most_and_125() {
    refused(
        &["web"],
        "kpexec: a command is required after --\nhint: kpexec -it POD opens a shell\n",
    );
    refused(
        &["--xyzzy"],
        "kpexec: unexpected argument '--xyzzy' found\nhint: kpexec --help lists the flags\n",
    );
    refused(
        &["-u", "-1", "web", "--", "id"],
        "kpexec: cannot run as \"-1\": neither names nor numbers start with + or -\n\
         hint: -u takes a name or number, and :GROUP after it if wanted\n",
    );
    refused(
        &["--groups", "adm,", "web", "--", "id"],
        "kpexec: cannot be in group \"\": a name or number is missing\n\
         hint: --groups takes names and numbers with commas between; '' is none\n",
    );
    refused(
        &["--cap-add", "KILL,NET_ADMN", "web", "--", "id"],
        "kpexec: unknown capability \"NET_ADMN\"\nhint: did you mean NET_ADMIN?\n",
    );
    refused(
        &["--profile", "target", "--seccomp", "unconfined", "web", "--", "id"],
        "kpexec: --profile target --seccomp unconfined would be less confined than the container \
         without being shielded from it\n\
         hint: leave out --seccomp, or take an elevated profile such as general\n",
    );
    refused(
        &["--helper-image", "x@sha256:0", "--toolset", "full", "web", "--", "id"],
        "kpexec: no helper image with the full toolset is known: x@sha256:0 is named by its \
         digest\nhint: name it with KPEXEC_HELPER_IMAGE_FULL\n",
    );
    refused(
        &["--helper-image", "x", "prod/web", "--", "id"],
        "kpexec: \"prod\" is no type that has pods, as far as kpexec knows\n\
         hint: types are pod (po), deployment (deploy), statefulset (sts), daemonset (ds), \
         replicaset (rs), replicationcontroller (rc), job, service (svc); if prod is a namespace: \
         kpexec -n prod web\n",
    );
    refused(
        &["exec", "-it", "web", "--", "sh"],
        "kpexec: exec is not a word of kpexec's\n\
         hint: leave it out: kpexec [FLAGS] POD -- CMD [ARG]...\n",
    );
    refused(
        &["-f", "/no/such", "--", "id"],
        "kpexec: cannot read /no/such: No such file or directory (os error 2)\n\
         hint: -f takes a file that you can read, or - for stdin\n",
    );
}

#[test]
fn no_cluster_is_said_with_the_remedy() {
    refused(
        &["--helper-image", "x", "web", "--", "id"],
        "kpexec: found no cluster: no kubeconfig, and this is not a pod\n\
         hint: set KUBECONFIG, or give --kubeconfig or --server\n",
    );
}

#[test]
fn a_terminal_that_cannot_be_had_is_said_and_quiet_means_quiet() {
    let notice = "Unable to use a TTY - input is not a terminal or the right kind of file\n";
    for (args, expected) in [
        (&["-it", "--helper-image", "x", "web", "--", "id"][..], true),
        (&["-it", "-q", "--helper-image", "x", "web", "--", "id"], false),
        // Without -i, -t means nothing.
        (&["-t", "--helper-image", "x", "web", "--", "id"], false),
    ] {
        let stderr = kpexec(args).stderr;
        assert_eq!(String::from_utf8_lossy(&stderr).contains(notice), expected, "{args:?}");
    }
}

#[test]
fn help_and_version_go_to_stdout() {
    for flag in ["--help", "-h", "--version"] {
        let output = kpexec(&[flag]);
        assert_eq!(output.status.code(), Some(0), "{flag}");
        assert!(output.stderr.is_empty() && !output.stdout.is_empty(), "{flag}");
    }
    let help = String::from_utf8(kpexec(&["--help"]).stdout).unwrap();
    assert!(help.starts_with("Run a command or a shell inside any container"), "{help}");
    assert!(help.contains("kpexec [FLAGS] POD|TYPE/NAME [-- CMD"), "{help}");
    assert!(help.contains("\nIdentity:\n  -u, --run-as <USER[:GROUP]>"), "{help}");
    assert!(help.contains("- restricted: "), "{help}");
    assert!(help.contains("\nFiles of the container:\n      --writes <MODE>"), "{help}");
}
