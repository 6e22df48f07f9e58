//! Flags of other tools, and of the first kpexec, with what they are here. Pure.

/// What to use in place of a flag that kpexec does not have.
pub fn instead_of(flag: &str) -> Option<&'static str> {
    TABLE.iter().find(|(names, _)| names.contains(&flag)).map(|(_, hint)| *hint)
}

/// kubectl debug's, kubectl run's, docker exec's, and the first kpexec's.
const TABLE: &[(&[&str], &str)] = &[
    (&["-e"], "--env NAME=VALUE adds a variable"),
    (&["-w", "--wd"], "--workdir DIR is where the command runs"),
    (&["--image"], "--tools-image IMAGE brings the tools of an image"),
    (&["--privileged"], "--profile sysadmin, or --cap-add ALL, gives every capability"),
    (&["--target"], "-c CONTAINER names the container"),
    (&["--uid"], "--run-as UID is who to be"),
    (&["--gid"], "--run-as UID:GID, or --run-as -1:GID, is who to be"),
    (&["--group-add"], "--groups GROUP[,GROUP]... adds groups"),
    (&["--command"], "the command stands after --: kpexec POD -- CMD [ARG]..."),
    (&["-d", "--detach"], "a terminal's session is left by ctrl-p ctrl-q; kpexec attach goes back"),
    (
        &["--copy-to", "--same-node", "--share-processes", "--set-image", "--replace"],
        "kpexec copies no pod: it enters the one that runs",
    ),
    (&["--custom"], "--profile, --cap-add, --run-as and --env change what a profile gives"),
    (&["--attach", "--arguments-only"], "leave it out: kpexec always attaches to its command"),
    (&["--image-pull-policy"], "the helper's image is pulled where the node does not have it"),
    (
        &[
            "--keep-annotations",
            "--keep-labels",
            "--keep-liveness",
            "--keep-readiness",
            "--keep-startup",
            "--keep-init-containers",
        ],
        "kpexec copies no pod: it enters the one that runs",
    ),
    (
        &["-T", "--tools", "--enable-tools"],
        "leave it out: tools are always there; --tools-image brings others",
    ),
    (
        &["--cnsenter-img", "--cnsenter-image"],
        "--helper-image is the helper's image, --tools-image that of the tools",
    ),
    (&["--cnsenter-ns"], "--helper-namespace NS is where the helper pods are"),
    (&["--cnsenter-to"], "--helper-timeout DURATION is how long the helper may take to start"),
    (&["--cnsenter-gc"], "kpexec gc deletes the helper pods that have ended"),
    (&["--cri"], "--cri-socket PATH names the socket on the node"),
];

/// The same for a word that is no flag: another tool's verb.
pub fn instead_of_verb(word: &str) -> Option<&'static str> {
    match word {
        "exec" | "debug" | "pexec" => Some("leave it out: kpexec [FLAGS] POD -- CMD [ARG]..."),
        "cp" => Some("tar copies: kpexec POD -- tar -cf - -C DIR FILE | tar -xf -"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;
    use crate::cli::Cli;

    #[test]
    fn no_flag_of_ours_is_in_the_table_and_each_hint_names_one_that_is() {
        let command = Cli::command();
        let longs: Vec<String> = command
            .get_arguments()
            .filter_map(|flag| flag.get_long().map(|long| format!("--{long}")))
            .collect();
        let shorts: Vec<String> = command
            .get_arguments()
            .filter_map(|flag| flag.get_short().map(|short| format!("-{short}")))
            .collect();
        let ours = |word: &str| longs.iter().chain(&shorts).any(|flag| flag == word);
        for (names, hint) in TABLE {
            for name in *names {
                assert!(!ours(name), "{name} is a flag");
            }
            let flags = hint.split([' ', ',', ':', ';']).filter(|word| word.len() > 2);
            for flag in flags.filter(|word| word.starts_with("--")) {
                assert!(ours(flag), "{hint}: {flag}");
            }
        }
    }
}
