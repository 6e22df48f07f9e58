//! The background process: listens until it is not needed any more.

use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures::Stream;
use kpexec_protocol::share_server::ShareServer;
use rustix::fs::{Mode, OFlags, open};
use rustix::process::{setsid, umask};
use tokio::net::{UnixListener, UnixStream};
use tokio::time::{sleep, timeout};
use tonic::transport::Server;

use super::folder::{Folder, own_uid};
use super::name::socket_name;
use super::serve::{Service, State};
use super::{FRAME, ShareError, WINDOW, start, sys};
use crate::cli::Background;

/// How often it looks whether its kubeconfig and its socket are what they were.
const LOOK: Duration = Duration::from_secs(5);
/// How long what commands leave to be done may take at the end.
const FAREWELL: Duration = Duration::from_secs(20);

/// Leaves the session, the terminal and the descriptors of whoever started us.
/// To be called first of all.
pub fn leave_the_foreground() -> Result<(), ShareError> {
    let failed = |what| move |source| ShareError::Start { what, source };
    match sys::close_inherited() {
        // Linux before 5.9 has no such call; there is nothing else to do it by.
        Err(error) if error.kind() != io::ErrorKind::Unsupported => {
            return Err(failed("close what it inherited")(error));
        }
        _ => {}
    }
    setsid().map_err(|error| failed("leave the session")(error.into()))?;
    umask(Mode::RWXG | Mode::RWXO);
    // It was executed as /proc/self/exe; a name is all that can fail.
    let _ = rustix::thread::set_name(c"kpexec-share");
    Ok(())
}

/// Serves commands until none came for long enough, somebody stops it, or it is
/// not what they look for any more.
pub async fn background(arguments: Background) -> Result<u8, ShareError> {
    let Background { name, idle, mut cluster } = arguments;
    if let Ok(secrets) = std::env::var(start::SECRETS) {
        cluster.connection.set_secrets(&secrets);
    }
    let listener = listener().map_err(|source| ShareError::Start { what: "listen", source })?;
    let socket = Folder::open()?;
    let state = Arc::new(State::new(cluster.clone(), Duration::from_secs(idle)));
    let until = {
        let state = state.clone();
        async move {
            let path = socket.inside(&name);
            let outdated = async {
                while path.exists() && socket_name(&cluster) == name {
                    sleep(LOOK).await;
                    state.sweep(state.activity.idle());
                }
            };
            tokio::select! {
                () = state.activity.unneeded() => {}
                () = outdated => {}
            }
            remove(&path);
        }
    };
    Server::builder()
        .max_frame_size(FRAME)
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .add_service(ShareServer::new(Service(state.clone())))
        .serve_with_incoming_shutdown(incoming(listener), until)
        .await?;
    let _late = timeout(FAREWELL, state.activity.quiet()).await;
    Ok(0)
}

/// While we listen nobody puts another one in its place.
fn remove(socket: &Path) {
    // Gone already, or in a folder that is: then nobody finds it either.
    let _ = std::fs::remove_file(socket);
}

/// The socket that stdin is, which is /dev/null afterwards.
fn listener() -> io::Result<UnixListener> {
    let listener = io::stdin().as_fd().try_clone_to_owned()?;
    let null = open("/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::stdio::dup2_stdin(&null)?;
    let listener = std::os::unix::net::UnixListener::from(listener);
    listener.set_nonblocking(true)?;
    UnixListener::from_std(listener)
}

/// Connections of this user's.
fn incoming(listener: UnixListener) -> impl Stream<Item = io::Result<UnixStream>> {
    futures::stream::unfold(listener, async |listener| {
        loop {
            match listener.accept().await {
                Ok((stream, _)) if start::check(&stream, own_uid()).is_ok() => {
                    return Some((Ok(stream), listener));
                }
                // Who it was learns nothing.
                Ok(_) => {}
                // Too many open files: some will be closed.
                Err(_) => sleep(Duration::from_millis(100)).await,
            }
        }
    })
}
