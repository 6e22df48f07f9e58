//! The last step: what must be known before the fork, made ready.

use std::ffi::CString;

use rustix::io::{self, Errno};

use super::message::Order;
use crate::sys::start::{Command, Descriptors, SingleThreaded, spawn_shim};

/// Starts the shim and the command. Returns the shim's PID on the node.
///
/// # Errors
/// When an argument holds a NUL byte, or the kernel refuses to fork.
pub(super) fn start(
    alone: &SingleThreaded,
    order: &Order,
    descriptors: Descriptors<'_>,
) -> io::Result<i32> {
    let argv = c_strings(&order.argv)?;
    let env = c_strings(&order.env)?;
    let program = order.argv.first().ok_or(Errno::INVAL)?;
    let mut candidates = candidates(program, search_path(&order.env));
    if !order.target_programs {
        candidates.retain(|path| is_ours(path));
    }
    let candidates = c_strings(&candidates)?;
    let command = Command {
        candidates: &candidates,
        argv: &argv,
        env: &env,
        terminal: order.terminal,
        descriptors,
    };
    spawn_shim(alone, &command)
}

/// The paths `program` may stand for: itself if it has a slash, else one for
/// each folder of `path`. An empty folder means the working directory to
/// execvp(3); not to us, because the target chooses what lies there.
fn candidates(program: &[u8], path: &[u8]) -> Vec<Vec<u8>> {
    if program.contains(&b'/') {
        return vec![program.to_vec()];
    }
    path.split(|byte| *byte == b':')
        .filter(|folder| folder.starts_with(b"/"))
        .map(|folder| [folder, program].join(&b'/'))
        .collect()
}

/// Whether a path leads to the toolset whatever the target does: that its mounts
/// are noexec is not enough, because a link through `/proc/1/root` leads to
/// where they are not (threat model, A2).
pub fn is_ours(path: &[u8]) -> bool {
    let folder = tools_overlay::MOUNT_POINT.as_bytes();
    let below = path.strip_prefix(folder).filter(|rest| rest.starts_with(b"/"));
    below.is_some_and(|rest| rest.split(|byte| *byte == b'/').all(|part| part != b".."))
}

/// The value of `PATH`; the last one wins, as in the environment itself.
fn search_path(env: &[Vec<u8>]) -> &[u8] {
    env.iter().rev().find_map(|entry| entry.strip_prefix(b"PATH=")).unwrap_or_default()
}

fn c_strings(texts: &[Vec<u8>]) -> io::Result<Vec<CString>> {
    texts.iter().map(|text| CString::new(text.clone()).map_err(|_| Errno::INVAL)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(candidates: &[Vec<u8>]) -> Vec<&str> {
        candidates.iter().map(|path| std::str::from_utf8(path).unwrap()).collect()
    }

    #[test]
    fn a_name_is_searched() {
        let found = candidates(b"id", b"/.kpexec/bin:/usr/bin");
        assert_eq!(text(&found), ["/.kpexec/bin/id", "/usr/bin/id"]);
    }

    #[test]
    fn a_path_is_taken_as_it_is() {
        assert_eq!(text(&candidates(b"./id", b"/bin")), ["./id"]);
        assert_eq!(text(&candidates(b"/bin/id", b"/usr/bin")), ["/bin/id"]);
    }

    #[test]
    fn the_working_directory_is_never_searched() {
        assert_eq!(text(&candidates(b"id", b":/bin::.:bin:")), ["/bin/id"]);
    }

    #[test]
    fn the_last_path_wins() {
        let env = [b"PATH=/a".to_vec(), b"HOME=/".to_vec(), b"PATH=/b".to_vec()];
        assert_eq!(search_path(&env), b"/b");
        assert!(search_path(&[]).is_empty());
    }

    #[test]
    fn nothing_but_the_toolset_is_ours() {
        assert!(is_ours(b"/.kpexec/bin/ip"));
        for path in
            [&b"/usr/bin/ip"[..], b"ip", b"./ip", b"/.kpexec", b"/.kpexecs/ip", b"/.kpexec/../ip"]
        {
            assert!(!is_ours(path), "{}", String::from_utf8_lossy(path));
        }
    }

    #[test]
    fn a_nul_byte_is_refused() {
        assert_eq!(c_strings(&[b"a\0b".to_vec()]), Err(Errno::INVAL));
    }
}
