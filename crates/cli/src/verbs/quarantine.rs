//! `kiln quarantine`: lifts the quarantine that a rollback put on a release's content.

use std::process::ExitCode;

use kiln_control::api::LiftRequest;
use kiln_model::{Name, ReleaseNumber};

use super::rollback::one_service;
use crate::context::{Context, name, release_number};
use crate::control::Control;
use crate::error::Result;

/// Arguments of `kiln quarantine`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    act: Act,
}

#[derive(Debug, clap::Subcommand)]
enum Act {
    /// Let the content be deployed again
    Lift(Lift),
}

#[derive(Debug, clap::Args)]
struct Lift {
    /// Only the content of this release; without one, everything of the service
    #[arg(value_parser = release_number)]
    release: Option<u64>,
    /// Which service; not needed while there is only one
    #[arg(short, long, value_parser = name)]
    service: Option<Name>,
    /// Environment
    #[arg(short, long, default_value = "dev", value_parser = name)]
    environment: Name,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<ExitCode> {
    let Act::Lift(lift) = &args.act;
    let control = Control::connect()?;
    let service = one_service(&control, &lift.environment, lift.service.as_ref())?;
    let request = LiftRequest {
        environment: lift.environment.clone(),
        service: service.clone(),
        release: lift.release.map(ReleaseNumber),
        author: crate::context::author(),
    };
    let answer = control.call(|client| async move { client.lift(&request).await })?;
    context.ui.result(&answer, || match answer.lifted.len() {
        0 => format!("nothing of {service} is quarantined"),
        count => format!("lifted {count} for {service}"),
    });
    Ok(ExitCode::SUCCESS)
}
