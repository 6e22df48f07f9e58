//! kpexec: a command inside any container of a Kubernetes cluster, as anybody.

mod api_error;
mod attach;
mod attend;
mod banner;
mod capability;
mod changes;
mod cli;
mod cluster;
mod completion;
mod config_view;
mod cri_socket;
mod diagnosis;
mod dry_run;
mod exit_code;
mod explain;
mod find;
mod gc;
mod helper_pod;
mod identity;
mod local;
mod local_io;
mod manifest;
mod nearest;
mod rbac;
mod recent;
mod reference;
mod report;
mod request;
mod run;
mod session;
mod sessions;
mod share;
mod signals;
mod start;
mod status_line;
mod stdout;
mod table;
mod target;
mod terminal;
mod transport;
mod user;

use std::error::Error;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use cli::{Action, CliError, Config, Invocation, Verbosity};
use run::RunError;

fn main() -> ExitCode {
    // Before anything uses TLS: kube panics if it finds two providers or none.
    // It fails only if one is installed already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    terminal::restore_on_panic();
    let invocation = match Invocation::parse(std::env::args_os()) {
        Ok(invocation) => invocation,
        Err(error) => return refuse(error),
    };
    if let Invocation::Background(_) = &invocation
        && let Err(error) = share::leave_the_foreground()
    {
        report::error(&error, None, false);
        return exit_code::OURS.into();
    }
    let verbosity = invocation.verbosity();
    if verbosity.is_on() {
        log_to_stderr(verbosity);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let result = match runtime {
        // A panic has been told by its hook; 101 would look like the command's.
        Ok(runtime) => {
            let run = AssertUnwindSafe(|| runtime.block_on(answer(invocation)));
            let Ok(result) = catch_unwind(run) else { return exit_code::OURS.into() };
            result
        }
        Err(source) => Err(RunError::Local { what: "start the asynchronous runtime", source }),
    };
    match result {
        Ok(code) => code.into(),
        Err(error) => {
            if !matches!(error, RunError::Interrupted(_)) {
                tell(&error, error.hint(), verbosity.is_on());
            }
            error.exit_code().into()
        }
    }
}

async fn answer(invocation: Invocation) -> Result<u8, RunError> {
    match invocation {
        Invocation::Session(cli) if cli.local.local => local::run(*cli).await,
        Invocation::Session(mut cli) => {
            manifest::read_into(&mut cli)?;
            match cli.shares() {
                Some(idle) => share::run(*cli, idle).await,
                None => run::run(*cli).await,
            }
        }
        Invocation::Gc(gc) => gc::gc(&gc).await,
        Invocation::Attach(attach) => attach::attach(&attach).await,
        Invocation::Sessions(sessions) => sessions::sessions(&sessions).await,
        Invocation::Config(Config { action: Action::View }, settings) => {
            config_view::view(&settings)
        }
        Invocation::Completion(shell) => completion::print_script(shell),
        Invocation::Complete(words) => Ok(completion::complete(words)),
        Invocation::Reference(folder) => Ok(reference::write(&folder)?),
        Invocation::Background(background) => Ok(share::background(background).await?),
    }
}

fn refuse(error: CliError) -> ExitCode {
    match error {
        CliError::Information(text) => match stdout::print(&text) {
            Ok(()) => return ExitCode::SUCCESS,
            Err(error) => tell(&error, error.hint(), false),
        },
        CliError::Usage { ref hint, .. } => tell(&error, hint.clone(), false),
        CliError::Settings(error) => tell(&error, error.hint(), false),
    }
    exit_code::OURS.into()
}

/// Where every hint passes, so that each has command lines as this user types them.
fn tell(error: &dyn Error, hint: Option<String>, verbose: bool) {
    let hint = hint.map(|hint| cli::program::hint_as_typed(&hint));
    report::error(error, hint.as_deref(), verbose);
}

/// Our own steps only: kube logs every answer that is not 2xx as an error.
fn log_to_stderr(verbosity: Verbosity) {
    let steps = "off,kpexec=debug";
    let filter = if verbosity.shows_calls() {
        format!("{steps},{}=trace", cluster::CALLS)
    } else {
        steps.to_owned()
    };
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::new(filter))
        .with_writer(std::io::stderr)
        .with_target(false)
        .without_time()
        .init();
}
