//! Reading the target's `/etc/passwd`, whatever it may be (T27): through the
//! real reader, which either gives the text or an error, soon, and is gone.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::symlink;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::sched::{CloneFlags, unshare};
use node_helper::enter::seal::SealedBinary;
use node_helper::names::{self, Id, Resolved, Wanted, read};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat, open};
use rustix::io::Errno;
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
use tempfile::TempDir;

const HELPER: &str = env!("CARGO_BIN_EXE_node-entry");

/// How long a reader may take that is given two seconds, on a busy machine.
const LIMIT: Duration = Duration::from_secs(8);

/// A debug binary is large: one copy will do.
static BINARY: LazyLock<SealedBinary> =
    LazyLock::new(|| SealedBinary::of(Path::new(HELPER)).expect("memory for a copy"));

/// An empty root with an `/etc`.
fn root() -> Result<TempDir> {
    let root = TempDir::new()?;
    fs::create_dir(root.path().join("etc"))?;
    Ok(root)
}

fn pinned(root: &Path) -> Result<OwnedFd> {
    Ok(open(root, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)
}

/// What this thread has started and not reaped.
fn children() -> Result<String> {
    Ok(fs::read_to_string("/proc/thread-self/children")?)
}

/// Waits until all that this thread has started is gone.
async fn no_reader_is_left() -> Result<()> {
    let begun = Instant::now();
    while !children()?.is_empty() {
        ensure!(begun.elapsed() < LIMIT, "the reader is left");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

/// What reading a root's `/etc/passwd` gives, which comes soon.
async fn answer(root: &Path) -> Result<Result<Vec<u8>, read::Error>> {
    let begun = Instant::now();
    let answer = read::file(&BINARY, pinned(root)?.as_fd(), names::File::Passwd).await;
    ensure!(begun.elapsed() < LIMIT, "{answer:?} after {:?}", begun.elapsed());
    Ok(answer)
}

/// The same where the reader can be killed, and is gone.
async fn passwd(root: &Path) -> Result<Result<Vec<u8>, read::Error>> {
    let answer = answer(root).await?;
    if matches!(answer, Err(read::Error::TimedOut(_))) {
        // A busy machine takes longer over its death than is waited for.
        no_reader_is_left().await?;
    }
    ensure!(children()?.is_empty(), "the reader is left");
    Ok(answer)
}

macro_rules! assert_gives {
    ($answer:expr, $pattern:pat) => {
        let answer = $answer;
        assert!(matches!(answer, $pattern), "{answer:?}");
    };
}

#[tokio::test]
async fn t27_a_plain_file_is_read_up_to_a_megabyte() -> Result<()> {
    let root = root()?;
    let file = root.path().join("etc/passwd");
    for size in [0, 1, 1 << 20] {
        let text = vec![b'x'; size];
        fs::write(&file, &text)?;
        assert!(passwd(root.path()).await?? == text, "{size} bytes came back as others");
    }
    fs::write(&file, vec![b'x'; (1 << 20) + 1])?;
    assert_gives!(passwd(root.path()).await?, Err(read::Error::TooLarge(_)));
    File::create(&file)?.set_len(2 << 30)?;
    assert_gives!(passwd(root.path()).await?, Err(read::Error::TooLarge(_)));
    Ok(())
}

#[tokio::test]
async fn t27_what_is_no_file_is_refused() -> Result<()> {
    let root = root()?;
    let file = root.path().join("etc/passwd");
    assert_gives!(passwd(root.path()).await?, Err(read::Error::Missing(_)));
    fs::create_dir(&file)?;
    assert_gives!(passwd(root.path()).await?, Err(read::Error::NotRegular(_)));
    fs::remove_dir(&file)?;
    mknodat(CWD, &file, FileType::Fifo, Mode::RWXU, 0)?;
    assert_gives!(passwd(root.path()).await?, Err(read::Error::NotRegular(_)));
    fs::remove_file(&file)?;
    let _socket = std::os::unix::net::UnixListener::bind(&file)?;
    assert_gives!(passwd(root.path()).await?, Err(read::Error::NotRegular(_)));
    fs::remove_dir_all(root.path().join("etc"))?;
    fs::write(root.path().join("etc"), "no folder")?;
    assert_gives!(passwd(root.path()).await?, Err(read::Error::Missing(_)));
    Ok(())
}

#[tokio::test]
async fn t27_links_stay_inside_the_root() -> Result<()> {
    let root = root()?;
    let file = root.path().join("etc/passwd");
    let link = async |to: &str| {
        if file.is_symlink() {
            fs::remove_file(&file)?;
        }
        symlink(to, &file)?;
        passwd(root.path()).await
    };
    // Both are there on this machine, and not in the root.
    assert_gives!(link("/dev/zero").await?, Err(read::Error::Missing(_)));
    assert_gives!(link("../../../../../../etc/group").await?, Err(read::Error::Missing(_)));
    fs::write(root.path().join("etc/group"), "inside")?;
    assert_eq!(link("../../../../../../etc/group").await??, b"inside");
    assert_eq!(link("/etc/group").await??, b"inside");
    assert_gives!(link("passwd").await?, Err(read::Error::Refused(_, Errno::LOOP)));
    Ok(())
}

/// A root with a file of this machine mounted over its `/etc/passwd`, in a mount
/// namespace of its own: what mknod(2) would be, but for ordinary users too.
struct Mounted {
    unshare: Child,
    _folder: TempDir,
    root: PathBuf,
}

impl Mounted {
    fn over_passwd(source: &str) -> Result<Self> {
        const SETUP: &str = "mount --bind \"$1\" \"$2/etc/passwd\" && echo && exec sleep 1000";
        let folder = root()?;
        File::create(folder.path().join("etc/passwd"))?;
        let mut unshare = Command::new("unshare");
        if !rustix::process::geteuid().is_root() {
            unshare.args(["--user", "--map-root-user"]);
        }
        unshare.args(["--mount", "--propagation", "private", "sh", "-c", SETUP, "sh", source]);
        let mut unshare =
            unshare.arg(folder.path()).stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let root = format!("/proc/{}/root{}", unshare.id(), folder.path().display()).into();
        let mut output = unshare.stdout.take().context("no stdout")?;
        let mounted = Self { unshare, _folder: folder, root };
        output.read_exact(&mut [0]).with_context(|| format!("{source} cannot be mounted"))?;
        Ok(mounted)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ended = self.unshare.kill().and_then(|()| self.unshare.wait());
    }
}

#[tokio::test]
async fn t27_a_device_is_not_read() -> Result<()> {
    let mounted = Mounted::over_passwd("/dev/zero")?;
    assert_gives!(answer(&mounted.root).await?, Err(read::Error::NotRegular(_)));
    assert_eq!(children()?.trim(), mounted.unshare.id().to_string());
    Ok(())
}

#[tokio::test]
async fn t27_a_file_longer_than_its_size_is_cut_off() -> Result<()> {
    // Its size is 0, and its length is some megabytes.
    let mounted = Mounted::over_passwd("/proc/kallsyms")?;
    assert_gives!(answer(&mounted.root).await?, Err(read::Error::TooLarge(_)));
    assert_eq!(children()?.trim(), mounted.unshare.id().to_string());
    Ok(())
}

#[tokio::test]
async fn t27_names_become_numbers() -> Result<()> {
    let root = root()?;
    let wanted = Wanted { user: Some(Id::Name("alice".into())), ..Wanted::default() };
    let passwd = "alice:x:1000:100::/home/alice:/bin/sh\n";
    fs::write(root.path().join("etc/passwd"), passwd)?;
    let pinned = pinned(root.path())?;
    let resolve = async |wanted| names::resolve(&BINARY, pinned.as_fd(), wanted).await;
    let mut alice = Resolved {
        uid: Some(1000),
        gid: Some(100),
        groups: Some(vec![]),
        home: Some(b"/home/alice".into()),
    };
    assert_eq!(resolve(&wanted).await?, alice, "without /etc/group");
    fs::write(root.path().join("etc/group"), "staff:x:50:alice\n")?;
    alice.groups = Some(vec![50]);
    assert_eq!(resolve(&wanted).await?, alice);
    fs::remove_file(root.path().join("etc/passwd"))?;
    let missing = resolve(&wanted).await.expect_err("there is no /etc/passwd any more");
    assert_eq!(missing.to_string(), "the container has no /etc/passwd");
    let numbers = Wanted { user: Some(Id::Number(5)), ..Wanted::default() };
    assert_eq!(resolve(&numbers).await?.uid, Some(5));
    Ok(())
}

/// A reader that has read all and waits for somebody to take it.
fn waiting_reader(root: &Path) -> Result<Child> {
    // More than a pipe holds.
    fs::write(root.join("etc/passwd"), vec![b'x'; 200_000])?;
    let mut command = Command::new(HELPER);
    command.arg0(names::PROCESS_NAME).arg("etc/passwd");
    let mut reader = command.stdin(pinned(root)?).stdout(Stdio::piped()).spawn()?;
    reader.stdout.as_mut().context("no stdout")?.read_exact(&mut [0])?;
    Ok(reader)
}

#[test]
fn the_reader_has_given_up_all_it_can() -> Result<()> {
    let root = root()?;
    let mut reader = waiting_reader(root.path())?;
    let status = fs::read_to_string(format!("/proc/{}/status", reader.id()))?;
    reader.kill()?;
    reader.wait()?;
    let of = |key: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(key));
        line.map(str::trim).with_context(|| format!("no {key}"))
    };
    for set in ["CapInh:", "CapPrm:", "CapEff:", "CapAmb:"] {
        assert_eq!(of(set)?, "0000000000000000", "{set}");
    }
    // An ordinary user cannot empty it.
    if rustix::process::geteuid().is_root() {
        assert_eq!(of("CapBnd:")?, "0000000000000000");
    }
    assert_eq!(of("NoNewPrivs:")?, "1");
    assert_eq!(of("Name:")?, "kpexec-read");
    Ok(())
}

#[test]
fn the_reader_ends_with_the_thread_that_started_it() -> Result<()> {
    let root = root()?;
    let path = root.path().to_owned();
    let started = std::thread::spawn(move || waiting_reader(&path)).join();
    let mut reader = started.expect("the thread does not panic")?;
    // Were it not for the signal it would wait for ever.
    let begun = Instant::now();
    while reader.try_wait()?.is_none() {
        if begun.elapsed() > LIMIT {
            reader.kill()?;
            bail!("the reader outlives the thread");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(reader.wait()?.signal(), Some(9));
    Ok(())
}

/// Mounts a FUSE file system without a server on `folder`, visible to this
/// thread only. Gives the server's end.
fn mount_fuse(folder: &Path) -> Result<File> {
    unshare(CloneFlags::CLONE_NEWNS)?;
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
    let server = File::options().read(true).write(true).open("/dev/fuse")?;
    let options = format!("fd={},rootmode=40000,user_id=0,group_id=0\0", server.as_raw_fd());
    let options = std::ffi::CStr::from_bytes_with_nul(options.as_bytes())?;
    mount("silent", folder, "fuse", MountFlags::empty(), options)?;
    Ok(server)
}

/// Greets the kernel, takes one request and leaves it at that. Layouts: fuse(4),
/// linux/fuse.h.
fn take_one_request(mut server: File) -> JoinHandle<Result<File>> {
    std::thread::spawn(move || {
        let mut request = vec![0; 1 << 17];
        ensure!(server.read(&mut request)? > 16, "no greeting");
        // fuse_out_header: length, error, the request's number; fuse_init_out:
        // version 7.31, the rest by default.
        let mut answer = vec![0; 16 + 64];
        answer[0..4].copy_from_slice(&80_u32.to_ne_bytes());
        answer[8..16].copy_from_slice(&request[8..16]);
        answer[16..20].copy_from_slice(&7_u32.to_ne_bytes());
        answer[20..24].copy_from_slice(&31_u32.to_ne_bytes());
        server.write_all(&answer)?;
        ensure!(server.read(&mut request)? > 0, "no request");
        Ok(server)
    })
}

#[tokio::test]
#[ignore = "needs root, to mount a FUSE file system: cargo xtask test runs it"]
async fn t27_a_file_system_without_a_server_costs_two_seconds() -> Result<()> {
    let root = root()?;
    let _server = mount_fuse(&root.path().join("etc"))?;
    assert_gives!(passwd(root.path()).await?, Err(read::Error::TimedOut(_)));
    Ok(())
}

#[tokio::test]
#[ignore = "needs root, to mount a FUSE file system: cargo xtask test runs it"]
async fn t27_a_file_system_that_never_answers_costs_two_seconds() -> Result<()> {
    let root = root()?;
    let server = take_one_request(mount_fuse(&root.path().join("etc"))?);
    assert_gives!(answer(root.path()).await?, Err(read::Error::TimedOut(_)));
    let server = server.join().expect("the server does not panic")?;
    // SIGKILL has to wait for an answer here; the server's end is one.
    drop(server);
    no_reader_is_left().await
}
