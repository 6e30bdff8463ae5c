//! `kiln resume`: lets a paused rollout go on.

use std::process::ExitCode;

use crate::args::RolloutArgs;
use crate::context::Context;
use crate::control::Control;
use crate::error::Result;

/// Arguments of `kiln resume`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    rollout: RolloutArgs,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<ExitCode> {
    let control = Control::connect()?;
    let request = args.rollout.request(&control)?;
    let answer = control.call(|client| async move { client.resume(&request).await })?;
    context.ui.result(&answer, || format!("goes on: {}", answer.sentence));
    Ok(ExitCode::SUCCESS)
}
