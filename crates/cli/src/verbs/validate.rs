//! `kiln validate`: every error of the spec at once.

use std::process::ExitCode;

use crate::args::SpecArgs;
use crate::context::Context;
use crate::error::Result;

/// Arguments of `kiln validate`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    spec: SpecArgs,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<ExitCode> {
    let loaded = context.spec(&args.spec)?;
    let project = &loaded.project;
    let answer = serde_json::json!({
        "valid": true,
        "project": project.name,
        "images": project.images.keys().collect::<Vec<_>>(),
        "services": project.services.keys().collect::<Vec<_>>(),
        "warnings": loaded.warnings,
    });
    context.ui.result(&answer, || {
        format!(
            "{} is valid: {} and {}",
            project.name,
            counted(project.images.len(), "image"),
            counted(project.services.len(), "service")
        )
    });
    Ok(ExitCode::SUCCESS)
}

fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}
