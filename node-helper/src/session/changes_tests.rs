//! What tar(1) and the tar crate read of layers that were written.

use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::{fs, os::unix::net::UnixListener};

use super::*;

fn owners() -> Owners {
    Owners { users: IdMap::identity(), groups: IdMap::identity() }
}

fn layer(folder: &Path, owners: Owners) -> (Vec<u8>, Result<Vec<Loss>, Error>) {
    let mut bytes = Vec::new();
    let mut layer = Layer::new(&mut bytes, owners);
    let folder = std::fs::File::open(folder).unwrap().into();
    let added = layer.add_all(&folder, Path::new("")).and_then(|()| layer.finish());
    (bytes, added)
}

/// What tar(1) makes of it.
fn listed(bytes: &[u8]) -> Vec<String> {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(&file, bytes).unwrap();
    let list = ["--numeric-owner", "--quoting-style=escape", "-tvf"];
    let output = std::process::Command::new("tar").args(list).arg(file.path()).output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let mut lines: Vec<_> = text.lines().map(shorn).collect();
    lines.sort();
    lines
}

/// Without owner and time, which are the test's.
fn shorn(line: &str) -> String {
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    format!("{} {}", words[0], words[5..].join(" "))
}

#[test]
fn tar_reads_what_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::create_dir(at("d")).unwrap();
    fs::write(at("d/file"), "text").unwrap();
    fs::set_permissions(at("d/file"), fs::Permissions::from_mode(0o4755)).unwrap();
    fs::hard_link(at("d/file"), at("d/same")).unwrap();
    symlink("../away", at("link")).unwrap();
    let long = "l".repeat(150);
    fs::write(at(&long), "").unwrap();
    fs::write(folder.path().join(OsStr::from_bytes(b"odd\n\xff")), "").unwrap();
    let _listener = UnixListener::bind(at("socket")).unwrap();
    fs::write(at(".wh.fake"), "").unwrap();
    let (bytes, losses) = layer(folder.path(), owners());
    let mut losses = losses.unwrap();
    losses.sort();
    assert_eq!(losses, [(MARKS, ".wh.fake".into()), (MARKS, "socket".into())]);
    let found = listed(&bytes);
    let expected = [
        format!("-rw-r--r-- {long}"),
        r"-rw-r--r-- odd\n\377".to_owned(),
        "drwxr-xr-x d/".to_owned(),
        "lrwxrwxrwx link -> ../away".to_owned(),
    ];
    for line in expected {
        assert!(found.contains(&line), "{line} is none of {found:?}");
    }
    // Whichever comes first is the file.
    let pair = |first: &str, second: &str| {
        [format!("-rwsr-xr-x d/{first}"), format!("hrwsr-xr-x d/{second} link to d/{first}")]
    };
    let has = |lines: &[String; 2]| lines.iter().all(|line| found.contains(line));
    assert!(has(&pair("file", "same")) || has(&pair("same", "file")), "{found:?}");
    assert_eq!(found.len(), 6, "{found:?}");
}

#[test]
fn what_was_removed_is_a_whiteout() {
    let mut bytes = Vec::new();
    let mut layer = Layer::new(&mut bytes, owners());
    layer.remove(Path::new("etc/passwd")).unwrap();
    layer.remove(Path::new("lib")).unwrap();
    layer.finish().unwrap();
    assert_eq!(listed(&bytes), ["-rw-r--r-- .wh.lib", "-rw-r--r-- etc/.wh.passwd"]);
}

#[test]
fn owners_are_numbered_as_the_target_does() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("file"), "").unwrap();
    let own = rustix::process::geteuid().as_raw();
    let users = IdMap::parse(&format!("33 {own} 1")).unwrap();
    let (bytes, _) = layer(folder.path(), Owners { users, groups: IdMap::parse("").unwrap() });
    let mut archive = tar::Archive::new(bytes.as_slice());
    let header = archive.entries().unwrap().next().unwrap().unwrap().header().clone();
    assert_eq!((header.uid().unwrap(), header.gid().unwrap()), (33, 65534));
}

#[test]
fn what_no_tar_can_name_is_left_out_and_told() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &[u8]| folder.path().join(OsStr::from_bytes(name));
    let odd = [&b"\xff"[..], &[b'l'; 120]].concat();
    fs::write(at(&odd), "").unwrap();
    fs::write(at(b"kept"), "").unwrap();
    let (bytes, losses) = layer(folder.path(), owners());
    assert_eq!(losses.unwrap(), [(UNNAMEABLE, PathBuf::from(OsString::from_vec(odd)))]);
    assert_eq!(listed(&bytes), ["-rw-r--r-- kept"]);
}

#[test]
fn extended_attributes_are_saved() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    fs::write(&path, "text").unwrap();
    let flags = rustix::fs::XattrFlags::empty();
    rustix::fs::setxattr(&path, "user.note", b"a=\xff", flags).unwrap();
    let (bytes, losses) = layer(folder.path(), owners());
    assert_eq!(losses.unwrap(), []);
    assert_eq!(listed(&bytes), ["-rw-r--r-- file"]);
    let mut archive = tar::Archive::new(bytes.as_slice());
    let mut entry = archive.entries().unwrap().next().unwrap().unwrap();
    let mut records = entry.pax_extensions().unwrap().unwrap();
    let record = records.next().unwrap().unwrap();
    assert_eq!(
        (record.key(), record.value_bytes()),
        (Ok("SCHILY.xattr.user.note"), &b"a=\xff"[..])
    );
}

#[test]
fn holes_and_depth_are_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let hole = folder.path().join("hole");
    fs::File::create(&hole).unwrap().set_len(LARGEST + 1).unwrap();
    fs::hard_link(&hole, folder.path().join("same")).unwrap();
    fs::write(folder.path().join("kept"), "").unwrap();
    let (bytes, losses) = layer(folder.path(), owners());
    let mut losses = losses.unwrap();
    losses.sort();
    assert_eq!(losses, [(TOO_LARGE, "hole".into()), (TOO_LARGE, "same".into())]);
    assert_eq!(listed(&bytes), ["-rw-r--r-- kept"]);
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir_all(folder.path().join("d/".repeat(DEEPEST + 1))).unwrap();
    assert!(matches!(layer(folder.path(), owners()).1, Err(Error::TooDeep(_))));
}
