//! What makes a shell ask us.

use crate::cli::Shell;
use crate::run::RunError;
use crate::stdout;

/// Prints the shell's script.
pub fn print_script(shell: Shell) -> Result<u8, RunError> {
    stdout::print(script(shell))?;
    Ok(0)
}

/// The shell's script.
pub fn script(shell: Shell) -> &'static str {
    match shell {
        Shell::Bash => include_str!("scripts/kpexec.bash"),
        Shell::Zsh => include_str!("scripts/kpexec.zsh"),
        Shell::Fish => include_str!("scripts/kpexec.fish"),
        Shell::Powershell => include_str!("scripts/kpexec.ps1"),
    }
}
