//! `--explain`: what is going to be done, in plain words. Pure.
//!
//! What only the target can tell is left open: the helper decides it.

use kpexec_protocol::{Profile, Seccomp};

use crate::capability::{Capability, CapabilitySet};
use crate::cli::{Cli, Writes};
use crate::find::Wanted;
use crate::helper_pod::Sharing;
use crate::identity::{Id, Identity, User};
use crate::target::Target;

/// A line for each thing there is to say.
pub fn explain(cli: &Cli, target: &Target, identity: &Identity, wanted: &Wanted) -> Vec<String> {
    let Target { namespace, pod, container, node, .. } = target;
    let parts = [
        ("container", format!("{container} of pod {namespace}/{pod}, on node {node}")),
        ("helper", helper(cli, wanted)),
        ("image", image(wanted)),
        ("user", user(identity)),
        ("capabilities", capabilities(identity)),
        ("privileges", gains(identity).to_owned()),
        ("seccomp", filter(identity).to_owned()),
        ("writes", writes(cli)),
        ("tools", tools(cli)),
        ("command", command(cli)),
    ];
    parts.map(|(what, text)| format!("{:<14}{text}", format!("{what}:"))).into()
}

fn helper(cli: &Cli, wanted: &Wanted) -> String {
    let (name, namespace) = (&wanted.name, &cli.cluster.helper_namespace);
    match wanted.sharing {
        Sharing::None => {
            format!("a new pod {name} in namespace {namespace}, for this session alone")
        }
        Sharing::User => format!(
            "pod {name} in namespace {namespace}, which your sessions on the node share; made if it \
             is not there"
        ),
    }
}

fn image(wanted: &Wanted) -> String {
    let containers = wanted.pod.spec.iter().flat_map(|spec| &spec.containers);
    let images: Vec<_> = containers.filter_map(|container| container.image.as_deref()).collect();
    images.join(", and for its tools ")
}

fn user(identity: &Identity) -> String {
    let of_target = matches!(identity.profile, Profile::Restricted | Profile::Target);
    let text = |id: &Id| match id {
        Id::Number(number) => number.to_string(),
        Id::Name(name) => format!("{name} as the container names it"),
    };
    let mut line = match &identity.user {
        Some(User(id)) => text(id),
        None if of_target => "the container's".to_owned(),
        None => "root".to_owned(),
    };
    if let Some(group) = &identity.group {
        line += &format!(", group {}", text(&group.0));
    }
    match identity.groups.as_deref() {
        Some([]) => line += ", no other groups",
        Some(groups) => {
            let groups: Vec<_> = groups.iter().map(|group| text(&group.0)).collect();
            line += &format!(", other groups {}", groups.join(", "));
        }
        None => {}
    }
    line
}

fn capabilities(identity: &Identity) -> String {
    let names =
        |set: CapabilitySet| set.iter().map(Capability::name).collect::<Vec<_>>().join(", ");
    let (add, drop) = (identity.add, identity.drop);
    if identity.profile == Profile::Target && drop != CapabilitySet::ALL {
        let mut line = "the container's".to_owned();
        if drop != CapabilitySet::EMPTY {
            line += &format!(", without {}", names(drop));
        }
        if add != CapabilitySet::EMPTY {
            line += &format!(", and {}", names(add));
        }
        return line;
    }
    // As with docker exec -u: another user starts without any.
    let other = identity.user.as_ref().is_some_and(|User(id)| !is_root(id));
    let set = match identity.profile {
        Profile::Unspecified if other => add,
        _ => identity.capabilities(CapabilitySet::EMPTY),
    };
    match set {
        CapabilitySet::EMPTY => "none".to_owned(),
        set if set.is_open_ended() => "all that the node can give".to_owned(),
        set => names(set),
    }
}

fn is_root(id: &Id) -> bool {
    matches!(id, Id::Number(0)) || *id == Id::Name("root".to_owned())
}

fn gains(identity: &Identity) -> &'static str {
    match identity.profile {
        _ if identity.no_new_privs => "no program gains any: no_new_privs",
        Profile::Restricted => "no program gains any: no_new_privs",
        Profile::Target => "programs such as sudo gain some if the container's can",
        _ => "programs such as sudo gain some",
    }
}

fn filter(identity: &Identity) -> &'static str {
    match (identity.seccomp, identity.filter()) {
        (Seccomp::Unspecified, _) if identity.profile == Profile::Restricted => "the container's",
        (_, Seccomp::Target) => "the container's",
        (_, Seccomp::Unconfined) => "no filter",
        _ => "the container runtime's default",
    }
}

fn writes(cli: &Cli) -> String {
    let view = &cli.view;
    if let Some(file) = &view.save_changes {
        return format!("go to memory, and to {} at the end", file.display());
    }
    match view.writes {
        _ if view.writable => "reach the container, even where its root is read-only",
        Writes::Through => "reach the container, where it could write itself",
        Writes::Deny => "are refused",
        Writes::Discard => "go to memory, and with the session",
    }
    .to_owned()
}

fn tools(cli: &Cli) -> String {
    match &cli.tools.tools_image {
        Some(image) if cli.tools.tools_root => {
            format!("{image} is the root; the container's is at /target")
        }
        Some(image) => format!("those of {image}, at /.kpexec"),
        None => format!("the {} toolset, at /.kpexec", cli.tools.toolset.name()),
    }
}

fn command(cli: &Cli) -> String {
    if cli.is_shell() {
        return if cli.stdin { "a shell" } else { "none" }.to_owned();
    }
    let words = cli.command.iter().map(|word| word.to_string_lossy());
    words.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::{Container, PodSpec};

    use super::*;

    fn explained(args: &str, sharing: Sharing) -> Vec<String> {
        let args = format!("kpexec --explain {args}");
        let cli = Cli::parse_args(args.split_whitespace().map(Into::into)).unwrap();
        let identity = Identity::from_flags(&cli.identity).unwrap();
        let mut wanted = Wanted { name: "kpexec-1".into(), pod: Default::default(), sharing };
        let image = Some("r.test/helper:1".to_owned());
        let containers = vec![Container { image, ..Container::default() }];
        wanted.pod.spec = Some(PodSpec { containers, ..PodSpec::default() });
        explain(&cli, &Target::example(), &identity, &wanted)
    }

    fn line(args: &str, what: &str) -> String {
        let lines = explained(args, Sharing::User);
        let line = lines.iter().find_map(|line| line.strip_prefix(&format!("{what}:")));
        line.unwrap().trim().to_owned()
    }

    #[test]
    fn a_plain_session_in_ten_lines() {
        let expected = [
            "container:    app of pod prod/web-0, on node node7",
            "helper:       pod kpexec-1 in namespace kpexec, which your sessions on the node share; \
             made if it is not there",
            "image:        r.test/helper:1",
            "user:         root",
            "capabilities: CHOWN, DAC_OVERRIDE, FOWNER, FSETID, KILL, SETGID, SETUID, SETPCAP, \
             NET_BIND_SERVICE, NET_RAW, SYS_CHROOT, SYS_PTRACE, MKNOD, AUDIT_WRITE, SETFCAP",
            "privileges:   programs such as sudo gain some",
            "seccomp:      the container runtime's default",
            "writes:       reach the container, where it could write itself",
            "tools:        the standard toolset, at /.kpexec",
            "command:      ls -l",
        ];
        assert_eq!(explained("web-0 -- ls -l", Sharing::User), expected);
        let own = &explained("--rm web-0 -- ls -l", Sharing::None)[1];
        assert_eq!(
            own,
            "helper:       a new pod kpexec-1 in namespace kpexec, for this session alone"
        );
    }

    #[test]
    fn an_identity_is_what_the_helper_will_decide() {
        for (flags, what, text) in [
            ("-u 5", "user", "5"),
            (
                "-u 5:6 --groups adm,7",
                "user",
                "5, group 6, other groups adm as the container names it, 7",
            ),
            ("-u www --groups=", "user", "www as the container names it, no other groups"),
            ("--profile restricted", "user", "the container's"),
            ("-u 5", "capabilities", "none"),
            ("-u 5 --cap-add KILL", "capabilities", "KILL"),
            ("-u 0 --cap-drop ALL", "capabilities", "none"),
            ("-u 5 --profile sysadmin", "capabilities", "all that the node can give"),
            ("--profile target", "capabilities", "the container's"),
            (
                "--profile target --cap-drop CHOWN --cap-add KILL",
                "capabilities",
                "the container's, without CHOWN, and KILL",
            ),
            ("--profile target --cap-drop ALL", "capabilities", "none"),
            ("--profile restricted", "privileges", "no program gains any: no_new_privs"),
            ("--no-new-privs", "privileges", "no program gains any: no_new_privs"),
            ("--profile restricted", "seccomp", "the container's"),
            (
                "--profile restricted --seccomp runtime",
                "seccomp",
                "the container runtime's default",
            ),
            ("--profile sysadmin", "seccomp", "no filter"),
            ("--writes deny", "writes", "are refused"),
            ("--save-changes f.tar", "writes", "go to memory, and to f.tar at the end"),
            ("--writable", "writes", "reach the container, even where its root is read-only"),
            ("--toolset full", "tools", "the full toolset, at /.kpexec"),
            ("--tools-image x", "tools", "those of x, at /.kpexec"),
            (
                "--tools-image x --tools-root",
                "tools",
                "x is the root; the container's is at /target",
            ),
        ] {
            assert_eq!(line(&format!("-i {flags} web-0"), what), text, "{flags}");
        }
        assert_eq!(line("-i web-0", "command"), "a shell");
        assert_eq!(line("--dry-run web-0", "command"), "none");
    }
}
