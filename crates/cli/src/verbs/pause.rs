//! `kiln pause`: stops a rollout where it is.

use std::process::ExitCode;

use crate::args::RolloutArgs;
use crate::context::Context;
use crate::control::Control;
use crate::error::Result;

/// Arguments of `kiln pause`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    rollout: RolloutArgs,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<ExitCode> {
    let control = Control::connect()?;
    let request = args.rollout.request(&control)?;
    let service = request.service.clone();
    let answer = control.call(|client| async move { client.pause(&request).await })?;
    context.ui.result(&answer, || {
        format!(
            "the rollout of {service} release {} is paused; failures still bring the old release back\n`kiln resume {service}` lets it go on",
            answer.release
        )
    });
    Ok(ExitCode::SUCCESS)
}
