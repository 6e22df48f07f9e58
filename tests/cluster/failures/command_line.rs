//! What was typed cannot be meant.

use super::row::{Row, Variables, check, row};
use anyhow::Result;

const ROWS: &[Row] = &[
    row("nothing to run", "kpexec busybox", "a command is required after --", "-it POD"),
    row("nothing after --", "kpexec busybox --", "a command is required after --", "kpexec -it"),
    row("no --", "kpexec busybox true", "'true'", "the command stands after --"),
    row("no pod", "kpexec -- true", "which pod? None was named", "POD"),
    row("an unknown flag", "kpexec --no-such busybox -- true", "'--no-such'", "kpexec --help"),
    row("a flag mistyped", "kpexec --namespce x busybox -- true", "'--namespce'", "--namespace?"),
    row("kubectl debug's flag", "kpexec --image x busybox -- true", "'--image'", "--tools-image"),
    row("kubectl's verb", "kpexec exec busybox -- true", "exec is no", "leave it out"),
    row(
        "a namespace before the pod",
        "kpexec default/busybox -- true",
        "\"default\" is no type that has pods",
        "kpexec -n default busybox",
    ),
    row("a node", "kpexec node/node1 -- true", "kpexec enters containers", "kubectl debug node/"),
    row("a cronjob", "kpexec cronjob/x -- true", "has jobs, not pods", "kubectl get jobs"),
    row(
        "a name that none can have",
        "kpexec 'a b' -- true",
        "\"a b\" is not a name",
        "small letters",
    ),
    row(
        "a variable without a value",
        "kpexec --env X busybox -- true",
        "'X' … NAME=VALUE",
        "--help",
    ),
    row(
        "a variable without a name",
        "kpexec --env =x busybox -- true",
        "'=x' … NAME=VALUE",
        "--help",
    ),
    row("an unknown capability", "kpexec --cap-add NET_ADMN $pod -- true", "NET_ADMN", "NET_ADMIN"),
    row("an unknown profile", "kpexec --profile netadm $pod -- true", "netadm", "netadmin"),
    row("a duration of no unit", "kpexec --keepalive 5x $pod -- true", "'5x'", "--help"),
    row(
        "a key that is none",
        "kpexec --detach-keys ctrl- $pod -- true",
        "'ctrl-' … keys such as ctrl-p",
        "--help",
    ),
    row(
        "a relative folder",
        "kpexec --workdir tmp $pod -- true",
        "'tmp' … not an absolute path",
        "--help",
    ),
    row("half an identity", "kpexec -u 1: $pod -- true", "1:", "name or number, and :GROUP"),
    row(
        "an ID beyond all",
        "kpexec -u 4294967295 $pod -- true",
        "\"4294967295\": IDs go from 0 to 4294967294",
        "name or number",
    ),
    row("an unknown user", "kpexec -u nobody-here $pod -- true", "/etc/passwd", "number"),
    row("an unknown group", "kpexec -u 1:no-such $pod -- true", "/etc/group", "number"),
    row(
        "an ID that the user namespace lacks",
        "kpexec -u 3000000000 $userns -- true",
        "user 3000000000 … user namespace",
        "uid_map",
    ),
    row(
        "a file that is not there",
        "kpexec -f /no/such -- true",
        "/no/such: No such file",
        "-f takes",
    ),
    row(
        "a selector that is none",
        "kpexec -l 'a=b=c' -- true",
        "cannot list the pods",
        "-l takes what … app=web",
    ),
    row(
        "a folder to save to that is none",
        "kpexec --save-changes /no/x $pod -- true",
        "/no",
        "that you can write",
    ),
    Row {
        code: 127,
        ..row(
            "no shell",
            "kpexec $pod -- zsh",
            "zsh: not found in the container",
            "PATH was searched",
        )
    },
    Row {
        code: 127,
        ..row(
            "no such program",
            "kpexec $pod -- no-such",
            "no-such: not found in the container",
            "PATH was searched",
        )
    },
    Row { code: 126, ..row("no program", "kpexec $pod -- /etc/passwd", "/etc/passwd", "") },
    row(
        "no such folder",
        "kpexec --workdir /no/such $pod -- true",
        "working directory: \"/no/such\": No such file",
        "--workdir",
    ),
];

#[test]
fn of_the_command_line() -> Result<()> {
    check(ROWS, &Variables::new())
}
