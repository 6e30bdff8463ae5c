//! `kiln stop`: replaces one instance.

use std::process::ExitCode;

use kiln_control::api::InstanceRequest;

use crate::context::Context;
use crate::control::Control;
use crate::error::Result;

/// Arguments of `kiln stop`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The instance, or the beginning of its name when only one begins so
    instance: String,
    /// Why, for the record
    #[arg(short = 'm', long)]
    reason: Option<String>,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<ExitCode> {
    let control = Control::connect()?;
    let id = control.instance(&args.instance)?.observed.id;
    let request = InstanceRequest { author: crate::context::author(), reason: args.reason.clone() };
    let answer = control.call(|client| async move { client.stop_instance(&id, &request).await })?;
    context.ui.result(&answer, || {
        format!("{} drains and stops; a new instance takes its place", answer.observed.id)
    });
    Ok(ExitCode::SUCCESS)
}
