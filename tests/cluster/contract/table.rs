//! The rows: command lines, and what has to come of them.

/// A command line, and what has to come of it.
pub struct Row {
    pub what: &'static str,
    /// As typed, between `-n NAMESPACE` and the end; FOLDER has the files.
    pub args: &'static str,
    pub stdin: &'static str,
    pub wanted: Wanted,
}

/// What has to come of it.
pub enum Wanted {
    /// This exit code and the same stdout from both, and nothing of its own on stderr.
    Same(i32),
    /// The same, with these words on both's stderr.
    Says(i32, &'static str),
    /// Refused by both, for which kubectl has 1 and kpexec 125, in these words of both.
    Refused(&'static str),
    /// Likewise, in words of kubectl's and of kpexec's.
    Reworded(&'static str, &'static str),
    /// Another outcome, and why: exit code and words of kubectl's and kpexec's. Without
    /// words kpexec says nothing.
    Differs((i32, &'static str), (i32, &'static str), &'static str),
    /// Refused by kubectl in these words; kpexec prints this on stdout, nothing else,
    /// and succeeds; and why.
    OursAlone(&'static str, &'static str, &'static str),
}

use Wanted::{Differs, OursAlone, Refused, Reworded, Same, Says};

const fn row(what: &'static str, args: &'static str, wanted: Wanted) -> Row {
    Row { what, args, stdin: "", wanted }
}

const fn fed(what: &'static str, stdin: &'static str, args: &'static str, wanted: Wanted) -> Row {
    Row { what, args, stdin, wanted }
}

pub const POD_IN_FILE: &str = "{apiVersion: v1, kind: Pod, metadata: {name: one}}";

pub const TABLE: &[Row] = &[
    // Grammar.
    row("a pod by its name", "one -- hostname", Same(0)),
    row("a pod by type and name", "pod/one -- hostname", Same(0)),
    row("flags after the pod", "one -c app -q -- hostname", Same(0)),
    row("flags before the pod", "-c app -q one -- hostname", Same(0)),
    row("all after -- is the command's", "one -- echo -c x -- --help", Same(0)),
    row("no shell reads the command", "one -- echo $HOME *", Same(0)),
    fed("stdin with -i", "12345", "-i one -- wc -c", Same(0)),
    fed("no stdin without it", "12345", "one -- wc -c", Same(0)),
    fed(
        "-it without a terminal goes on without one",
        "12345",
        "-it one -- wc -c",
        Says(0, "Unable to use a TTY - input is not a terminal or the right kind of file"),
    ),
    fed("with -q it is not said", "12345", "-itq one -- wc -c", Same(0)),
    row("-t without -i means nothing", "-t one -- echo x", Same(0)),
    row(
        "a command without --",
        "one hostname",
        Reworded("Use exec [POD] -- [COMMAND] instead", "the command stands after --"),
    ),
    row(
        "no command",
        "one",
        Reworded("you must specify at least one command", "a command is required after --"),
    ),
    row(
        "no command, but stdin",
        "-i one",
        OursAlone("you must specify at least one command", "", "a shell is what one wants most"),
    ),
    row(
        "nothing",
        "-- hostname",
        Reworded("pod, type/name or --filename must be specified", "which pod? None was named"),
    ),
    fed("-i=false is no -i", "12345", "-i=false --tty=0 one -- wc -c", Same(0)),
    fed("the last -i counts", "12345", "-i=false -i -q=false one -- wc -c", Same(0)),
    row("-i=maybe", "-i=maybe one -- hostname", Refused("maybe")),
    row(
        "an unknown flag",
        "--no-such one -- hostname",
        Reworded("unknown flag: --no-such", "unexpected argument '--no-such'"),
    ),
    row(
        "another tool's flag",
        "--image x one -- hostname",
        Reworded("unknown flag: --image", "--tools-image IMAGE"),
    ),
    // Exit codes.
    row("exit code 0", "one -- true", Same(0)),
    row(
        "exit code 3",
        "one -- sh -c exit${IFS}3",
        Differs(
            (3, "command terminated with exit code 3"),
            (3, ""),
            "the code says it: scripts read stderr",
        ),
    ),
    row(
        "a missing program",
        "one -- no-such-program",
        Differs(
            (1, "executable file not found in $PATH"),
            (127, "no-such-program"),
            "as a shell has it, and not to be taken for a failure of the client's",
        ),
    ),
    row(
        "a file that is no program",
        "one -- /etc/passwd",
        Differs((1, "permission denied"), (126, "/etc/passwd"), "as a shell has it"),
    ),
    // Pods.
    row(
        "an unknown pod",
        "no-such -- true",
        Reworded("pods \"no-such\" not found", "pod \"no-such\" not found in namespace"),
    ),
    row(
        "a completed pod",
        "done -- true",
        Reworded(
            "cannot exec into a container in a completed pod; current phase is Succeeded",
            "completed pod done; current phase is Succeeded",
        ),
    ),
    row(
        "another namespace",
        "-n no-such-namespace one -- true",
        Reworded("not found", "not found in namespace \"no-such-namespace\""),
    ),
    // TYPE/NAME.
    row(
        "a deployment",
        "deployment/web -- hostname",
        Differs(
            (0, ""),
            (0, "one of 2 of deployment/web"),
            "one is root in a pod that one has not named",
        ),
    ),
    row("with -q it is not said which", "deployment/web -q -- hostname", Same(0)),
    row("deploy", "deploy/web -q -- hostname", Same(0)),
    row("deployments.apps", "deployments.apps/web -q -- hostname", Same(0)),
    row("deployments.v1.apps", "deployments.v1.apps/web -q -- hostname", Same(0)),
    row("Deployment", "Deployment/web -q -- hostname", Same(0)),
    row("a statefulset", "sts/db -q -- hostname", Same(0)),
    row("a daemonset", "ds/agent -q -- hostname", Same(0)),
    row("a replicaset", "rs/set -q -- hostname", Same(0)),
    row("a replication controller", "rc/old -q -- hostname", Same(0)),
    row("a job", "job/task -q -- hostname", Same(0)),
    row("a service", "svc/web -q -- hostname", Same(0)),
    row("a service without a selector", "svc/bare -- true", Refused("defined without a selector")),
    row(
        "an object that is not there",
        "deploy/no-such -- true",
        Reworded("deployments.apps \"no-such\" not found", "deployment \"no-such\" not found"),
    ),
    row(
        "an unknown type",
        "foo/x -- true",
        Reworded(
            "the server doesn't have a resource type \"foo\"",
            "\"foo\" is no type that has pods",
        ),
    ),
    row(
        "a type of another group",
        "deployment.batch/web -- true",
        Reworded("resource type \"deployment\"", "\"deployment.batch\" is no type"),
    ),
    row(
        "a node",
        "node/node1 -- true",
        Reworded("cannot attach to *v1.Node", "kubectl debug node/node1"),
    ),
    row("two slashes", "a/b/c -- true", Refused("may not have more than one slash")),
    row(
        "no type before the slash",
        "/one -- true",
        Refused("must have a single resource and name"),
    ),
    row(
        "no patience at all",
        "one --pod-running-timeout=0 -- true",
        Refused("must be higher than zero"),
    ),
    // -f.
    row("a deployment's file", "-q -f FOLDER/web.yaml -- hostname", Same(0)),
    row(
        "a pod's file",
        "-f FOLDER/one.yaml -- hostname",
        OursAlone(
            "does not have any containers",
            "one",
            "kubectl looks for containers in the file; kpexec in the pod",
        ),
    ),
    fed(
        "a file on stdin",
        POD_IN_FILE,
        "-f - -- hostname",
        OursAlone(
            "cannot exec into multiple objects at a time",
            "one",
            "kubectl takes one object on stdin for several",
        ),
    ),
    row(
        "a file with several objects",
        "-f FOLDER/all.yaml -- true",
        Refused("cannot exec into multiple objects at a time"),
    ),
    row(
        "a file of another namespace",
        "-f FOLDER/other.yaml -- true",
        Refused("the namespace from the provided object \"other\" does not match the namespace"),
    ),
    row(
        "a file and a name",
        "-f FOLDER/one.yaml one -- true",
        Reworded("cannot be provided when a path is specified", "cannot be used with"),
    ),
    row(
        "a file that is not there",
        "-f FOLDER/no-such.yaml -- true",
        Reworded("does not exist", "No such file or directory"),
    ),
    row(
        "a file of something without pods",
        "-f FOLDER/bare.yaml -- true",
        Reworded(
            "selector for *v1.ConfigMap not implemented",
            "a ConfigMap of v1, which has no pods",
        ),
    ),
    // -l.
    row(
        "labels",
        "-l app=db -q -- hostname",
        OursAlone("unknown shorthand flag: 'l'", "db-0", "the names of pods are long and random"),
    ),
    row(
        "labels of several pods",
        "-l app=web -- hostname",
        Differs(
            (1, "unknown shorthand flag: 'l'"),
            (125, "name the one you mean:\n  web-"),
            "which one is for the user to say",
        ),
    ),
    // Containers.
    row(
        "the first container",
        "many -- sh -c echo${IFS}$WHO",
        Says(0, "Defaulted container \"a\" out of: a, b, dbg (ephem), side (init), setup (init)\n"),
    ),
    row("with -q it is not said", "many -q -- sh -c echo${IFS}$WHO", Same(0)),
    row("the container of the annotation", "noted -- sh -c echo${IFS}$WHO", Same(0)),
    row("-c before the annotation", "noted -c a -- sh -c echo${IFS}$WHO", Same(0)),
    row("a sidecar", "many -c side -- sh -c echo${IFS}$WHO", Same(0)),
    row("an ephemeral container", "many -c dbg -- sh -c echo${IFS}$WHO", Same(0)),
    row(
        "an init container that has ended",
        "many -c setup -- true",
        Reworded("container not found (\"setup\")", "Completed, exit code 0"),
    ),
    row(
        "an unknown container",
        "many -c no -- true",
        Refused(
            "container no is not valid for pod many out of: a, b, dbg (ephem), side (init), setup (init)",
        ),
    ),
    row(
        "an annotation that names none",
        "misnoted -- true",
        Refused("container gone is not valid for pod misnoted out of: a, b"),
    ),
];
