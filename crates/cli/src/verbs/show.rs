//! `kiln show`: the evaluated spec.

use std::process::ExitCode;

use crate::args::SpecArgs;
use crate::context::Context;
use crate::error::Result;

/// Arguments of `kiln show`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    spec: SpecArgs,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<ExitCode> {
    let loaded = context.spec(&args.spec)?;
    context.ui.result(&loaded.project, || {
        // The evaluated model has one textual form; JSON is what every tool reads.
        serde_json::to_string_pretty(&loaded.project).unwrap_or_default()
    });
    Ok(ExitCode::SUCCESS)
}
