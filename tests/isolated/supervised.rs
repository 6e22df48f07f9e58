//! The helper pod's main process: who comes when it is about to end, how it takes
//! leave, and what it sweeps up.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use kpexec_protocol::ServerMessage;
use kpexec_protocol::helper_client::HelperClient;
use kpexec_protocol::pod::{ENDING, IDLE_SECONDS, SOCKET, SUPERVISE};
use kpexec_protocol::server_message::Kind as Answer;
use node_helper::supervise::errand::{self, Errand, Wish};
use rustix::fd::{AsFd as _, OwnedFd};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, socket_with};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::net::unix::pipe::{Receiver, Sender};
use tokio::process::Child;
use tokio::sync::{Mutex, MutexGuard};
use tonic::Streaming;
use tonic::transport::Channel;

use crate::client::{collect, connect, helper_command, make_toolset, open, request};
use crate::fake_container::FakeContainer;
use crate::fake_runtime::{self, Answer as RuntimeAnswer};
use crate::processes::{self, kill_marked, marked, wait_for};

/// Longer than anything here takes.
const LIMIT: Duration = Duration::from_secs(20);

/// A main process sweeps up what it finds of any helper that was killed: tests that
/// look at what is left of one take turns.
pub static TURN: Mutex<()> = Mutex::const_new(());

/// A main process beside a fake container and a fake runtime.
struct Supervised {
    helper: Child,
    runtime: Arc<std::sync::Mutex<RuntimeAnswer>>,
    folder: TempDir,
    _container: FakeContainer,
    _turn: MutexGuard<'static, ()>,
}

impl Supervised {
    /// One that stays without a session for so many seconds.
    async fn start(idle: u32) -> Result<Self> {
        let turn = TURN.lock().await;
        let (container, folder) = (FakeContainer::start()?, TempDir::new()?);
        let mut answer = RuntimeAnswer::running(container.id()?, container.pid);
        answer.seccomp = container.seccomp.clone();
        let runtime = Arc::new(std::sync::Mutex::new(answer));
        let cri = folder.path().join("cri.sock");
        fake_runtime::serve(&cri, runtime.clone())?;
        let toolset = folder.path().join("toolset");
        make_toolset(&toolset)?;
        let helper = helper_command(&container, &[], SUPERVISE)
            .env("KPEXEC_RUN_FOLDER", folder.path())
            .env(IDLE_SECONDS, idle.to_string())
            .env("KPEXEC_CRI_SOCKET", &cri)
            .env("KPEXEC_TOOLSET_FOLDER", &toolset)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .context("start node-helper")?;
        let this = Self { helper, runtime, folder, _container: container, _turn: turn };
        let begun = Instant::now();
        while this.socket().is_err() {
            ensure!(begun.elapsed() < LIMIT, "it does not listen");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(this)
    }

    /// Connects to it.
    fn socket(&self) -> rustix::io::Result<OwnedFd> {
        let (kind, flags) = (SocketType::SEQPACKET, SocketFlags::CLOEXEC);
        let socket = socket_with(AddressFamily::UNIX, kind, flags, None)?;
        let address = SocketAddrUnix::new(self.folder.path().join(SOCKET))?;
        rustix::net::connect(&socket, &address)?;
        Ok(socket)
    }

    /// Hands a client over, as what the runtime starts for it does.
    fn hand_over(&self) -> Result<Caller> {
        let lifeline = self.socket()?;
        let (stdin, to_helper) = std::io::pipe()?;
        let (from_helper, stdout) = std::io::pipe()?;
        let wish = Errand { wish: Wish::Serve.into(), ..Errand::default() };
        let stderr = std::io::stderr();
        errand::send(lifeline.as_fd(), &wish, &[stdin.as_fd(), stdout.as_fd(), stderr.as_fd()])?;
        let from_helper = Receiver::from_owned_fd(from_helper.into())?;
        let to_helper = Sender::from_owned_fd(to_helper.into())?;
        Ok(Caller { lifeline, from_helper, to_helper })
    }

    /// Begins a session of a client of its own.
    async fn session(&self, argv: &[&str]) -> Result<Session> {
        self.hand_over()?.session(&self.runtime, argv).await
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        kill(self.helper.id().context("the helper has ended")?.cast_signed(), signal)
    }

    /// Waits until it has ended, as it should.
    async fn ended(&mut self) -> Result<()> {
        let ended = tokio::time::timeout(LIMIT, self.helper.wait()).await;
        let status = ended.context("it goes on")??;
        ensure!(status.success(), "{status}");
        Ok(())
    }
}

/// A client that has come.
struct Caller {
    lifeline: OwnedFd,
    from_helper: Receiver,
    to_helper: Sender,
}

impl Caller {
    async fn session(
        self,
        runtime: &std::sync::Mutex<RuntimeAnswer>,
        argv: &[&str],
    ) -> Result<Session> {
        let client = connect(self.from_helper, self.to_helper).await?;
        let (requests, mut answers) = open(&client, request(runtime, argv)).await?;
        let server = match answers.message().await?.context("no answer")?.kind {
            Some(Answer::Started(started)) => started.session.parse()?,
            other => bail!("{argv:?}: {other:?}"),
        };
        Ok(Session { answers, server, _here: (self.lifeline, client, Box::new(requests)) })
    }
}

/// A session, as long as it is held.
struct Session {
    answers: Streaming<ServerMessage>,
    /// Its process in the helper.
    server: i32,
    _here: (OwnedFd, HelperClient<Channel>, Box<dyn Send>),
}

impl Session {
    /// Waits for this output.
    async fn expect(&mut self, wanted: &[u8]) -> Result<()> {
        let answer = tokio::time::timeout(LIMIT, self.answers.message()).await;
        match answer.context("it says nothing")??.context("it has ended")?.kind {
            Some(Answer::Stdout(bytes)) if bytes == wanted => Ok(()),
            other => bail!("{other:?}"),
        }
    }
}

fn kill(pid: i32, signal: Signal) -> Result<()> {
    Ok(kill_process(Pid::from_raw(pid).context("no PID")?, signal)?)
}

#[tokio::test]
async fn who_comes_at_the_last_moment_is_served() -> Result<()> {
    let mut helper = Supervised::start(5).await?;
    // It is past its time when it wakes, and somebody waits.
    helper.signal(Signal::STOP)?;
    tokio::time::sleep(Duration::from_millis(5500)).await;
    let caller = helper.hand_over()?;
    helper.signal(Signal::CONT)?;
    // It stays as long as the session does, whatever its time is.
    let script = "sleep 6; echo served";
    let mut session = caller.session(&helper.runtime, &["sh", "-c", script]).await?;
    session.expect(b"served\n").await?;
    assert_eq!(collect(session.answers).await?.code, Some(0));
    drop(session._here);
    helper.ended().await
}

#[tokio::test]
async fn whoever_is_there_when_the_pod_ends_is_told_and_who_comes_is_sent_away() -> Result<()> {
    let mut helper = Supervised::start(60).await?;
    let script = "trap '' TERM; trap 'exec sleep 73001' HUP; echo ready; \
                  while :; do sleep 0.1; done";
    let mut session = helper.session(&["sh", "-c", script]).await?;
    session.expect(b"ready\n").await?;
    helper.signal(Signal::TERM)?;
    // It is hung up first, and killed when it heeds neither that nor SIGTERM.
    wait_for("73001", 1).await?;
    let (late, mut code) = (helper.socket()?, [0; 2]);
    assert_eq!(rustix::io::read(&late, &mut code)?, 1, "who comes now is to come again");
    assert_eq!(code[0], ENDING);
    let told = collect(session.answers).await?;
    let failure = told.failure.context("no failure was told")?;
    assert!(failure.message.contains("the helper pod was deleted"), "{failure:?}");
    assert_eq!((told.code, told.signal), (None, None));
    helper.ended().await?;
    assert_eq!(marked("73001")?.len(), 0);
    Ok(())
}

#[tokio::test]
async fn what_a_server_leaves_that_was_killed_is_swept_up() -> Result<()> {
    let helper = Supervised::start(60).await?;
    let script = |mark| format!("(busybox setsid busybox sleep {mark} &); sleep {mark}");
    let session = helper.session(&["sh", "-c", &script("73002")]).await?;
    let other = helper.session(&["sh", "-c", &script("73003")]).await?;
    wait_for("73002", 2).await?;
    wait_for("73003", 2).await?;
    let cgroups = processes::cgroups_of(session.server)?;
    if processes::cgroups(&cgroups)?.is_empty() {
        ensure!(!rustix::process::geteuid().is_root(), "root can have a cgroup");
        kill_marked("73002").await?;
        return kill_marked("73003").await;
    }
    kill(session.server, Signal::KILL)?;
    wait_for("73002", 0).await?;
    processes::wait_for_no_cgroup(&cgroups).await?;
    // Until the sweeper has done all it does.
    let main = helper.helper.id().context("the helper has ended")?;
    processes::wait_for_children(main, &[other.server]).await?;
    assert_eq!(marked("73003")?.len(), 2, "another session was hit");
    assert!(fs::exists(Path::new("/proc").join(other.server.to_string()))?);
    // And it serves on.
    let mut next = helper.session(&["echo", "next"]).await?;
    next.expect(b"next\n").await
}
