//! A terminal for kpexec to run in, and a hand to type on it.

use std::fs::File;
use std::io::{Read, Write};
use std::process::{Child, Command};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::fd::OwnedFd;
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{Termios, Winsize, tcgetattr, tcsetwinsize};

/// How long something may take to appear on the screen.
const PATIENCE: Duration = Duration::from_secs(90);

/// A terminal with a program in it.
pub struct Terminal {
    master: File,
    slave: OwnedFd,
    screen: Arc<(Mutex<Vec<u8>>, Condvar)>,
    /// The program.
    pub child: Child,
}

impl Terminal {
    /// Runs a command with the terminal as its controlling one.
    ///
    /// # Errors
    /// When there is no terminal to be had, or the command cannot be started.
    pub fn run(command: &Command, rows: u16, columns: u16) -> Result<Self> {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = openpt(flags)?;
        grantpt(&master)?;
        unlockpt(&master)?;
        let slave = ioctl_tiocgptpeer(&master, flags)?;
        set_size(&master, rows, columns)?;
        // setsid(1) makes the terminal the controlling one, so that a change of
        // its size and Ctrl-C reach the program; `exec` gives the program the
        // PID that we know.
        let mut inside = Command::new("setsid");
        inside.args(["--ctty", "--wait"]).arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => inside.env(name, value),
                None => inside.env_remove(name),
            };
        }
        let end = || slave.try_clone();
        inside.stdin(end()?).stdout(end()?).stderr(end()?).env("TERM", "xterm");
        let child = inside.spawn().context("run setsid(1)")?;
        let screen = Arc::new((Mutex::new(Vec::new()), Condvar::new()));
        let master = File::from(master);
        read_in_background(master.try_clone()?, screen.clone());
        Ok(Self { master, slave, screen, child })
    }

    /// Types.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub fn type_in(&mut self, text: &str) -> Result<()> {
        Ok(self.master.write_all(text.as_bytes())?)
    }

    /// Changes the size; the kernel tells the program.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub fn resize(&self, rows: u16, columns: u16) -> Result<()> {
        set_size(&self.master, rows, columns)
    }

    /// Waits until `text` has been shown and returns all that was.
    ///
    /// # Errors
    /// When it is not shown within [`PATIENCE`]; with what was.
    pub fn expect(&self, text: &str) -> Result<String> {
        let deadline = Instant::now() + PATIENCE;
        let (lock, changed) = &*self.screen;
        let mut screen = lock.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let shown = String::from_utf8_lossy(&screen).into_owned();
            if shown.contains(text) {
                return Ok(shown);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                bail!("{text:?} was not shown; this was: {shown:?}");
            }
            screen = changed.wait_timeout(screen, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// The terminal's settings, to compare before and after.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub fn settings(&self) -> Result<Settings> {
        Ok(Settings::of(&tcgetattr(&self.slave)?))
    }
}

/// What of a terminal's settings raw mode changes.
#[derive(Debug, PartialEq, Eq)]
pub struct Settings {
    input: String,
    output: String,
    local: String,
}

impl Settings {
    fn of(termios: &Termios) -> Self {
        Self {
            input: format!("{:?}", termios.input_modes),
            output: format!("{:?}", termios.output_modes),
            local: format!("{:?}", termios.local_modes),
        }
    }
}

fn set_size(master: impl rustix::fd::AsFd, rows: u16, columns: u16) -> Result<()> {
    let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    Ok(tcsetwinsize(master, size)?)
}

fn read_in_background(mut master: File, screen: Arc<(Mutex<Vec<u8>>, Condvar)>) {
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = master.read(&mut buffer) {
            let (lock, changed) = &*screen;
            let mut shown = lock.lock().unwrap_or_else(PoisonError::into_inner);
            shown.extend_from_slice(&buffer[..count]);
            changed.notify_all();
        }
    });
}
