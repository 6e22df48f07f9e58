//! kpexec: a command inside any container of a Kubernetes cluster, as anybody.

mod api_error;
mod attach;
mod attend;
mod banner;
mod capability;
mod changes;
mod cli;
mod cluster;
mod connector;
mod cri_socket;
mod diagnosis;
mod exit_code;
mod find;
mod gc;
mod helper_pod;
mod identity;
mod local;
mod local_io;
mod report;
mod request;
mod run;
mod session;
mod sessions;
mod share;
mod signals;
mod start;
mod target;
mod terminal;
mod transport;
mod user;

use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use cli::{CliError, Invocation};
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
    let verbose = invocation.is_verbose();
    if verbose {
        log_to_stderr();
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
                report::error(&error, error.hint().as_deref(), verbose);
            }
            error.exit_code().into()
        }
    }
}

async fn answer(invocation: Invocation) -> Result<u8, RunError> {
    match invocation {
        Invocation::Session(cli) if cli.local.local => local::run(*cli).await,
        Invocation::Session(cli) => match cli.shares() {
            Some(idle) => share::run(*cli, idle).await,
            None => run::run(*cli).await,
        },
        Invocation::Gc(gc) => gc::gc(&gc).await,
        Invocation::Attach(attach) => attach::attach(&attach).await,
        Invocation::Sessions(sessions) => sessions::sessions(&sessions).await,
        Invocation::Background(background) => Ok(share::background(background).await?),
    }
}

fn refuse(error: CliError) -> ExitCode {
    match error {
        CliError::Information(text) => {
            // `kpexec --help | head -1` closes the pipe, and that is fine.
            let _ = write!(std::io::stdout(), "{text}");
            ExitCode::SUCCESS
        }
        CliError::Usage { ref hint, .. } => {
            report::error(&error, hint.as_deref(), false);
            exit_code::OURS.into()
        }
    }
}

/// Our own steps only: kube logs every answer that is not 2xx as an error.
fn log_to_stderr() {
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::new("off,kpexec=debug"))
        .with_writer(std::io::stderr)
        .with_target(false)
        .without_time()
        .init();
}
