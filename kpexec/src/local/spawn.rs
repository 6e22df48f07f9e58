//! The helper as a child of ours. It ends when its stdin does, so with us however
//! we end.

use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::time::Duration;

use kpexec_protocol::pod;
use tokio::io::{AsyncRead, AsyncWrite, join};
use tokio::net::unix::pipe::{Receiver, Sender};
use tokio::sync::oneshot;

use super::LocalError;
use super::place::Place;
use crate::transport::{End, HelperLog, Link};

impl Place {
    /// Starts the helper; gives the stream to it.
    pub fn start_helper(
        &self,
        keepalive: Duration,
    ) -> Result<(Link, impl AsyncRead + AsyncWrite + Send + Unpin + use<>), LocalError> {
        let failed = |source| LocalError::Start { path: self.helper.display().to_string(), source };
        let mut command = self.command(pod::LOCAL).map_err(failed)?;
        command.arg(keepalive.as_secs().to_string());
        command.env(pod::CRI_SOCKET, &self.cri_socket);
        // It is started elsewhere.
        let toolset = self.toolset.as_deref().map(std::path::absolute).transpose();
        command.env(pod::TOOLSET, toolset.map_err(failed)?.unwrap_or_default());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(failed)?;
        let stream = stream(&mut child).map_err(failed)?;
        let (log, (end, ended)) = (HelperLog::default(), oneshot::channel());
        let (kept, stderr) = (log.clone(), child.stderr.take());
        // It may outlive us: whoever reaps it then is not we.
        std::thread::spawn(move || {
            stderr.map_or(Ok(()), |stderr| keep(stderr, &kept)).ok();
            // Nobody listens if kpexec was interrupted.
            let _ = end.send(child.wait().map_or_else(lost, end_of));
        });
        Ok((Link::of_child(log, ended), stream))
    }

    /// Ends what a helper has left that was killed. What it has to say goes to
    /// our stderr.
    pub fn sweep(&self) {
        let status = self.command(pod::SWEEP).and_then(|mut command| command.status());
        tracing::debug!(?status, "swept up");
    }

    /// The running containers of this machine, each as POD/NAMESPACE/CONTAINER.
    pub async fn containers(&self) -> io::Result<Vec<String>> {
        let mut command = tokio::process::Command::from(self.command(pod::CONTAINERS)?);
        command.env(pod::CRI_SOCKET, &self.cri_socket).stderr(Stdio::null()).kill_on_drop(true);
        let output = command.output().await?;
        Ok(String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect())
    }

    /// In a process group of its own: the keys that end us at the terminal are
    /// passed on to the command, and must not end the helper before it.
    fn command(&self, role: &str) -> io::Result<Command> {
        // A path that does not depend on where it is started.
        let mut command = Command::new(std::path::absolute(&self.helper)?);
        command.arg(role).env_clear().current_dir("/").process_group(0);
        command.stdin(Stdio::null());
        Ok(command)
    }
}

fn stream(child: &mut Child) -> io::Result<impl AsyncRead + AsyncWrite + Send + Unpin + use<>> {
    let missing = || io::Error::from(io::ErrorKind::BrokenPipe);
    let input = OwnedFd::from(child.stdin.take().ok_or_else(missing)?);
    let output = OwnedFd::from(child.stdout.take().ok_or_else(missing)?);
    Ok(join(Receiver::from_owned_fd(output)?, Sender::from_owned_fd(input)?))
}

fn keep(mut stderr: ChildStderr, log: &HelperLog) -> io::Result<()> {
    let mut buffer = [0; 4096];
    loop {
        match stderr.read(&mut buffer)? {
            0 => return Ok(()),
            count => log.push(&buffer[..count]),
        }
    }
}

fn end_of(status: ExitStatus) -> End {
    match (status.code(), status.signal()) {
        (Some(0), _) => End::Success,
        (Some(code), _) => End::ExitCode { code: code.to_string(), message: status.to_string() },
        (None, Some(signal)) => End::Failure(format!("the helper was ended by signal {signal}")),
        (None, None) => End::Lost(status.to_string()),
    }
}

fn lost(error: io::Error) -> End {
    End::Lost(format!("cannot wait for the helper: {error}"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    /// A helper that is a shell script.
    fn helper(script: &str) -> (tempfile::TempDir, Place) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("node-helper");
        let text = folder.path().join("script");
        std::fs::write(&text, format!("#!/bin/sh\n{script}\n")).unwrap();
        // Written by another process: a fork of another thread would keep it open for
        // writing, and what is open so cannot be executed (ETXTBSY).
        let mut install = std::process::Command::new("install");
        assert!(install.arg(&text).arg(&path).status().unwrap().success());
        let place = Place { helper: path, toolset: None, cri_socket: "/x.sock".into() };
        (folder, place)
    }

    async fn end(link: &mut Link) -> End {
        link.end(Duration::from_secs(20)).await
    }

    #[tokio::test]
    async fn it_is_told_where_things_are_and_nothing_else() {
        let (_folder, place) =
            helper("echo $1,$KPEXEC_CRI_SOCKET,${KPEXEC_TOOLSET_FOLDER-x},$HOME,$PWD");
        let (mut link, mut stream) = place.start_helper(Duration::from_secs(30)).unwrap();
        let mut said = String::new();
        stream.read_to_string(&mut said).await.unwrap();
        assert_eq!(said, "serve,/x.sock,,,/\n");
        assert_eq!(end(&mut link).await, End::Success);

        let place = Place { toolset: Some("tools".into()), ..place };
        let (_link, mut stream) = place.start_helper(Duration::from_secs(30)).unwrap();
        let mut said = String::new();
        stream.read_to_string(&mut said).await.unwrap();
        let here = std::env::current_dir().unwrap();
        assert_eq!(said, format!("serve,/x.sock,{}/tools,,/\n", here.display()));
    }

    #[tokio::test]
    async fn it_lists_the_containers() {
        let (_folder, place) = helper("echo $1/$KPEXEC_CRI_SOCKET; echo b; echo c >&2");
        assert_eq!(place.containers().await.unwrap(), ["containers//x.sock", "b"]);
        // One of another version says how to use it.
        let (_folder, place) = helper("echo usage >&2; exit 125");
        assert_eq!(place.containers().await.unwrap(), [""; 0]);
    }

    #[tokio::test]
    async fn bytes_go_both_ways_and_its_log_is_kept() {
        let (_folder, place) = helper("cat; echo done >&2; exit 3");
        let (mut link, stream) = place.start_helper(Duration::from_secs(30)).unwrap();
        let (mut reader, mut writer) = tokio::io::split(stream);
        writer.write_all(b"hello").await.unwrap();
        let mut said = [0; 5];
        reader.read_exact(&mut said).await.unwrap();
        assert_eq!(&said, b"hello");
        // Its stdin ends with us.
        drop((reader, writer));
        assert!(matches!(end(&mut link).await, End::ExitCode { code, .. } if code == "3"));
        assert_eq!(link.log().text(), "done\n");
    }

    #[tokio::test]
    async fn a_helper_that_is_killed_is_told_as_such() {
        let (_folder, place) = helper("kill -KILL $$");
        let (mut link, _stream) = place.start_helper(Duration::from_secs(30)).unwrap();
        let killed = End::Failure("the helper was ended by signal 9".into());
        assert_eq!(end(&mut link).await, killed);
    }
}
