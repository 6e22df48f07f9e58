//! `kpexec sessions`, from its flags to its exit code.

use std::io;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures::future::join_all;
use kpexec_protocol::pod;
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, BufReader};
use tokio::time::timeout;

use crate::cli::{Sessions, session_name};
use crate::cluster::Cluster;
use crate::helper_pod::running;
use crate::report;
use crate::run::RunError;
use crate::stdout;
use crate::table::table;
use crate::target;
use crate::transport::{DialError, Dialer, End};
use crate::user::who_am_i;

/// How long a helper may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// As much as is read of a helper's answer, in bytes.
const LONGEST: u64 = 1 << 20;

/// A session, as its helper tells of it.
#[derive(Debug, Deserialize)]
struct Record {
    session: String,
    namespace: String,
    pod: String,
    container: String,
    command: String,
    /// Seconds since 1970.
    since: u64,
    state: String,
    kept: bool,
}

/// Lists the user's sessions.
pub async fn sessions(sessions: &Sessions) -> Result<u8, RunError> {
    let cluster = Cluster::new(&sessions.cluster).await?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let mut rows =
        vec![["SESSION", "POD", "CONTAINER", "STATE", "AGE", "COMMAND"].map(String::from)];
    let mut complete = true;
    for (helper, answer) in answers(&cluster, &sessions.cluster.helper_namespace).await? {
        match answer {
            Ok(records) => {
                rows.extend(records.into_iter().map(|record| row(&helper, record, now)));
            }
            Err(why) => {
                complete = false;
                report::notice(&format!("kpexec: helper pod {helper} does not answer: {why}"));
            }
        }
    }
    stdout::print(&table(&rows))?;
    Ok(if complete { 0 } else { crate::exit_code::OURS })
}

/// Those that can be attached to: the name of each, and what it is.
pub async fn attachable(
    cluster: &Cluster,
    namespace: &str,
) -> Result<Vec<(String, String)>, RunError> {
    let mut known = Vec::new();
    for (helper, answer) in answers(cluster, namespace).await? {
        let kept = answer.unwrap_or_default().into_iter().filter(|record| record.kept);
        known.extend(kept.map(|record| {
            let Record { session, namespace, pod, state, command, .. } = record;
            (session_name(&helper, &session), format!("{namespace}/{pod}, {state}: {command}"))
        }));
    }
    Ok(known)
}

/// Each of the user's helpers that run, and what it says.
async fn answers(
    cluster: &Cluster,
    namespace: &str,
) -> Result<Vec<(String, Result<Vec<Record>, String>)>, RunError> {
    target::check_name(namespace, "namespace")?;
    let user = who_am_i(cluster).await.ok_or(RunError::Nobody)?;
    let helpers = running(cluster, namespace, &user).await.map_err(RunError::Sessions)?;
    let asked = join_all(helpers.iter().map(|helper| ask(cluster, namespace, helper))).await;
    Ok(helpers.into_iter().zip(asked).collect())
}

/// What sessions a helper has; or why it does not say.
async fn ask(cluster: &Cluster, namespace: &str, helper: &str) -> Result<Vec<Record>, String> {
    let dialer = Dialer::to_start(cluster, namespace, helper, &[pod::LIST], PATIENCE);
    let answer = async {
        let (mut link, stream) = dialer.dial().await.map_err(|error| match error {
            DialError::NotYet(_) => "it is starting, or cannot be reached".to_owned(),
            DialError::Final(error) => error.to_string(),
        })?;
        let (lines, is_whole) = read(stream).await.map_err(|error| error.to_string())?;
        // What is not whole may be so because the helper died.
        match if is_whole { End::Success } else { link.end(PATIENCE).await } {
            End::Success => {}
            end => return Err(end.to_string()),
        }
        let records: Result<_, _> = lines.iter().map(|line| serde_json::from_str(line)).collect();
        records.map_err(|_| "it is of another version".to_owned())
    };
    timeout(PATIENCE, answer).await.map_err(|_| format!("not within {} s", PATIENCE.as_secs()))?
}

/// What a helper says, up to the line that ends it; and whether that came. Nobody waits
/// for the program's end, which the kubelet tells late.
async fn read(stream: impl AsyncRead + Unpin) -> io::Result<(Vec<String>, bool)> {
    let mut lines = BufReader::new(stream.take(LONGEST)).lines();
    let mut said = Vec::new();
    while let Some(line) = lines.next_line().await? {
        if line.is_empty() {
            return Ok((said, true));
        }
        said.push(line);
    }
    Ok((said, false))
}

fn row(helper: &str, record: Record, now: u64) -> [String; 6] {
    let Record { session, namespace, pod, container, command, since, state, kept } = record;
    let name = if kept { session_name(helper, &session) } else { "-".to_owned() };
    [name, format!("{namespace}/{pod}"), container, state, age(now.saturating_sub(since)), command]
        .map(|cell| report::escape(&cell))
}

/// As kubectl writes ages, in their largest unit.
fn age(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7200 => format!("{}m", seconds / 60),
        _ => format!("{}h", seconds / 3600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_helper_tells_becomes_a_row() {
        let line = r#"{"session":"7","namespace":"default","pod":"web","container":"app","command":"sleep\t9","since":100,"state":"lost","kept":true}"#;
        let record: Record = serde_json::from_str(line).unwrap();
        let row = row("kpexec-3f9c", record, 400);
        assert_eq!(row, ["3f9c-7", "default/web", "app", "lost", "5m", "sleep\\x099"]);
        let rows =
            [["SESSION", "POD", "CONTAINER", "STATE", "AGE", "COMMAND"].map(String::from), row];
        let expected = "SESSION   POD           CONTAINER   STATE   AGE   COMMAND\n\
                        3f9c-7    default/web   app         lost    5m    sleep\\x099\n";
        assert_eq!(table(&rows), expected);
    }

    #[tokio::test]
    async fn the_list_is_whole_when_its_last_line_came() {
        for (text, expected, whole) in [
            ("a\nb\n\n", &["a", "b"][..], true),
            ("\n", &[], true),
            ("a\n", &["a"], false),
            ("a\nb", &["a", "b"], false),
            ("", &[], false),
        ] {
            let (lines, is_whole) = read(text.as_bytes()).await.unwrap();
            assert_eq!(
                (lines.iter().map(|line| &**line).collect::<Vec<_>>(), is_whole),
                (expected.to_vec(), whole),
                "{text:?}"
            );
        }
        // It is not waited for more.
        let (mut theirs, ours) = tokio::io::duplex(64);
        tokio::io::AsyncWriteExt::write_all(&mut theirs, b"\n").await.unwrap();
        assert!(read(ours).await.unwrap().1);
    }

    #[test]
    fn one_that_ends_with_its_client_cannot_be_named() {
        let line = r#"{"session":"7","namespace":"n","pod":"p","container":"c","command":"x","since":9,"state":"attached","kept":false}"#;
        assert_eq!(row("kpexec-3f9c", serde_json::from_str(line).unwrap(), 8)[0], "-");
        let help = crate::cli::command(Some("sessions")).unwrap().render_long_help().to_string();
        let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(help.contains("One whose name is - ends with its client"), "{help}");
    }

    #[test]
    fn ages_are_in_their_largest_unit() {
        assert_eq!([0, 119, 120, 7199, 7200].map(age), ["0s", "119s", "2m", "119m", "2h"]);
    }
}
