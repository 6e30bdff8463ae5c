//! `kiln init`: a first spec that fits the folder.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::context::Context;
use crate::error::{Failure, Kind, Result};

/// Arguments of `kiln init`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Folder of the project
    #[arg(default_value = ".")]
    path: PathBuf,
    /// Print the spec instead of writing it
    #[arg(long)]
    print: bool,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<ExitCode> {
    let failed = |error: kiln_spec::InitError| Failure::from_error(Kind::Spec, &error);
    let plan = kiln_spec::init(&args.path).map_err(failed)?;
    if !args.print {
        plan.write().map_err(failed)?;
    }
    let findings: Vec<String> = plan.findings.iter().map(ToString::to_string).collect();
    let companions: Vec<_> = plan.companions.iter().map(|(path, _)| path).collect();
    let answer = serde_json::json!({
        "file": plan.path, "text": plan.text, "found": findings, "companions": companions,
    });
    context.ui.result(&answer, || {
        if args.print {
            return plan.text.clone();
        }
        let mut out: String = findings.iter().map(|found| format!("- {found}\n")).collect();
        for path in companions.iter().copied().chain([&plan.path]) {
            out.push_str(&format!("wrote {}\n", path.display()));
        }
        out.push_str(&format!("next: kiln up {}\n", args.path.display()));
        out
    });
    Ok(ExitCode::SUCCESS)
}
