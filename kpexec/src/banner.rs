//! What is said before a shell: where one is, as whom, and how to leave.

use kpexec_protocol::Started;

use crate::cli::{Cli, Writes};
use crate::report;
use crate::target::Target;
use crate::terminal;

/// Says what there is to say of a session that has begun, and that can be come back
/// to if it is `kept`.
pub fn announce(target: &Target, started: &Started, cli: &Cli, tty: bool, kept: bool) {
    // Where it is none, its keys are the command's.
    let kept = kept && terminal::stdin_is_terminal();
    if tty && cli.is_shell() && !cli.quiet {
        lines(target, started, cli, kept).iter().for_each(|line| report::notice(line));
    }
    report::started(started, cli.quiet, cli.verbosity.is_on());
}

/// The lines, without line ends.
fn lines(target: &Target, started: &Started, cli: &Cli, kept: bool) -> Vec<String> {
    let Target { namespace, pod, container, node, .. } = target;
    let below = cli.tools.tools_root;
    let writes = match cli.view.writes {
        Writes::Through if below => "the container sees writes in the folders of /target",
        Writes::Through if cli.view.writable => {
            "the container sees writes in its folders, read-only root or not"
        }
        Writes::Through => "the container sees writes in its folders",
        Writes::Deny => "nothing of the container's can be written",
        Writes::Discard => "what you write goes with the session",
    };
    let keys = Some(&cli.detach.detach_keys).filter(|keys| kept && !keys.0.is_empty());
    let leave = keys.map(|keys| format!("; {keys} leaves it running")).unwrap_or_default();
    let place = if below { ", its files at /target" } else { "" };
    vec![
        format!("{namespace}/{pod}, container {container}, on node {node}{place}"),
        format!("{}; {writes}", started.summary),
        format!("exit or ctrl-d ends it{leave}"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_short_lines() {
        let target = Target::example();
        let started =
            Started { summary: "uid 0, gid 0, 15 capabilities".into(), ..Started::default() };
        let lines_of = |flags: &str, kept: bool| {
            let args = format!("kpexec -it {flags} web-0");
            let cli = Cli::parse_args(args.split_whitespace().map(Into::into)).unwrap();
            super::lines(&target, &started, &cli, kept)
        };
        let lines = |flags: &str| lines_of(flags, true);
        let expected = [
            "prod/web-0, container app, on node node7",
            "uid 0, gid 0, 15 capabilities; the container sees writes in its folders",
            "exit or ctrl-d ends it; ctrl-p ctrl-q leaves it running",
        ];
        assert_eq!(lines(""), expected);
        assert_eq!(lines_of("--rm", false)[2], "exit or ctrl-d ends it");
        assert_eq!(lines("--detach-keys none")[2], "exit or ctrl-d ends it");
        assert!(lines("--detach-keys ctrl-],q")[2].ends_with("; ctrl-] q leaves it running"));
        assert!(lines("--writable")[1].ends_with("in its folders, read-only root or not"));
        assert!(lines("--writes=deny")[1].ends_with("nothing of the container's can be written"));
        let below = lines("--tools-image x --tools-root");
        assert!(below[0].ends_with(", its files at /target"), "{below:?}");
        let writes = "the container sees writes in the folders of /target";
        assert!(below[1].ends_with(writes), "{below:?}");
    }
}
