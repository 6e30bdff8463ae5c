//! `kiln inspect`: everything about one instance.

use std::process::ExitCode;

use crate::context::Context;
use crate::control::Control;
use crate::error::Result;

/// Arguments of `kiln inspect`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The instance, or the beginning of its name when only one begins so
    instance: String,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<ExitCode> {
    let control = Control::connect()?;
    let instance = control.instance(&args.instance)?;
    context.ui.result(&instance, || serde_json::to_string_pretty(&instance).unwrap_or_default());
    Ok(ExitCode::SUCCESS)
}
