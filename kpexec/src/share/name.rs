//! The socket's name: a hash of all that decides who we are, and to whom. What
//! would make another connection makes another name, and so another process.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{Stat, stat};

use crate::cli::ClusterFlags;
use crate::cluster::kubeconfig_files;
use crate::user::hash;

/// What follows the hash.
pub const ENDING: &str = ".sock";

/// The name for these flags and this environment, as it is now.
pub fn socket_name(cluster: &ClusterFlags) -> String {
    let exe = identity(Path::new("/proc/self/exe"));
    let connection = &cluster.connection;
    let files: Vec<Vec<u8>> = kubeconfig_files(cluster.kubeconfig.as_deref(), &std::env::var_os)
        .into_iter()
        .chain(connection.files())
        .flat_map(|path| [path.as_os_str().as_bytes().to_vec(), identity(&path)])
        .collect();
    let context = cluster.context.as_deref();
    let mut parts: Vec<&[u8]> = vec![env!("CARGO_PKG_VERSION").as_bytes(), &exe];
    parts.push(if context.is_some() { b"context" } else { b"" });
    parts.extend([context.unwrap_or_default(), &cluster.helper_namespace].map(str::as_bytes));
    parts.extend(files.iter().map(Vec::as_slice));
    let (arguments, secrets) = (connection.arguments(), connection.secrets());
    parts.extend(arguments.iter().map(|argument| argument.as_bytes()));
    parts.push(secrets.as_deref().unwrap_or_default().as_bytes());
    let environment = environment(std::env::vars_os());
    parts.extend(environment.iter().flat_map(|(name, value)| [name, value]).map(|v| v.as_bytes()));
    format!("{}{ENDING}", hash(&parts))
}

/// Which file it is, and in which state: nothing of it is read.
fn identity(path: &Path) -> Vec<u8> {
    let Ok(Stat {
        st_dev, st_ino, st_size, st_mtime, st_mtime_nsec, st_ctime, st_ctime_nsec, ..
    }) = stat(path)
    else {
        return Vec::new();
    };
    let times = [st_mtime, st_mtime_nsec.cast_signed(), st_ctime, st_ctime_nsec.cast_signed()];
    let numbers = [st_dev, st_ino, st_size.cast_unsigned()];
    let numbers = numbers.into_iter().chain(times.map(i64::cast_unsigned));
    numbers.flat_map(u64::to_be_bytes).collect()
}

/// All variables but those known not to matter, in order. A login plugin may read
/// any: AWS_PROFILE, say, or what stands for a proxy. One too many costs another
/// process; one too few would be another's identity.
fn environment(all: impl Iterator<Item = (OsString, OsString)>) -> Vec<(OsString, OsString)> {
    let mut left: Vec<_> = all.filter(|(name, _)| !is_harmless(name)).collect();
    left.sort();
    left
}

/// Those that differ from one terminal to the next, and ours and the kubeconfig's,
/// which are looked at apart.
fn is_harmless(name: &OsStr) -> bool {
    const NAMES: &[&str] = &[
        "_",
        "COLORTERM",
        "COLUMNS",
        "DISPLAY",
        "EDITOR",
        "KUBECONFIG",
        "LANG",
        "LINES",
        "LS_COLORS",
        "OLDPWD",
        "PAGER",
        "PS1",
        "PWD",
        "SHELL",
        "SHLVL",
        "SSH_CLIENT",
        "SSH_CONNECTION",
        "SSH_TTY",
        "STY",
        "VISUAL",
        "WINDOW",
        "WINDOWID",
    ];
    const BEGINNINGS: &[&str] = &["KPEXEC_", "LC_", "TERM", "TMUX", "VTE_", "XDG_SESSION_"];
    let begins = |known: &&str| name.as_bytes().starts_with(known.as_bytes());
    NAMES.iter().any(|known| name == OsStr::new(known)) || BEGINNINGS.iter().any(begins)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::ConnectionFlags;

    fn flags(kubeconfig: &Path) -> ClusterFlags {
        ClusterFlags {
            kubeconfig: Some(kubeconfig.to_owned()),
            helper_namespace: "kpexec".into(),
            ..ClusterFlags::default()
        }
    }

    #[test]
    fn another_cluster_is_another_name() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config");
        std::fs::write(&file, "one").unwrap();
        let name = socket_name(&flags(&file));
        assert_eq!(name, socket_name(&flags(&file)));
        assert_eq!(name.len(), 16 + ENDING.len());

        let other = ClusterFlags { context: Some("b".into()), ..flags(&file) };
        let namespace = ClusterFlags { helper_namespace: "b".into(), ..flags(&file) };
        let missing = folder.path().join("missing");
        for other in [other, namespace, flags(&missing)] {
            assert_ne!(socket_name(&other), name, "{other:?}");
        }
        for connection in [
            ConnectionFlags { as_user: Some("b".into()), ..ConnectionFlags::default() },
            ConnectionFlags { server: Some("b".into()), ..ConnectionFlags::default() },
            ConnectionFlags { token: Some("b".to_owned().into()), ..ConnectionFlags::default() },
            ConnectionFlags { insecure_skip_tls_verify: true, ..ConnectionFlags::default() },
        ] {
            let other = ClusterFlags { connection, ..flags(&file) };
            assert_ne!(socket_name(&other), name, "{other:?}");
        }
        let token = |token: &str| ConnectionFlags {
            token: Some(token.to_owned().into()),
            ..ConnectionFlags::default()
        };
        let [one, two] = ["b", "c"]
            .map(|text| socket_name(&ClusterFlags { connection: token(text), ..flags(&file) }));
        assert_ne!(one, two);
        // A certificate that is renewed is another one.
        let ca = folder.path().join("ca.crt");
        std::fs::write(&ca, "one").unwrap();
        let connection = ConnectionFlags {
            certificate_authority: Some(ca.clone()),
            ..ConnectionFlags::default()
        };
        let by_ca = ClusterFlags { connection, ..flags(&file) };
        let before = socket_name(&by_ca);
        std::fs::write(&ca, "three").unwrap();
        assert_ne!(socket_name(&by_ca), before);

        // Of the same length, and perhaps within the same tick of the clock.
        let replacement = folder.path().join("new");
        std::fs::write(&replacement, "two").unwrap();
        std::fs::rename(&replacement, &file).unwrap();
        assert_ne!(socket_name(&flags(&file)), name);
    }

    #[test]
    fn the_terminal_does_not_matter_and_the_identity_does() {
        let all = ["TERM=x", "TERM_SESSION_ID=1", "AWS_PROFILE=prod", "KPEXEC_SHARE=1", "_=/x"];
        let all = all.map(|text| text.split_once('=').unwrap());
        let left = environment(all.into_iter().map(|(name, value)| (name.into(), value.into())));
        assert_eq!(left, [("AWS_PROFILE".into(), "prod".into())]);
        for matters in
            ["HTTPS_PROXY", "SSH_AUTH_SOCK", "PATH", "HOME", "KUBERNETES_SERVICE_HOST", "LCX"]
        {
            assert!(!is_harmless(OsStr::new(matters)), "{matters}");
        }
    }
}
