//! The flags that say what to enter, if it is not named.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::value::{ValueError, parse_duration};

/// What to enter.
#[derive(Debug, Args)]
pub struct ObjectFlags {
    /// Enter what this YAML or JSON file describes; - is stdin
    #[arg(short, long, value_name = "FILE", conflicts_with = "pod")]
    pub filename: Option<PathBuf>,

    /// Enter the one pod that has these labels
    ///
    /// Of several the choices are listed.
    #[arg(short = 'l', long, value_name = "LABELS", conflicts_with_all = ["pod", "filename"],
          value_parser = parse_labels)]
    pub selector: Option<String>,

    /// How long a TYPE/NAME without pods may take to get one
    #[arg(hide_short_help = true, long, value_name = "DURATION", default_value = "1m", allow_hyphen_values = true,
          value_parser = parse_running_timeout)]
    pub pod_running_timeout: Duration,

    /// What the client of `--share` has read of its file: NAMESPACE/TYPE/NAME
    #[arg(long, hide = true)]
    pub filed: Option<String>,
}

impl ObjectFlags {
    /// Whether something is to be entered that is not named.
    pub fn is_given(&self) -> bool {
        self.filename.is_some() || self.selector.is_some()
    }
}

/// No label at all fits every pod: a variable that was not set would lead into
/// whichever there is.
fn parse_labels(text: &str) -> Result<String, &'static str> {
    match text.chars().all(|c| c.is_whitespace() || c == ',') {
        true => Err("no label is named"),
        false => Ok(text.to_owned()),
    }
}

/// As Go writes it, too: `1m0s`.
fn parse_running_timeout(text: &str) -> Result<Duration, ValueError> {
    let parts = text.split_inclusive(['h', 'm', 's']).map(|part| match parse_duration(part) {
        Err(ValueError::Zero) => Ok(Duration::ZERO),
        parsed => parsed,
    });
    match if text.starts_with('-') { Ok(Duration::ZERO) } else { parts.sum() } {
        Ok(Duration::ZERO) => Err(ValueError::NotHigher),
        parsed => parsed,
    }
}

#[cfg(test)]
mod tests {
    use crate::cli::Cli;

    fn parse(args: &str) -> Result<Cli, String> {
        let args = format!("kpexec {args} -- id");
        Cli::parse_args(args.split_whitespace().map(Into::into)).map_err(|error| error.to_string())
    }

    #[test]
    fn one_way_to_say_what_to_enter() {
        assert!(parse("-f pod.yaml").unwrap().object.filename.is_some());
        assert_eq!(parse("-l a=b,c!=d").unwrap().object.selector.unwrap(), "a=b,c!=d");
        for two in ["-f x web", "web -f x", "-l a=b web", "-f x -l a=b"] {
            assert!(parse(two).unwrap_err().contains("cannot be used with"), "{two}");
        }
        assert!(parse("-i -f -").unwrap_err().contains("stdin"));
    }

    #[test]
    fn what_a_file_said_stands_for_it() {
        let cli = parse("--filed=prod/deployment/web -n ops -f web.yaml").unwrap();
        assert_eq!(
            (cli.namespace.as_deref(), cli.pod.as_deref()),
            (Some("prod"), Some("deployment/web"))
        );
        let cli = parse("--filed=/pod/web -n ops -f -").unwrap();
        assert_eq!((cli.namespace.as_deref(), cli.pod.as_deref()), (Some("ops"), Some("pod/web")));
    }

    #[test]
    fn a_pod_is_waited_for_as_kubectl_does() {
        let seconds = |args: &str| parse(args).map(|cli| cli.object.pod_running_timeout.as_secs());
        assert_eq!(seconds("web"), Ok(60));
        for (text, wanted) in [("5s", 5), ("1m0s", 60), ("1m30s", 90), ("90", 90), ("1h", 3600)] {
            assert_eq!(seconds(&format!("web --pod-running-timeout={text}")), Ok(wanted), "{text}");
        }
        for text in ["=0", "=0s", "=-1s", " -1s", "=0m0s"] {
            let error = seconds(&format!("web --pod-running-timeout{text}")).unwrap_err();
            assert!(error.contains("must be higher than zero"), "{text}: {error}");
        }
        assert!(seconds("web --pod-running-timeout=soon").unwrap_err().contains("not a duration"));
    }
}
