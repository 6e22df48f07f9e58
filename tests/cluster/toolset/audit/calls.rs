//! Lines of `strace -f -y`, as far as they name a path.

use std::fmt;

/// One system call with a path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Call {
    /// Absolute, without `.` and `..`; a slash at the end stays.
    pub path: String,
    name: String,
    /// What came of it, as strace says it.
    result: String,
}

impl Call {
    /// Whether it is an execve(2) that did not fail, as far as it was seen.
    pub fn is_execution(&self) -> bool {
        self.name.starts_with("execve") && !self.result.starts_with('-')
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.name, self.path, self.result)
    }
}

/// Reads `[PID] NAME(FD</FOLDER>, "PATH", …) = RESULT`. Gives nothing for other
/// lines, and for a relative path that belongs to no known folder: that of an
/// execve(2) begins in the script's own.
pub fn parse(line: &str) -> Option<Call> {
    // The PID is there when children are followed.
    let call = line.trim_start_matches(|c: char| c.is_ascii_digit() || c == ' ');
    let (name, arguments) = call.split_once('(')?;
    let (before, rest) = arguments.split_once('"')?;
    let path = &rest[..end_of_string(rest)?];
    let folder = before.split_once('<').and_then(|(_, rest)| rest.split_once('>'));
    let path = match folder {
        _ if path.starts_with('/') => normal(path),
        Some((folder, _)) if folder.starts_with('/') => normal(&format!("{folder}/{path}")),
        _ => return None,
    };
    let result = rest.rsplit_once(" = ").map_or("unfinished", |(_, result)| result);
    // What is no link has nothing to read: so a path is made absolute, and lsof
    // looks at all that is mounted.
    if name.starts_with("readlink") && result.starts_with("-1 EINVAL") {
        return None;
    }
    Some(Call { path, name: name.to_owned(), result: result.trim_end().to_owned() })
}

/// Where the string ends: at a quote that no backslash escapes.
fn end_of_string(text: &str) -> Option<usize> {
    let mut escaped = false;
    text.bytes().position(|byte| {
        let end = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        end
    })
}

/// A slash at the end says that no file can be meant.
fn normal(path: &str) -> String {
    let plain = without_dots(path);
    if path.ends_with('/') && plain != "/" { plain + "/" } else { plain }
}

/// Without links being followed: a link of the target could lead to a place
/// that is allowed, but it is the link that was opened.
fn without_dots(path: &str) -> String {
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(line: &str) -> Option<String> {
        parse(line).map(|call| call.to_string())
    }

    #[test]
    fn a_path_is_read_with_its_folder_and_result() {
        let line = r#"7 openat(AT_FDCWD</dev/shm/m>, "../../../etc/x", O_RDONLY) = 3</etc/x>"#;
        assert_eq!(shown(line).as_deref(), Some("openat /etc/x: 3</etc/x>"));
        let line = r#"123 openat(3</usr>, "lib", O_RDONLY|O_CLOEXEC) = -1 ENOENT (No such file)"#;
        assert_eq!(shown(line).as_deref(), Some("openat /usr/lib: -1 ENOENT (No such file)"));
        let line = r#"7 openat(AT_FDCWD</>, "/root/../.bashr/", O_RDONLY) = -1 ENOENT (No)"#;
        assert_eq!(shown(line).as_deref(), Some("openat /.bashr/: -1 ENOENT (No)"));
        let line = r#"execve("/bin/a\"b", ["a"], 0x7f /* 3 vars */) = 0"#;
        assert_eq!(shown(line).as_deref(), Some(r#"execve /bin/a\"b: 0"#));
    }

    #[test]
    fn an_unfinished_call_counts() {
        let line = r#"9 openat(AT_FDCWD</>, "/etc/ld.so.cache", O_RDONLY <unfinished ...>"#;
        assert_eq!(shown(line).as_deref(), Some("openat /etc/ld.so.cache: unfinished"));
    }

    #[test]
    fn other_lines_name_no_path() {
        let folder = r#"7 readlink("/etc", 0x7f, 1023) = -1 EINVAL (Invalid argument)"#;
        assert_eq!(parse(folder), None);
        assert!(parse(&folder.replace("EINVAL", "ENOENT")).is_some());
        for line in ["7 +++ exited with 0 +++", "7 <... openat resumed>) = 3</x>", "", "7 --- SIG"]
        {
            assert_eq!(parse(line), None, "{line}");
        }
    }
}
