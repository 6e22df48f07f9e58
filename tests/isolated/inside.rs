//! What is run inside a fake container, by the container itself: by its first
//! process (`init.c`), with whatever that was left with.

use std::collections::HashMap;
use std::fs::File;
use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::FileExt as _;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::io::retry_on_intr;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags,
    SocketType, recv, sendmsg, socketpair,
};

/// How long anything inside may take: a test must not hang.
const PATIENCE: Duration = Duration::from_secs(60);

/// The test's end of the socket to a container's first process.
#[derive(Debug)]
pub struct Inside {
    socket: OwnedFd,
    /// Wait statuses that were told before anybody asked.
    ended: Mutex<HashMap<i32, i32>>,
}

/// What a shell line wrote, and how it ended.
#[derive(Debug)]
pub struct Ran {
    /// stdout and stderr, as one.
    pub output: String,
    /// Its exit code; 128 and the signal's number if one ended it.
    pub code: i32,
}

impl Inside {
    /// Ours, and the one that becomes the first process's stdin.
    pub fn pair() -> Result<(Self, OwnedFd)> {
        let (ours, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        set_socket_timeout(&ours, Timeout::Recv, Some(PATIENCE))?;
        Ok((Self { socket: ours, ended: Mutex::default() }, theirs))
    }

    /// Waits until the first process can be asked for something.
    pub fn wait_until_ready(&self) -> Result<()> {
        self.told().map(drop).context("the container did not start")
    }

    /// Starts a shell line.
    pub fn spawn(&self, line: &str) -> Result<Running<'_>> {
        let report = tempfile::tempfile()?;
        self.request(line, &report)?;
        loop {
            match self.told()? {
                (pid, -1) => return Ok(Running { inside: self, pid, report, ended: false }),
                (pid, status) => self.note(pid, status),
            }
        }
    }

    fn request(&self, line: &str, output: &File) -> Result<()> {
        let fds = [output.as_fd()];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        assert!(control.push(SendAncillaryMessage::ScmRights(&fds)), "there is room for one");
        let line = [IoSlice::new(line.as_bytes())];
        sendmsg(&self.socket, &line, &mut control, SendFlags::NOSIGNAL)
            .map(drop)
            .context("speak to the container's first process")
    }

    /// Runs a shell line to its end.
    pub fn run(&self, line: &str) -> Result<Ran> {
        self.spawn(line)?.wait()
    }

    fn told(&self) -> Result<(i32, i32)> {
        let mut message = [0; 8];
        // tokio's SIGCHLD may come in between.
        let (length, _) =
            retry_on_intr(|| recv(&self.socket, &mut message[..], RecvFlags::empty()))
                .context("hear from the container's first process")?;
        let number =
            |at: usize| Some(i32::from_ne_bytes(message.get(at..at + 4)?.try_into().ok()?));
        match (length, number(0), number(4)) {
            (8, Some(pid), Some(status)) => Ok((pid, status)),
            _ => bail!("the container's first process has ended"),
        }
    }

    fn note(&self, pid: i32, status: i32) {
        self.ended.lock().expect("no test panics while it holds this").insert(pid, status);
    }

    fn status(&self, pid: i32) -> Result<i32> {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            let noted = self.ended.lock().expect("no test panics while it holds this").remove(&pid);
            if let Some(status) = noted {
                return Ok(status);
            }
            let (other, status) = self.told()?;
            self.note(other, status);
        }
        bail!("process {pid} of the container does not end")
    }
}

/// A shell line that runs; dropped, it is killed with what it started.
pub struct Running<'c> {
    inside: &'c Inside,
    /// As the container numbers it; its process group, too.
    pub pid: i32,
    report: File,
    ended: bool,
}

impl Running<'_> {
    /// What it has written so far.
    pub fn report(&self) -> Result<String> {
        // By position: the offset is shared with those who write.
        let length = usize::try_from(self.report.metadata()?.len())?;
        let mut text = vec![0; length];
        self.report.read_exact_at(&mut text, 0)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    /// Waits until it has written `wanted`.
    pub fn wait_for(&self, wanted: &str) -> Result<String> {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            let report = self.report()?;
            if report.contains(wanted) {
                return Ok(report);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        bail!("{wanted:?} was never written, but {:?}", self.report()?)
    }

    /// Waits for its end.
    pub fn wait(mut self) -> Result<Ran> {
        let status = self.inside.status(self.pid)?;
        self.ended = true;
        let code = match status & 0x7f {
            0 => status >> 8 & 0xff,
            signal => 128 + signal,
        };
        Ok(Ran { output: self.report()?, code })
    }

    /// Ends it, and gives what it wrote.
    pub fn stop(mut self) -> Result<String> {
        self.kill()?;
        self.report()
    }

    /// By the first process: this one does not know what the PID is out here.
    fn kill(&mut self) -> Result<()> {
        if !std::mem::replace(&mut self.ended, true) {
            self.inside.request(&format!("!{}", self.pid), &self.report)?;
            self.inside.status(self.pid)?;
        }
        Ok(())
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let _gone_with_its_container = self.kill();
    }
}
