//! `kiln serve`: the control plane in the foreground.

use std::process::ExitCode;

use kiln_control::registry::EmbeddedError;
use kiln_control::{ServeConfig, ServeError, serve};

use crate::context::log_to_stderr;
use crate::error::{Failure, Kind, Result};
use crate::home::Home;

/// Arguments of `kiln serve`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Take the place of the control plane that runs; instances and traffic go on meanwhile
    #[arg(long)]
    replace: bool,
    /// Serve a registry on the home's images too, on this address, such as 127.0.0.1:5000. Its settings are
    /// registry/config.json in the home folder
    #[arg(long, value_name = "ADDRESS", env = "KILN_REGISTRY")]
    registry: Option<String>,
    /// Leave the terminal that started it, as `kiln up` does
    #[arg(long, hide = true)]
    detach: bool,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    if args.detach {
        // Fails only for the leader of a process group, which a child started for this never is.
        let _ = rustix::process::setsid();
    }
    log_to_stderr();
    let config = ServeConfig {
        home: Home::find()?.path().to_owned(),
        exe: crate::context::program()?,
        replace: args.replace,
        // An empty variable is an unset one.
        registry: args.registry.clone().filter(|address| !address.is_empty()),
    };
    serve(&config).map_err(|error| failure(&error))?;
    Ok(ExitCode::SUCCESS)
}

fn failure(error: &ServeError) -> Failure {
    let kind = match error {
        ServeError::Running { .. } => Kind::Refused,
        ServeError::Registry(EmbeddedError::Open(error)) if error.in_use() => Kind::Refused,
        _ => Kind::Failed,
    };
    let failure = Failure::from_error(kind, error);
    match error.hint() {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}
