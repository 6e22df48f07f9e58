//! Cgroups against the kernel, with processes that do their worst. An ordinary
//! user is refused cgroups, and that is what such a one tests.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use super::super::{Cgroups, Error};
use super::*;
use crate::target::Procfs;

/// What is killed: a hundred sleepers in sessions of their own, and comets, each of
/// which starts the next one and ends. N bounds these, if all else fails.
const SWARM: &str = "
    read go
    export N=0 COMET='N=$((N+1)); [ $N -lt 30000 ] && sh -c \"$COMET\" &'
    i=0; while [ $i -lt 10 ]; do (setsid sh -c \"$COMET\" &); i=$((i+1)); done
    i=0; while [ $i -lt 100 ]; do setsid sleep 100 & i=$((i+1)); done
    echo ready; read never
";

/// Longer than a busy machine takes for any of this.
const LIMIT: Duration = Duration::from_secs(30);

/// A process tree in a cgroup.
struct Swarm {
    cgroup: SessionCgroup,
    child: Child,
}

impl Swarm {
    /// `None` where an ordinary user was refused.
    fn start(hierarchy: Option<Hierarchy>) -> Option<Self> {
        let procfs = Procfs::open().unwrap();
        let cgroups = match hierarchy {
            Some(hierarchy) => Cgroups::of(&procfs, hierarchy),
            None => Cgroups::open(&procfs),
        };
        let mut child = Command::new("sh")
            .args(["-c", SWARM])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()
            .unwrap();
        let made = cgroups.and_then(|cgroups| cgroups.session());
        let cgroup = match made {
            Ok((cgroup, _door)) => cgroup,
            Err(error) => {
                child.kill().unwrap();
                child.wait().unwrap();
                assert_refused(&error);
                return None;
            }
        };
        migrate(&cgroup.folder, child.id().cast_signed()).unwrap();
        child.stdin.as_mut().unwrap().write_all(b"go\n").unwrap();
        let mut ready = [0; 6];
        child.stdout.as_mut().unwrap().read_exact(&mut ready).unwrap();
        let swarm = Self { cgroup, child };
        assert!(swarm.cgroup.members().unwrap().len() > 100, "a swarm is large");
        Some(swarm)
    }

    fn kill_by(mut self, kill: impl Fn(&SessionCgroup) -> io::Result<()>) {
        let deadline = Instant::now() + LIMIT;
        while !self.cgroup.members().unwrap().is_empty() {
            assert!(Instant::now() < deadline, "it is not killed");
            kill(&self.cgroup).unwrap();
        }
        self.child.wait().unwrap();
        // Not only unlisted: nobody is left who could start another.
        assert_goes(&self.cgroup);
    }
}

/// It can be removed, now or when the last of the dead has left it. Of the living there
/// is none, now or then.
fn assert_goes(cgroup: &SessionCgroup) {
    let deadline = Instant::now() + LIMIT;
    while !cgroup.removed() {
        let members = cgroup.members().unwrap();
        assert!(members.is_empty(), "{members:?} live on");
        assert!(Instant::now() < deadline, "it is not empty");
        std::thread::sleep(POLL);
    }
}

/// Whether the members stay the same for a while: comets never do.
fn rests(cgroup: &SessionCgroup) -> bool {
    let before = cgroup.members().unwrap();
    std::thread::sleep(Duration::from_millis(100));
    before == cgroup.members().unwrap()
}

fn assert_refused(error: &Error) {
    assert!(!rustix::process::geteuid().is_root(), "root was refused: {error:?}");
    let errno = match error {
        Error::Call(_, errno) => Some(*errno),
        Error::Mount(error) => Errno::from_io_error(error),
        Error::NoHierarchy => None,
    };
    assert!(matches!(errno, Some(Errno::PERM | Errno::ACCESS)), "{error:?}");
}

#[test]
fn a_process_joins_by_the_door() {
    let procfs = Procfs::open().unwrap();
    let own = Cgroups::open(&procfs);
    for cgroups in [own, Cgroups::of(&procfs, Hierarchy::V2)] {
        let (cgroup, door) = match cgroups.and_then(|cgroups| cgroups.session()) {
            Ok(made) => made,
            Err(error) => return assert_refused(&error),
        };
        let mut child = Command::new("sh")
            .args(["-c", "printf 0; echo joined >&2; read never"])
            .stdin(Stdio::piped())
            .stdout(door)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stderr.as_mut().unwrap().read_exact(&mut [0; 7]).unwrap();
        assert_eq!(cgroup.members().unwrap(), [child.id().cast_signed()]);
        drop(child.stdin.take());
        child.wait().unwrap();
    }
}

#[test]
fn the_frozen_start_nobody() {
    for hierarchy in [None, Some(Hierarchy::V2)] {
        let Some(mut swarm) = Swarm::start(hierarchy) else { continue };
        assert!((0..200).any(|_| !rests(&swarm.cgroup)), "no comet starts another");
        let freezer = swarm.cgroup.hierarchy.freezer();
        write(&swarm.cgroup.folder, freezer.file, freezer.freeze).unwrap();
        assert!((0..200).any(|_| rests(&swarm.cgroup)), "it is not frozen");
        write(&swarm.cgroup.folder, freezer.file, freezer.thaw).unwrap();
        // It was not for want of any.
        assert!((0..200).any(|_| !rests(&swarm.cgroup)), "no comet is left");
        drop(swarm.cgroup);
        swarm.child.wait().unwrap();
    }
}

#[test]
fn all_die_in_the_hierarchy_of_this_machine() {
    if let Some(swarm) = Swarm::start(None) {
        swarm.kill_by(SessionCgroup::kill);
    }
}

#[test]
fn all_die_in_version_2() {
    if let Some(swarm) = Swarm::start(Some(Hierarchy::V2)) {
        swarm.kill_by(|cgroup| write(&cgroup.folder, "cgroup.kill", "1"));
    }
}

#[test]
fn all_die_in_version_2_of_an_older_kernel() {
    if let Some(swarm) = Swarm::start(Some(Hierarchy::V2)) {
        swarm.kill_by(SessionCgroup::kill_frozen);
    }
}

#[test]
fn a_cgroup_that_is_dropped_is_killed_and_removed() {
    if let Some(Swarm { cgroup, mut child }) = Swarm::start(Some(Hierarchy::V2)) {
        let parent = cgroup.parent.try_clone().unwrap();
        let name = cgroup.name.clone();
        let begun = Instant::now();
        drop(cgroup);
        let tried = begun.elapsed();
        child.wait().unwrap();
        match SessionCgroup::open(Hierarchy::V2, parent, name) {
            Err(errno) => assert_eq!(errno, Errno::NOENT),
            // On a busy machine a hundred take longer to die than a drop may. They are
            // killed, though, and not before its time is over was it given up.
            Ok(left) => {
                assert!(tried >= MOMENT, "it is given up after {tried:?}");
                let deadline = Instant::now() + LIMIT;
                while !left.members().unwrap().is_empty() {
                    assert!(Instant::now() < deadline, "they are not killed");
                    std::thread::sleep(POLL);
                }
                assert_goes(&left);
            }
        }
    }
}
