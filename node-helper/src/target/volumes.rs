//! What is mounted below a process's root: proc_pid_mountinfo(5).

use rustix::io::Errno;
use tools_overlay::plan::is_ours;

use super::{Procfs, TargetProcess};

/// More than a pod's volumes, and few enough to show one by one.
const MOST: usize = 256;

/// Why it is not known what is mounted.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be read, or is longer than any container's.
    #[error("cannot read what is mounted in the container")]
    Read(#[source] Errno),
    /// It is not as proc(5) has it.
    #[error("cannot make out what is mounted in the container: {0:?}")]
    Malformed(String),
    /// There are more than we take.
    #[error("the container has more than {MOST} mounts")]
    TooMany,
}

/// A mount, with whatever is mounted below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Volume {
    /// Its path from the process's root.
    pub path: Vec<u8>,
    /// Whether the target itself cannot write to it.
    pub read_only: bool,
}

/// The volumes of a target, in the order of their paths, but for those that a
/// view has something of its own for. Where one is mounted below another it
/// comes with that.
///
/// # Errors
/// When they cannot be read, or there are too many.
pub fn volumes(target: &TargetProcess) -> Result<Vec<Volume>, Error> {
    parse(&Procfs::read(&target.folder, c"mountinfo").map_err(Error::Read)?)
}

fn parse(text: &[u8]) -> Result<Vec<Volume>, Error> {
    let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let all = lines.map(|line| {
        volume(line).ok_or_else(|| Error::Malformed(String::from_utf8_lossy(line).into_owned()))
    });
    let mut all = all.collect::<Result<Vec<_>, _>>()?;
    all.retain(|volume| {
        let top = volume.path.split(|byte| *byte == b'/').nth(1).unwrap_or_default();
        !top.is_empty() && !is_ours(top)
    });
    // Stable, so that of several at one place the last one, which is seen, stays.
    all.sort_by(|one, other| one.path.cmp(&other.path));
    let mut found: Vec<Volume> = Vec::new();
    for volume in all {
        let above = found.iter_mut().rfind(|above| is_at_or_below(&volume.path, &above.path));
        if let Some(above) = above {
            if above.path == volume.path {
                *above = volume;
            }
        } else if found.len() < MOST {
            found.push(volume);
        } else {
            return Err(Error::TooMany);
        }
    }
    Ok(found)
}

fn is_at_or_below(path: &[u8], above: &[u8]) -> bool {
    path.strip_prefix(above).is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
}

/// Reads a line: ID, parent, device, root, mount point, options, any number of
/// tags, a dash, file system, source, its options.
fn volume(line: &[u8]) -> Option<Volume> {
    let fields: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
    let dash = fields.iter().skip(6).position(|field| *field == b"-")? + 6;
    if fields.len() != dash + 4 {
        return None;
    }
    let path = unescaped(fields[4])?;
    let read_only = match fields[5].split(|byte| *byte == b',').next()? {
        b"ro" => true,
        b"rw" => false,
        _ => return None,
    };
    let plain = |part: &[u8]| !matches!(part, b"." | b"..") && !part.contains(&0);
    let parts = path.strip_prefix(b"/")?.split(|byte| *byte == b'/');
    parts.clone().all(plain).then_some(())?;
    Some(Volume { path, read_only })
}

/// Space, tab, line feed and backslash are written as three octal digits.
fn unescaped(field: &[u8]) -> Option<Vec<u8>> {
    let mut path = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        path.push(if *first == b'\\' {
            let (digits, after) = after.split_at_checked(3)?;
            rest = after;
            u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok()?
        } else {
            *first
        });
    }
    Some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(path: &str, options: &str) -> String {
        format!("36 35 98:0 / {path} {options} master:1 - ext4 /dev/vda rw,errors=continue\n")
    }

    fn paths(text: &str) -> Vec<String> {
        let found = parse(text.as_bytes()).unwrap();
        found.iter().map(|volume| String::from_utf8_lossy(&volume.path).into_owned()).collect()
    }

    #[test]
    fn what_lies_below_another_comes_with_it_and_ours_is_left_out() {
        let text: String = ["/", "/run/b/c", "/dev", "/dev/shm", "/proc/sys", "/run/b", "/run/bc"]
            .into_iter()
            .chain(["/etc/hosts", "/.kpexec", "/development"])
            .map(|path| line(path, "rw,relatime"))
            .collect();
        assert_eq!(paths(&text), ["/development", "/etc/hosts", "/run/b", "/run/bc"]);
    }

    #[test]
    fn of_several_at_one_place_the_last_one_counts() {
        let text = line("/a", "rw") + &line("/a", "ro,nosuid");
        assert_eq!(
            parse(text.as_bytes()).unwrap(),
            [Volume { path: b"/a".to_vec(), read_only: true }]
        );
    }

    #[test]
    fn names_are_unescaped() {
        assert_eq!(paths(&line(r"/a\040b\134\012", "rw")), ["/a b\\\n"]);
        // No tag at all is as good as several.
        let text = "36 35 98:0 / /x rw - tmpfs tmpfs rw\n36 35 0:1 / /y ro a:1 b:2 - t s rw\n";
        assert_eq!(paths(text), ["/x", "/y"]);
    }

    #[test]
    fn whatever_is_odd_is_refused() {
        for text in [
            "36 35 98:0 / /x rw".to_owned(),
            line("x", "rw"),
            line("/x/../y", "rw"),
            line("/x", "rx"),
            line(r"/x\04", "rw"),
            line(r"/x\999", "rw"),
            line("/x y", "rw"),
            line(r"/x\000", "rw"),
        ] {
            assert!(matches!(parse(text.as_bytes()), Err(Error::Malformed(_))), "{text}");
        }
    }

    #[test]
    fn more_than_can_be_shown_are_refused() {
        let many = |count| (0..count).map(|n| line(&format!("/v/{n}"), "rw")).collect::<String>();
        assert_eq!(paths(&many(MOST)).len(), MOST);
        assert!(matches!(parse(many(MOST + 1).as_bytes()), Err(Error::TooMany)));
    }
}
