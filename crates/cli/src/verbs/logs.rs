//! `kiln logs`: what instances printed.

use std::process::ExitCode;

use kiln_model::Name;

use crate::context::Context;
use crate::control::Control;
use crate::error::Result;
use crate::following::{self, Reader, Wanted};

/// Arguments of `kiln logs`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A service, or an instance (or the beginning of its name); everything unless given
    what: Option<String>,
    /// Go on with what is printed from now on
    #[arg(short, long)]
    follow: bool,
    /// Lines of each instance to begin with
    #[arg(short = 'n', long, default_value_t = 100)]
    lines: usize,
    /// Show the time of each line
    #[arg(short, long)]
    times: bool,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<ExitCode> {
    let control = Control::connect()?;
    let wanted = wanted(args, &control)?;
    if args.follow {
        following::until_interrupted(context, &control, wanted)?;
    } else {
        let mut reader = Reader::new(context, wanted);
        reader.open(&control, args.lines)?;
        reader.print_kept()?;
    }
    Ok(ExitCode::SUCCESS)
}

fn wanted(args: &Args, control: &Control) -> Result<Wanted> {
    let mut wanted = Wanted { services: Vec::new(), instance: None, lines: args.lines, times: args.times };
    let Some(what) = &args.what else { return Ok(wanted) };
    let status = control.call(|client| async move { client.status().await })?;
    match Name::new(what.as_str()).ok().filter(|name| status.services.iter().any(|one| one.service == *name))
    {
        Some(name) => wanted.services.push(name),
        None => wanted.instance = Some(control.instance(what)?.observed.id.to_string()),
    }
    Ok(wanted)
}
