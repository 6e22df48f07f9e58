//! Ends the background processes, on demand.

use kpexec_protocol::{StopRequest, Stopped};

use super::ShareError;
use super::client::over;
use super::folder::Folder;
use super::name::ENDING;
use super::start::attempt;

/// Tells all of this user's to end, whatever cluster they are for; gives a line
/// about each.
pub async fn stop() -> Result<Vec<String>, ShareError> {
    let folder = match Folder::open() {
        Ok(folder) => folder,
        // There cannot be any.
        Err(ShareError::NoFolder | ShareError::Folder { .. }) => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let entries = std::fs::read_dir(folder.inside(""));
    let failed = |source| ShareError::Folder { path: folder.path().to_owned(), source };
    let mut lines = Vec::new();
    for entry in entries.map_err(failed)?.flatten() {
        let name = entry.file_name();
        let Some(name) = name.to_str().filter(|name| name.ends_with(ENDING)) else { continue };
        let Some(stream) = attempt(&folder.inside(name)).await? else { continue };
        let stopped = async { over(stream).await?.stop(StopRequest {}).await };
        match stopped.await {
            Ok(stopped) => lines.push(line(&stopped.into_inner())),
            // It has ended by itself.
            Err(status) => tracing::debug!(?status, "no answer"),
        }
    }
    Ok(lines)
}

fn line(stopped: &Stopped) -> String {
    let Stopped { pid, commands } = stopped;
    let when = match commands {
        0 => String::new(),
        1 => " with its command".into(),
        more => format!(" with its {more} commands"),
    };
    format!("background process {pid} ends{when}")
}
