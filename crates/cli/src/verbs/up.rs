//! `kiln up`: everything of the project, baked, deployed and served on this machine.

use std::process::ExitCode;
use std::time::Instant;

use super::deploy::What;
use crate::args::SpecArgs;
use crate::context::Context;
use crate::control::Control;
use crate::error::{Kind, Result};
use crate::{following, rolling, stopping, ui};

/// Arguments of `kiln up`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    spec: SpecArgs,
    #[command(flatten)]
    what: What,
    /// Return once everything serves, instead of showing the logs and stopping everything at Ctrl-C
    #[arg(short, long)]
    detach: bool,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<ExitCode> {
    let began = Instant::now();
    let prepared = rolling::prepare(context, &args.spec, &args.what)?;
    let project = prepared.loaded.project.name.clone();
    let control = Control::ensure()?;
    let answer = rolling::begin(context, &control, &args.what, prepared)?;
    let end = rolling::follow(context, &control, &args.what.environment, &answer);
    let interrupted = matches!(&end, Err(failure) if failure.kind() == Kind::Interrupted);
    if args.detach || !interrupted {
        rolling::finish(context, &control, &args.what.environment, &answer, end)?;
        context.ui.line(format!("up in {}", ui::took(began.elapsed())));
    }
    if args.detach || context.ui.json() {
        return Ok(ExitCode::SUCCESS);
    }
    if !interrupted {
        let services = answer.services.iter().map(|one| one.service.clone()).collect();
        context.ui.line("showing logs; Ctrl-C stops everything (`kiln up -d` leaves it running)");
        let wanted = following::Wanted { services, instance: None, lines: 10, times: false };
        following::until_interrupted(context, &control, wanted)?;
    }
    context.ui.line("stopping");
    stopping::down(context, &control, Some(args.what.environment.clone()), Some(project), None)?;
    Ok(ExitCode::SUCCESS)
}
