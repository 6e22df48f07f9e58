//! `kpexec sessions`, from its flags to its exit code.

use std::io::Write as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures::future::join_all;
use kpexec_protocol::pod;
use serde::Deserialize;
use tokio::io::AsyncReadExt as _;
use tokio::time::timeout;

use crate::cli::{ClusterFlags, Sessions, session_name};
use crate::cluster::Cluster;
use crate::helper_pod::running;
use crate::report;
use crate::run::RunError;
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
    let ClusterFlags { context, kubeconfig, helper_namespace } = &sessions.cluster;
    target::check_name(helper_namespace, "namespace")?;
    let cluster = Cluster::new(kubeconfig.as_deref(), context.as_deref()).await?;
    let user = who_am_i(&cluster).await.ok_or(RunError::Nobody)?;
    let helpers = running(&cluster, helper_namespace, &user).await.map_err(RunError::Sessions)?;
    let asked = helpers.iter().map(|helper| ask(&cluster, helper_namespace, helper));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let mut rows =
        vec![["SESSION", "POD", "CONTAINER", "STATE", "AGE", "COMMAND"].map(String::from)];
    let mut complete = true;
    for (helper, answer) in helpers.iter().zip(join_all(asked).await) {
        match answer {
            Ok(records) => rows.extend(records.into_iter().map(|record| row(helper, record, now))),
            Err(why) => {
                complete = false;
                report::notice(&format!("kpexec: helper pod {helper} does not answer: {why}"));
            }
        }
    }
    // Nobody reads it: nothing is lost.
    let _closed = write!(std::io::stdout(), "{}", table(&rows));
    Ok(if complete { 0 } else { crate::exit_code::OURS })
}

/// What sessions a helper has; or why it does not say.
async fn ask(cluster: &Cluster, namespace: &str, helper: &str) -> Result<Vec<Record>, String> {
    let dialer = Dialer::to_start(cluster, namespace, helper, &[pod::LIST], PATIENCE);
    let answer = async {
        let (mut link, stream) = dialer.dial().await.map_err(|error| match error {
            DialError::NotYet(_) => "it is starting, or cannot be reached".to_owned(),
            DialError::Final(error) => error.to_string(),
        })?;
        let mut text = String::new();
        let read = stream.take(LONGEST).read_to_string(&mut text).await;
        read.map_err(|error| error.to_string())?;
        match link.end(PATIENCE).await {
            End::Success => {}
            end => return Err(end.to_string()),
        }
        text.lines()
            .map(|line| {
                serde_json::from_str(line).map_err(|_| "it is of another version".to_owned())
            })
            .collect()
    };
    timeout(PATIENCE, answer).await.map_err(|_| format!("not within {} s", PATIENCE.as_secs()))?
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

/// In columns, three spaces apart, as kubectl does.
fn table(rows: &[[String; 6]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: Vec<usize> = (0..6).map(|column| width(column).unwrap_or(0) + 3).collect();
    let line = |row: &[String; 6]| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        format!("{}\n", cells.collect::<String>().trim_end())
    };
    rows.iter().map(line).collect()
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

    #[test]
    fn one_that_ends_with_its_client_cannot_be_named() {
        let line = r#"{"session":"7","namespace":"n","pod":"p","container":"c","command":"x","since":9,"state":"attached","kept":false}"#;
        assert_eq!(row("kpexec-3f9c", serde_json::from_str(line).unwrap(), 8)[0], "-");
    }

    #[test]
    fn ages_are_in_their_largest_unit() {
        assert_eq!([0, 119, 120, 7199, 7200].map(age), ["0s", "119s", "2m", "119m", "2h"]);
    }
}
