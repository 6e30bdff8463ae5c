//! `kiln down`: stops and removes everything of the project.

use std::path::PathBuf;
use std::process::ExitCode;

use kiln_model::Name;

use crate::args::{SpecArgs, Values};
use crate::context::{Context, name};
use crate::control::Control;
use crate::error::Result;
use crate::home::Home;
use crate::stopping;

/// Arguments of `kiln down`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Folder with kiln.hcl, whose project is meant
    #[arg(default_value = ".")]
    path: PathBuf,
    /// Every project on this machine; no spec is read
    #[arg(long, conflicts_with = "path")]
    all: bool,
    /// Only this environment
    #[arg(short, long, value_parser = name)]
    environment: Option<Name>,
    /// Only this service
    #[arg(short, long, value_parser = name)]
    service: Option<Name>,
    #[command(flatten)]
    values: Values,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<ExitCode> {
    let project = if args.all {
        None
    } else {
        let spec = SpecArgs { path: args.path.clone(), values: args.values.clone() };
        Some(context.spec(&spec)?.project.name)
    };
    // What runs outlives a control plane that died: where something was ever deployed, one is asked.
    let deployed = Home::find()?.path().join("state/kiln.db").exists();
    let control = if deployed { Some(Control::ensure()?) } else { Control::find()? };
    let Some(control) = control else {
        context.ui.result(&serde_json::json!({ "services": [] }), || "nothing runs here".into());
        return Ok(ExitCode::SUCCESS);
    };
    let answer = stopping::down(context, &control, args.environment.clone(), project, args.service.clone())?;
    context.ui.result(&answer, || match answer.services.len() {
        0 => "nothing of this project runs".into(),
        _ => String::new(),
    });
    Ok(ExitCode::SUCCESS)
}
