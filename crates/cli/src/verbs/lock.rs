//! `kiln lock`: every outside input, pinned.

use std::process::ExitCode;

use kiln_bake::Resolved;

use crate::args::SpecArgs;
use crate::baking::{self, BakeOptions};
use crate::context::Context;
use crate::error::Result;

/// Arguments of `kiln lock`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    spec: SpecArgs,
    /// Take the newest versions also where the spec did not change
    #[arg(long)]
    update: bool,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<ExitCode> {
    let loaded = context.spec(&args.spec)?;
    let report = baking::lock(context, &loaded, args.update, &BakeOptions::default())?;
    let answer: Vec<_> =
        report.iter().map(|(name, outcome)| serde_json::json!({"image": name, "outcome": outcome})).collect();
    context.ui.result(&answer, || {
        report
            .iter()
            .map(|(name, outcome)| {
                let said = match outcome {
                    Resolved::Kept => "fits the lock",
                    Resolved::Changed => "pinned",
                    Resolved::Same => "resolved anew: nothing newer",
                    Resolved::Nothing => "has no outside input",
                };
                format!("image {name}: {said}\n")
            })
            .collect()
    });
    Ok(ExitCode::SUCCESS)
}
