//! Command lines from real life, at the end of the help.

/// For `-h`.
pub const SHORT_EXAMPLES: &str = "\
In place of POD: attach, completion, config, gc, help, sessions, version. --help tells all.";

/// For `--help`, the man page and the README. Each line is one that can be typed.
pub const EXAMPLES: &str = "\
Examples:
  # A root shell with tools, in a distroless container too
  kpexec -it web-0

  # One command, in a certain container of another namespace
  kpexec -n prod web-0 -c proxy -- ss -tlnp

  # As another user, who has no capabilities then
  kpexec -u 1000:1000 web-0 -- id

  # Just as the container is, and no more
  kpexec -it --profile target web-0

  # The pod's network, live in Wireshark
  kpexec --profile netadmin web-0 -- tcpdump -i any -U -w - | wireshark -k -i -

  # The system calls of the container's first process
  kpexec -it web-0 -- strace -f -p 1

  # A file into the container, and one out of it
  kpexec -i web-0 -- sh -c 'cat > /etc/app.conf' < app.conf
  kpexec web-0 -- cat /var/log/app.log > app.log

  # A script of this computer
  kpexec -i web-0 < script.sh

  # Try a change, keep it as a tar, and leave the container as it is
  kpexec -it --save-changes changes.tar web-0

  # Survive a lost connection; ctrl-p ctrl-q leaves, attach comes back
  kpexec -it --linger 1h web-0 -- top
  kpexec sessions
  kpexec attach 3f9c2a41d07be865-7

  # The tools of another image
  kpexec -it --tools-image nicolaka/netshoot web-0

  # On a node whose API server is away, as root
  kpexec --local -it web-0/prod";

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;
    use crate::cli::{CliError, Invocation, command};

    #[test]
    fn every_example_is_a_command_line_we_take() {
        let lines: Vec<&str> = EXAMPLES.lines().filter(|line| line.contains("kpexec ")).collect();
        assert!(lines.len() >= 12, "{lines:?}");
        for line in lines {
            // What the user's shell would keep for itself.
            let words = line.split(['|', '<', '>']).next().unwrap_or_default();
            let words = words.split_whitespace().map(OsString::from);
            let parsed = Invocation::parse(words).map_err(|error: CliError| error.to_string());
            assert!(parsed.is_ok(), "{line}: {parsed:?}");
        }
    }

    #[test]
    fn the_short_help_fits_one_screen() {
        let text = command(None).unwrap().render_help().to_string();
        let lines = text.lines().count();
        assert!(
            lines <= 50,
            "{lines} lines; hide_short_help is for what one seldom needs:\n{text}"
        );
        let wide: Vec<&str> = text.lines().filter(|line| line.chars().count() > 100).collect();
        assert!(wide.is_empty(), "{wide:#?}");
    }

    #[test]
    fn the_short_help_has_each_flag_once_and_in_its_group() {
        let mut command = command(None).unwrap();
        command.build();
        let text = command.render_help().to_string();
        let groups: Vec<&str> =
            text.lines().filter(|line| line.ends_with(':') && !line.starts_with(' ')).collect();
        let expected = [
            "Arguments:",
            "Options:",
            "Identity:",
            "Files of the container:",
            "Tools:",
            "On the node itself:",
            "Cluster and helper pod:",
        ];
        assert_eq!(groups, expected);
        let flag = |line: &str| {
            let (_, name) = line.split_once("--").filter(|_| line.trim_start().starts_with('-'))?;
            let end = name.find(|c: char| !c.is_ascii_lowercase() && c != '-');
            Some(name[..end.unwrap_or(name.len())].to_owned())
        };
        let mut shown: Vec<String> = text.lines().filter_map(flag).collect();
        let arguments = command.get_arguments();
        let wanted = arguments.filter(|arg| !arg.is_hide_set() && !arg.is_hide_short_help_set());
        let mut wanted: Vec<String> =
            wanted.filter_map(|arg| arg.get_long().map(str::to_owned)).collect();
        shown.sort();
        wanted.sort();
        assert_eq!(shown, wanted, "{text}");
        assert!(["stdin", "run-as", "rm"].iter().all(|flag| shown.contains(&(*flag).to_owned())));
    }
}
