//! `kiln schema`: the spec language for editors and readers.

use std::process::ExitCode;

use crate::context::Context;
use crate::error::Result;

/// Arguments of `kiln schema`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Print the reference as Markdown instead of the JSON schema
    #[arg(long)]
    markdown: bool,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<ExitCode> {
    let schema = kiln_spec::json_schema();
    context.ui.result(&schema, || {
        if args.markdown {
            kiln_spec::reference_markdown()
        } else {
            serde_json::to_string_pretty(&schema).unwrap_or_default()
        }
    });
    Ok(ExitCode::SUCCESS)
}
