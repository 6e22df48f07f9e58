//! What is said before a shell: where one is, as whom, and how to leave.

use kpexec_protocol::Started;

use crate::cli::{Cli, Writes};
use crate::report;
use crate::target::Target;

/// Says what there is to say of a session that has begun.
pub fn announce(target: &Target, started: &Started, cli: &Cli, tty: bool) {
    if tty && cli.is_shell() && !cli.quiet {
        lines(target, started, cli).iter().for_each(|line| report::notice(line));
    }
    report::started(started, cli.quiet, cli.verbose);
}

/// The lines, without line ends.
fn lines(target: &Target, started: &Started, cli: &Cli) -> Vec<String> {
    let Target { namespace, pod, container, node, .. } = target;
    let below = cli.tools.tools_root;
    let writes = match cli.view.writes {
        Writes::Through if below => "the container sees writes in the folders of /target",
        Writes::Through => "the container sees writes in its folders",
        Writes::Deny => "nothing of the container's can be written",
        Writes::Discard => "what you write goes with the session",
    };
    let place = if below { ", its files at /target" } else { "" };
    vec![
        format!("{namespace}/{pod}, container {container}, on node {node}{place}"),
        format!("{}; {writes}", started.summary),
        "exit or ctrl-d leaves".to_owned(),
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
        let lines = |flags: &str| {
            let args = format!("kpexec -it {flags} web-0");
            let cli = Cli::parse_args(args.split_whitespace().map(Into::into)).unwrap();
            super::lines(&target, &started, &cli)
        };
        let expected = [
            "prod/web-0, container app, on node node7",
            "uid 0, gid 0, 15 capabilities; the container sees writes in its folders",
            "exit or ctrl-d leaves",
        ];
        assert_eq!(lines(""), expected);
        assert!(lines("--writes=deny")[1].ends_with("nothing of the container's can be written"));
        let below = lines("--tools-image x --tools-root");
        assert!(below[0].ends_with(", its files at /target"), "{below:?}");
        let writes = "the container sees writes in the folders of /target";
        assert!(below[1].ends_with(writes), "{below:?}");
    }
}
