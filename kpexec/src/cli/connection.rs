//! The flags that change what the kubeconfig says, as kubectl has them.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::builder::{NonEmptyStringValueParser as Given, TypedValueParser as _};
use clap::{ArgAction, Args};

use super::go_duration::parse_timeout;

/// Heading of the flags that kubectl users know and others rarely need.
const CONNECTION: &str = "Connection, as kubectl's";

/// What is different from the kubeconfig.
///
/// No value may be empty. kubectl takes an empty one for a flag that is not there:
/// where a variable was not set, that is another cluster or user than was meant.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = CONNECTION)]
pub struct ConnectionFlags {
    /// Cluster of the kubeconfig to use
    #[arg(long, value_name = "NAME", hide_short_help = true, value_parser = Given::new())]
    pub cluster: Option<String>,

    /// User of the kubeconfig to use; who the command runs as is --run-as
    #[arg(long, value_name = "NAME", hide_short_help = true, value_parser = Given::new())]
    pub user: Option<String>,

    /// User of the cluster to act as, also a service account: system:serviceaccount:NS:NAME
    #[arg(long = "as", value_name = "NAME", hide_short_help = true, value_parser = Given::new())]
    pub as_user: Option<String>,

    /// Group to act as; may be repeated
    #[arg(long, value_name = "NAME", requires = "as_user", hide_short_help = true, value_parser = Given::new())]
    pub as_group: Vec<String>,

    /// UID of the cluster's user to act as
    #[arg(long, value_name = "UID", requires = "as_user", hide_short_help = true, value_parser = Given::new())]
    pub as_uid: Option<String>,

    /// What else authentication would say of who to act as; may be repeated
    #[arg(long, value_name = "KEY=VALUE", requires = "as_user", hide_short_help = true, value_parser = parse_extra)]
    pub as_user_extra: Vec<Extra>,

    /// Bearer token, in place of the kubeconfig's credentials
    #[arg(
        long,
        conflicts_with_all = ["username", "password"],
        hide_short_help = true,
        value_parser = Given::new().map(Secret)
    )]
    pub token: Option<Secret>,

    /// User name for basic authentication, in place of the kubeconfig's credentials
    #[arg(long, value_name = "NAME", requires = "password", hide_short_help = true, value_parser = Given::new())]
    pub username: Option<String>,

    /// Password for basic authentication
    #[arg(
        long,
        requires = "username",
        hide_short_help = true,
        value_parser = Given::new().map(Secret)
    )]
    pub password: Option<Secret>,

    /// Address of the API server
    #[arg(short, long, value_name = "URL", hide_short_help = true, value_parser = Given::new().try_map(parse_server))]
    pub server: Option<String>,

    /// File with the certificates of who vouches for the API server
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with = "insecure_skip_tls_verify",
        hide_short_help = true
    )]
    pub certificate_authority: Option<PathBuf>,

    /// File with a client certificate, in place of the kubeconfig's credentials
    #[arg(long, value_name = "FILE", requires = "client_key", hide_short_help = true)]
    pub client_certificate: Option<PathBuf>,

    /// File with the client certificate's key
    #[arg(long, value_name = "FILE", requires = "client_certificate", hide_short_help = true)]
    pub client_key: Option<PathBuf>,

    /// Name that the API server's certificate is for [default: that of its address]
    #[arg(long, value_name = "NAME", hide_short_help = true, value_parser = Given::new())]
    pub tls_server_name: Option<String>,

    /// Take whoever answers for the API server: not safe
    #[arg(
        long,
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_value = "false",
        default_missing_value = "true",
        hide_short_help = true,
        hide_default_value = true,
        hide_possible_values = true,
        action = ArgAction::Set,
    )]
    pub insecure_skip_tls_verify: bool,

    /// How long one request to the API server may take: seconds, or 500ms, 1m30s; 0: no limit
    ///
    /// A session is no such request, and may take any time; --helper-timeout and
    /// --keepalive are for what can go wrong there.
    #[arg(long, value_name = "DURATION", value_parser = parse_timeout, hide_short_help = true)]
    pub request_timeout: Option<Duration>,

    /// Accepted as kubectl has it: nothing is cached here
    #[arg(long, value_name = "DIR", hide = true)]
    pub cache_dir: Option<PathBuf>,

    /// Accepted as kubectl has it: answers are never compressed here
    #[arg(
        long,
        num_args = 0..=1,
        require_equals = true,
        default_value = "false",
        default_missing_value = "true",
        hide = true,
        action = ArgAction::Set,
    )]
    pub disable_compression: bool,
}

/// One `--as-user-extra`, KEY=VALUE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extra(String);

impl Extra {
    /// The key, and one of its values.
    pub fn parts(&self) -> (&str, &str) {
        self.0.split_once('=').unwrap_or((&self.0, ""))
    }
}

fn parse_extra(text: &str) -> Result<Extra, &'static str> {
    match text.split_once('=') {
        Some((key, _)) if !key.is_empty() => Ok(Extra(text.to_owned())),
        _ => Err("not of the form KEY=VALUE"),
    }
}

/// An address is shown, and is an argument of the process that shares connections.
fn parse_server(text: String) -> Result<String, &'static str> {
    match has_user(&text) {
        true => Err("there is a user or password in it; --username and --password are for that"),
        false => Ok(text),
    }
}

/// Whether an address has a user in it: RFC 3986, 3.2.1.
pub fn has_user(url: &str) -> bool {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split(['/', '?', '#']).next().is_some_and(|authority| authority.contains('@'))
}

/// What must not be seen in any output.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(pub String);

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("…")
    }
}

impl ConnectionFlags {
    /// The flags that say who we are and to whom, with their values, but for what
    /// is secret.
    pub fn pairs(&self) -> Vec<(&'static str, &OsStr)> {
        let one = [
            ("--cluster", self.cluster.as_deref().map(OsStr::new)),
            ("--user", self.user.as_deref().map(OsStr::new)),
            ("--as", self.as_user.as_deref().map(OsStr::new)),
            ("--as-uid", self.as_uid.as_deref().map(OsStr::new)),
            ("--server", self.server.as_deref().map(OsStr::new)),
            ("--certificate-authority", self.certificate_authority.as_deref().map(Path::as_os_str)),
            ("--client-certificate", self.client_certificate.as_deref().map(Path::as_os_str)),
            ("--client-key", self.client_key.as_deref().map(Path::as_os_str)),
            ("--tls-server-name", self.tls_server_name.as_deref().map(OsStr::new)),
        ];
        let one = one.into_iter().filter_map(|(flag, value)| Some((flag, value?)));
        let groups = self.as_group.iter().map(|group| ("--as-group", OsStr::new(group)));
        let extra =
            self.as_user_extra.iter().map(|extra| ("--as-user-extra", OsStr::new(&extra.0)));
        one.chain(groups).chain(extra).collect()
    }

    /// All that matters, for another process of ours: paths are absolute, as it
    /// has another working directory. What is secret goes by [`Self::secrets`].
    pub fn arguments(&self) -> Vec<OsString> {
        const FILES: [&str; 3] =
            ["--certificate-authority", "--client-certificate", "--client-key"];
        let absolute = |path: &OsStr| std::path::absolute(path).map_or(path.into(), OsString::from);
        let mut all: Vec<OsString> = Vec::new();
        for (flag, value) in self.pairs() {
            let value = if FILES.contains(&flag) { absolute(value) } else { value.to_owned() };
            let mut argument = OsString::from(flag);
            argument.extend([OsStr::new("="), &value]);
            all.push(argument);
        }
        if self.insecure_skip_tls_verify {
            all.push("--insecure-skip-tls-verify".into());
        }
        if let Some(limit) = self.request_timeout {
            all.push(format!("--request-timeout={}ns", limit.as_nanos()).into());
        }
        all
    }

    /// The files that are read, by absolute paths, as in [`Self::arguments`].
    pub fn files(&self) -> impl Iterator<Item = PathBuf> {
        let files = [&self.certificate_authority, &self.client_certificate, &self.client_key];
        let absolute = |file: &PathBuf| std::path::absolute(file).unwrap_or_else(|_| file.clone());
        files.into_iter().flatten().map(absolute)
    }

    /// What no command line may show, that others can read: as one variable for
    /// another process of ours.
    pub fn secrets(&self) -> Option<String> {
        let secret = |secret: &Option<Secret>| secret.as_ref().map(|secret| secret.0.clone());
        let all = (secret(&self.token), self.username.clone(), secret(&self.password));
        if all == (None, None, None) { None } else { serde_json::to_string(&all).ok() }
    }

    /// Takes them back.
    pub fn set_secrets(&mut self, text: &str) {
        if let Ok((token, username, password)) =
            serde_json::from_str::<(Option<String>, _, Option<String>)>(text)
        {
            self.token = token.map(Secret);
            self.username = username;
            self.password = password.map(Secret);
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        flags: ConnectionFlags,
    }

    fn parse(args: &str) -> Result<ConnectionFlags, String> {
        let words = std::iter::once("x").chain(args.split_whitespace());
        Line::try_parse_from(words).map(|line| line.flags).map_err(|error| error.to_string())
    }

    const ALL: &str = "--cluster c --user u --as a --as-group g --as-group h --as-uid 7 \
        --as-user-extra k=v=w --as-user-extra k=x --server https://h:1 \
        --client-certificate /b --client-key /c --tls-server-name n --request-timeout 1m30s \
        --insecure-skip-tls-verify --cache-dir /tmp --disable-compression";

    #[test]
    fn another_process_is_given_the_same() {
        let given = format!("{ALL} --username bob --password s3cret");
        let flags = parse(&given).unwrap();
        let words: Vec<String> =
            flags.arguments().iter().map(|word| word.to_str().unwrap().to_owned()).collect();
        assert!(!words.join(" ").contains("s3cret") && !words.join(" ").contains("bob"));
        let mut again = parse(&words.join(" ")).unwrap();
        again.set_secrets(&flags.secrets().unwrap());
        assert_eq!(again.arguments(), flags.arguments());
        assert_eq!(again.secrets(), flags.secrets());
        assert!(!format!("{flags:?}").contains("s3cret"));
        assert_eq!(again.as_user_extra[0].parts(), ("k", "v=w"));
        assert_eq!(again.request_timeout, Some(Duration::from_secs(90)));
        assert!(again.insecure_skip_tls_verify);
        assert_eq!(parse("").unwrap().arguments(), [""; 0]);
        assert_eq!(parse("").unwrap().secrets(), None);
    }

    #[test]
    fn files_are_named_absolutely() {
        let words = parse("--certificate-authority ca.crt").unwrap().arguments();
        let path = std::env::current_dir().unwrap().join("ca.crt");
        let expected = format!("--certificate-authority={}", path.display());
        assert_eq!(words, [OsString::from(expected)]);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for wrong in [
            "--as-group g",
            "--as-uid 7",
            "--as-user-extra k=v",
            "--as a --as-user-extra k",
            "--as a --as-user-extra =v",
            "--username bob",
            "--password x",
            "--token t --username bob --password x",
            "--client-certificate /b",
            "--client-key /b",
            "--certificate-authority /c --insecure-skip-tls-verify",
            "--insecure-skip-tls-verify=perhaps",
            "--server https://bob:s3cret@h:1",
            "--server bob@h",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
        let valued = [
            "cluster",
            "user",
            "as",
            "token",
            "server",
            "certificate-authority",
            "tls-server-name",
        ];
        for flag in valued {
            assert!(parse(&format!("--{flag}=")).is_err(), "--{flag}=''");
        }
        assert!(parse("--server https://h/a@b").is_ok());
        assert!(!parse("--insecure-skip-tls-verify=false").unwrap().insecure_skip_tls_verify);
    }
}
