//! tmux as the user's terminal: it obeys escape sequences and answers queries as
//! terminals do, and can be asked what it made of them.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

/// What the shell in it shows when it waits.
pub const PROMPT: &str = "user>";
/// How long something may take to happen.
const PATIENCE: Duration = Duration::from_secs(120);
/// What a session can leave on; tmux knows no more.
const MODES: &str = "#{alternate_on} #{mouse_any_flag} #{cursor_flag} #{wrap_flag} \
                     #{insert_flag} #{origin_flag} #{keypad_cursor_flag} #{keypad_flag}";

/// A tmux server of its own with a shell in it; both end with this.
pub struct Tmux {
    folder: TempDir,
    commands: u32,
}

impl Tmux {
    /// Starts both. Programs may set the clipboard, as in most terminals.
    ///
    /// # Errors
    /// When there is no tmux (`cargo xtask setup` installs it).
    pub fn start() -> Result<Self> {
        let tmux = Self { folder: tempfile::tempdir()?, commands: 0 };
        let shell = format!("env PS1='{PROMPT} ' bash --norc --noprofile -i");
        tmux.tmux(&["new-session", "-d", "-s", "t", "-x", "120", "-y", "40", &shell])?;
        tmux.tmux(&["set-option", "-s", "set-clipboard", "on"])?;
        tmux.wait_until("a prompt", |tmux| Ok(tmux.last_line()? == PROMPT))?;
        Ok(tmux)
    }

    fn tmux(&self, arguments: &[&str]) -> Result<String> {
        let output = Command::new("tmux")
            .arg("-S")
            .arg(self.folder.path().join("socket"))
            .args(["-f", "/dev/null"])
            .args(arguments)
            .output()
            .context("run tmux (`cargo xtask setup` installs it)")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "tmux {arguments:?}: {said}");
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// What tmux knows, by its FORMATS.
    ///
    /// # Errors
    /// When the server is gone.
    pub fn fact(&self, format: &str) -> Result<String> {
        Ok(self.tmux(&["display-message", "-p", "-t", "t", format])?.trim_end().to_owned())
    }

    /// Which modes are on.
    ///
    /// # Errors
    /// When the server is gone.
    pub fn modes(&self) -> Result<String> {
        self.fact(MODES)
    }

    /// The clipboard; empty if nobody has set it.
    ///
    /// # Errors
    /// When the server is gone.
    pub fn clipboard(&self) -> Result<String> {
        self.tmux(&["list-buffers", "-F", "#{buffer_sample}"])
    }

    /// What is to be seen.
    ///
    /// # Errors
    /// When the server is gone.
    pub fn screen(&self) -> Result<String> {
        self.tmux(&["capture-pane", "-p", "-t", "t"])
    }

    /// Its last line with anything in it.
    ///
    /// # Errors
    /// When the server is gone.
    pub fn last_line(&self) -> Result<String> {
        let screen = self.screen()?;
        let last = screen.lines().rfind(|line| !line.trim().is_empty());
        Ok(last.unwrap_or_default().trim().to_owned())
    }

    /// The settings of the terminal.
    ///
    /// # Errors
    /// When the pane is gone.
    pub fn settings(&self) -> Result<String> {
        let terminal = self.fact("#{pane_tty}")?;
        let output = Command::new("stty").args(["-g", "-F", &terminal]).output()?;
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Has the shell run a command, and does not wait for it.
    ///
    /// # Errors
    /// When the server is gone.
    pub fn start_command(&mut self, command: &Command) -> Result<()> {
        self.commands += 1;
        // From a file: what is typed stays short. By `exec`: the shell's child
        // is the command.
        let script = self.folder.path().join(self.commands.to_string());
        fs::write(&script, format!("exec {}\n", shell_words(command)))?;
        self.type_line(&format!("sh {0}; echo > {0}.ended", script.display()))
    }

    /// Types a line.
    ///
    /// # Errors
    /// When the server is gone.
    pub fn type_line(&self, line: &str) -> Result<()> {
        self.type_text(line)?;
        self.press("Enter")
    }

    /// Types what is no line yet.
    ///
    /// # Errors
    /// When the server is gone.
    pub fn type_text(&self, text: &str) -> Result<()> {
        self.tmux(&["send-keys", "-t", "t", "-l", text]).map(drop)
    }

    /// Presses a key, by tmux's name for it.
    ///
    /// # Errors
    /// When the server is gone.
    pub fn press(&self, key: &str) -> Result<()> {
        self.tmux(&["send-keys", "-t", "t", key]).map(drop)
    }

    /// Waits for the end of the command that was started last, and for what a
    /// terminal does late.
    ///
    /// # Errors
    /// When it does not end.
    pub fn wait_for_command(&self) -> Result<()> {
        let ended = self.folder.path().join(format!("{}.ended", self.commands));
        self.wait_until("the command's end", |_| Ok(ended.exists()))?;
        std::thread::sleep(Duration::from_millis(500));
        Ok(())
    }

    /// Runs a command to its end.
    ///
    /// # Errors
    /// When it does not end.
    pub fn run(&mut self, command: &Command) -> Result<()> {
        self.start_command(command)?;
        self.wait_for_command()
    }

    /// The process the shell has started.
    ///
    /// # Errors
    /// When there is none.
    pub fn command_pid(&self) -> Result<u32> {
        let shell = self.fact("#{pane_pid}")?;
        let children = fs::read_to_string(format!("/proc/{shell}/task/{shell}/children"))?;
        Ok(children.trim().parse()?)
    }

    /// Waits until something holds.
    ///
    /// # Errors
    /// When it does not within [`PATIENCE`].
    pub fn wait_until(&self, what: &str, holds: impl Fn(&Self) -> Result<bool>) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while !holds(self)? {
            let late = Instant::now() > deadline;
            ensure!(!late, "never: {what}; the screen: {}", self.screen()?);
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }
}

impl Drop for Tmux {
    fn drop(&mut self) {
        // A failed test has said why already.
        let _gone = self.tmux(&["kill-server"]);
    }
}

/// The command with its environment, as sh(1) reads it.
fn shell_words(command: &Command) -> String {
    let quote =
        |text: &std::ffi::OsStr| format!("'{}'", text.to_string_lossy().replace('\'', "'\\''"));
    let set = command
        .get_envs()
        .filter_map(|(name, value)| Some(format!("{}={}", name.to_string_lossy(), quote(value?))));
    let words = std::iter::once(command.get_program()).chain(command.get_args()).map(quote);
    std::iter::once("env".to_owned()).chain(set).chain(words).collect::<Vec<_>>().join(" ")
}
