//! The terminal while a session has it: raw, behind a filter, and itself again
//! on every way out: when the guard is dropped, on a panic, and on signals.

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Signal, getpid, kill_process};
use rustix::stdio::{stdin, stdout};
use rustix::termios::{
    OptionalActions, QueueSelector, Termios, isatty, tcflush, tcgetattr, tcsetattr,
};

use super::filter::Filter;

/// How long a terminal that has been asked something may be silent before it is
/// taken to have answered. Longer than most links to one take.
const QUIET: Duration = Duration::from_millis(100);
/// How long it may go on answering, or somebody typing.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long a terminal may take to take output: it may be stopped for ever.
const STUCK: Duration = Duration::from_millis(500);

// All are global, because the panic hook has nothing else.

/// The settings to go back to.
static SAVED: Mutex<Option<Termios>> = Mutex::new(None);
/// What the session's output passes; nothing if stdout is no terminal.
static FILTER: Mutex<Option<Filter>> = Mutex::new(None);
/// The session is over: what was still to be written is not.
static ENDED: AtomicBool = AtomicBool::new(false);

/// Raw mode, for as long as this lives.
pub struct RawMode(());

impl RawMode {
    /// Switches the terminal on stdin to raw mode: every key is the command's.
    /// What the command shows is filtered unless `unfiltered`.
    pub fn enter(unfiltered: bool) -> io::Result<Self> {
        // No terminal where one was insisted on: nothing to switch then.
        let before = isatty(stdin()).then(|| tcgetattr(stdin())).transpose()?;
        SAVED.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&before);
        let filter = isatty(stdout()).then(|| Filter::new(unfiltered));
        *FILTER.lock().unwrap_or_else(PoisonError::into_inner) = filter;
        let guard = Self(());
        if let Some(mut raw) = before {
            raw.make_raw();
            tcsetattr(stdin(), OptionalActions::Drain, &raw)?;
        }
        Ok(guard)
    }

    /// Gives the terminal back and stops this process; takes it again once the
    /// process is continued. Without a shell that could do so nothing stops.
    ///
    /// What was on an alternate screen is lost: the command has to draw it anew.
    pub fn suspend(&self) -> io::Result<()> {
        let before = SAVED.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(before) = before else { return Ok(()) };
        let mut raw = before.clone();
        raw.make_raw();
        // Held to the end: no output may come while it is the shell's.
        let filter = lock_filter();
        let filter = filter.as_deref().and_then(Option::as_ref);
        put(&filter.map(Filter::undo_for_now).unwrap_or_default());
        tcsetattr(stdin(), OptionalActions::Now, &before)?;
        kill_process(getpid(), Signal::TSTP)?;
        tcsetattr(stdin(), OptionalActions::Now, &raw)?;
        put(&filter.map(Filter::redo).unwrap_or_default());
        Ok(())
    }
}

impl RawMode {
    /// Makes the terminal as the session had it with a client before this one, by
    /// what [`redo`] was then. What was on an alternate screen is lost, too.
    pub fn resume(&self, redo: &[u8]) {
        let mut filter = lock_filter();
        if let Some(filter) = filter.as_deref_mut().and_then(Option::as_mut) {
            put(&filter.pass(redo));
        }
    }
}

/// What makes a terminal as the session has made this one, as long as it has one.
pub fn redo() -> Option<Vec<u8>> {
    let filter = lock_filter();
    filter.as_deref().and_then(Option::as_ref).map(Filter::redo)
}

impl Drop for RawMode {
    fn drop(&mut self) {
        end();
    }
}

/// Restores the terminal before the panic's message is printed, and whatever
/// becomes of the thread.
pub fn restore_on_panic() {
    let default = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        end();
        default(info);
    }));
}

/// Writes output of the command to stdout by `write`: filtered if it is the
/// terminal of a session, and not at all once that is over. Says whether it was
/// written.
pub fn show(bytes: &[u8], write: impl FnOnce(&[u8]) -> io::Result<()>) -> io::Result<bool> {
    // Written under the lock: nothing may come after what `end` writes.
    let mut filter = FILTER.lock().unwrap_or_else(PoisonError::into_inner);
    if ENDED.load(Ordering::SeqCst) {
        return Ok(false);
    }
    match &mut *filter {
        Some(filter) => write(&filter.pass(bytes))?,
        None => write(bytes)?,
    }
    Ok(true)
}

/// Throws away what has been typed on stdin's terminal and not been read:
/// answers that took longer than the session's end, and keys that were meant for
/// the session and must not become commands of the local shell.
pub fn discard_input() {
    // Fails if it is no terminal any more: then nothing can be typed on it.
    let _ = tcflush(stdin(), QueueSelector::IFlush);
}

/// Each step is done once, by whoever comes first. No step waits for ever: the
/// terminal may be gone or stopped.
fn end() {
    ENDED.store(true, Ordering::SeqCst);
    if let Some(filter) = lock_filter().and_then(|mut filter| filter.take()) {
        put(&filter.undo());
    }
    // Held to the end, or a second caller would end the process under the first.
    let mut saved = SAVED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(before) = saved.take() {
        // While still raw: what is thrown away is not echoed either.
        let begun = Instant::now();
        while ready(stdin(), PollFlags::IN, QUIET) && begun.elapsed() < PATIENCE {
            discard_input();
        }
        // Now, not after draining: output may be stopped for ever (^S). A terminal that is
        // gone needs no settings.
        let _ = tcsetattr(stdin(), OptionalActions::Now, &before);
    }
}

/// Writes to the terminal, unless that takes nothing. One that is gone has nothing
/// left on.
fn put(bytes: &[u8]) {
    if !bytes.is_empty() && ready(stdout(), PollFlags::OUT, STUCK) {
        let _ = rustix::io::write(stdout(), bytes);
    }
}

/// The filter, unless the terminal holds up the one who writes through it.
fn lock_filter() -> Option<MutexGuard<'static, Option<Filter>>> {
    let begun = Instant::now();
    loop {
        match FILTER.try_lock() {
            Ok(filter) => return Some(filter),
            Err(TryLockError::Poisoned(filter)) => return Some(filter.into_inner()),
            Err(TryLockError::WouldBlock) if begun.elapsed() > STUCK => return None,
            Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(5)),
        }
    }
}

/// Whether it is, within this time. A terminal that hung up never is.
fn ready(fd: BorrowedFd<'_>, what: PollFlags, within: Duration) -> bool {
    let mut fds = [PollFd::new(&fd, what)];
    let within = Timespec { tv_sec: 0, tv_nsec: within.as_nanos().try_into().unwrap_or(0) };
    loop {
        match poll(&mut fds, Some(&within)) {
            Err(Errno::INTR) => {}
            Err(_) => return false,
            Ok(_) => return fds[0].revents() == what,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{Read as _, Write as _};
    use std::process::{Command, Stdio};
    use std::sync::mpsc;
    use std::time::{SystemTime, UNIX_EPOCH};

    use rustix::fd::{AsFd, OwnedFd};
    use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt};
    use rustix::termios::LocalModes;

    use super::*;

    /// Set for the copy of this test binary that runs in the terminal; says how
    /// its session ends.
    const INSIDE: &str = "KPEXEC_TEST_INSIDE_A_TERMINAL";
    /// A session that leaves much on, and asks for what comes too late.
    const SESSION: &[u8] =
        b"\x1b]0;owned\x07\x1b[?1049h\x1b[?1003h\x1b[?25l\x1b]52;c;eA==\x07\x1b[6n";
    const UNDO: &str = "\x1b[?1049l\x1b[?25h\x1b[?1003l\x1b[23;0t";

    fn pseudoterminal() -> (File, OwnedFd) {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = openpt(flags).unwrap();
        unlockpt(&master).unwrap();
        let slave = ioctl_tiocgptpeer(&master, flags).unwrap();
        (master.into(), slave)
    }

    fn is_cooked(terminal: impl AsFd) -> bool {
        let modes = tcgetattr(terminal).unwrap().local_modes;
        modes.contains(LocalModes::ICANON | LocalModes::ECHO)
    }

    /// In milliseconds, for both processes.
    fn now() -> u128 {
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()
    }

    /// Shows what the copy writes, and answers its question as a slow terminal
    /// does; says when. Ends with the copy and its last handle of the terminal.
    fn act_as_terminal(mut master: File, answering: &mpsc::Sender<u128>) -> String {
        let (mut shown, mut buffer, mut answered) = (Vec::new(), [0; 4096], false);
        while let Ok(length @ 1..) = master.read(&mut buffer) {
            shown.extend_from_slice(&buffer[..length]);
            if !answered && shown.windows(4).any(|bytes| bytes == b"\x1b[6n") {
                answered = true;
                std::thread::sleep(Duration::from_millis(20));
                master.write_all(b"\x1b[24;80R").unwrap();
                answering.send(now()).unwrap();
            }
        }
        String::from_utf8_lossy(&shown).into_owned()
    }

    /// Runs a session that ends in this way; gives what was shown, what the next
    /// program reads when somebody types `x`, and after how many milliseconds the
    /// question was answered.
    fn session_that(ends: &str) -> (String, String, u128) {
        let (master, slave) = pseudoterminal();
        let mut keyboard = master.try_clone().unwrap();
        let end = || Stdio::from(slave.try_clone().unwrap());
        let mut copy = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "terminal::raw_mode::tests::a_session_leaves_nothing_behind"])
            .env(INSIDE, ends)
            .stdin(end())
            .stdout(end())
            .stderr(end())
            .spawn()
            .unwrap();
        let (answering, answered) = mpsc::channel();
        let screen = std::thread::spawn(move || act_as_terminal(master, &answering));
        copy.wait().unwrap();
        assert_eq!(is_cooked(&slave), ends != "leaves", "after one that {ends}");
        // However late the answer is, this is typed after it.
        let answered = answered.recv_timeout(Duration::from_secs(20)).expect("no question");
        keyboard.write_all(b"x\r").unwrap();
        let mut typed = [0; 100];
        let length = rustix::io::read(&slave, &mut typed).unwrap();
        drop(slave);
        let shown = screen.join().unwrap();
        let asked = shown.split_once("asked at ").and_then(|(_, rest)| rest.split('.').next());
        let asked: u128 = asked.unwrap().parse().unwrap();
        let typed = String::from_utf8_lossy(&typed[..length]).into_owned();
        (shown, typed, answered.saturating_sub(asked))
    }

    /// The same with a terminal that answered in time, which on a busy machine it may
    /// not have: then the session is right to leave the answer.
    fn session_answered_in_time(ends: &str) -> (String, String) {
        for _ in 0..100 {
            let (shown, typed, took) = session_that(ends);
            if took < QUIET.as_millis() / 2 {
                return (shown, typed);
            }
        }
        panic!("no terminal answers in time");
    }

    /// The copy's part.
    fn session(ends: &str) {
        restore_on_panic();
        let raw = RawMode::enter(false).unwrap();
        assert!(!is_cooked(stdin()), "raw mode does nothing");
        rustix::io::write(stdout(), format!("asked at {}.", now()).as_bytes()).unwrap();
        let write = |bytes: &[u8]| rustix::io::write(stdout(), bytes).map(drop).map_err(Into::into);
        assert!(show(SESSION, write).unwrap());
        match ends {
            "returns" => drop(raw),
            // As a bug would: not caught by anybody, the guard never dropped.
            "panics" => {
                std::mem::forget(raw);
                panic!("on purpose");
            }
            "panics while it writes" => {
                std::mem::forget(raw);
                let result = show(b"", |_| panic!("on purpose"));
                unreachable!("{result:?}");
            }
            // As a program without any of this.
            "leaves" => std::process::exit(0),
            other => unreachable!("{other}"),
        }
        assert!(!show(b"too late", write).unwrap());
    }

    #[test]
    fn a_session_leaves_nothing_behind() {
        if let Ok(ends) = std::env::var(INSIDE) {
            return session(&ends);
        }
        // The terminal of this test is one: without the end, all is left.
        let (shown, typed, _) = session_that("leaves");
        assert!(!shown.contains(UNDO), "{shown:?}");
        assert!(typed.starts_with("\x1b[24;80R"), "no late answer: {typed:?}");

        for ends in ["returns", "panics"] {
            let (shown, typed) = session_answered_in_time(ends);
            assert!(shown.contains("\x1b[22;0t\x1b]0;owned"), "{shown:?}");
            assert!(shown.contains(UNDO), "{ends}: {shown:?}");
            assert!(!shown.contains("\x1b]52"), "{ends}: {shown:?}");
            assert_eq!(shown.contains("on purpose"), ends == "panics", "{shown:?}");
            assert!(!shown.contains("too late"), "{ends}: {shown:?}");
            assert_eq!(typed, "x\n", "after one that {ends}");
        }
        // The panicking thread itself holds the filter then: settings at least.
        assert_eq!(session_answered_in_time("panics while it writes").1, "x\n");
    }
}
