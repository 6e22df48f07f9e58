//! The view, as far as `serve` has to do with it: what it is made with, and what
//! becomes of what was written.

use std::ffi::OsStr;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use bytes::BytesMut;
use kpexec_protocol::server_message::Kind;
use kpexec_protocol::{CHUNK, ServerMessage, Start, Writes};
use rustix::fd::{AsFd as _, OwnedFd};
use rustix::fs::{Mode, OFlags, openat};
use rustix::io::Errno;
use tokio::task::spawn_blocking;
use tools_overlay::parts::{UPPER, scratch};
use tools_overlay::{Part, Parts};

use super::Answers;
use super::changes::{self, Layer, Owners};
use super::own_root::{Difference, Names, list};
use crate::target::TargetProcess;
use crate::target::volumes::{self, Volume, volumes};

/// Why there is no view.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("the helper does not know the writes mode that was asked for")]
    Unknown,
    #[error("the request contradicts itself: {0}")]
    Contradiction(&'static str),
    #[error("cannot exclude what is mounted in the container")]
    Volumes(#[from] volumes::Error),
    #[error("cannot prepare the view")]
    Overlay(#[from] tools_overlay::Error),
    #[error("cannot keep hold of the view")]
    Hold(#[source] io::Error),
    #[error("cannot look at the view's root")]
    Look(#[source] Errno),
    #[error("cannot save the changes")]
    Save(#[from] changes::Error),
}

/// What `serve` keeps of a view.
#[derive(Debug)]
pub(super) struct View {
    pub writes: Writes,
    pub volumes: Vec<Volume>,
    /// The view's own root.
    root: OwnedFd,
    /// What was directly under it when the command started.
    before: Names,
    /// What was written, where it is to be saved.
    scratch: Option<OwnedFd>,
    owners: Owners,
}

impl View {
    /// Adds to `parts` what the writes that were asked for need.
    pub fn prepare(
        start: &Start,
        target: &TargetProcess,
        parts: &mut Parts,
    ) -> Result<Self, Error> {
        let writes = Writes::try_from(start.writes).map_err(|_| Error::Unknown)?;
        if start.writable && writes != Writes::Through {
            return Err(Error::Contradiction("to make it writable and not to write through"));
        }
        if start.save_changes && writes != Writes::Discard {
            return Err(Error::Contradiction("to save changes and not to discard them"));
        }
        if start.tools_root && writes == Writes::Discard {
            return Err(Error::Contradiction("to have another root and to discard writes"));
        }
        let hold = |fd: &OwnedFd| fd.try_clone().map_err(Error::Hold);
        let root = parts.get(Part::Root).ok_or(Error::Look(Errno::NOENT))?;
        let mut view = Self {
            writes,
            volumes: Vec::new(),
            root: root.try_clone_to_owned().map_err(Error::Hold)?,
            before: Names::default(),
            scratch: None,
            owners: Owners { users: target.uid_map.clone(), groups: target.gid_map.clone() },
        };
        if writes == Writes::Discard {
            let scratch = scratch()?;
            view.scratch = start.save_changes.then(|| hold(&scratch)).transpose()?;
            parts.add(Part::Scratch, scratch);
            view.volumes = volumes(target)?;
        }
        Ok(view)
    }

    /// To be called once the view is there and before the command starts: what
    /// comes later is the session's.
    pub fn begin(&mut self) -> Result<(), Error> {
        self.before = Names::of(&self.root).map_err(Error::Look)?;
        Ok(())
    }

    /// What the operator should know at the start.
    pub fn notices(&self) -> Vec<String> {
        let writable = self.volumes.iter().filter(|volume| !volume.read_only);
        let paths = writable.map(|volume| String::from_utf8_lossy(&volume.path).into_owned());
        let why = "what is written there could not be discarded";
        list(paths).map(|paths| format!("read-only, as {why}: {paths}")).into_iter().collect()
    }

    /// To be called once nothing of the session is left: sends the changes, if
    /// they were asked for and somebody is there to take them. Gives what the
    /// operator should know in the end.
    pub async fn conclude(self, answers: Option<Answers>) -> Result<Vec<String>, Error> {
        let now = Names::of(&self.root);
        if self.writes == Writes::Through {
            // Nothing is lost by it that was not lost before.
            let unknown = |errno| vec![format!("cannot tell what was made under /: {errno}")];
            return Ok(now.map_or_else(unknown, |now| self.before.changed_to(&now).notices()));
        }
        let (Some(scratch), Some(answers)) = (self.scratch, answers) else {
            return Ok(Vec::new());
        };
        let difference = self.before.changed_to(&now.map_err(Error::Look)?);
        let (root, owners) = (self.root, self.owners);
        let saving = spawn_blocking(move || save(&root, &difference, &scratch, owners, answers));
        let losses = saving.await.map_err(|error| Error::Hold(error.into()))??;
        let of = |what: &str| {
            let paths = losses.iter().filter(|(why, _)| *why == what);
            let paths = paths.map(|(_, path)| format!("/{}", path.display()));
            list(paths).map(|paths| format!("{what}: {paths}"))
        };
        Ok(changes::LOSSES.into_iter().filter_map(of).collect())
    }
}

/// Sends all that was written, then what was made and removed in the view's own
/// root.
fn save(
    root: &OwnedFd,
    difference: &Difference,
    scratch: &OwnedFd,
    owners: Owners,
    answers: Answers,
) -> Result<Vec<changes::Loss>, changes::Error> {
    let mut layer = Layer::new(Pieces { answers, buffer: BytesMut::new() }, owners);
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let upper = openat(scratch, UPPER, flags, Mode::empty())
        .map_err(|errno| changes::Error::Read(UPPER.into(), errno))?;
    layer.add_all(&upper, Path::new(""))?;
    for name in &difference.made {
        let path = Path::new(OsStr::from_bytes(name.to_bytes()));
        layer.add(root.as_fd(), name, path)?;
    }
    for name in &difference.removed {
        layer.remove(Path::new(OsStr::from_bytes(name.to_bytes())))?;
    }
    layer.finish()
}

/// Sends what is written to it, in messages of their largest size.
struct Pieces {
    answers: Answers,
    buffer: BytesMut,
}

impl Pieces {
    fn send(&mut self, length: usize) -> io::Result<()> {
        let kind = Some(Kind::Changes(self.buffer.split_to(length).freeze()));
        let sent = self.answers.blocking_send(Ok(ServerMessage { kind }));
        sent.map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffer.extend_from_slice(bytes);
        while self.buffer.len() >= CHUNK {
            self.send(CHUNK)?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() { Ok(()) } else { self.send(self.buffer.len()) }
    }
}
