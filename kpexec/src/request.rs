//! What a session asks of the helper: its first message. Pure.

use std::os::unix::ffi::OsStringExt;
use std::time::Duration;

use kpexec_protocol::{EnvVar, Keep, Start, Terminal};

use crate::cli::Cli;
use crate::helper_pod::Sharing;
use crate::identity::Identity;
use crate::run::RunError;
use crate::target::Target;

/// Whether the session can be come back to: if it is to linger, or can be left by
/// the keyboard. It needs a helper that stays.
pub fn keep(cli: &Cli, sharing: Sharing, tty: bool) -> Result<Option<Keep>, RunError> {
    if sharing == Sharing::None {
        return if cli.keep.linger.is_some() { Err(RunError::NotKept) } else { Ok(None) };
    }
    let seconds = |time: Duration| u32::try_from(time.as_secs()).unwrap_or(u32::MAX);
    if let Some(linger) = cli.keep.linger {
        return Ok(Some(Keep { linger: seconds(linger) }));
    }
    Ok((tty && cli.view.save_changes.is_none()).then_some(Keep { linger: 0 }))
}

/// The session's first message.
pub fn first_message(
    cli: &Cli,
    target: &Target,
    identity: &Identity,
    terminal: Option<Terminal>,
    keep: Option<Keep>,
) -> Start {
    let env = cli.env.iter();
    Start {
        target: Some(target.to_protocol()),
        identity: Some(identity.to_protocol()),
        argv: cli.command.iter().map(|arg| arg.clone().into_vec().into()).collect(),
        env: env
            .map(|var| EnvVar { name: var.name.clone().into(), value: var.value.clone().into() })
            .collect(),
        terminal,
        stdin: cli.stdin,
        workdir: cli.workdir.clone().map(|path| path.into_vec().into()),
        trust_target: cli.identity.trust_target,
        writes: kpexec_protocol::Writes::from(cli.view.writes).into(),
        writable: cli.view.writable,
        save_changes: cli.view.save_changes.is_some(),
        tools_root: cli.tools.tools_root,
        keep,
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;

    #[test]
    fn the_first_message_says_all_that_was_asked() {
        let target = Target::example();
        let message = |args: &str| {
            let args = args.split_whitespace().map(OsString::from);
            let cli = Cli::parse_args(args).unwrap();
            let identity = Identity::from_flags(&cli.identity).unwrap();
            first_message(&cli, &target, &identity, None, None)
        };
        let plain = Start {
            target: Some(target.to_protocol()),
            identity: Some(kpexec_protocol::Identity::default()),
            argv: vec!["ls".into(), "-l".into()],
            ..Start::default()
        };
        assert_eq!(message("kpexec web -- ls -l"), plain);
        // The helper chooses the shell: the client does not know what there is.
        let shell = Start { argv: Vec::new(), stdin: true, ..plain.clone() };
        assert_eq!(message("kpexec -i web"), shell);
        let flags = "-i --workdir /srv --trust-target --no-new-privs --env A=1 --writable";
        let expected = Start {
            identity: Some(kpexec_protocol::Identity { no_new_privs: true, ..Default::default() }),
            env: vec![EnvVar { name: "A".into(), value: "1".into() }],
            stdin: true,
            workdir: Some("/srv".into()),
            trust_target: true,
            writable: true,
            ..plain.clone()
        };
        assert_eq!(message(&format!("kpexec {flags} web -- ls -l")), expected);
        let discard = kpexec_protocol::Writes::Discard.into();
        let expected = Start { writes: discard, save_changes: true, ..plain };
        assert_eq!(message("kpexec --save-changes f.tar web -- ls -l"), expected);
    }
}
