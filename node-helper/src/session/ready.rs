//! What a session needs whatever it is asked for: made ready while its request is
//! still on its way.

use super::Context;
use crate::cgroup::SessionCgroup;
use crate::cri::{self, Runtime};
use crate::enter::spawn::{self, EntryProcess};
use crate::failure::{chain, tell};

/// An entry process, and a connection to the runtime.
pub(super) struct Ready {
    pub starting: Result<Starting, spawn::Error>,
    pub runtime: Result<Runtime, cri::Error>,
}

impl Ready {
    /// Makes both.
    pub async fn new(context: &Context) -> Self {
        let starting = Starting::new(context);
        Self { starting, runtime: Runtime::connect(&context.cri_socket).await }
    }

    /// Where no session begins with it.
    pub async fn abandon(self) {
        if let Ok(starting) = self.starting {
            starting.abandon().await;
        }
    }
}

/// An entry process on its way into the session's cgroup: before it gets its
/// order, so that all that comes of it is born there.
pub(super) struct Starting {
    pub entry: EntryProcess,
    cgroup: Option<SessionCgroup>,
}

impl Starting {
    fn new(context: &Context) -> Result<Self, spawn::Error> {
        let made = match context.cgroups.as_ref() {
            Ok(cgroups) => cgroups.session().map_err(|error| chain(&error)),
            Err(error) => Err(chain(error)),
        };
        let (cgroup, door) = made.inspect_err(|why| no_cgroup(why)).ok().unzip();
        let entry = EntryProcess::start(&context.binary, door.as_ref())?;
        Ok(Self { entry, cgroup })
    }

    /// The cgroup, once the entry process is in it.
    pub async fn cgroup(&mut self) -> Result<Option<SessionCgroup>, spawn::Error> {
        if let Err(errno) = self.entry.joined().await? {
            no_cgroup(&format!("cannot join it: {errno}"));
            self.cgroup = None;
        }
        Ok(self.cgroup.take())
    }

    /// Ends the entry process and waits for that: a cgroup with somebody in it could
    /// not be removed at once, and this thread would have to wait.
    pub async fn abandon(mut self) {
        self.entry.end().await;
    }
}

/// A node that refuses one is debugged all the same, but not in silence: the
/// client shows it with a failure, and with -v.
fn no_cgroup(why: &str) {
    tell(&format!("the session has no cgroup: {why}"));
}
