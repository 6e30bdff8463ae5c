//! `kiln abort`: gives up a rollout that is under way.

use std::process::ExitCode;

use kiln_control::api::AbortRequest;
use kiln_model::Name;

use super::rollback::one_service;
use crate::context::{Context, name};
use crate::control::Control;
use crate::error::Result;

/// Arguments of `kiln abort`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Which service; not needed while there is only one
    #[arg(value_parser = name)]
    service: Option<Name>,
    /// Environment
    #[arg(short, long, default_value = "dev", value_parser = name)]
    environment: Name,
    /// Why, for the record
    #[arg(short = 'm', long)]
    reason: Option<String>,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<ExitCode> {
    let control = Control::connect()?;
    let service = one_service(&control, &args.environment, args.service.as_ref())?;
    let request = AbortRequest {
        environment: args.environment.clone(),
        service: service.clone(),
        author: crate::context::author(),
        reason: args.reason.clone(),
    };
    let answer = control.call(|client| async move { client.abort(&request).await })?;
    context.ui.result(&answer, || {
        format!(
            "the rollout of {service} release {} is given up; `kiln status` shows the way back",
            answer.release
        )
    });
    Ok(ExitCode::SUCCESS)
}
