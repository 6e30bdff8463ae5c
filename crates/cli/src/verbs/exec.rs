//! `kiln exec`: a command in a running instance, which is tainted by it.

use std::process::ExitCode;

use kiln_control::api::InstanceRequest;
use kiln_local::InstanceDir;

use crate::context::Context;
use crate::control::Control;
use crate::error::{Failure, Kind, Result};
use crate::home::Home;

/// Arguments of `kiln exec`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The instance, or the beginning of its name when only one begins so
    instance: String,
    /// Why, for the record
    #[arg(short = 'm', long)]
    reason: Option<String>,
    /// Program and arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<ExitCode> {
    let control = Control::connect()?;
    let id = control.instance(&args.instance)?.observed.id;
    let dir = InstanceDir::new(Home::find()?.instance(id.as_str()));
    let reason = args.reason.clone().unwrap_or_else(|| format!("kiln exec {}", args.command.join(" ")));
    // The record and the taint come first: whatever happens to this process, the instance will be replaced. The
    // replacement is told apart from the command by the control plane, which waits for a healthy new one.
    let request = InstanceRequest { author: crate::context::author(), reason: Some(reason) };
    let tainted = id.clone();
    control.call(|client| async move { client.taint(&tainted, &request).await })?;
    context.ui.line(format!("{id} is tainted by this and will be replaced"));
    let status = kiln_local::exec::command(&crate::context::program()?, &dir, &args.command)
        .status()
        .map_err(|error| {
            Failure::new(Kind::Failed, format!("cannot execute {} in {id}", args.command[0])).because(&error)
        })?;
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from))
}
